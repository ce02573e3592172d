//! From live measurements to the wire format.

use std::collections::BTreeMap;

use crate::case::{Case, Test};
use crate::histogram::{self, Histogram};
use crate::measure::{Limits, Metric, Recorder, Round, StopReason, WarmUp};
use crate::model::cost::{self, Work};
use crate::model::{DecoderConfig, ModelSource, ModelSpec};
use crate::plan::{Plan, Settings};
use crate::result::file::*;
use crate::stats;

/// Percentiles that a latency is asked for.
const PERCENTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999)];

/// Everything a run learned about one case.
#[derive(Clone, Debug)]
pub struct CaseSummary {
    /// The case.
    pub case: Case,
    /// Work of one pass.
    pub work: Work,
    /// What became of it.
    pub outcome: OutcomeFile,
    /// The warm-up, if there was one.
    pub warm_up: Option<WarmUp>,
    /// The measured rounds.
    pub rounds: Vec<Round>,
    /// Their latencies.
    pub recorder: Recorder,
}

impl CaseSummary {
    /// A case that has not been tried yet.
    pub fn new(case: Case, config: &DecoderConfig) -> Self {
        Self {
            work: cost::of_case(config, &case),
            recorder: Recorder::new(case.test),
            outcome: OutcomeFile::Skipped { reason: "the run ended before its turn".into() },
            warm_up: None,
            rounds: Vec::new(),
            case,
        }
    }

    /// Marks the case as failed. What was measured before the failure is dropped: a wrong run
    /// is no result, however fast.
    pub fn fail(&mut self, reason: String) {
        self.outcome = OutcomeFile::Failed { reason };
        self.warm_up = None;
        self.rounds.clear();
        self.recorder = Recorder::new(self.case.test);
    }
}

/// A case as result files have it.
pub fn case_result(summary: &CaseSummary) -> CaseFile {
    let case = &summary.case;
    CaseFile {
        id: case.id(),
        axes: AxesFile {
            model: case.model.clone(),
            dtype: case.dtype.to_string(),
            device: case.device.to_string(),
            n_threads: case.n_threads,
            test: case.test_name(),
            n_prompt: case.test.n_prompt(),
            n_gen: case.test.n_gen(),
            n_depth: case.n_depth,
            batch_size: case.batch_size,
        },
        work: WorkFile {
            tokens: case.tokens_per_pass(),
            flops: summary.work.flops,
            bytes_min: summary.work.bytes_min,
        },
        outcome: summary.outcome.clone(),
        warm_up: summary.warm_up.as_ref().map(|w| WarmUpFile {
            passes: w.passes,
            iterations: w.iterations,
            total_ns: w.total_ns,
            cold_start_ns: w.cold_start_ns,
            stop: stop(w.stop),
        }),
        rounds: summary.rounds.iter().map(round).collect(),
        throughput: throughput(case, &summary.rounds),
        latencies: summary.recorder.series().iter().filter_map(|(m, h)| latency(*m, h)).collect(),
    }
}

fn round(round: &Round) -> RoundFile {
    RoundFile {
        start_ns: round.start_ns,
        passes: round.passes,
        iterations: round.iterations,
        total_ns: round.total_ns,
        min_pass_ns: round.min_pass_ns,
        max_pass_ns: round.max_pass_ns,
        stop: stop(round.stop),
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

fn throughput(case: &Case, rounds: &[Round]) -> Option<ThroughputFile> {
    let definition = match case.test {
        Test::Prefill { .. } => "prefill_tokens_per_s.v1",
        Test::Decode { .. } => "decode_tokens_per_s.v1",
        Test::Generate { .. } => "request_total_tokens_per_s.v1",
    };
    // A clock too coarse to see a round gives no rate, rather than an infinite one.
    let rates: Vec<f64> = rounds
        .iter()
        .filter(|round| round.total_ns > 0)
        .map(|round| (case.tokens_per_pass() * round.passes) as f64 / (round.total_ns as f64 / 1e9))
        .collect();
    Some(ThroughputFile {
        definition: definition.into(),
        mean_tokens_per_s: stats::mean(&rates)?,
        stddev_tokens_per_s: stats::stddev(&rates),
        median_tokens_per_s: stats::median(&rates)?,
        rounds_tokens_per_s: rates,
    })
}

fn latency(metric: Metric, histogram: &Histogram) -> Option<LatencyFile> {
    let moments = histogram.moments();
    let (definition, description) = metric.definition();
    let mut percentiles_ns = BTreeMap::new();
    let mut percentiles_absent = BTreeMap::new();
    for (name, q) in PERCENTILES {
        let needed = stats::min_count_for_quantile(q);
        if moments.count >= needed {
            percentiles_ns.insert(name.into(), histogram.quantile(q)?);
        } else {
            let reason = format!("needs {needed} values, has {}", moments.count);
            percentiles_absent.insert(name.into(), reason);
        }
    }
    Some(LatencyFile {
        metric: metric.name().into(),
        definition: definition.into(),
        description: description.into(),
        count: moments.count,
        sum_ns: moments.sum,
        min_ns: moments.min,
        max_ns: moments.max,
        mean_ns: moments.mean()?,
        stddev_ns: moments.stddev(),
        sum_of_squares_ns2: moments.sum_of_squares(),
        mad_ns: histogram.median_absolute_deviation()?,
        percentiles_ns,
        percentiles_absent,
        histogram: HistogramFile {
            encoding: histogram::ENCODING.into(),
            significant_figures: histogram::SIGNIFICANT_FIGURES,
            max_ns: histogram::MAX_NS,
            saturated: histogram.saturated(),
            data: histogram.encode(),
        },
    })
}

/// A plan as result files have it.
pub fn plan_file(plan: &Plan) -> PlanFile {
    let Settings { device, seed, repetitions, max_time_ns, .. } = plan.settings;
    PlanFile {
        device: device.to_string(),
        seed,
        repetitions,
        warm_up: plan.settings.warm_up().as_ref().map(limits),
        round: limits(&plan.settings.round()),
        max_time_ns,
        models: plan.models.iter().map(model_file).collect(),
    }
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

/// A model as result files have it.
pub fn model_file(model: &ModelSpec) -> ModelFile {
    let config = &model.config;
    let (origin, weights) = match &model.source {
        ModelSource::Builtin => ("builtin".into(), WeightsFile::Random),
        ModelSource::Config(path) => (path.display().to_string(), WeightsFile::Random),
        ModelSource::Checkpoint(path) => (path.display().to_string(), WeightsFile::Checkpoint),
    };
    ModelFile {
        label: model.label.clone(),
        origin,
        weights,
        model_type: config.model_type.name().into(),
        n_params: cost::n_params(config),
        config: config.to_json(),
    }
}
