//! One flat row per case, in llama-bench's names and with the keys that its comparison script
//! asks for, so that scripts that read its output read ours; what llama-bench does not have
//! follows under names of vLLM or our own.

use serde::Serialize;

use crate::report::{Integrity, Source};
use crate::result::ResultFile;
use crate::result::file::{
    BoundFile, CaseFile, CeilingFile, ClaimsFile, CudaGraphsFile, DtypeFile, LatencyFile,
    OutcomeFile, ProbeFile, ProvisoFile, QuantityFile, RooflineFile, RoundFile, UnitFile,
    WeightsFile,
};
use crate::stats;

/// A case in flat form. Absent figures are null, or empty in CSV.
#[derive(Debug, Serialize)]
struct Row {
    build_commit: String,
    build_version: String,
    cpu_info: String,
    gpu_info: String,
    backends: String,
    model_filename: String,
    model_type: String,
    model_size: Option<u64>,
    model_n_params: Option<u64>,
    /// Tokens of the largest forward pass over all sequences: nothing is split further.
    n_batch: u64,
    n_ubatch: u64,
    n_threads: u32,
    cpu_mask: String,
    cpu_strict: bool,
    poll: u32,
    type_k: String,
    type_v: String,
    n_gpu_layers: i32,
    split_mode: &'static str,
    main_gpu: u32,
    no_kv_offload: bool,
    flash_attn: bool,
    devices: String,
    tensor_split: &'static str,
    tensor_buft_overrides: &'static str,
    use_mmap: bool,
    embeddings: bool,
    n_prompt: u32,
    n_gen: u32,
    n_depth: u32,
    test_time: String,
    avg_ns: Option<u64>,
    stddev_ns: Option<u64>,
    avg_ts: Option<f64>,
    stddev_ts: Option<f64>,
    model: String,
    dtype: DtypeFile,
    kernels: &'static str,
    /// Absent where there is no choice.
    cuda_graphs: Option<CudaGraphsFile>,
    batch_size: u32,
    test: String,
    outcome: &'static str,
    reason: Option<String>,
    debug_build: bool,
    flops: u64,
    bytes_min: u64,
    /// `compute` or `memory`: the measured ceiling that the case is nearest to.
    bound: Option<&'static str>,
    flops_per_s: Option<f64>,
    bytes_per_s: Option<f64>,
    /// The ceiling that it is nearest to, or the only one that it can be held against.
    ceiling: Option<String>,
    /// Share of that ceiling, 0 to 1; absent above it, where the ceiling is under-measured.
    ceiling_share: Option<f64>,
    /// Share of the time in which the host gave work out to a device.
    launch_share: Option<f64>,
    /// Share of the time that the device says it took.
    device_share: Option<f64>,
    median_ts: Option<f64>,
    median_ts_lower: Option<f64>,
    median_ts_upper: Option<f64>,
    median_ts_coverage: Option<f64>,
    /// Claims; absent where the file is not as it was written.
    tpp_at_least: Option<f64>,
    bytes_per_s_at_least: Option<f64>,
    /// What the two take on trust: `virtual_machine`, or nothing.
    provisos: String,
    warnings: String,
    mean_ttft_ms: Option<f64>,
    median_ttft_ms: Option<f64>,
    p99_ttft_ms: Option<f64>,
    mean_tpot_ms: Option<f64>,
    median_tpot_ms: Option<f64>,
    p99_tpot_ms: Option<f64>,
    mean_itl_ms: Option<f64>,
    median_itl_ms: Option<f64>,
    p99_itl_ms: Option<f64>,
    mean_e2el_ms: Option<f64>,
    median_e2el_ms: Option<f64>,
    p99_e2el_ms: Option<f64>,
    case_id: String,
    run_id: String,
    /// `intact`, `altered` or `no_digests`.
    integrity: &'static str,
}

/// A row with its samples, one per round; CSV has no place for lists.
#[derive(Debug, Serialize)]
struct RowWithSamples {
    #[serde(flatten)]
    row: Row,
    samples_ns: Vec<u64>,
    samples_ts: Vec<f64>,
}

/// A ceiling in flat form: what is printed of results that have no cases.
#[derive(Debug, Serialize)]
struct CeilingRow {
    build_commit: String,
    build_version: String,
    cpu_info: String,
    probe: ProbeFile,
    dtype: Option<DtypeFile>,
    devices: String,
    n_threads: u32,
    kernel: Option<String>,
    gemm_size: Option<u32>,
    working_set_bytes: Option<u64>,
    outcome: &'static str,
    reason: Option<String>,
    debug_build: bool,
    n_rounds: usize,
    unit: Option<UnitFile>,
    best_per_s: Option<f64>,
    median_per_s: Option<f64>,
    at_least_per_s: Option<f64>,
    tpp_at_least: Option<f64>,
    /// What the two take on trust: `virtual_machine`, or nothing.
    provisos: String,
    warnings: String,
    test_time: String,
    ceiling_id: String,
    run_id: String,
    integrity: &'static str,
}

/// Whether rows are of ceilings: where there is no case, they are what was asked for.
fn are_of_ceilings(sources: &[Source]) -> bool {
    sources.iter().all(|source| source.result.cases.is_empty())
}

fn ceilings(sources: &[Source]) -> impl Iterator<Item = CeilingRow> {
    sources.iter().flat_map(|source| {
        source.result.ceilings.iter().map(move |ceiling| ceiling_row(source, ceiling))
    })
}

fn ceiling_row(source: &Source, ceiling: &CeilingFile) -> CeilingRow {
    let result = source.result;
    let is_intact = source.integrity == Integrity::Intact;
    let (outcome, reason) = outcome(&ceiling.outcome);
    let claims = ceiling.claims.as_ref().filter(|_| is_intact);
    let claim = claims.and_then(|claims| claims.proofs().next());
    let rate = ceiling.rate.as_ref();
    let warnings: Vec<&str> = ceiling.warnings.iter().map(|w| w.kind.as_str()).collect();
    CeilingRow {
        build_commit: result.tool.commit.clone().unwrap_or_else(|| "unknown".into()),
        build_version: result.tool.version.clone(),
        cpu_info: result.environment.cpu.model.clone().unwrap_or_default(),
        probe: ceiling.probe.clone(),
        dtype: ceiling.dtype.clone(),
        devices: ceiling.device.clone(),
        n_threads: ceiling.n_threads,
        kernel: ceiling.kernel.clone(),
        gemm_size: ceiling.gemm_size,
        working_set_bytes: ceiling.working_set_bytes.map(|bytes| bytes.0),
        outcome,
        reason,
        debug_build: result.tool.debug_build,
        n_rounds: ceiling.rounds.len(),
        unit: rate.map(|rate| rate.unit.clone()),
        best_per_s: rate.map(|rate| rate.best_per_s),
        median_per_s: rate.map(|rate| rate.median_per_s),
        at_least_per_s: claim.map(|claim| claim.per_second_at_least),
        tpp_at_least: claim.and_then(|claim| claim.tpp_at_least),
        provisos: provisos(ceiling.claims.as_ref()),
        warnings: warnings.join(" "),
        test_time: test_time(result, &ceiling.rounds),
        ceiling_id: ceiling.id.clone(),
        run_id: result.run.id.clone(),
        integrity: source.integrity.name(),
    }
}

fn provisos(claims: Option<&ClaimsFile>) -> String {
    let provisos = claims.iter().flat_map(|claims| &claims.provisos);
    provisos.map(ProvisoFile::name).collect::<Vec<_>>().join(" ")
}

/// The id of the ceiling whose share `ceiling_share` is.
fn ceiling_of(roofline: &RooflineFile) -> Option<String> {
    let ceilings = [
        (roofline.compute_share, &roofline.compute_ceiling),
        (roofline.memory_share, &roofline.memory_ceiling),
    ];
    let is_its = |share: &Option<f64>| share.is_some() && *share == roofline.ceiling_share;
    ceilings.into_iter().find(|(share, _)| is_its(share)).and_then(|(_, id)| id.clone())
}

fn outcome(outcome: &OutcomeFile) -> (&'static str, Option<String>) {
    match outcome {
        OutcomeFile::Measured => ("measured", None),
        OutcomeFile::Skipped { reason } => ("skipped", Some(reason.clone())),
        OutcomeFile::Failed { reason } => ("failed", Some(reason.clone())),
    }
}

/// One JSON object per line.
pub(super) fn jsonl(sources: &[Source]) -> String {
    let mut text = String::new();
    if are_of_ceilings(sources) {
        for row in ceilings(sources) {
            text += &serde_json::to_string(&row).expect("a row has string keys only");
            text.push('\n');
        }
    }
    for (source, case) in cases(sources) {
        let row = RowWithSamples {
            row: row(source, case),
            samples_ns: samples_ns(case).iter().map(|ns| ns.round() as u64).collect(),
            samples_ts: case
                .throughput
                .as_ref()
                .map_or_else(Vec::new, |t| t.rounds_tokens_per_s.clone()),
        };
        text += &serde_json::to_string(&row).expect("a row has string keys only");
        text.push('\n');
    }
    text
}

/// A header and one line per case.
pub(super) fn csv(sources: &[Source]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if are_of_ceilings(sources) {
        for row in ceilings(sources) {
            writer.serialize(row).expect("a row is flat, and memory takes it");
        }
    }
    for (source, case) in cases(sources) {
        writer.serialize(row(source, case)).expect("a row is flat, and memory takes it");
    }
    let bytes = writer.into_inner().expect("memory takes it");
    String::from_utf8(bytes).expect("every field is a string or a number")
}

fn cases<'a>(sources: &'a [Source]) -> impl Iterator<Item = (&'a Source<'a>, &'a CaseFile)> {
    sources.iter().flat_map(|source| source.result.cases.iter().map(move |case| (source, case)))
}

/// Time of one pass, one value per round.
fn samples_ns(case: &CaseFile) -> Vec<f64> {
    let rounds = case.rounds.iter().filter(|round| round.passes > 0);
    rounds.map(|round| round.total_ns as f64 / round.passes as f64).collect()
}

fn row(source: &Source, case: &CaseFile) -> Row {
    let result = source.result;
    let is_intact = source.integrity == Integrity::Intact;
    let axes = &case.axes;
    let placement = result.plan.placement.as_ref();
    let model = result.plan.models.iter().find(|model| model.label == axes.model);
    let samples_ns = samples_ns(case);
    let (outcome, reason) = outcome(&case.outcome);
    let tokens_per_forward = u64::from(axes.n_prompt.max(1)) * u64::from(axes.batch_size);
    let backend = axes.device.split(':').next().unwrap_or_default().to_uppercase();
    let latency = |name: &str| case.latencies.iter().find(|latency| latency.metric == name);
    let ms = |ns: f64| ns / 1e6;
    let mean = |name| latency(name).map(|l| ms(l.mean_ns));
    let percentile = |name, key: &str| {
        latency(name).and_then(|l: &LatencyFile| l.percentiles_ns.get(key)).map(|&ns| ms(ns as f64))
    };
    let roofline = case.roofline.as_ref();
    let shares = case.launch_and_device_shares();
    let throughput = case.throughput.as_ref();
    let interval = throughput.and_then(|t| t.interval.as_ref());
    let existence = || case.claims.iter().filter(|_| is_intact).flat_map(|claims| claims.proofs());
    let warnings: Vec<&str> = case.warnings.iter().map(|w| w.kind.as_str()).collect();
    Row {
        build_commit: result.tool.commit.clone().unwrap_or_else(|| "unknown".into()),
        build_version: result.tool.version.clone(),
        cpu_info: result.environment.cpu.model.clone().unwrap_or_default(),
        gpu_info: String::new(),
        backends: backend,
        model_filename: model.map_or_else(String::new, |model| model.origin.clone()),
        model_type: model.map_or_else(String::new, |model| {
            let size = crate::units::count_text(model.n_params);
            format!("{} {size} {}", model.model_type, axes.dtype.as_str().to_uppercase())
        }),
        model_size: model.zip(axes.dtype.live().ok()).map(|(model, dtype)| {
            u64::try_from(dtype.bytes_of(model.n_params.into())).unwrap_or(u64::MAX)
        }),
        model_n_params: model.map(|model| model.n_params),
        n_batch: tokens_per_forward,
        n_ubatch: tokens_per_forward,
        n_threads: axes.n_threads,
        cpu_mask: placement.map_or_else(|| "0x0".into(), |placement| placement.cpu_mask.clone()),
        cpu_strict: placement.is_some_and(|placement| placement.cpu_strict),
        poll: 0,
        type_k: axes.dtype.to_string(),
        type_v: axes.dtype.to_string(),
        // llama-bench's words for all layers on the processor, and for all on the device.
        n_gpu_layers: if axes.device == "cpu" { 0 } else { -1 },
        split_mode: "none",
        main_gpu: 0,
        no_kv_offload: false,
        flash_attn: false,
        devices: axes.device.clone(),
        tensor_split: "0.00",
        tensor_buft_overrides: "none",
        use_mmap: model.is_some_and(|model| model.weights == WeightsFile::Checkpoint),
        embeddings: false,
        n_prompt: axes.n_prompt,
        n_gen: axes.n_gen,
        n_depth: axes.n_depth,
        test_time: test_time(result, &case.rounds),
        avg_ns: stats::mean(&samples_ns).map(|ns| ns.round() as u64),
        stddev_ns: stats::stddev(&samples_ns).map(|ns| ns.round() as u64),
        avg_ts: case.throughput.as_ref().map(|t| t.mean_tokens_per_s),
        stddev_ts: case.throughput.as_ref().and_then(|t| t.stddev_tokens_per_s),
        model: axes.model.clone(),
        dtype: axes.dtype.clone(),
        kernels: axes.kernels_name(),
        cuda_graphs: axes.cuda_graphs,
        batch_size: axes.batch_size,
        test: axes.test.clone(),
        outcome,
        reason,
        debug_build: result.tool.debug_build,
        flops: case.work.flops.0,
        bytes_min: case.work.bytes_min.0,
        bound: roofline.and_then(|r| r.bound).map(|bound| match bound {
            BoundFile::Compute => "compute",
            BoundFile::Memory => "memory",
        }),
        flops_per_s: roofline.map(|r| r.flops_per_s),
        bytes_per_s: roofline.map(|r| r.bytes_per_s),
        ceiling: roofline.and_then(ceiling_of),
        ceiling_share: roofline.and_then(|r| r.ceiling_share).filter(|share| *share <= 1.0),
        launch_share: shares.map(|(launch, _)| launch),
        device_share: shares.map(|(_, device)| device),
        median_ts: throughput.map(|t| t.median_tokens_per_s),
        median_ts_lower: interval.map(|interval| interval.lower),
        median_ts_upper: interval.map(|interval| interval.upper),
        median_ts_coverage: interval.map(|interval| interval.coverage),
        tpp_at_least: existence().find_map(|claim| claim.tpp_at_least),
        bytes_per_s_at_least: existence()
            .find(|claim| claim.quantity == QuantityFile::Bytes)
            .map(|claim| claim.per_second_at_least),
        provisos: provisos(case.claims.as_ref()),
        warnings: warnings.join(" "),
        mean_ttft_ms: mean("ttft"),
        median_ttft_ms: percentile("ttft", "p50"),
        p99_ttft_ms: percentile("ttft", "p99"),
        mean_tpot_ms: mean("tpot"),
        median_tpot_ms: percentile("tpot", "p50"),
        p99_tpot_ms: percentile("tpot", "p99"),
        mean_itl_ms: mean("itl"),
        median_itl_ms: percentile("itl", "p50"),
        p99_itl_ms: percentile("itl", "p99"),
        mean_e2el_ms: mean("e2el"),
        median_e2el_ms: percentile("e2el", "p50"),
        p99_e2el_ms: percentile("e2el", "p99"),
        case_id: case.id.clone(),
        run_id: result.run.id.clone(),
        integrity: source.integrity.name(),
    }
}

/// When the first round began; the run's own start if there was none.
fn test_time(result: &ResultFile, rounds: &[RoundFile]) -> String {
    let started = result.run.started.parse::<jiff::Timestamp>().ok();
    let offset_ns = rounds.first().and_then(|round| i64::try_from(round.start_ns).ok());
    started
        .zip(offset_ns)
        .and_then(|(started, ns)| started.checked_add(jiff::SignedDuration::from_nanos(ns)).ok())
        .and_then(|time| time.round(jiff::Unit::Second).ok())
        .map_or_else(|| result.run.started.clone(), |time| time.to_string())
}
