//! `hyperfine --export-json`: one entry for each command, with the time of each run.

use std::collections::{BTreeMap, HashSet};

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
    let mut entries = export.results;
    leave_directories_out(&mut entries);
    let drafts = entries.into_iter().enumerate().map(|(i, entry)| draft(i, entry));
    Ok(Found {
        tool: Tool::Hyperfine,
        tool_version: None,
        format: "export-json",
        drafts: drafts.collect::<Read<Vec<_>>>()?,
    })
}

/// Shortens absolute paths in commands and parameters to as many of their last names as tell commands
/// from each other: where programs and data lie is nobody's business, and differs between machines.
fn leave_directories_out(entries: &mut [Entry]) {
    let originals: HashSet<_> = entries.iter().map(Entry::identity).collect();
    let deepest = entries.iter().map(|entry| entry.command.matches(['/', '\\']).count()).max();
    for n_kept in 1..=deepest.unwrap_or(0) {
        let short = |text: &String| without_directories(text, n_kept);
        let shortened: Vec<(String, BTreeMap<String, String>)> = entries
            .iter()
            .map(|entry| {
                let parameters = entry.parameters.iter().map(|(k, v)| (k.clone(), short(v)));
                (short(&entry.command), parameters.collect())
            })
            .collect();
        if shortened.iter().collect::<HashSet<_>>().len() == originals.len() {
            for (entry, (command, parameters)) in entries.iter_mut().zip(shortened) {
                (entry.command, entry.parameters) = (command, parameters);
            }
            return;
        }
    }
}

/// A text whose absolute paths have their last names alone, `n_kept` of them. A path begins after a
/// space, a quote, an equals sign or at the start.
fn without_directories(text: &str, n_kept: usize) -> String {
    let ends = |c: char| c.is_whitespace() || "'\"=;|&<>()".contains(c);
    let mut shown = String::new();
    for word in text.split_inclusive(ends) {
        let path = word.trim_end_matches(ends);
        let end = &word[path.len()..];
        let is_drive = path.get(1..3).is_some_and(|rest| rest == ":\\" || rest == ":/");
        let is_absolute = path.starts_with('/') || path.starts_with("~/") || is_drive;
        let names: Vec<&str> = path.split(['/', '\\']).filter(|name| !name.is_empty()).collect();
        match is_absolute && names.len() > n_kept {
            true => shown += &names[names.len() - n_kept..].join("/"),
            false if is_absolute && !is_drive && names.len() == n_kept => shown += &names.join("/"),
            false => shown += path,
        }
        shown += end;
    }
    shown
}

impl Entry {
    /// What tells it from the others.
    fn identity(&self) -> (String, BTreeMap<String, String>) {
        (self.command.clone(), self.parameters.clone())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shortened(commands: &[&str]) -> Vec<String> {
        let mut entries: Vec<Entry> = commands
            .iter()
            .map(|command| {
                let json = serde_json::json!({ "command": command, "mean": 1.0 });
                serde_json::from_value(json).unwrap()
            })
            .collect();
        leave_directories_out(&mut entries);
        entries.into_iter().map(|entry| entry.command).collect()
    }

    #[test]
    fn commands_keep_no_more_of_paths_than_tells_them_apart() {
        for (commands, want) in [
            (&["sleep 1"][..], &["sleep 1"][..]),
            (&["/home/u/bin/sort /data/x.txt"], &["sort x.txt"]),
            (&["tool --in=/data/x 'say \"/tmp/a b\"'"], &["tool --in=x 'say \"a b\"'"]),
            (&["./target/release/x a/b"], &["./target/release/x a/b"]),
            (&["~/x/run", "C:\\u\\run.exe"], &["run", "run.exe"]),
            (&["/h/u/old/x -n", "/h/u/new/x -n"], &["old/x -n", "new/x -n"]),
            // Alike from the start, they stay alike.
            (&["/a/x", "/a/x"], &["x", "x"]),
            (&["cat /"], &["cat /"]),
        ] {
            assert_eq!(shortened(commands), want, "{commands:?}");
        }
    }
}
