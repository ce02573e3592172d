//! Names that have a fixed set of values in files, each with an escape for what newer minor versions
//! add: a reader keeps such a name and makes nothing of it. The schema lists the known ones alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::case::{Dtype, Operands};
use crate::measure::Reference;
use crate::probe::{Access, Direction, ProbeKind};

/// Makes an enum of names, and the name of each value.
macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        pub enum $name {
            $($(#[$of])* #[serde(rename = $text)] $variant,)+
            /// What a newer minor version added.
            #[serde(untagged)]
            #[schemars(skip)]
            Other(String),
        }

        impl $name {
            /// Every value that this build knows.
            pub const KNOWN: &'static [$name] = &[$(Self::$variant,)+];

            /// The name in files.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(name) => name,
                }
            }

            /// Whether this build knows it.
            pub fn is_known(&self) -> bool {
                !matches!(self, Self::Other(_))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

names! {
    /// A number format.
    DtypeFile {
        /// IEEE 754 binary32.
        F32 = "f32",
        /// IEEE 754 binary16.
        F16 = "f16",
        /// bfloat16.
        Bf16 = "bf16",
        /// GGUF's blocks of bytes.
        Q8_0 = "q8_0",
        /// GGUF's blocks of halves of bytes.
        Q4K = "q4_k",
        /// Integers of 8 bits; of products alone.
        Int8 = "int8",
        /// binary32 of which a device multiplies the first 19 bits; of products alone.
        Tf32 = "tf32",
        /// 8 bits, 4 of them the exponent's and 3 the mantissa's; of products alone.
        Fp8E4M3 = "fp8_e4m3",
    }
}

names! {
    /// Why the clocks of a device were below the highest.
    ThrottleFile {
        /// Nothing ran.
        Idle = "idle",
        /// Clocks that were set for applications.
        ApplicationClocks = "application_clocks",
        /// Its power limit.
        PowerCap = "power_cap",
        /// A slowdown by hardware: heat, power, or a brake from outside.
        HardwareSlowdown = "hardware_slowdown",
        /// Another device that it kept in step with.
        SyncBoost = "sync_boost",
        /// Heat, by software.
        SoftwareThermal = "software_thermal",
        /// Heat, by hardware.
        HardwareThermal = "hardware_thermal",
        /// A brake from the power supply.
        PowerBrake = "power_brake",
        /// Clocks that were set for a display.
        DisplayClocks = "display_clocks",
    }
}

names! {
    /// A probe.
    ProbeFile {
        /// A square matrix product.
        Gemm = "gemm",
        /// Reading memory.
        MemoryRead = "memory_read",
        /// Copying memory.
        MemoryCopy = "memory_copy",
        /// `a = b + s·c` in memory.
        MemoryTriad = "memory_triad",
        /// From pinned memory of the host to the device.
        TransferHostToDevice = "transfer_host_to_device",
        /// From the device to pinned memory of the host.
        TransferDeviceToHost = "transfer_device_to_host",
        /// Both at once, half of the bytes each way.
        TransferBidirectional = "transfer_bidirectional",
        /// From the device to the next one.
        TransferDeviceToDevice = "transfer_device_to_device",
    }
}

names! {
    /// What a rate counts.
    UnitFile {
        /// Tokens.
        TokensPerS = "tokens_per_s",
        /// Dense operations.
        FlopsPerS = "flops_per_s",
        /// Bytes between memory and processor.
        BytesPerS = "bytes_per_s",
    }
}

names! {
    /// What a cache holds.
    CacheKindFile {
        /// Data.
        Data = "data",
        /// Instructions.
        Instruction = "instruction",
        /// Both.
        Unified = "unified",
    }
}

names! {
    /// What outputs are held against. A reference that is made another way gets another name.
    ReferenceFile {
        /// The same prompt in chunks, each attending to the cached ones before it.
        ChunkedPrefill = "chunked_prefill.v1",
        /// The same tokens, picks included, in forward passes over many.
        TeacherForced = "teacher_forced.v1",
        /// The same computation once more, which proves nothing.
        Repeated = "repeated.v1",
        /// Entries of a product, in double precision.
        ProductEntries = "product_entries.v1",
        /// Entries of a product drawn anew for each pass, spoiled before it, in double precision.
        SampledEntries = "sampled_entries.v1",
        /// The sum of all words, known since they were written.
        WordSum = "word_sum.v1",
        /// Words drawn anew for each pass, spoiled before it.
        SpoiledWords = "spoiled_words.v1",
    }
}

names! {
    /// A kind of warning.
    WarningKindFile {
        /// Times grow or shrink all the way.
        Trend = "trend",
        /// Times are of one size before some point, and of another after it.
        Step = "step",
        /// A core ran at different speeds.
        ClockChange = "clock_change",
        /// Threads were near each other at one time and far at another.
        ThreadsMoved = "threads_moved",
        /// The processor throttled.
        Throttled = "throttled",
        /// The device that computed held its clocks down while it was busy.
        GpuThrottled = "gpu_throttled",
        /// Other processes took processor time.
        OtherLoad = "other_load",
        /// The hypervisor gave processor time to others.
        Steal = "steal",
        /// Rounds differ much.
        Noisy = "noisy",
        /// Too few rounds for an interval of note.
        FewRounds = "few_rounds",
        /// Passes are short for the clock.
        ShortPasses = "short_passes",
        /// Warm-up ended before passes were steady.
        WarmUpCutShort = "warm_up_cut_short",
        /// A case is above the ceiling it was held against.
        CeilingUnderMeasured = "ceiling_under_measured",
        /// The case computed faster than the processor can by its rating.
        AboveRating = "above_rating",
        /// Every iteration was slowed down on purpose: the figures measure nothing.
        InjectedSlowdown = "injected_slowdown",
        /// A round was interrupted and is shorter than the others.
        PartialRound = "partial_round",
    }
}

impl DtypeFile {
    /// The live format of a model.
    ///
    /// # Errors
    /// That this build does not know it, or that no model has it.
    pub fn live(&self) -> Result<Dtype, String> {
        self.as_str().parse()
    }

    /// What products multiply, either in a model of this format or in a probe of it.
    ///
    /// # Errors
    /// That this build does not know it.
    pub fn operands(&self) -> Result<Operands, String> {
        self.as_str().parse().or_else(|_| self.live().map(Dtype::operands))
    }
}

impl From<Dtype> for DtypeFile {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::Bf16,
            Dtype::Q8_0 => Self::Q8_0,
            Dtype::Q4K => Self::Q4K,
        }
    }
}

impl From<Operands> for DtypeFile {
    fn from(operands: Operands) -> Self {
        match operands {
            Operands::F32 => Self::F32,
            Operands::F16 => Self::F16,
            Operands::BF16 => Self::Bf16,
            Operands::Int8 => Self::Int8,
            Operands::Tf32 => Self::Tf32,
            Operands::Fp8E4M3 => Self::Fp8E4M3,
        }
    }
}

impl From<ProbeKind> for ProbeFile {
    fn from(kind: ProbeKind) -> Self {
        match kind {
            ProbeKind::Gemm { .. } => Self::Gemm,
            ProbeKind::Memory { access: Access::Read } => Self::MemoryRead,
            ProbeKind::Memory { access: Access::Copy } => Self::MemoryCopy,
            ProbeKind::Memory { access: Access::Triad } => Self::MemoryTriad,
            ProbeKind::Transfer { direction: Direction::HostToDevice } => {
                Self::TransferHostToDevice
            }
            ProbeKind::Transfer { direction: Direction::DeviceToHost } => {
                Self::TransferDeviceToHost
            }
            ProbeKind::Transfer { direction: Direction::Bidirectional } => {
                Self::TransferBidirectional
            }
            ProbeKind::PeerTransfer => Self::TransferDeviceToDevice,
        }
    }
}

impl From<Reference> for ReferenceFile {
    fn from(reference: Reference) -> Self {
        match reference {
            Reference::ChunkedPrefill => Self::ChunkedPrefill,
            Reference::TeacherForced => Self::TeacherForced,
            Reference::Repeated => Self::Repeated,
            Reference::ProductEntries => Self::ProductEntries,
            Reference::SampledEntries => Self::SampledEntries,
            Reference::WordSum => Self::WordSum,
            Reference::SpoiledWords => Self::SpoiledWords,
        }
    }
}

impl From<&str> for CacheKindFile {
    fn from(kind: &str) -> Self {
        match kind {
            "data" => Self::Data,
            "instruction" => Self::Instruction,
            "unified" => Self::Unified,
            other => Self::Other(other.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_live_ones_and_new_ones_are_kept() {
        for (name, dtype) in Dtype::NAMES {
            let file = DtypeFile::from(dtype);
            assert_eq!((file.as_str(), file.live()), (name, Ok(dtype)));
            assert_eq!(file.operands(), Ok(dtype.operands()));
        }
        for (name, operands) in Operands::NAMES {
            let file = DtypeFile::from(operands);
            assert_eq!((file.as_str(), file.operands()), (name, Ok(operands)));
        }
        assert!(
            DtypeFile::Int8.live().is_err() && DtypeFile::Other("q2".into()).operands().is_err()
        );
        let memory = Access::ALL.map(|access| ProbeKind::Memory { access });
        let transfers = Direction::ALL.map(|direction| ProbeKind::Transfer { direction });
        let gemm = [ProbeKind::Gemm { operands: Operands::F16 }];
        for kind in [&memory[..], &transfers, &gemm, &[ProbeKind::PeerTransfer]].concat() {
            assert_eq!(ProbeFile::from(kind).as_str(), kind.name());
        }
        let read = |text: &str| serde_json::from_str::<UnitFile>(text).unwrap();
        assert_eq!(read("\"bytes_per_s\""), UnitFile::BytesPerS);
        let newer = read("\"joules_per_s\"");
        assert_eq!((newer.as_str(), newer.is_known()), ("joules_per_s", false));
        assert_eq!(serde_json::to_string(&newer).unwrap(), "\"joules_per_s\"");
        assert_eq!(serde_json::to_string(&UnitFile::FlopsPerS).unwrap(), "\"flops_per_s\"");
        assert!(serde_json::from_str::<UnitFile>("7").is_err());
    }
}
