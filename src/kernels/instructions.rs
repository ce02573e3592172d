//! Which vector instructions a kernel uses.

use std::str::FromStr;
use std::sync::OnceLock;

/// The best set that kernels may use, if not all that this machine has.
static LIMIT: OnceLock<Instructions> = OnceLock::new();

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

    /// The set of this machine that is fastest, or what it was limited to.
    pub fn detect() -> Self {
        let is_fast = |instructions: &Self| match instructions {
            Self::Avx512Bf16 => has_fast_pairs(),
            _ => true,
        };
        let fastest = || Self::available().into_iter().find(is_fast).unwrap_or(Self::Portable);
        LIMIT.get().copied().unwrap_or_else(fastest)
    }

    /// From now on, for the whole process, nothing above this set is detected.
    ///
    /// # Errors
    /// If this machine does not have it, or another limit was set before.
    pub fn limit(self) -> Result<(), String> {
        if !self.is_available() {
            return Err(format!("this machine has no {}", self.name()));
        }
        match *LIMIT.get_or_init(|| self) == self {
            true => Ok(()),
            false => Err("another limit was set before".into()),
        }
    }

    /// The name that users ask for it by.
    fn asked_as(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512_bf16",
            Self::Avx512Vnni => "avx512_vnni",
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
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

/// Whether products of pairs of bf16 are faster than as many multiply-adds of f32. Intel's cores
/// take four times as long for one of the former (measured on Sapphire Rapids,
/// `docs/performance.md`): they leave bf16 to AMX.
fn has_fast_pairs() -> bool {
    processor().is_some_and(|processor| processor.vendor != *b"GenuineIntel")
}

/// Whether the processor is AMD's and of Zen 4 or before; of those Zen 3 and Zen 4 were measured.
pub(super) fn is_amd_until_zen_4() -> bool {
    /// Of Zen 3 and Zen 4; Zen 5 has the next.
    const FAMILY: u32 = 0x19;
    processor().is_some_and(|is| is.vendor == *b"AuthenticAMD" && is.family <= FAMILY)
}

/// What a processor calls itself.
#[derive(Clone, Copy)]
struct Processor {
    vendor: [u8; 12],
    family: u32,
}

/// The processor at hand, where it tells.
fn processor() -> Option<Processor> {
    // Asked once, since a hypervisor may take tens of microseconds to answer.
    static PROCESSOR: OnceLock<Option<Processor>> = OnceLock::new();
    *PROCESSOR.get_or_init(|| {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::__cpuid;
            // The name is in these registers, in this order.
            let about = __cpuid(0);
            let words = [about.ebx, about.edx, about.ecx].map(u32::to_le_bytes);
            let vendor = words.concat().try_into().ok()?;
            let signature = __cpuid(1).eax;
            // Beyond 15 the rest is in the extended family.
            let family = match signature >> 8 & 0xf {
                0xf => 0xf + (signature >> 20 & 0xff),
                family => family,
            };
            Some(Processor { vendor, family })
        }
        #[cfg(not(target_arch = "x86_64"))]
        None
    })
}

impl FromStr for Instructions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|one| one.asked_as().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::asked_as).join(", ");
            format!("`{text}` is not one of {names}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_detected_is_the_best_of_what_is_available() {
        let available = Instructions::available();
        // Only products of pairs may be left out.
        let detected = Instructions::detect();
        assert!(available[..2.min(available.len())].contains(&detected));
        assert!(detected == available[0] || available[0] == Instructions::Avx512Bf16);
        assert_eq!(available.last(), Some(&Instructions::Portable));
        let order: Vec<_> =
            Instructions::ALL.into_iter().filter(|one| available.contains(one)).collect();
        assert_eq!(available, order);
    }

    #[test]
    fn sets_are_asked_for_by_name() {
        for instructions in Instructions::ALL {
            assert_eq!(instructions.asked_as().parse(), Ok(instructions));
        }
        assert!("avx3".parse::<Instructions>().unwrap_err().contains("avx512_vnni, avx512, avx2"));
        let missing = Instructions::ALL.into_iter().find(|one| !one.is_available());
        assert!(missing.is_none_or(|missing| missing.limit().is_err()));
    }
}
