//! criterion's two documented formats: the messages of `cargo criterion --message-format=json`, one
//! per line, and `raw.csv`. Its `estimates.json` and `sample.json` are its own business, and may
//! change with any version.

use serde::Deserialize;

use crate::import::draft::{Draft, figure, ns, other};
use crate::import::{Found, Problem, Read, Tool, json_problem};
use crate::result::imported::{ImportedAxesFile, ImportedLatencyFile, ImportedRoundFile};

/// What both formats give of a benchmark's samples.
#[derive(Debug, Default)]
struct Samples {
    name: String,
    at: String,
    throughput: Option<(f64, String)>,
    /// Iterations, and their time as it stands in the file.
    of: Vec<(u64, f64)>,
    unit: String,
}

pub(super) fn read(text: &str) -> Read<Found> {
    let is_csv = text.starts_with("group,");
    let (format, drafts) = match is_csv {
        true => ("raw.csv", csv(text)?),
        false => ("message-format=json", messages(text)?),
    };
    Ok(Found { tool: Tool::Criterion, tool_version: None, format, drafts })
}

#[derive(Debug, Deserialize)]
struct Reason {
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Message {
    id: String,
    iteration_count: Vec<u64>,
    measured_values: Vec<f64>,
    unit: String,
    #[serde(default)]
    throughput: Vec<PerIteration>,
    mean: Option<Estimate>,
    median: Option<Estimate>,
}

#[derive(Debug, Deserialize)]
struct PerIteration {
    per_iteration: f64,
    unit: String,
}

#[derive(Debug, Deserialize)]
struct Estimate {
    estimate: f64,
    unit: String,
}

fn messages(text: &str) -> Read<Vec<Draft>> {
    let mut drafts = Vec::new();
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let of = |error: serde_json::Error| {
            let mut problem = json_problem(&error, i);
            if text.contains("\"sampling_mode\"") || text.contains("confidence_interval") {
                problem.text += "; criterion's sample.json and estimates.json are no interface: \
                                 give it `cargo criterion --message-format=json`, or raw.csv";
            }
            problem
        };
        let reason: Reason = serde_json::from_str(line).map_err(of)?;
        // Messages of groups repeat the names alone, and later versions may add others.
        if reason.reason != "benchmark-complete" {
            continue;
        }
        let message: Message = serde_json::from_str(line).map_err(of)?;
        let at = format!("line {}", i + 1);
        if message.iteration_count.len() != message.measured_values.len() {
            return Err(Problem::new(
                at,
                format!(
                    "iteration_count has {} entries, measured_values {}",
                    message.iteration_count.len(),
                    message.measured_values.len()
                ),
            ));
        }
        let mean = estimate(&at, "mean", message.mean)?;
        let median = estimate(&at, "median", message.median)?;
        let samples = Samples {
            name: message.id,
            throughput: message.throughput.into_iter().next().map(|t| (t.per_iteration, t.unit)),
            of: message.iteration_count.into_iter().zip(message.measured_values).collect(),
            unit: message.unit,
            at,
        };
        drafts.push(draft(samples, mean, median)?);
    }
    Ok(drafts)
}

fn estimate(at: &str, key: &str, estimate: Option<Estimate>) -> Read<Option<f64>> {
    let Some(estimate) = estimate else { return Ok(None) };
    let at = format!("{at}, {key}");
    figure(&at, Some(estimate.estimate), ns_per(&at, &estimate.unit)?)
}

#[derive(Debug, Deserialize)]
struct CsvRow {
    group: String,
    function: Option<String>,
    value: Option<String>,
    throughput_num: Option<f64>,
    throughput_type: Option<String>,
    sample_measured_value: f64,
    unit: String,
    iteration_count: u64,
}

fn csv(text: &str) -> Read<Vec<Draft>> {
    let mut all: Vec<Samples> = Vec::new();
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    for row in reader.deserialize::<CsvRow>() {
        let row = row.map_err(|error| {
            let line = error.position().map_or(0, csv::Position::line);
            Problem::new(format!("line {line}"), "it is not a row of criterion's raw.csv")
        })?;
        let parts = [Some(row.group), row.function, row.value];
        let name = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>();
        let name = name.join("/");
        if all.last().is_none_or(|last| last.name != name) {
            all.push(Samples {
                at: format!("benchmark {}", all.len() + 1),
                throughput: row.throughput_num.zip(row.throughput_type),
                unit: row.unit,
                name,
                of: Vec::new(),
            });
        }
        let sample = (row.iteration_count, row.sample_measured_value);
        all.last_mut().expect("one was just put there").of.push(sample);
    }
    all.into_iter().map(|samples| draft(samples, None, None)).collect()
}

/// How many nanoseconds a unit has.
fn ns_per(at: &str, unit: &str) -> Read<f64> {
    match unit {
        "ns" => Ok(1.0),
        "us" | "µs" => Ok(1e3),
        "ms" => Ok(1e6),
        "s" => Ok(1e9),
        other => Err(Problem::new(at, format!("it is measured in `{other}`, which is no time"))),
    }
}

fn draft(samples: Samples, mean_ns: Option<f64>, median_ns: Option<f64>) -> Read<Draft> {
    let at = samples.at;
    let factor = ns_per(&at, &samples.unit)?;
    let rounds = samples.of.iter().enumerate().map(|(i, (passes, value))| {
        let at = format!("{at}, sample {}", i + 1);
        match passes {
            0 => Err(Problem::new(at, "it has no iteration")),
            _ => Ok(ImportedRoundFile { passes: *passes, total_ns: ns(&at, value * factor)? }),
        }
    });
    let rounds = rounds.collect::<Read<Vec<_>>>()?;
    if rounds.is_empty() {
        return Err(Problem::new(at, "it has no sample"));
    }
    let (amount, unit) = samples.throughput.unzip();
    let per_pass = rounds.iter().map(|round| round.total_ns as f64 / round.passes as f64);
    let own_mean = per_pass.sum::<f64>() / rounds.len() as f64;
    Ok(Draft {
        axes: ImportedAxesFile {
            test: samples.name,
            other: other([("per_iteration", amount.map(|a| a.to_string())), ("unit", unit)]),
            ..ImportedAxesFile::default()
        },
        latencies: vec![ImportedLatencyFile {
            metric: "iteration".into(),
            description: "time of one iteration of the benchmark".into(),
            count: Some(rounds.len() as u64),
            mean_ns: Some(mean_ns.unwrap_or(own_mean)),
            stddev_ns: None,
            min_ns: None,
            max_ns: None,
            percentiles_ns: median_ns.map(|ns| ("p50".to_owned(), ns)).into_iter().collect(),
        }],
        remarks: vec!["a round is a sample of criterion's, all of them of one process".into()],
        rounds,
        at,
        ..Draft::default()
    })
}
