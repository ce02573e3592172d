//! Probes: workloads that find out what the machine can do at most, so that a case can be held
//! against it.

use crate::case::{DeviceSpec, Operands};
use crate::units::{Bytes, Flops};

/// What a probe does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// A square matrix product.
    Gemm {
        /// Number format of both factors.
        operands: Operands,
    },
    /// A walk through memory.
    Memory {
        /// What is done with each word.
        access: Access,
    },
}

/// What a memory probe does with each word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads it.
    Read,
    /// Writes it somewhere else.
    Copy,
    /// `a = b + s·c`, in f32.
    Triad,
}

impl Access {
    /// Every kind.
    pub const ALL: [Access; 3] = [Access::Read, Access::Copy, Access::Triad];
}

impl ProbeKind {
    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            ProbeKind::Gemm { .. } => "gemm",
            ProbeKind::Memory { access: Access::Read } => "memory_read",
            ProbeKind::Memory { access: Access::Copy } => "memory_copy",
            ProbeKind::Memory { access: Access::Triad } => "memory_triad",
        }
    }

    /// The kind that goes by a name; a product needs its format.
    pub fn from_name(name: &str, operands: Option<Operands>) -> Option<Self> {
        let memory = Access::ALL.map(|access| ProbeKind::Memory { access });
        match operands {
            Some(operands) => (name == "gemm").then_some(ProbeKind::Gemm { operands }),
            None => memory.into_iter().find(|kind| kind.name() == name),
        }
    }
}

/// A probe on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Probe {
    /// What it does.
    pub kind: ProbeKind,
    /// Where.
    pub device: DeviceSpec,
    /// On how many processor threads.
    pub n_threads: u32,
}

impl Probe {
    /// Its axes in one word, unique in a plan: `gemm/f32/cpu/t2`, `memory_read/cpu/t2`.
    pub fn id(&self) -> String {
        let Probe { kind, device, n_threads } = self;
        match kind {
            ProbeKind::Gemm { operands } => format!("gemm/{operands}/{device}/t{n_threads}"),
            ProbeKind::Memory { .. } => format!("{}/{device}/t{n_threads}", kind.name()),
        }
    }
}

/// How large probes are: a product that is bound by arithmetic, a walk that no cache can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeSizes {
    /// Rows and columns of every factor.
    pub gemm_size: u32,
    /// Memory that a pass of a memory probe touches, once each byte.
    pub working_set: Bytes,
}

/// Buffers that a memory probe's working set is cut into. An iteration walks through one, and the
/// next through another.
pub const N_BUFFERS: usize = 4;

/// Rows and columns of the factors on a processor: large enough that packing is lost in the
/// arithmetic, small enough to take a fraction of a second on one slow core.
const GEMM_SIZE: u32 = 2048;

/// A working set is at least this many times the last-level cache (McCalpin's rule for STREAM).
pub const CACHE_MULTIPLE: u64 = 4;

impl ProbeSizes {
    /// Sizes for a machine with that much last-level cache, if it tells: sixteen times as much up
    /// to 1 GiB, since the caches' share of what is read is subtracted from what is claimed, and
    /// never less than four times.
    pub fn for_cache(last_level: Option<Bytes>) -> Self {
        const GIB: u64 = 1 << 30;
        let words = match last_level {
            None => GIB,
            Some(Bytes(cache)) => cache
                .saturating_mul(16)
                .min(GIB)
                .max(cache.saturating_mul(CACHE_MULTIPLE))
                .max(64 << 20),
        };
        // Every buffer of every kind of walk is a whole number of large pages.
        const STEP: u64 = (N_BUFFERS * 6 * (2 << 20)) as u64;
        let working_set = Bytes(words.div_ceil(STEP).saturating_mul(STEP));
        Self { gemm_size: GEMM_SIZE, working_set }
    }

    /// What one pass of a probe does.
    pub fn work(&self, kind: ProbeKind) -> ProbeWork {
        let n = u64::from(self.gemm_size);
        match kind {
            ProbeKind::Gemm { operands } => ProbeWork {
                flops: Flops(2 * n * n * n),
                bytes: Bytes(n * n * (2 * u64::from(operands.bits() / 8) + 4)),
            },
            // Each byte of the working set crosses once: read, or written without being read.
            ProbeKind::Memory { access: Access::Triad } => {
                ProbeWork { flops: Flops(self.working_set.0 / 12 * 2), bytes: self.working_set }
            }
            ProbeKind::Memory { .. } => ProbeWork { flops: Flops(0), bytes: self.working_set },
        }
    }

    /// Memory that a probe holds.
    pub fn memory(&self, kind: ProbeKind) -> Bytes {
        match kind {
            // Both factors, the result, and their packed panels.
            ProbeKind::Gemm { .. } => Bytes(u64::from(self.gemm_size).pow(2) * 4 * 5),
            ProbeKind::Memory { .. } => self.working_set,
        }
    }
}

/// Whether a kernel's stores go past the caches; those of any other leave lines there that have
/// not crossed to memory when a pass ends.
pub fn stores_past_caches(kernel: &str) -> bool {
    matches!(kernel, "avx512f" | "avx2+fma")
}

/// What one pass of a probe does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeWork {
    /// Dense operations, two per multiply-accumulate.
    pub flops: Flops,
    /// Bytes that must cross between memory and processor; a written byte counts once.
    pub bytes: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_found_again() {
        let kinds = [
            ProbeKind::Gemm { operands: Operands::F32 },
            ProbeKind::Gemm { operands: Operands::BF16 },
            ProbeKind::Memory { access: Access::Read },
            ProbeKind::Memory { access: Access::Copy },
            ProbeKind::Memory { access: Access::Triad },
        ];
        let ids = kinds.map(|kind| Probe { kind, device: DeviceSpec::Cpu, n_threads: 2 }.id());
        assert_eq!(
            ids,
            [
                "gemm/f32/cpu/t2",
                "gemm/bf16/cpu/t2",
                "memory_read/cpu/t2",
                "memory_copy/cpu/t2",
                "memory_triad/cpu/t2"
            ]
        );
        for kind in kinds {
            let operands = match kind {
                ProbeKind::Gemm { operands } => Some(operands),
                ProbeKind::Memory { .. } => None,
            };
            assert_eq!(ProbeKind::from_name(kind.name(), operands), Some(kind));
        }
        assert_eq!(ProbeKind::from_name("gemm", None), None);
        assert_eq!(ProbeKind::from_name("memory_read", Some(Operands::F32)), None);
    }

    #[test]
    fn working_sets_are_beyond_any_cache() {
        for mib in [0, 1, 8, 32, 96, 256, 768, 4096] {
            let cache = Bytes(mib << 20);
            let sizes = ProbeSizes::for_cache(Some(cache));
            assert!(sizes.working_set.0 >= 4 * cache.0 && sizes.working_set.0 >= 64 << 20);
            assert_eq!(sizes.working_set.0 % (N_BUFFERS as u64 * 6 * 8), 0);
        }
        let of_32_mib = ProbeSizes::for_cache(Some(Bytes(32 << 20))).working_set.0;
        assert!((512 << 20..600 << 20).contains(&of_32_mib));
        assert!(ProbeSizes::for_cache(None).working_set.0 >= 1 << 30);
    }

    #[test]
    fn work_by_hand() {
        let sizes = ProbeSizes { gemm_size: 10, working_set: Bytes(4800) };
        let work = sizes.work(ProbeKind::Gemm { operands: Operands::F16 });
        assert_eq!((work.flops, work.bytes), (Flops(2000), Bytes(100 * (2 + 2 + 4))));
        let triad = sizes.work(ProbeKind::Memory { access: Access::Triad });
        assert_eq!((triad.flops, triad.bytes), (Flops(800), Bytes(4800)));
    }
}
