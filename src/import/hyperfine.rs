//! `hyperfine --export-json`: one entry for each command, with the time of each run.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

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
    let digests = leave_directories_out(&mut entries);
    let both = entries.into_iter().zip(digests).enumerate();
    let drafts = both.map(|(i, (entry, digest))| draft(i, entry, digest));
    Ok(Found {
        tool: Tool::Hyperfine,
        tool_version: None,
        format: "export-json",
        drafts: drafts.collect::<Read<Vec<_>>>()?,
    })
}

/// Last names of a path that are kept at most. What they do not tell apart a digest does.
const MAX_NAMES_KEPT: usize = 16;

/// Shortens absolute paths in commands and parameters to their last name, or to as many as tell them
/// from the other paths of the file: where programs and data lie is nobody's business, and differs
/// between machines. Gives for each entry a digest of what it was, if anything of it was left out.
fn leave_directories_out(entries: &mut [Entry]) -> Vec<Option<String>> {
    let texts = || entries.iter().flat_map(Entry::texts);
    let (paths, words): (BTreeSet<&str>, BTreeSet<&str>) =
        texts().flat_map(|text| text.split(ends)).partition(|word| is_absolute(word));
    let short = short_names(&paths, words);
    let shorten = |text: &str| -> String {
        let words = text.split_inclusive(ends).map(|word| {
            let path = word.trim_end_matches(ends);
            let shown = short.get(path).map_or(path, String::as_str);
            format!("{shown}{}", &word[path.len()..])
        });
        words.collect()
    };
    let shortened: Vec<(String, BTreeMap<String, String>)> = entries
        .iter()
        .map(|entry| {
            let parameters = entry.parameters.iter().map(|(k, v)| (k.clone(), shorten(v)));
            (shorten(&entry.command), parameters.collect())
        })
        .collect();
    let replaced = entries.iter_mut().zip(shortened).map(|(entry, (command, parameters))| {
        let is_cut = entry.command != command || entry.parameters != parameters;
        let digest = is_cut.then(|| digest(&entry.texts().collect::<Vec<_>>().join("\u{1f}")));
        (entry.command, entry.parameters) = (command, parameters);
        digest
    });
    replaced.collect()
}

/// What ends a word of a command.
fn ends(c: char) -> bool {
    c.is_whitespace() || "'\"=;|&<>()".contains(c)
}

/// Whether a word is a path from the root, the home directory or a drive.
fn is_absolute(word: &str) -> bool {
    let is_drive = word.get(1..3).is_some_and(|rest| rest == ":\\" || rest == ":/");
    (word.starts_with('/') || word.starts_with("~/") || is_drive) && last_names(word, 1).is_some()
}

/// The last `n` names of a path, or all that it has; absent if it has none.
fn last_names(path: &str, n: usize) -> Option<String> {
    let mut names: Vec<&str> =
        path.rsplit(['/', '\\']).filter(|name| !name.is_empty()).take(n).collect();
    names.reverse();
    (!names.is_empty()).then(|| names.join("/"))
}

/// What each path is called: by the fewest last names that no other path and no other word is called
/// by. Where as many as are kept do not suffice, by its last name and a digest.
fn short_names<'a>(paths: &BTreeSet<&'a str>, words: BTreeSet<&str>) -> HashMap<&'a str, String> {
    let mut taken: HashSet<String> = words.into_iter().map(str::to_owned).collect();
    let mut short = HashMap::new();
    let mut left: Vec<&str> = paths.iter().copied().collect();
    for n in 1..=MAX_NAMES_KEPT {
        let named = |path: &'a str| (path, last_names(path, n).unwrap_or_default());
        let candidates: Vec<(&str, String)> = left.drain(..).map(named).collect();
        let mut n_called: HashMap<&str, usize> = HashMap::new();
        candidates.iter().for_each(|(_, name)| *n_called.entry(name).or_default() += 1);
        let is_free = |name: &str| n_called[name] == 1 && !taken.contains(name);
        let (found, others): (Vec<_>, Vec<_>) =
            candidates.iter().cloned().partition(|(_, name)| is_free(name));
        taken.extend(found.iter().map(|(_, name)| name.clone()));
        short.extend(found);
        left = others.into_iter().map(|(path, _)| path).collect();
    }
    short.extend(left.into_iter().map(|path| {
        let name = last_names(path, 1).unwrap_or_default();
        (path, format!("{name}[{}]", digest(path)))
    }));
    short
}

/// The beginning of a text's SHA-256: enough to tell texts apart, and no name of anybody.
fn digest(text: &str) -> String {
    let mut digest = hex::encode(Sha256::digest(text));
    digest.truncate(8);
    digest
}

impl Entry {
    /// Its command and the names and values of its parameters.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let parameters = self.parameters.iter().flat_map(|(name, value)| [name, value]);
        std::iter::once(&self.command).chain(parameters).map(String::as_str)
    }
}

fn draft(i: usize, entry: Entry, command_sha256: Option<String>) -> Read<Draft> {
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
    let of = entry.exit_codes.len();
    let failure = (failed > 0).then(|| format!("{failed} of {of} runs failed or were killed"));
    if command_sha256.is_some() {
        remarks.push("directories of absolute paths were left out of its command".into());
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
        failure,
        command_sha256,
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
            // A path keeps only what it needs itself.
            (&["/h/u/old/x /h/u", "/h/u/new/x /h/u"], &["old/x u", "new/x u"]),
            (&["cat /data/x", "cat a/x", "cat /b/a/x"], &["cat data/x", "cat a/x", "cat b/a/x"]),
            // What names do not tell apart, a digest does.
            (&["cat x", "cat /x"], &["cat x", "cat x[b3d1db31]"]),
        ] {
            assert_eq!(shortened(commands), want, "{commands:?}");
        }
    }

    fn entry(command: &str, parameter: &str) -> Entry {
        let parameters = serde_json::json!({ "in": parameter });
        let json = serde_json::json!({ "command": command, "mean": 1.0, "parameters": parameters });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn directories_of_parameters_are_left_out_as_well() {
        let mut entries = [entry("sort", "/home/u/a/x"), entry("sort", "/home/u/b/x")];
        let digests = leave_directories_out(&mut entries);
        let values: Vec<&str> = entries.iter().map(|e| e.parameters["in"].as_str()).collect();
        assert_eq!(values, ["a/x", "b/x"]);
        assert!(digests[0].is_some() && digests[0] != digests[1], "{digests:?}");
        assert_eq!(leave_directories_out(&mut [entry("sort a/x", "1")]), [None]);
    }

    #[test]
    fn paths_of_many_names_take_no_longer_than_they_are() {
        let deep = format!("/{}", "a/".repeat(200_000));
        let mut entries = [entry(&format!("{deep}x"), "1"), entry(&format!("{deep}b/../x"), "1")];
        entries[1].command = entries[1].command.replacen("/a", "/b", 1);
        let begun = std::time::Instant::now();
        let many = (0..2_000).map(|i| entry(&format!("/{i}/{}x", "a/".repeat(100)), "1"));
        let mut many: Vec<Entry> = many.collect();
        leave_directories_out(&mut entries);
        leave_directories_out(&mut many);
        let commands: HashSet<&str> = many.iter().map(|e| e.command.as_str()).collect();
        assert_eq!(commands.len(), 2_000);
        assert!(many[0].command.starts_with("x["), "{}", many[0].command);
        assert!(entries[0].command.len() < 40, "{}", entries[0].command);
        assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    }
}
