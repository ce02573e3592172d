//! What is compared of a case, and its values.

use std::str::FromStr;

use crate::compare::record::{Better, Unit};
use crate::measure;
use crate::result::file::{CaseFile, CeilingFile, RoundFile};
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

/// All latencies, in the order in which they are told.
const LATENCIES: [measure::Metric; 6] = [
    measure::Metric::PrefillPass,
    measure::Metric::DecodeStep,
    measure::Metric::Ttft,
    measure::Metric::Tpot,
    measure::Metric::Itl,
    measure::Metric::E2el,
];

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
        let found = LATENCIES.into_iter().find(|latency| latency.name() == text);
        found.map(Metric::Latency).ok_or_else(|| {
            let names: Vec<&str> = LATENCIES.iter().map(|latency| latency.name()).collect();
            format!("`{text}` is not one of throughput, {}", names.join(", "))
        })
    }
}

/// The values of a case in one file, one for each round and in their order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values {
    /// Definition of what they are.
    pub definition: String,
    /// In what they are counted.
    pub unit: Unit,
    /// Index of the run within the file, and the value.
    pub of_rounds: Vec<(u32, f64)>,
}

/// The values of a case; absent if it has none of that metric.
pub(super) fn of_case(case: &CaseFile, metric: Metric) -> Option<Values> {
    let Metric::Latency(latency) = metric else {
        let definition = case.throughput.as_ref()?.definition.clone();
        let of_rounds = rates(case.work.tokens, &case.rounds);
        return Some(Values { definition, unit: Unit::TokensPerS, of_rounds });
    };
    let series = case.latencies.iter().find(|series| series.metric == latency.name())?;
    let by = |count: fn(&RoundFile) -> u64| {
        let mean = |round: &RoundFile| (round.run_idx, round.total_ns as f64 / count(round) as f64);
        case.rounds.iter().filter(|round| count(round) > 0).map(mean).collect()
    };
    let of_rounds = match latency {
        measure::Metric::PrefillPass | measure::Metric::DecodeStep => by(|round| round.iterations),
        measure::Metric::E2el => by(|round| round.passes),
        measure::Metric::Ttft => parts(&case.rounds, |round, ttft_ns| (ttft_ns, round.passes)),
        // A request has as many gaps as any other of its case, so that the mean of a round's gaps is
        // the mean of its requests' means.
        measure::Metric::Tpot | measure::Metric::Itl => parts(&case.rounds, |round, ttft_ns| {
            let gaps = round.iterations.saturating_sub(round.passes);
            (round.total_ns.saturating_sub(ttft_ns), gaps)
        }),
    };
    Some(Values { definition: series.definition.clone(), unit: Unit::Ns, of_rounds })
}

/// Means of a part of requests: its sum by its count. None of rounds that keep their whole time
/// alone, as in older files.
fn parts(rounds: &[RoundFile], part: fn(&RoundFile, u64) -> (u64, u64)) -> Vec<(u32, f64)> {
    let mean = |round: &RoundFile| {
        let (sum_ns, count) = part(round, round.ttft_total_ns?);
        (count > 0).then(|| (round.run_idx, sum_ns as f64 / count as f64))
    };
    rounds.iter().filter_map(mean).collect()
}

/// The values of a ceiling; absent for latencies, which it does not have.
pub(super) fn of_ceiling(ceiling: &CeilingFile, metric: Metric) -> Option<Values> {
    let (definition, unit, work) = match (metric, ceiling.gemm_size) {
        (Metric::Latency(_), _) => return None,
        (Metric::Throughput, Some(_)) => ("flops_per_s", Unit::FlopsPerS, ceiling.flops.0),
        (Metric::Throughput, None) => ("bytes_per_s", Unit::BytesPerS, ceiling.bytes.0),
    };
    let of_rounds = rates(work, &ceiling.rounds);
    Some(Values { definition: definition.into(), unit, of_rounds })
}

/// Work per second of the rounds that the clock could see.
fn rates(work_per_pass: u64, rounds: &[RoundFile]) -> Vec<(u32, f64)> {
    let work = |round: &RoundFile| work_per_pass as f64 * round.passes as f64;
    let seen = rounds.iter().filter(|round| round.total_ns > 0);
    seen.map(|round| (round.run_idx, work(round) / (round.total_ns as f64 / 1e9))).collect()
}

/// The median of each run's values, in the order of runs.
pub(super) fn medians_of_runs(of_rounds: &[(u32, f64)]) -> Vec<f64> {
    let mut sorted = of_rounds.to_vec();
    sorted.sort_by_key(|(run_idx, _)| *run_idx);
    let runs = sorted.chunk_by(|a, b| a.0 == b.0);
    runs.filter_map(|run| stats::median(&run.iter().map(|(_, value)| *value).collect::<Vec<_>>()))
        .collect()
}
