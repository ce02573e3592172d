//! Which vector instructions a kernel uses.

/// The instruction sets that kernels are written for, best first.
///
/// A kernel takes one of these as an argument, so that a caller can say which path ran and can
/// measure a path that is not the best one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Instructions {
    /// AVX-512 that also multiplies pairs of bf16, and quadruples of bytes (VNNI).
    Avx512Bf16,
    /// AVX-512 that also multiplies quadruples of bytes.
    Avx512Vnni,
    /// x86-64 with AVX-512 F, BW, DQ and VL: 32 registers of 512 bits.
    Avx512,
    /// x86-64 with AVX2, FMA and F16C: 16 registers of 256 bits.
    Avx2,
    /// Plain Rust for any machine; the compiler makes of it what its target allows.
    Portable,
}

impl Instructions {
    /// All of them, best first.
    pub(super) const ALL: [Self; 5] =
        [Self::Avx512Bf16, Self::Avx512Vnni, Self::Avx512, Self::Avx2, Self::Portable];

    /// The best set of this machine.
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// All sets that run on this machine, best first. The last is always [`Self::Portable`].
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|instructions| instructions.is_available()).collect()
    }

    /// Whether this machine and its operating system have all of the set.
    pub fn is_available(self) -> bool {
        // The standard library asks the processor once and remembers the answer.
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => {
                Self::Avx512Vnni.is_available() && is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                Self::Avx512.is_available() && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512Bf16 | Self::Avx512Vnni | Self::Avx512 | Self::Avx2 => false,
            Self::Portable => true,
        }
    }

    /// The part of the set that kernels use which only move or multiply floats.
    pub fn of_floats(self) -> Self {
        match self {
            Self::Avx512Bf16 | Self::Avx512Vnni => Self::Avx512,
            other => other,
        }
    }

    /// What a result says about the path that ran.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512bf16+vnni",
            Self::Avx512Vnni => "avx512f+vnni",
            Self::Avx512 => "avx512f",
            Self::Avx2 => "avx2+fma",
            Self::Portable => "portable",
        }
    }

    /// Every kernel calls this before it executes anything of the set.
    pub(super) fn assert_available(self) {
        assert!(self.is_available(), "this machine has no {}", self.name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_detected_is_the_best_of_what_is_available() {
        let available = Instructions::available();
        assert_eq!(Instructions::detect(), available[0]);
        assert_eq!(available.last(), Some(&Instructions::Portable));
        let order: Vec<_> =
            Instructions::ALL.into_iter().filter(|one| available.contains(one)).collect();
        assert_eq!(available, order);
    }
}
