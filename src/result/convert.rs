//! From live values to the wire format and back.

use crate::case::{Case, CudaGraphs, DeviceSpec, Kernels, Placement, Test};
use crate::histogram;
use crate::measure::{Checks, Limits, Recorder, Round, StopReason, WarmUp};
use crate::model::cost;
use crate::model::{DecoderConfig, ModelSource, ModelSpec};
use crate::plan::{Plan, Settings};
use crate::probe::{Probe, ProbeKind, ProbeSizes};
use crate::result::file::*;
use crate::result::latency::Series;
use crate::result::sha256_of;
use crate::units::Bytes;

/// What a case that has not been tried says.
const NOT_YET: &str = "the run ended before its turn";

fn not_yet() -> OutcomeFile {
    OutcomeFile::Skipped { reason: NOT_YET.into() }
}

/// Whether an outcome is that of a case that has not been tried yet.
pub fn is_not_yet(outcome: &OutcomeFile) -> bool {
    *outcome == not_yet()
}

/// A case that has not been tried yet.
pub fn case_file(case: &Case, config: &DecoderConfig) -> CaseFile {
    let work = cost::of_case(config, case);
    CaseFile {
        id: case.id(),
        axes: axes_file(case),
        work: WorkFile {
            tokens: case.tokens_per_pass(),
            flops: work.flops,
            bytes_min: work.bytes_min,
            forward_passes: Some(case.test.forward_passes()),
        },
        clock: Some(ClockFile::HostMonotonic),
        outcome: not_yet(),
        kernel: None,
        warm_up: None,
        rounds: Vec::new(),
        throughput: None,
        latencies: Vec::new(),
        check: None,
        roofline: None,
        claims: None,
        warnings: Vec::new(),
    }
}

/// The axes of a case.
pub fn axes_file(case: &Case) -> AxesFile {
    AxesFile {
        model: case.model.clone(),
        dtype: case.dtype.into(),
        device: case.device.to_string(),
        kernels: Some(match case.kernels {
            Kernels::Fused => KernelsFile::Fused,
            Kernels::Stock => KernelsFile::Stock,
        }),
        cuda_graphs: match (case.device, case.cuda_graphs) {
            (DeviceSpec::Cpu, _) => None,
            (DeviceSpec::Cuda { .. }, CudaGraphs::On) => Some(CudaGraphsFile::On),
            (DeviceSpec::Cuda { .. }, CudaGraphs::Off) => Some(CudaGraphsFile::Off),
        },
        n_threads: case.n_threads,
        test: case.test_name(),
        n_prompt: case.test.n_prompt(),
        n_gen: case.test.n_gen(),
        n_depth: case.n_depth,
        batch_size: case.batch_size,
    }
}

/// The case that axes describe.
///
/// # Errors
/// What is wrong with them.
pub fn case_of(axes: &AxesFile) -> Result<Case, String> {
    let test = match (axes.n_prompt, axes.n_gen) {
        (0, 0) => return Err("its axes name no test".into()),
        (n_prompt, 0) => Test::Prefill { n_prompt },
        (0, n_gen) => Test::Decode { n_gen },
        (n_prompt, n_gen) => Test::Generate { n_prompt, n_gen },
    };
    let case = Case {
        model: axes.model.clone(),
        dtype: axes.dtype.live()?,
        device: axes.device.parse()?,
        kernels: match axes.kernels {
            Some(KernelsFile::Fused) => Kernels::Fused,
            Some(KernelsFile::Stock) | None => Kernels::Stock,
        },
        cuda_graphs: match axes.cuda_graphs {
            Some(CudaGraphsFile::On) => CudaGraphs::On,
            Some(CudaGraphsFile::Off) | None => CudaGraphs::Off,
        },
        n_threads: axes.n_threads,
        test,
        n_depth: axes.n_depth,
        batch_size: axes.batch_size,
    };
    match case.cuda_graphs == CudaGraphs::On && !case.can_replay() {
        true => Err("its axes name CUDA graphs where there are none to replay".into()),
        false => Ok(case),
    }
}

/// A ceiling that has not been measured yet.
pub fn ceiling_file(probe: &Probe, sizes: &ProbeSizes) -> CeilingFile {
    let work = sizes.work(probe);
    let (dtype, gemm_size, working_set_bytes) = match probe.kind {
        ProbeKind::Gemm { operands } => (Some(operands.into()), Some(sizes.gemm_size), None),
        ProbeKind::Memory { .. } => (None, None, Some(sizes.working_set)),
        ProbeKind::Transfer { .. } | ProbeKind::PeerTransfer => (None, None, Some(sizes.transfer)),
    };
    CeilingFile {
        id: probe.id(),
        probe: probe.kind.into(),
        dtype,
        device: probe.device.to_string(),
        n_threads: probe.n_threads,
        kernel: None,
        gemm_size,
        working_set_bytes,
        flops: work.flops,
        bytes: work.bytes,
        clock: Some(ClockFile::HostMonotonic),
        outcome: not_yet(),
        warm_up: None,
        rounds: Vec::new(),
        check: None,
        rate: None,
        rating: None,
        claims: None,
        warnings: Vec::new(),
    }
}

/// How large the probe of a ceiling is; sizes that are not its own are 0.
pub fn probe_sizes(ceiling: &CeilingFile) -> ProbeSizes {
    let touched = ceiling.working_set_bytes.unwrap_or(Bytes(0));
    let gemm_size = ceiling.gemm_size.unwrap_or(0);
    ProbeSizes { gemm_size, working_set: touched, transfer: touched }
}

/// The probe that a ceiling came from.
///
/// # Errors
/// What is wrong with it.
pub fn probe_of(ceiling: &CeilingFile) -> Result<Probe, String> {
    let operands = ceiling.dtype.as_ref().map(DtypeFile::operands).transpose()?;
    let kind = ProbeKind::from_name(ceiling.probe.as_str(), operands)
        .ok_or_else(|| format!("there is no probe `{}` of that kind", ceiling.probe))?;
    Ok(Probe { kind, device: ceiling.device.parse()?, n_threads: ceiling.n_threads })
}

/// A round as result files have it.
pub fn round_file(round: &Round, conditions: Option<ConditionsFile>) -> RoundFile {
    RoundFile {
        start_ns: round.start_ns,
        passes: round.passes,
        iterations: round.iterations,
        total_ns: round.total_ns,
        min_pass_ns: round.min_pass_ns,
        max_pass_ns: round.max_pass_ns,
        stop: stop(round.stop),
        min_pass_idx: Some(round.min_pass_idx),
        block_pass_ns: round.block_pass_ns.clone(),
        device_time: round.device.map(|device| DeviceTimeFile {
            launch_ns: device.launch_ns,
            device_ns: device.device_ns,
        }),
        conditions,
        ttft_total_ns: None,
        run_idx: 0,
    }
}

/// Checks as result files have them.
pub fn check_file(checks: &Checks) -> CheckFile {
    CheckFile {
        reference: checks.reference.into(),
        description: checks.reference.description().into(),
        passes: checks.passes,
        values: checks.values,
        max_error: checks.max_error,
        tolerance: checks.tolerance,
    }
}

/// A warm-up as result files have it.
pub fn warm_up_file(warm_up: &WarmUp) -> WarmUpFile {
    WarmUpFile {
        passes: warm_up.passes,
        iterations: warm_up.iterations,
        total_ns: warm_up.total_ns,
        cold_start_ns: warm_up.cold_start_ns,
        stop: stop(warm_up.stop),
        steady: Some(warm_up.steady),
    }
}

fn stop(reason: StopReason) -> StopFile {
    match reason {
        StopReason::MinimaMet => StopFile::MinimaMet,
        StopReason::MaxTime => StopFile::MaxTime,
        StopReason::MaxPasses => StopFile::MaxPasses,
        StopReason::Interrupted => StopFile::Interrupted,
    }
}

/// What a recorder holds, as result files have it.
pub fn latency_files(recorder: &Recorder) -> Vec<LatencyFile> {
    let series = recorder.series().iter();
    series
        .filter_map(|(metric, histogram)| {
            let series = Series::live(*metric, histogram);
            series.file(series.histogram())
        })
        .collect()
}

/// A plan as result files have it.
pub fn plan_file(plan: &Plan) -> PlanFile {
    let Settings { device, placement, seed, repetitions, max_time_ns, injected_slowdown, .. } =
        plan.settings;
    PlanFile {
        device: device.to_string(),
        placement: placement.mask().map(|mask| PlacementFile {
            cpu_mask: mask.to_string(),
            cpu_strict: matches!(placement, Placement::Pinned(_)),
        }),
        seed,
        repetitions,
        warm_up: plan.settings.warm_up().as_ref().map(limits),
        round: limits(&plan.settings.round()),
        probe_round: Some(limits(&plan.settings.probe_round())),
        max_time_ns,
        injected_slowdown,
        models: plan.models.iter().map(model_file).collect(),
    }
}

/// The settings of a plan.
///
/// # Errors
/// What is wrong with them.
pub fn settings_of(plan: &PlanFile) -> Result<Settings, String> {
    let settings = Settings {
        device: plan.device.parse()?,
        placement: placement_of(plan)?,
        seed: plan.seed,
        repetitions: plan.repetitions,
        warm_up_passes: plan.warm_up.map_or(0, |limits| limits.min_passes),
        min_time_ns: plan.round.min_ns,
        max_time_ns: plan.max_time_ns,
        injected_slowdown: plan.injected_slowdown,
    };
    let same = settings.warm_up().as_ref().map(limits) == plan.warm_up
        && limits(&settings.round()) == plan.round
        && plan.probe_round.is_none_or(|round| limits(&settings.probe_round()) == round);
    match same {
        true => Ok(settings),
        false => Err("its limits are not those of this benchinf".into()),
    }
}

/// The hardware threads that a plan asks for.
///
/// # Errors
/// What is wrong with its mask.
pub fn placement_of(plan: &PlanFile) -> Result<Placement, String> {
    let Some(PlacementFile { cpu_mask, cpu_strict }) = &plan.placement else {
        return Ok(Placement::Anywhere);
    };
    let mask = cpu_mask.parse()?;
    Ok(match cpu_strict {
        true => Placement::Pinned(mask),
        false => Placement::Within(mask),
    })
}

fn limits(limits: &Limits) -> LimitsFile {
    let bounded = |value: u64| (value != u64::MAX).then_some(value);
    LimitsFile {
        min_ns: limits.min_ns,
        min_passes: limits.min_passes,
        max_ns: bounded(limits.max_ns),
        max_passes: bounded(limits.max_passes),
    }
}

/// A model as result files have it; the digest of its weights comes with loading them.
pub fn model_file(model: &ModelSpec) -> ModelFile {
    let config = &model.config;
    let (origin, weights) = match &model.source {
        ModelSource::Builtin => (BUILTIN.into(), WeightsFile::Random),
        ModelSource::Config(path) => (path.display().to_string(), WeightsFile::Random),
        ModelSource::Checkpoint(path) => (path.display().to_string(), WeightsFile::Checkpoint),
    };
    let config_json = config.to_json();
    ModelFile {
        label: model.label.clone(),
        origin,
        weights,
        model_type: config.model_type.name().into(),
        n_params: cost::n_params(config),
        config_sha256: Some(sha256_of(&config_json)),
        config: config_json,
        weights_sha256: None,
    }
}

/// The origin of models that are built in.
pub const BUILTIN: &str = "builtin";

/// How [`HistogramFile`]s of this build are written.
pub fn histogram_file(data: String, saturated: u64) -> HistogramFile {
    HistogramFile {
        encoding: histogram::ENCODING.into(),
        significant_figures: histogram::SIGNIFICANT_FIGURES,
        max_ns: histogram::MAX_NS,
        saturated,
        data,
    }
}
