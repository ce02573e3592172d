//! What is compared of a case, and its values.

use std::str::FromStr;

use crate::compare::record::{Better, Unit};
use crate::measure;
use crate::result::file::{CaseFile, CeilingFile, RoundFile};
use crate::result::imported::ImportedCaseFile;
use crate::stats;

/// What is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Metric {
    /// Work per second of every case: tokens, or of probes operations and bytes.
    #[default]
    Throughput,
    /// The mean of a latency, of the cases that have it.
    Latency(measure::Metric),
}

/// Latencies of which rounds have a mean each. Rounds add the device's time for first tokens up
/// with that of all others, so that its gaps alone are a histogram and nothing of rounds.
fn comparable() -> impl Iterator<Item = measure::Metric> {
    measure::Metric::ALL.into_iter().filter(|latency| *latency != measure::Metric::ItlDevice)
}

impl Metric {
    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Throughput => "throughput",
            Metric::Latency(latency) => latency.name(),
        }
    }

    /// Which of two values is better.
    pub fn better(self) -> Better {
        match self {
            Metric::Throughput => Better::Higher,
            Metric::Latency(_) => Better::Lower,
        }
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == Metric::Throughput.name() {
            return Ok(Metric::Throughput);
        }
        let found = comparable().find(|latency| latency.name() == text);
        found.map(Metric::Latency).ok_or_else(|| {
            let names: Vec<&str> = comparable().map(measure::Metric::name).collect();
            format!("`{text}` is not one of throughput, {}", names.join(", "))
        })
    }
}

/// The values of a case in one file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values {
    /// Definition of what they are.
    pub definition: String,
    /// In what they are counted.
    pub unit: Unit,
    /// What they are values of.
    pub grain: Grain,
    /// One for each round, in their order.
    pub of_rounds: Vec<Value>,
}

/// What a value is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    /// A round.
    Round,
    /// All that another tool measured: one figure, which does not tell how much it may vary.
    Summary,
}

/// The value of a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Value {
    /// Index of its run within the file.
    pub run_idx: u32,
    /// The how many-th round of that run it is: at the same time as those of other cases that have
    /// this number.
    pub round_idx: u32,
    /// The value.
    pub value: f64,
}

/// Rounds with the number that each has within its run.
fn numbered(rounds: &[RoundFile]) -> impl Iterator<Item = (u32, &RoundFile)> {
    let mut n_of_run = std::collections::HashMap::new();
    rounds.iter().map(move |round| {
        let n: &mut u32 = n_of_run.entry(round.run_idx).or_insert(0);
        *n += 1;
        (*n - 1, round)
    })
}

/// The values of a case; absent if it has none of that metric.
pub(super) fn of_case(case: &CaseFile, metric: Metric) -> Option<Values> {
    let Metric::Latency(latency) = metric else {
        let definition = case.throughput.as_ref()?.definition.clone();
        let of_rounds = rates(case.work.tokens, &case.rounds);
        return Some(Values { definition, unit: Unit::TokensPerS, grain: Grain::Round, of_rounds });
    };
    let series = case.latencies.iter().find(|series| series.metric == latency.name())?;
    let by = |count: fn(&RoundFile) -> u64| {
        means(&case.rounds, |round| Some((round.total_ns, count(round))))
    };
    let of_rounds = match latency {
        measure::Metric::PrefillPass | measure::Metric::DecodeStep => by(|round| round.iterations),
        measure::Metric::E2el => by(|round| round.passes),
        measure::Metric::Ttft => {
            means(&case.rounds, |round| Some((round.ttft_total_ns?, round.passes)))
        }
        // A request has as many gaps as any other of its case, so that the mean of a round's gaps is
        // the mean of its requests' means.
        measure::Metric::Tpot | measure::Metric::Itl => means(&case.rounds, |round| {
            let gaps = round.iterations.saturating_sub(round.passes);
            Some((round.total_ns.saturating_sub(round.ttft_total_ns?), gaps))
        }),
        measure::Metric::PrefillPassDevice | measure::Metric::DecodeStepDevice => {
            means(&case.rounds, |round| Some((round.device_time?.device_ns, round.iterations)))
        }
        measure::Metric::ItlDevice => return None,
    };
    let definition = series.definition.clone();
    Some(Values { definition, unit: Unit::Ns, grain: Grain::Round, of_rounds })
}

/// Means of what rounds add up: the sum by the count. None of rounds that do not tell one of them, as
/// those of older files do not tell their times to first token.
fn means(rounds: &[RoundFile], of: impl Fn(&RoundFile) -> Option<(u64, u64)>) -> Vec<Value> {
    let mean = |(round_idx, round): (u32, &RoundFile)| {
        let (sum_ns, count) = of(round)?;
        let value = sum_ns as f64 / count as f64;
        (count > 0).then_some(Value { run_idx: round.run_idx, round_idx, value })
    };
    numbered(rounds).filter_map(mean).collect()
}

/// The values of a case of another tool; absent if it tells none of that metric. Where no tokens are
/// told, its passes are the work.
pub(super) fn of_imported(case: &ImportedCaseFile, metric: Metric) -> Option<Values> {
    let run_idx = case.source_idx;
    if let Metric::Latency(latency) = metric {
        let told = case.latencies.iter().find(|told| told.metric == latency.name())?;
        let value = Value { run_idx, round_idx: 0, value: told.mean_ns? };
        return Some(Values {
            definition: format!("{}, as the tool tells it", told.metric),
            unit: Unit::Ns,
            grain: Grain::Summary,
            of_rounds: vec![value],
        });
    }
    let (definition, unit) = match (&case.throughput, case.work.tokens) {
        (Some(throughput), Some(_)) => (throughput.definition.clone(), Unit::TokensPerS),
        _ => ("passes_per_s".into(), Unit::PassesPerS),
    };
    let work = case.work.tokens.filter(|_| unit == Unit::TokensPerS).unwrap_or(1);
    let timed = (0..).zip(&case.rounds).filter(|(_, round)| round.total_ns > 0);
    let of_rounds: Vec<Value> = timed
        .map(|(round_idx, round)| Value {
            run_idx,
            round_idx,
            value: work as f64 * round.passes as f64 / (round.total_ns as f64 / 1e9),
        })
        .collect();
    // A tool that repeats what it measures tells more than one round, or their mean as one.
    let grain = if case.rounds.len() == 1 { Grain::Summary } else { Grain::Round };
    (!of_rounds.is_empty()).then_some(Values { definition, unit, grain, of_rounds })
}

/// The values of a ceiling; absent for latencies, which it does not have.
pub(super) fn of_ceiling(ceiling: &CeilingFile, metric: Metric) -> Option<Values> {
    let (definition, unit, work) = match (metric, ceiling.gemm_size) {
        (Metric::Latency(_), _) => return None,
        (Metric::Throughput, Some(_)) => ("flops_per_s", Unit::FlopsPerS, ceiling.flops.0),
        (Metric::Throughput, None) => ("bytes_per_s", Unit::BytesPerS, ceiling.bytes.0),
    };
    let of_rounds = rates(work, &ceiling.rounds);
    Some(Values { definition: definition.into(), unit, grain: Grain::Round, of_rounds })
}

/// Work per second of the rounds that the clock could see.
fn rates(work_per_pass: u64, rounds: &[RoundFile]) -> Vec<Value> {
    let work = |round: &RoundFile| work_per_pass as f64 * round.passes as f64;
    let seen = numbered(rounds).filter(|(_, round)| round.total_ns > 0);
    seen.map(|(round_idx, round)| Value {
        run_idx: round.run_idx,
        round_idx,
        value: work(round) / (round.total_ns as f64 / 1e9),
    })
    .collect()
}

/// The median of each run's values, in the order of runs.
pub(super) fn medians_of_runs(of_rounds: &[Value]) -> Vec<Value> {
    let mut sorted = of_rounds.to_vec();
    sorted.sort_by_key(|value| value.run_idx);
    let runs = sorted.chunk_by(|a, b| a.run_idx == b.run_idx);
    runs.filter_map(|run| {
        let values: Vec<f64> = run.iter().map(|value| value.value).collect();
        Some(Value { run_idx: run[0].run_idx, round_idx: 0, value: stats::median(&values)? })
    })
    .collect()
}
