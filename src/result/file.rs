//! The wire types of a result file, format version 1. Keys that came after 1.0 may be absent.
//!
//! Units stand in names; times are integer nanoseconds; a figure that is absent says why
//! instead of being zero. `docs/result-format.md` explains the file as a whole.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::evidence::*;
pub use super::names::*;
use crate::result::FormatVersion;
use crate::units::{Bytes, Flops};

/// A whole result file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResultFile {
    /// Version of this format.
    pub format_version: FormatVersion,
    /// What measured.
    pub tool: ToolFile,
    /// When and how it was started.
    pub run: RunFile,
    /// What it was measured on.
    pub environment: EnvironmentFile,
    /// What was asked for.
    pub plan: PlanFile,
    /// What the machine could do at most, measured between the cases.
    #[serde(default)]
    pub ceilings: Vec<CeilingFile>,
    /// One entry for every case of the plan, whatever became of it.
    pub cases: Vec<CaseFile>,
    /// Digests; absent until the file is written.
    #[serde(default)]
    pub integrity: Option<IntegrityFile>,
}

/// The program that measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ToolFile {
    /// Always `benchinf`.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Commit of the sources; absent when they were not built from a repository.
    pub commit: Option<String>,
    /// Whether tracked files differed from that commit; absent with it.
    pub dirty: Option<bool>,
    /// Cargo features it was built with.
    pub features: Vec<String>,
    /// Target triple.
    pub target: String,
    /// Instruction set extensions the compiler was allowed to assume.
    pub target_features: Vec<String>,
    /// Compiler and its version.
    pub compiler: String,
    /// Cargo profile family, `release` or `debug`.
    pub profile: String,
    /// Optimisation level.
    pub opt_level: String,
    /// Built with debug assertions: its figures say nothing about the hardware.
    pub debug_build: bool,
    /// SHA-256 of the binary that measured; absent where the system did not show it, and where
    /// several did.
    #[serde(default)]
    pub binary_sha256: Option<String>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunFile {
    /// Differs between any two runs.
    pub id: String,
    /// UTC, RFC 3339.
    pub started: String,
    /// UTC, RFC 3339.
    pub finished: String,
    /// By the monotonic clock.
    pub duration_ns: u64,
    /// Whether all planned rounds were measured.
    pub ended: RunEnd,
    /// The arguments as typed.
    pub command_line: Vec<String>,
    /// From the start of the run to the first iteration: models loaded, or their weights drawn.
    pub time_to_first_iteration_ns: Option<u64>,
    /// When the run was taken up again, in UTC, each time after it had been cut off.
    #[serde(default)]
    pub resumed: Vec<String>,
    /// The runs that were merged into this file; empty for a run of its own.
    #[serde(default)]
    pub merged: Vec<MergedRunFile>,
}

/// A run that went into a merged file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MergedRunFile {
    /// Its id.
    pub id: String,
    /// UTC, RFC 3339.
    pub started: String,
    /// UTC, RFC 3339.
    pub finished: String,
    /// Whether all of its rounds were measured.
    pub ended: RunEnd,
    /// Its arguments.
    pub command_line: Vec<String>,
    /// SHA-256 of the binary that ran it; absent where that is not known.
    #[serde(default)]
    pub binary_sha256: Option<String>,
    /// The end of its file's chain; absent when the file had none.
    pub integrity_head: Option<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunEnd {
    /// Every round of the plan was tried.
    Completed,
    /// `--max-time` was used up.
    TimeUp,
    /// The user stopped it; what was measured until then is here.
    Interrupted,
}

/// The machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentFile {
    /// Operating system and version.
    pub os: Option<String>,
    /// Kernel version.
    pub kernel: Option<String>,
    /// The processor.
    pub cpu: CpuFile,
    /// Threads that wanted to run in the minute before the run, on average.
    pub load_average_1min: Option<f64>,
    /// Memory of the machine, or of the control group that limits this process; absent when the
    /// system does not tell.
    pub memory_bytes: Option<Bytes>,
    /// Memory that was free when the run began; absent with it.
    pub memory_available_bytes: Option<Bytes>,
    /// Space that memory may be swapped out to; 0 where there is none.
    #[serde(default)]
    pub swap_total_bytes: Option<Bytes>,
    /// When the kernel backs memory by huge pages unasked: `always`, `madvise` or `never`.
    #[serde(default)]
    pub transparent_hugepages: Option<String>,
    /// What the kernel's clocks count.
    #[serde(default)]
    pub clocksource: Option<String>,
    /// The smallest step between two readings of the clock that measured.
    #[serde(default)]
    pub clock_resolution_ns: Option<u64>,
    /// The device that computed, where it is not the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<GpuFile>,
    /// What is absent above, each with the reason.
    pub unavailable: BTreeMap<String, String>,
}

/// A device that is not the processor. What is absent has its reason in `unavailable`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuFile {
    /// Its name.
    pub model: Option<String>,
    /// SHA-256 of what tells it from all other devices.
    pub uuid_sha256: Option<String>,
    /// Compute capability.
    pub compute_capability: Option<String>,
    /// Multiprocessors.
    pub n_multiprocessors: Option<u32>,
    /// Level 2 cache.
    pub l2_cache_bytes: Option<Bytes>,
    /// All of its memory.
    pub memory_bytes: Option<Bytes>,
    /// Memory that was free when the run began.
    pub memory_available_bytes: Option<Bytes>,
    /// Whether its memory corrects errors.
    pub ecc: Option<bool>,
    /// Whether it is split into slices.
    pub mig: Option<bool>,
    /// The highest clock of its multiprocessors.
    pub max_sm_clock_hz: Option<u64>,
    /// The highest clock of its memory.
    pub max_memory_clock_hz: Option<u64>,
    /// The power that it may draw.
    pub power_limit_mw: Option<u64>,
    /// Other processes that computed on it when the run began.
    pub other_processes: Option<u32>,
    /// Version of the driver.
    pub driver: Option<String>,
    /// The newest CUDA that the driver knows.
    pub driver_cuda: Option<String>,
    /// Version of the CUDA runtime that was loaded.
    pub runtime_cuda: Option<String>,
    /// Whether allocations were followed by events.
    pub event_tracking: Option<bool>,
    /// Whether memory that was freed stayed with the process.
    pub keeps_memory: Option<bool>,
    /// What is absent above, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unavailable: BTreeMap<String, String>,
}

/// A processor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuFile {
    /// Its name.
    pub model: Option<String>,
    /// Its maker, as it names itself.
    #[serde(default)]
    pub vendor: Option<String>,
    /// Revision of its microcode.
    #[serde(default)]
    pub microcode: Option<String>,
    /// Whether a hypervisor runs it: what is told of it may then differ from what it is.
    #[serde(default)]
    pub hypervisor: Option<bool>,
    /// Instruction set architecture.
    pub architecture: String,
    /// Cores.
    pub physical_cores: u32,
    /// Hardware threads.
    pub logical_cores: u32,
    /// Packages.
    #[serde(default)]
    pub sockets: Option<u32>,
    /// Hardware threads of the core that has most of them.
    #[serde(default)]
    pub threads_per_core: Option<u32>,
    /// Instruction set extensions that were found at run time, among those that decide speed.
    pub features: Vec<String>,
    /// Caches of the first core.
    pub caches: Vec<CacheFile>,
    /// All data and unified caches of the highest level together, each counted once however many
    /// threads share it. Bandwidth of memory is shown only by working sets several times this.
    #[serde(default)]
    pub last_level_cache_bytes: Option<Bytes>,
    /// All data and unified caches of every level and core together, each counted once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_caches_bytes: Option<Bytes>,
    /// Whether hardware threads share cores.
    pub smt_active: Option<bool>,
    /// Frequency governor of the first core.
    pub governor: Option<String>,
    /// What the fastest core is rated for without boost.
    #[serde(default)]
    pub base_frequency_hz: Option<u64>,
    /// The highest frequency of the fastest core.
    #[serde(default)]
    pub max_frequency_hz: Option<u64>,
    /// The lowest frequency of the slowest core.
    #[serde(default)]
    pub min_frequency_hz: Option<u64>,
    /// Whether cores may run above their base frequency.
    #[serde(default)]
    pub boost: Option<bool>,
    /// NUMA nodes, as the kernel lists them.
    pub numa_nodes: Option<String>,
    /// Hardware threads that the process was allowed to use, as the kernel lists them.
    pub affinity: Option<String>,
    /// Processors' worth of time that control groups leave the process before they stop it.
    #[serde(default)]
    pub quota_cpus: Option<f64>,
}

/// A processor cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheFile {
    /// 1 is nearest to the core.
    pub level: u32,
    /// What it holds.
    pub kind: CacheKindFile,
    /// Size.
    pub size_bytes: Bytes,
    /// Hardware threads that share it, as the kernel lists them.
    pub shared_by_threads: String,
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PlanFile {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Hardware threads that were asked for; absent where the system put threads anywhere, and in
    /// files before 1.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementFile>,
    /// Seed of random weights and tokens.
    pub seed: u64,
    /// Rounds per case.
    pub repetitions: u32,
    /// Warm-up before a case's first round; absent when it was switched off.
    pub warm_up: Option<LimitsFile>,
    /// Limits of a case's round.
    pub round: LimitsFile,
    /// Limits of a probe's round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe_round: Option<LimitsFile>,
    /// Time allowed for the whole run, of which each warm-up and round gets its share as a
    /// maximum of its own; absent when unbounded.
    pub max_time_ns: Option<u64>,
    /// Time that was added to every iteration on purpose, as a share of it: the file is a trial of
    /// comparisons, and no measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub injected_slowdown: Option<f64>,
    /// The models.
    pub models: Vec<ModelFile>,
}

/// Which hardware threads a run computes on, in llama-bench's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlacementFile {
    /// Hexadecimal; bit N is hardware thread N.
    pub cpu_mask: String,
    /// Whether each thread is bound to one of them: those of a team begin with the first hardware
    /// threads of cores, in ascending order.
    pub cpu_strict: bool,
}

/// Limits of a warm-up or round: it ends when both minima are met or either maximum is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsFile {
    /// Measured time to reach.
    pub min_ns: u64,
    /// Passes to reach.
    pub min_passes: u64,
    /// Measured time not to exceed; absent when unbounded.
    pub max_ns: Option<u64>,
    /// Passes not to exceed; absent when unbounded.
    pub max_passes: Option<u64>,
}

/// A model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ModelFile {
    /// What cases call it.
    pub label: String,
    /// `builtin`, or the path given.
    pub origin: String,
    /// Where the weights come from.
    pub weights: WeightsFile,
    /// Family.
    pub model_type: String,
    /// Number of weights.
    pub n_params: u64,
    /// The shape as a `config.json` in Hugging Face's names: `--model` takes it as a file.
    pub config: serde_json::Value,
    /// SHA-256 of the canonical configuration.
    #[serde(default)]
    pub config_sha256: Option<String>,
    /// SHA-256 over the checkpoint's weight files; random weights follow from shape and seed.
    #[serde(default)]
    pub weights_sha256: Option<String>,
}

/// Where weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WeightsFile {
    /// Drawn from the plan's seed.
    Random,
    /// Read from a checkpoint.
    Checkpoint,
}

/// A case and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CaseFile {
    /// The axes in one word. Unique in the file; the model in it is a label of `plan.models`.
    pub id: String,
    /// What was asked.
    pub axes: AxesFile,
    /// Work of one pass, counted from the shape.
    pub work: WorkFile,
    /// The clock that its times come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockFile>,
    /// What became of it.
    pub outcome: OutcomeFile,
    /// Instruction set of our own kernels; absent where they did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// The warm-up, if there was one.
    pub warm_up: Option<WarmUpFile>,
    /// The rounds that were measured, in order.
    pub rounds: Vec<RoundFile>,
    /// Throughput over the rounds; absent without any.
    pub throughput: Option<ThroughputFile>,
    /// Latencies, each with its definition.
    pub latencies: Vec<LatencyFile>,
    /// What every pass was held against.
    #[serde(default)]
    pub check: Option<CheckFile>,
    /// The case against the ceilings; absent without rounds.
    #[serde(default)]
    pub roofline: Option<RooflineFile>,
    /// What was proved; absent without rounds.
    #[serde(default)]
    pub claims: Option<ClaimsFile>,
    /// What casts doubt on the figures.
    #[serde(default)]
    pub warnings: Vec<WarningFile>,
}

/// One point of the sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AxesFile {
    /// A label of `plan.models`.
    pub model: String,
    /// Number format of weights, activations and KV cache.
    pub dtype: DtypeFile,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// The code that computed; `stock` where it is absent, in files of the time before there was
    /// a choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernels: Option<KernelsFile>,
    /// How decode steps were launched on an NVIDIA device; absent elsewhere, and in files of the time
    /// before there was a choice, which is `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda_graphs: Option<CudaGraphsFile>,
    /// Processor threads.
    pub n_threads: u32,
    /// llama-bench's name of the test, with its depth.
    pub test: String,
    /// Prompt tokens per sequence.
    pub n_prompt: u32,
    /// Generated tokens per sequence.
    pub n_gen: u32,
    /// Cached positions before a pass.
    pub n_depth: u32,
    /// Sequences computed together.
    pub batch_size: u32,
}

/// Which code computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KernelsFile {
    /// Our own kernels.
    Fused,
    /// The engine's operations, one by one.
    Stock,
}

/// How decode steps were launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CudaGraphsFile {
    /// As CUDA graphs: captured once, then one call a step.
    On,
    /// By a call for each kernel.
    Off,
}

impl AxesFile {
    /// How decode steps were launched.
    pub fn cuda_graphs_name(&self) -> &'static str {
        match self.cuda_graphs {
            Some(CudaGraphsFile::On) => "on",
            Some(CudaGraphsFile::Off) | None => "off",
        }
    }

    /// The name of the code that computed.
    pub fn kernels_name(&self) -> &'static str {
        match self.kernels {
            Some(KernelsFile::Fused) => "fused",
            Some(KernelsFile::Stock) | None => "stock",
        }
    }
}

/// Work of one pass over all sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkFile {
    /// Tokens computed: prompt and generated.
    pub tokens: u64,
    /// Dense floating-point operations, two per multiply-accumulate, causal attention as the
    /// triangle it is.
    pub flops: Flops,
    /// Bytes that its forward passes must at least move, each starting from cold caches.
    pub bytes_min: Bytes,
    /// Forward passes in it; absent in files of format 1.0.
    #[serde(default)]
    pub forward_passes: Option<u64>,
}

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum OutcomeFile {
    /// Measured; `rounds` may be fewer than planned if the run ended early.
    Measured,
    /// Not tried.
    Skipped {
        /// Why.
        reason: String,
    },
    /// Tried, and went wrong; it has no figures.
    Failed {
        /// What went wrong.
        reason: String,
    },
}

/// Why a warm-up or a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopFile {
    /// Both minima were met.
    MinimaMet,
    /// The maximum time was hit first.
    MaxTime,
    /// The maximum count was hit first.
    MaxPasses,
    /// The user stopped the run.
    Interrupted,
}

/// What the warm-up discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WarmUpFile {
    /// Passes discarded.
    pub passes: u64,
    /// Iterations discarded.
    pub iterations: u64,
    /// Their time.
    pub total_ns: u64,
    /// The very first iteration of the case.
    pub cold_start_ns: u64,
    /// Why it ended; both minima count as met only once passes are steady.
    pub stop: StopFile,
    /// Whether the last passes took as long as those before them.
    #[serde(default)]
    pub steady: Option<bool>,
}

/// One round: the unit of replication.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoundFile {
    /// When it began, from the start of the run.
    pub start_ns: u64,
    /// Passes.
    pub passes: u64,
    /// Iterations.
    pub iterations: u64,
    /// Sum of the passes' times.
    pub total_ns: u64,
    /// The fastest pass.
    pub min_pass_ns: u64,
    /// The slowest pass.
    pub max_pass_ns: u64,
    /// Why it ended.
    pub stop: StopFile,
    /// Which pass was the fastest, counted from 0; absent in files of format 1.0.
    #[serde(default)]
    pub min_pass_idx: Option<u64>,
    /// Mean pass time of consecutive blocks of passes, at most 16.
    #[serde(default)]
    pub block_pass_ns: Vec<u64>,
    /// Sum of the times to first token of its passes, of a request; absent for other tests, and in
    /// files of the time before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_total_ns: Option<u64>,
    /// What a device's own clock says, beside the host's that all other times of a round are of;
    /// absent where the device is the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_time: Option<DeviceTimeFile>,
    /// What the machine did meanwhile.
    #[serde(default)]
    pub conditions: Option<ConditionsFile>,
    /// Index into `run.merged`; 0 in the file of one run.
    #[serde(default)]
    pub run_idx: u32,
}

/// A round beside the host's clock. Each is a sum over its iterations, which `total_ns` contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceTimeFile {
    /// Time of the host until each iteration was given out to the device.
    pub launch_ns: u64,
    /// Time by CUDA events, from the device's coming to the first launch of each iteration to the
    /// end of its last, with gaps between launches if there were any.
    pub device_ns: u64,
}

impl CaseFile {
    /// Shares of the time of all rounds, by the host's clock, that the host spent on giving work out
    /// and that the device says it took; absent where it has no clock of its own.
    pub fn launch_and_device_shares(&self) -> Option<(f64, f64)> {
        let (mut launch_ns, mut device_ns, mut total_ns) = (0.0, 0.0, 0.0);
        for round in &self.rounds {
            let device = round.device_time?;
            launch_ns += device.launch_ns as f64;
            device_ns += device.device_ns as f64;
            total_ns += round.total_ns as f64;
        }
        (total_ns > 0.0).then(|| (launch_ns / total_ns, device_ns / total_ns))
    }
}

/// Tokens per second over rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThroughputFile {
    /// Id of the definition.
    pub definition: String,
    /// One value per round: its tokens by its time.
    pub rounds_tokens_per_s: Vec<f64>,
    /// Mean of the rounds.
    pub mean_tokens_per_s: f64,
    /// Sample standard deviation of the rounds (n − 1); absent for one round.
    pub stddev_tokens_per_s: Option<f64>,
    /// Median of the rounds.
    pub median_tokens_per_s: f64,
    /// Interval for the median; absent for one round.
    #[serde(default)]
    pub interval: Option<IntervalFile>,
    /// Rounds far from the others, counted from 0: their distance from the median is more than
    /// 3.5 times the scaled median absolute deviation. They count like all others.
    #[serde(default)]
    pub outlier_rounds: Vec<u32>,
}

/// One latency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatencyFile {
    /// `prefill_pass`, `decode_step`, `ttft`, `tpot`, `itl` or `e2el`; of a device's own clock
    /// `prefill_pass_device`, `decode_step_device` or `itl_device`.
    pub metric: String,
    /// Id of the definition.
    pub definition: String,
    /// The definition in words.
    pub description: String,
    /// Number of values.
    pub count: u64,
    /// Exact sum.
    pub sum_ns: u64,
    /// Exact minimum.
    pub min_ns: u64,
    /// Exact maximum.
    pub max_ns: u64,
    /// Mean.
    pub mean_ns: f64,
    /// Sample standard deviation (n − 1) of the values; absent for one. Values within a round
    /// are correlated: this describes them, and bounds nothing.
    pub stddev_ns: Option<f64>,
    /// Sum of squared distances from the mean.
    pub sum_of_squares_ns2: f64,
    /// Median absolute deviation, within a bucket's precision.
    pub mad_ns: u64,
    /// Percentiles that the sample carries, keyed `p50`, `p90`, …
    pub percentiles_ns: BTreeMap<String, u64>,
    /// Percentiles that it does not, each with the reason.
    pub percentiles_absent: BTreeMap<String, String>,
    /// Values far from the others; absent below 12 values.
    #[serde(default)]
    pub outliers: Option<OutliersFile>,
    /// The distribution.
    pub histogram: HistogramFile,
}

/// A distribution that merges exactly with others of the same precision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HistogramFile {
    /// How `data` is written.
    pub encoding: String,
    /// Significant decimal digits of a bucket.
    pub significant_figures: u8,
    /// Largest value that is told apart.
    pub max_ns: u64,
    /// Values above that; they are counted there.
    pub saturated: u64,
    /// The buckets.
    pub data: String,
}
