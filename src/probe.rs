//! Probes: workloads that find out what the machine can do at most, so that a case can be held
//! against it.

use std::fmt;
use std::str::FromStr;

use crate::case::{DeviceSpec, Operands, name_in, named};
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
    /// Copies between pinned memory of the host and a device.
    Transfer {
        /// Which way.
        direction: Direction,
    },
    /// Copies from a device to the next one, without the host where they can.
    PeerTransfer,
}

/// Which way a transfer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the device.
    HostToDevice,
    /// From the device.
    DeviceToHost,
    /// Both at once, half of the bytes each way.
    Bidirectional,
}

impl Direction {
    /// Every one.
    pub const ALL: [Direction; 3] =
        [Direction::HostToDevice, Direction::DeviceToHost, Direction::Bidirectional];
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

/// A kind of probe, whatever the number format of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeName {
    /// Square matrix products.
    Gemm,
    /// A walk through memory.
    Memory(Access),
    /// Copies between host and device.
    Transfer(Direction),
    /// Copies from one device to the next.
    PeerTransfer,
}

impl ProbeName {
    /// Every kind with its name in files, tables and options.
    pub const NAMES: [(&str, ProbeName); 8] = [
        ("gemm", ProbeName::Gemm),
        ("memory_read", ProbeName::Memory(Access::Read)),
        ("memory_copy", ProbeName::Memory(Access::Copy)),
        ("memory_triad", ProbeName::Memory(Access::Triad)),
        ("transfer_host_to_device", ProbeName::Transfer(Direction::HostToDevice)),
        ("transfer_device_to_host", ProbeName::Transfer(Direction::DeviceToHost)),
        ("transfer_bidirectional", ProbeName::Transfer(Direction::Bidirectional)),
        ("transfer_device_to_device", ProbeName::PeerTransfer),
    ];
}

impl fmt::Display for ProbeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(name_in(&Self::NAMES, *self))
    }
}

impl FromStr for ProbeName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        named(&Self::NAMES, text)
    }
}

impl ProbeKind {
    /// Which kind it is, without a product's format.
    pub fn kind_name(self) -> ProbeName {
        match self {
            ProbeKind::Gemm { .. } => ProbeName::Gemm,
            ProbeKind::Memory { access } => ProbeName::Memory(access),
            ProbeKind::Transfer { direction } => ProbeName::Transfer(direction),
            ProbeKind::PeerTransfer => ProbeName::PeerTransfer,
        }
    }

    /// The name in files and tables.
    pub fn name(self) -> &'static str {
        name_in(&ProbeName::NAMES, self.kind_name())
    }

    /// The kind that goes by a name; a product needs its format.
    pub fn from_name(name: &str, operands: Option<Operands>) -> Option<Self> {
        let found = ProbeName::NAMES.iter().find(|(known, _)| *known == name)?;
        match (found.1, operands) {
            (ProbeName::Gemm, Some(operands)) => Some(ProbeKind::Gemm { operands }),
            (ProbeName::Memory(access), None) => Some(ProbeKind::Memory { access }),
            (ProbeName::Transfer(direction), None) => Some(ProbeKind::Transfer { direction }),
            (ProbeName::PeerTransfer, None) => Some(ProbeKind::PeerTransfer),
            _ => None,
        }
    }

    /// What holds the same memory as this probe: all walks share theirs, and all transfers between
    /// host and device.
    pub fn holder(self) -> Self {
        match self {
            ProbeKind::Gemm { .. } | ProbeKind::PeerTransfer => self,
            ProbeKind::Memory { .. } => ProbeKind::Memory { access: Access::Read },
            ProbeKind::Transfer { .. } => {
                ProbeKind::Transfer { direction: Direction::Bidirectional }
            }
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
            ProbeKind::Memory { .. } | ProbeKind::Transfer { .. } | ProbeKind::PeerTransfer => {
                format!("{}/{device}/t{n_threads}", kind.name())
            }
        }
    }

    /// Why there is none on that device, if so. `capability` is the compute capability of one that
    /// is not the processor, if it is known, and `n_devices` how many of its kind there are.
    pub fn obstacle(&self, capability: Option<(u32, u32)>, n_devices: u32) -> Option<String> {
        match self.kind {
            ProbeKind::Gemm { operands } if !operands.is_multiplied_on(self.device) => {
                Some(format!("there is no product of {operands} on {}", self.device))
            }
            ProbeKind::Gemm { operands: Operands::Fp8E4M3 } => {
                let (major, minor) = capability.filter(|it| *it < FP8_CAPABILITY_MIN)?;
                Some(format!(
                    "{} has no instructions for fp8: they need compute capability 8.9, and it has {major}.{minor}",
                    self.device
                ))
            }
            ProbeKind::Transfer { .. } | ProbeKind::PeerTransfer
                if self.device == DeviceSpec::Cpu =>
            {
                Some("the processor has no memory apart from the host's".into())
            }
            ProbeKind::PeerTransfer if n_devices < 2 => {
                Some("there is no other device to copy to".into())
            }
            _ => None,
        }
    }

    /// Bytes of an entry of a product: as wide as what was multiplied where a device's libraries
    /// keep their best for that, and of 4 bytes elsewhere.
    fn result_bytes(&self, operands: Operands) -> u64 {
        match (self.device, operands) {
            (DeviceSpec::Cuda { .. }, Operands::F16 | Operands::BF16 | Operands::Fp8E4M3) => 2,
            _ => 4,
        }
    }
}

/// The first generation that multiplies fp8 (Ada).
const FP8_CAPABILITY_MIN: (u32, u32) = (8, 9);

/// How large probes are: a product that is bound by arithmetic, a walk that no cache can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeSizes {
    /// Rows and columns of every factor.
    pub gemm_size: u32,
    /// Memory that a pass of a memory probe touches, once each byte.
    pub working_set: Bytes,
    /// What a pass of a transfer copies, both ways together.
    pub transfer: Bytes,
}

/// Buffers that a memory probe's working set is cut into. An iteration walks through one, and the
/// next through another.
pub const N_BUFFERS: usize = 4;

/// Rows and columns of the factors on a processor of which nothing is known: small enough to take a
/// fraction of a second on one slow core.
const GEMM_SIZE: u32 = 2048;

/// What they can be on a processor where a pass of that is expected to be short: the larger, the
/// less of it goes to writing the result and to waiting for the last thread.
const LARGE_GEMM_SIZES: [u32; 2] = [8192, 4096];

/// What a pass of a larger product is expected to take at most.
const LARGE_GEMM_S: f64 = 0.1;

/// The part of all memory that a larger product may hold.
const LARGE_GEMM_PART: u64 = 16;

/// What memory there is taken to be, or to be free on a device, where that is not known.
const UNKNOWN_MEMORY: u64 = 16 << 30;

/// The same on a device, and where it has little memory: a product of 8192 takes 1.4 ms at 800
/// TFLOP/s, a hundred times what it takes to launch it and to learn that it is done.
const DEVICE_GEMM_SIZES: [(u64, u32); 2] = [(4 << 30, 8192), (0, 4096)];

/// What a transfer copies: some 10 ms at 55 GB/s.
const TRANSFER: Bytes = Bytes(512 << 20);

/// A working set is at least this many times the last-level cache (McCalpin's rule for STREAM).
pub const CACHE_MULTIPLE: u64 = 4;

/// Every buffer of every kind of walk is a whole number of large pages.
const STEP: u64 = (N_BUFFERS * 6 * (2 << 20)) as u64;

fn whole_steps(bytes: u64) -> Bytes {
    Bytes(bytes.div_ceil(STEP).saturating_mul(STEP))
}

/// Memory that a product's library works in.
pub const WORKSPACE: Bytes = Bytes(64 << 20);

impl ProbeSizes {
    /// Sizes for a device that is not the processor: walks of a sixteenth of its free memory, up to
    /// 8 GiB and never less than four times its cache, so that a pass takes a millisecond or two.
    pub fn for_device(cache: Option<Bytes>, free: Option<Bytes>) -> Self {
        const GIB: u64 = 1 << 30;
        let free = free.map_or(UNKNOWN_MEMORY, |free| free.0);
        let least = cache.map_or(GIB, |cache| cache.0.saturating_mul(CACHE_MULTIPLE));
        let gemm_size = DEVICE_GEMM_SIZES.into_iter().find(|(least, _)| free >= *least);
        Self {
            gemm_size: gemm_size.map_or(GEMM_SIZE, |(_, size)| size),
            working_set: whole_steps((free / 16).min(8 * GIB).max(least)),
            transfer: TRANSFER,
        }
    }

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
        Self { gemm_size: GEMM_SIZE, working_set: whole_steps(words), transfer: TRANSFER }
    }

    /// With a product that fits a processor which is expected to do `flops_per_s` at most and has
    /// so much memory, used or not: what is free differs from run to run.
    #[must_use]
    pub fn with_product_for(self, flops_per_s: f64, memory: Option<Bytes>) -> Self {
        let memory = memory.map_or(UNKNOWN_MEMORY, |memory| memory.0);
        let fits = |size: &u32| {
            2.0 * f64::from(*size).powi(3) <= flops_per_s * LARGE_GEMM_S
                && product_memory(*size).0 <= memory / LARGE_GEMM_PART
        };
        let large = LARGE_GEMM_SIZES.into_iter().find(fits);
        Self { gemm_size: large.unwrap_or(self.gemm_size), ..self }
    }

    /// What one pass of a probe does.
    pub fn work(&self, probe: &Probe) -> ProbeWork {
        let n = u64::from(self.gemm_size);
        match probe.kind {
            ProbeKind::Gemm { operands } => ProbeWork {
                flops: Flops(2 * n * n * n),
                bytes: Bytes(n * n * (2 * operands.stored_bytes() + probe.result_bytes(operands))),
            },
            // Each byte of the working set crosses once: read, or written without being read.
            ProbeKind::Memory { access: Access::Triad } => {
                ProbeWork { flops: Flops(self.working_set.0 / 12 * 2), bytes: self.working_set }
            }
            ProbeKind::Memory { .. } => ProbeWork { flops: Flops(0), bytes: self.working_set },
            ProbeKind::Transfer { .. } | ProbeKind::PeerTransfer => {
                ProbeWork { flops: Flops(0), bytes: self.transfer }
            }
        }
    }

    /// Memory that a probe holds on its device.
    pub fn memory(&self, probe: &Probe) -> Bytes {
        match (probe.kind, probe.device) {
            (ProbeKind::Gemm { .. }, DeviceSpec::Cpu) => product_memory(self.gemm_size),
            (ProbeKind::Gemm { .. }, DeviceSpec::Cuda { .. }) => self.work(probe).bytes + WORKSPACE,
            (ProbeKind::Memory { .. }, _) => self.working_set,
            (ProbeKind::Transfer { .. } | ProbeKind::PeerTransfer, _) => self.transfer,
        }
    }
}

/// What a product on the processor holds: both factors, the result, and their packed panels.
fn product_memory(size: u32) -> Bytes {
    Bytes(u64::from(size).pow(2) * 4 * 5)
}

/// Whether a kernel's stores go past the caches; those of any other leave lines there that have
/// not crossed to memory when a pass ends. A GPU's level 2 takes all stores.
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
            ProbeKind::Transfer { direction: Direction::Bidirectional },
            ProbeKind::PeerTransfer,
        ];
        let ids = kinds.map(|kind| Probe { kind, device: DeviceSpec::Cpu, n_threads: 2 }.id());
        assert_eq!(
            ids,
            [
                "gemm/f32/cpu/t2",
                "gemm/bf16/cpu/t2",
                "memory_read/cpu/t2",
                "memory_copy/cpu/t2",
                "memory_triad/cpu/t2",
                "transfer_bidirectional/cpu/t2",
                "transfer_device_to_device/cpu/t2"
            ]
        );
        for kind in kinds {
            let operands = match kind {
                ProbeKind::Gemm { operands } => Some(operands),
                ProbeKind::Memory { .. } | ProbeKind::Transfer { .. } | ProbeKind::PeerTransfer => {
                    None
                }
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
        let sizes = ProbeSizes { gemm_size: 10, working_set: Bytes(4800), transfer: Bytes(600) };
        let (cpu, cuda) = (DeviceSpec::Cpu, DeviceSpec::Cuda { ordinal: 0 });
        let of = |device, kind| sizes.work(&Probe { kind, device, n_threads: 1 });
        for (device, operands, bytes) in [
            (cpu, Operands::F16, 2 + 2 + 4),
            (cpu, Operands::Int8, 1 + 1 + 4),
            (cuda, Operands::F16, 2 + 2 + 2),
            (cuda, Operands::Tf32, 4 + 4 + 4),
            (cuda, Operands::Fp8E4M3, 1 + 1 + 2),
            (cuda, Operands::Int8, 1 + 1 + 4),
        ] {
            let work = of(device, ProbeKind::Gemm { operands });
            assert_eq!((work.flops, work.bytes), (Flops(2000), Bytes(100 * bytes)), "{operands}");
        }
        let triad = of(cpu, ProbeKind::Memory { access: Access::Triad });
        assert_eq!((triad.flops, triad.bytes), (Flops(800), Bytes(4800)));
        let transfer = of(cuda, ProbeKind::Transfer { direction: Direction::Bidirectional });
        assert_eq!((transfer.flops, transfer.bytes), (Flops(0), Bytes(600)));
    }

    #[test]
    fn what_a_device_lacks_has_a_reason() {
        let of = |operands, device, capability| {
            let kind = ProbeKind::Gemm { operands };
            Probe { kind, device, n_threads: 1 }.obstacle(capability, 1)
        };
        let (cpu, cuda) = (DeviceSpec::Cpu, DeviceSpec::Cuda { ordinal: 1 });
        for (_, operands) in Operands::NAMES {
            assert_eq!(of(operands, cuda, Some((9, 0))), None);
            let of_cpu = of(operands, cpu, None);
            assert_eq!(of_cpu.is_none(), Operands::of_device(cpu).contains(&operands));
        }
        assert_eq!(of(Operands::Fp8E4M3, cuda, Some((8, 9))), None);
        let old = of(Operands::Fp8E4M3, cuda, Some((8, 6))).unwrap();
        assert!(old.contains("cuda:1") && old.contains("8.6"), "{old}");
        assert_eq!(of(Operands::Tf32, cuda, Some((8, 0))), None);
        assert_eq!(of(Operands::Tf32, cpu, None).unwrap(), "there is no product of tf32 on cpu");
        let transfer = ProbeKind::Transfer { direction: Direction::HostToDevice };
        for kind in [transfer, ProbeKind::PeerTransfer] {
            let of =
                |device, n_devices| Probe { kind, device, n_threads: 1 }.obstacle(None, n_devices);
            assert!(of(cpu, 2).is_some() && of(cuda, 2).is_none());
            assert_eq!(of(cuda, 1).is_some(), kind == ProbeKind::PeerTransfer);
        }
    }

    #[test]
    fn products_grow_with_what_the_processor_can_do() {
        let of = |flops_per_s: f64, memory_gib: Option<u64>| {
            let memory = memory_gib.map(|gib| Bytes(gib << 30));
            ProbeSizes::for_cache(None).with_product_for(flops_per_s, memory).gemm_size
        };
        // 137 and 1100 billion operations, in a tenth of a second.
        for (flops_per_s, size) in [(0.0, 2048), (1.3e12, 2048), (1.4e12, 4096), (10e12, 4096)] {
            assert_eq!(of(flops_per_s, Some(64)), size, "{flops_per_s}");
        }
        assert_eq!(
            (of(12e12, Some(64)), of(12e12, Some(16)), of(12e12, Some(4))),
            (8192, 4096, 2048)
        );
        assert_eq!((of(12e12, None), of(f64::INFINITY, Some(0))), (4096, 2048));
    }

    #[test]
    fn sizes_on_a_device_fit_it_and_are_beyond_its_cache() {
        let of = |cache_mib: u64, free_mib: u64| {
            ProbeSizes::for_device(Some(Bytes(cache_mib << 20)), Some(Bytes(free_mib << 20)))
        };
        let h200 = of(60, 140 << 10);
        assert_eq!(h200.gemm_size, 8192);
        assert!((8 << 30..=(8 << 30) + STEP).contains(&h200.working_set.0));
        for (cache_mib, free_mib) in [(0, 100), (96, 2_000), (40, 40 << 10), (60, 140 << 10)] {
            let sizes = of(cache_mib, free_mib);
            assert!(sizes.working_set.0 >= CACHE_MULTIPLE * (cache_mib << 20));
            assert_eq!(sizes.working_set.0 % STEP, 0);
        }
        assert_eq!(of(4, 2_000).gemm_size, 4096);
    }
}
