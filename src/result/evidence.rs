//! The wire types of what stands behind a figure: checks, conditions, ceilings, claims, warnings
//! and digests.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::result::file::{OutcomeFile, RoundFile, WarmUpFile};
use crate::result::names::*;
use crate::units::{Bytes, Flops};

/// What every pass was held against; none that failed is in the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckFile {
    /// The reference.
    pub reference: ReferenceFile,
    /// The reference in words.
    pub description: String,
    /// Passes looked at.
    pub passes: u64,
    /// Values compared in each.
    pub values: u64,
    /// Largest difference of any pass, as a share of the largest reference value.
    pub max_error: f64,
    /// The largest error that rounding explains.
    pub tolerance: f64,
}

/// What the machine did during a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionsFile {
    /// Dependent integer steps per second on one core just before the round; its ratio between
    /// two moments is the ratio of clocks.
    pub core_speed_before_per_s: Option<f64>,
    /// The same just after it.
    pub core_speed_after_per_s: Option<f64>,
    /// Nanoseconds that a word took from one of two threads of our own kernels to the other just
    /// before the round, in the fastest of nine tries. Absent for other numbers of threads and other
    /// devices, where the two threads did not run at the same time, and in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover_before_ns: Option<f64>,
    /// The same just after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover_ns: Option<f64>,
    /// Share of all processors' time that other processes took.
    pub other_load_share: Option<f64>,
    /// Share of all processors' time that the hypervisor gave to others.
    pub steal_share: Option<f64>,
    /// Throttle events of all cores.
    pub throttle_events: Option<u64>,
    /// Mean frequency that the system reports.
    pub frequency_hz: Option<u64>,
    /// Times that a thread of this process had to make room for another.
    pub involuntary_switches: Option<u64>,
    /// Page faults that had to wait for a disk.
    pub major_faults: Option<u64>,
    /// The device that computed; absent for the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuConditionsFile>,
    /// What is absent in this round only, each with the reason. What the machine never tells is in
    /// `environment.unavailable`, under `conditions.` and the key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub absent: BTreeMap<String, String>,
}

/// A device that is not the processor, by samples of every tenth of a second during the round, without
/// those that found it idle if there are others. In files before 1.3, one sample just after the round.
/// What is absent it did not tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuConditionsFile {
    /// Samples that found it busy; 0 where it was idle in all of them. Absent in files before 1.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u32>,
    /// Clock of its multiprocessors in the last sample.
    pub sm_clock_hz: Option<u64>,
    /// The lowest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_hz_min: Option<u64>,
    /// The highest one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_hz_max: Option<u64>,
    /// Clock of its memory in the last sample.
    pub memory_clock_hz: Option<u64>,
    /// Power it drew in the last sample.
    pub power_mw: Option<u64>,
    /// The lowest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mw_min: Option<u64>,
    /// The highest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mw_max: Option<u64>,
    /// Temperature in the last sample.
    pub temperature_c: Option<u32>,
    /// What kept its clocks below the highest in any sample; empty where nothing did.
    pub throttle_reasons: Option<Vec<ThrottleFile>>,
}

impl GpuConditionsFile {
    /// What held it back while it was busy. Idleness and clocks that somebody chose do not.
    pub fn held_back_by(&self) -> impl Iterator<Item = &ThrottleFile> {
        let was_busy = self.samples.is_some_and(|n| n > 0);
        self.throttle_reasons.iter().flatten().filter(move |reason| {
            was_busy
                && matches!(
                    reason,
                    ThrottleFile::PowerCap
                        | ThrottleFile::HardwareSlowdown
                        | ThrottleFile::SoftwareThermal
                        | ThrottleFile::HardwareThermal
                        | ThrottleFile::PowerBrake
                )
        })
    }
}

/// A ceiling: what a probe reached in the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CeilingFile {
    /// The axes in one word. Unique in the file.
    pub id: String,
    /// What ran.
    pub probe: ProbeFile,
    /// Number format of both factors; absent for memory.
    pub dtype: Option<DtypeFile>,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Processor threads.
    pub n_threads: u32,
    /// Instruction set of the kernel that ran, or the library.
    pub kernel: Option<String>,
    /// Rows and columns of every factor; absent for memory.
    pub gemm_size: Option<u32>,
    /// Memory that a pass touches, each byte once, or what a transfer copies; absent for a product.
    pub working_set_bytes: Option<Bytes>,
    /// Dense operations of a pass.
    pub flops: Flops,
    /// Bytes that must cross between memory and processor in a pass, a written one once; or that a
    /// transfer copies between host and device, or between devices.
    pub bytes: Bytes,
    /// The clock that its times come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockFile>,
    /// What became of it.
    pub outcome: OutcomeFile,
    /// The warm-up, if there was one.
    pub warm_up: Option<WarmUpFile>,
    /// The rounds, in order.
    pub rounds: Vec<RoundFile>,
    /// What every pass was held against.
    pub check: Option<CheckFile>,
    /// What it reached; absent without rounds.
    pub rate: Option<RateFile>,
    /// What the device is rated for; absent for memory, and without rounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<RatingFile>,
    /// What that proves.
    pub claims: Option<ClaimsFile>,
    /// What casts doubt on it.
    pub warnings: Vec<WarningFile>,
}

/// A rate over rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RateFile {
    /// Operations, or bytes.
    pub unit: UnitFile,
    /// One value per round.
    pub rounds_per_s: Vec<f64>,
    /// Median of the rounds.
    pub median_per_s: f64,
    /// The fastest pass of any round: the ceiling. It is never below what the claims prove, which
    /// is the same pass with the clock's resolution and the caches taken off.
    pub best_per_s: f64,
    /// Interval for the median; absent for one round.
    pub interval: Option<IntervalFile>,
}

/// An interval for the median of the rounds, from their order alone: no distribution is assumed,
/// only that rounds are exchangeable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IntervalFile {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Chance that such an interval holds the median, at this number of rounds.
    pub coverage: f64,
    /// Rank of the lower end among the sorted rounds, counted from 1.
    pub lower_rank: u32,
    /// Rank of the upper end.
    pub upper_rank: u32,
}

/// Which ceiling a case is nearest to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BoundFile {
    /// Arithmetic.
    Compute,
    /// Memory traffic.
    Memory,
}

/// What a device is rated for: more it cannot do, so a figure above that is invalid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum RatingFile {
    /// Cores × operations per cycle × frequency.
    Known {
        /// Cores that compute; multiprocessors of a GPU.
        n_cores: u32,
        /// Operations of one core in one cycle, by its widest multiply-add instructions, or by
        /// its tensor cores.
        flops_per_cycle: u32,
        /// The highest frequency, boost included.
        frequency_hz: u64,
        /// The product of the three.
        flops_per_s: f64,
        /// Share of it that the fastest pass reached. Above 1 the figure is invalid.
        share: f64,
    },
    /// Nothing is known that a figure could be above of.
    Absent {
        /// Why.
        reason: String,
    },
}

/// A case against the ceilings that were measured in the same run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RooflineFile {
    /// Operations per second, by the median round.
    pub flops_per_s: f64,
    /// Bytes per second that must at least have moved, by the median round.
    pub bytes_per_s: f64,
    /// Id of the ceiling of arithmetic.
    pub compute_ceiling: Option<String>,
    /// Share of it.
    pub compute_share: Option<f64>,
    /// Id of the ceiling of memory; absent where a cache may serve the case.
    pub memory_ceiling: Option<String>,
    /// Share of it.
    pub memory_share: Option<f64>,
    /// The ceiling with the larger share; absent unless both can be compared.
    pub bound: Option<BoundFile>,
    /// The larger share, or the only one. Above 1 the ceiling is under-measured.
    pub ceiling_share: Option<f64>,
    /// What the device is rated for, in the case's format and on its threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<RatingFile>,
    /// All that in a sentence.
    pub sentence: String,
}

/// What the measurements prove, and what they suggest; the two are never mixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimsFile {
    /// Existence: the device did at least this, once, in this window. No statistics.
    pub existence: Vec<ExistenceFile>,
    /// Claims that cannot be made, each with the reason.
    pub absent: BTreeMap<String, String>,
    /// What it usually does at least; absent for one round.
    pub typical: Option<TypicalFile>,
    /// What the claims take on trust; absent when there is nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub provisos: Vec<ProvisoFile>,
}

impl ClaimsFile {
    /// Existence claims that count by a definition of this build. One that counts by another is read
    /// and kept, and proves nothing: an older definition was replaced because it could claim too
    /// much, and what a later one counts is not known.
    pub fn proofs(&self) -> impl Iterator<Item = &ExistenceFile> {
        self.existence.iter().filter(|claim| claim.is_proof())
    }
}

impl ExistenceFile {
    /// Whether it counts by a definition of this build.
    pub fn is_proof(&self) -> bool {
        super::claims::is_known(&self.definition)
    }
}

/// What a claim takes on trust.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProvisoFile {
    /// A hypervisor runs the processor: caches may be larger than it tells.
    VirtualMachine,
    /// Whether a hypervisor runs the processor is not known.
    HypervisorUnknown,
    /// One that a later version of the format added.
    #[serde(untagged)]
    Other(String),
}

impl ProvisoFile {
    /// The name in files.
    pub fn name(&self) -> &str {
        match self {
            ProvisoFile::VirtualMachine => "virtual_machine",
            ProvisoFile::HypervisorUnknown => "hypervisor_unknown",
            ProvisoFile::Other(name) => name,
        }
    }
}

/// The clock that times come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClockFile {
    /// The monotonic clock of the host, read before the work is given out and after it is done.
    HostMonotonic,
    /// One that a later version of the format added.
    #[serde(untagged)]
    Other(String),
}

/// What is claimed to have been done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuantityFile {
    /// Dense operations, two per multiply-accumulate.
    Operations,
    /// Bytes that crossed between memory and processor.
    Bytes,
}

/// A floor with its proof: work ÷ (bracket + clock resolution).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExistenceFile {
    /// What was done.
    pub quantity: QuantityFile,
    /// Id of the definition by which it is counted.
    pub definition: String,
    /// Width of the wider input of the multiply, as stored, and 19 where it is cut to TF32; absent
    /// for bytes.
    pub operand_bits: Option<u32>,
    /// How much of it, exactly, in the window.
    pub work: u64,
    /// Wall-clock time from before the first operation was given out until after the last one was
    /// done.
    pub bracket_ns: u64,
    /// The clock's resolution, added to the bracket.
    pub clock_resolution_ns: u64,
    /// The window: a pass of this round of the case, counted from 0 …
    pub round_idx: u32,
    /// … and this pass of the round.
    pub pass_idx: u64,
    /// What its output was held against.
    pub check: ReferenceFile,
    /// The floor.
    pub per_second_at_least: f64,
    /// Total processing performance at least: operations per second ÷ 10¹² × `operand_bits`;
    /// absent for bytes.
    pub tpp_at_least: Option<f64>,
}

/// A one-sided bound on the median of rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TypicalFile {
    /// Of tokens, operations or bytes.
    pub unit: UnitFile,
    /// The slowest round.
    pub per_second_at_least: f64,
    /// Chance that the slowest of so many rounds is below the median: 1 − 2⁻ⁿ.
    pub confidence: f64,
    /// Rounds.
    pub n_rounds: u32,
}

/// Something that casts doubt on a figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WarningFile {
    /// Which kind.
    pub kind: WarningKindFile,
    /// What was seen.
    pub message: String,
    /// What to do about it.
    pub advice: String,
    /// The figures behind it.
    pub figures: BTreeMap<String, f64>,
}

/// Values far from the others. They are flagged, and counted like all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutliersFile {
    /// Q1 − 3·IQR, 0 at least.
    pub low_fence_ns: u64,
    /// Q3 + 3·IQR.
    pub high_fence_ns: u64,
    /// Values below the low fence.
    pub low: u64,
    /// Values above the high fence.
    pub high: u64,
}

/// Digests that find what was changed after the run. They do not show who wrote the file, unless
/// it is signed, and never that a run happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IntegrityFile {
    /// `sha256`.
    pub algorithm: String,
    /// How a record becomes bytes: `sorted_keys.v1`.
    pub canonical: String,
    /// Digest of each record, in the order of the chain.
    pub records: Vec<RecordDigestFile>,
    /// The end of the chain over all of them.
    pub head: String,
    /// Signature of the head, if it was asked for.
    pub signature: Option<SignatureFile>,
    /// Digest of this file's text, with zeros in place of this digest.
    pub file_sha256: String,
}

/// The digest of one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordDigestFile {
    /// A key of the file, or `cases/` or `ceilings/` with an id.
    pub record: String,
    /// SHA-256 of its canonical form.
    pub sha256: String,
}

/// A signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignatureFile {
    /// `ed25519`.
    pub algorithm: String,
    /// The public key in hexadecimal. Whoever checks must know it from elsewhere.
    pub public_key: String,
    /// The signature in hexadecimal.
    pub signature: String,
}
