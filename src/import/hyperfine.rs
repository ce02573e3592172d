//! `hyperfine --export-json`: one entry for each command, with the time of each run.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::import::draft::{Draft, figure, ns_of_s};
use crate::import::{Found, Read, Tool, json_problem};
use crate::result::imported::{ImportedAxesFile, ImportedLatencyFile, ImportedRoundFile};

#[derive(Debug, Deserialize)]
struct Export {
    results: Vec<Entry>,
}

/// A command. Times are in seconds.
#[derive(Debug, Deserialize)]
struct Entry {
    command: String,
    mean: f64,
    stddev: Option<f64>,
    median: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    #[serde(default)]
    times: Option<Vec<f64>>,
    #[serde(default)]
    exit_codes: Vec<Option<i64>>,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
}

pub(super) fn read(text: &str) -> Read<Found> {
    let export: Export = serde_json::from_str(text).map_err(|e| json_problem(&e, 0))?;
    let drafts = export.results.into_iter().enumerate().map(|(i, entry)| draft(i, entry));
    Ok(Found {
        tool: Tool::Hyperfine,
        tool_version: None,
        format: "export-json",
        drafts: drafts.collect::<Read<Vec<_>>>()?,
    })
}

fn draft(i: usize, entry: Entry) -> Read<Draft> {
    let at = format!("results[{i}]");
    let at_key = |key: &str| format!("{at}.{key}");
    let mut remarks = Vec::new();
    let times = entry.times.unwrap_or_default();
    let rounds = if times.is_empty() {
        remarks.push("only the mean of its runs is known, as one round".into());
        vec![ImportedRoundFile { passes: 1, total_ns: ns_of_s(&at_key("mean"), entry.mean)? }]
    } else {
        let round = |(i, seconds): (usize, &f64)| {
            let total_ns = ns_of_s(&at_key(&format!("times[{i}]")), *seconds)?;
            Ok(ImportedRoundFile { passes: 1, total_ns })
        };
        times.iter().enumerate().map(round).collect::<Read<Vec<_>>>()?
    };
    let failed = entry.exit_codes.iter().filter(|code| **code != Some(0)).count();
    if failed > 0 {
        remarks.push(format!("{failed} of {} runs failed or were killed", entry.exit_codes.len()));
    }
    remarks.push("the time of a whole process, with its start and its end".into());
    let s = |key: &str, value| figure(&at_key(key), value, 1e9);
    let median = s("median", entry.median)?;
    let latency = ImportedLatencyFile {
        metric: "wall_time".into(),
        description: "start of the process to its end".into(),
        count: (!times.is_empty()).then_some(times.len() as u64),
        mean_ns: s("mean", Some(entry.mean))?,
        stddev_ns: s("stddev", entry.stddev)?,
        min_ns: s("min", entry.min)?,
        max_ns: s("max", entry.max)?,
        percentiles_ns: median.map(|median| ("p50".to_owned(), median)).into_iter().collect(),
    };
    Ok(Draft {
        at,
        axes: ImportedAxesFile {
            test: entry.command,
            other: entry.parameters,
            ..ImportedAxesFile::default()
        },
        rounds,
        latencies: vec![latency],
        remarks,
        ..Draft::default()
    })
}
