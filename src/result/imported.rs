//! The wire types of a file of another tool's results, and the reader's checks.
//!
//! Such a file says `"origin": "imported"`. It has the keys of a result file as far as the other
//! tool told what belongs there; what it did not tell is absent, and never guessed. There is no
//! place in it for ceilings, checks or claims: nothing here was measured by us, and it proves
//! nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::result::derive;
use crate::result::file::{IntegrityFile, IntervalFile, ToolFile, UnitFile};
use crate::result::format::{FORMAT_VERSION, FormatVersion};
use crate::stats;
use crate::units::{Bytes, Flops};

/// A whole file of imported results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedFile {
    /// Version of this format; 1.2 at least.
    pub format_version: FormatVersion,
    /// Always `imported`. Result files of our own have no such key.
    pub origin: OriginFile,
    /// The benchinf that translated it. It measured nothing.
    pub importer: ToolFile,
    /// When it was translated: UTC, RFC 3339.
    pub imported: String,
    /// What was translated.
    pub sources: Vec<SourceFile>,
    /// What was measured.
    pub cases: Vec<ImportedCaseFile>,
    /// Digests; absent until the file is written.
    #[serde(default)]
    pub integrity: Option<IntegrityFile>,
}

impl ImportedFile {
    /// What could not be carried over and what went wrong, each sentence once.
    pub fn remarks(&self) -> Vec<&str> {
        let all = self.cases.iter().flat_map(|case| case.remarks.iter().chain(&case.failure));
        all.map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Where results come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OriginFile {
    /// From another tool.
    Imported,
}

/// A file of another tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceFile {
    /// The tool.
    pub tool: String,
    /// Its version or commit, if the file tells.
    pub tool_version: Option<String>,
    /// Which of its formats.
    pub format: String,
    /// The file's name, without its directory.
    pub name: String,
    /// Its size.
    pub size_bytes: Bytes,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// A case of another tool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedCaseFile {
    /// Its axes in one word. Unique in the file.
    pub id: String,
    /// Index into `sources`.
    pub source_idx: u32,
    /// Its axes, as far as they are told.
    pub axes: ImportedAxesFile,
    /// Work of one pass, as far as it is known.
    pub work: ImportedWorkFile,
    /// When it was measured, as the tool tells it.
    pub measured: Option<String>,
    /// What was measured on, as the tool tells it.
    pub machine: Option<String>,
    /// Repetitions, in order, each with its own time.
    pub rounds: Vec<ImportedRoundFile>,
    /// Rates over the rounds; absent where no work is known.
    pub throughput: Option<ImportedThroughputFile>,
    /// Times that are told as figures.
    pub latencies: Vec<ImportedLatencyFile>,
    /// What could not be carried over, or means something else here, in sentences.
    pub remarks: Vec<String>,
    /// What of it went wrong, in a sentence: its figures are then of no use. Absent where nothing is
    /// known to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Beginning of the SHA-256 of what was run, as it was before directories were left out of its
    /// axes: what looks alike without them need not be. Absent where nothing was left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_sha256: Option<String>,
}

/// The axes of a case of another tool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedAxesFile {
    /// The model, as the tool names it, without directories.
    pub model: Option<String>,
    /// Number format of the weights, in the tool's words if it is none of ours.
    pub dtype: Option<String>,
    /// `cpu`, `cuda:N`, or the tool's word.
    pub device: Option<String>,
    /// The code that computed: the tool's engine.
    pub kernels: Option<String>,
    /// Processor threads.
    pub n_threads: Option<u32>,
    /// What was timed: llama-bench's name of the test, or the other tool's name of the benchmark.
    pub test: String,
    /// Prompt tokens per sequence.
    pub n_prompt: Option<u32>,
    /// Generated tokens per sequence.
    pub n_gen: Option<u32>,
    /// Cached positions before a pass.
    pub n_depth: Option<u32>,
    /// Sequences computed together.
    pub batch_size: Option<u32>,
    /// Settings that have no place above, under the tool's own names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<String, String>,
}

/// The settings of some cases that differ between them, as words for each case.
pub fn settings_apart<'a>(
    settings: impl Iterator<Item = &'a BTreeMap<String, String>> + Clone,
) -> Vec<String> {
    // Of each setting its first value, and how many cases have that one.
    let mut alike: HashMap<&str, (&str, usize)> = HashMap::new();
    for (key, value) in settings.clone().flatten() {
        let (first, n) = alike.entry(key).or_insert((value, 0));
        *n += usize::from(first == value);
    }
    let n_cases = settings.clone().count();
    let differs = |key: &str| alike.get(key).is_some_and(|(_, n)| *n < n_cases);
    let words = |of_case: &BTreeMap<String, String>| {
        let apart = of_case.iter().filter(|(key, _)| differs(key));
        apart.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    };
    settings.map(words).collect()
}

/// The test in a name that may have a depth as well: `tg128 @ d512` is `tg128`.
pub fn without_depth(test: &str) -> &str {
    test.split(" @ ").next().unwrap_or(test)
}

/// Work of a pass of another tool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedWorkFile {
    /// Tokens computed.
    pub tokens: Option<u64>,
    /// Dense operations, counted from the shape that whoever imported it declared.
    pub flops: Option<Flops>,
    /// Bytes that must at least move, from the same.
    pub bytes_min: Option<Bytes>,
    /// The declared shape; absent where none was.
    pub declared_model: Option<String>,
}

/// A repetition.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedRoundFile {
    /// Passes in it.
    pub passes: u64,
    /// Their time.
    pub total_ns: u64,
}

/// A rate over rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedThroughputFile {
    /// Id of the definition.
    pub definition: String,
    /// What is counted.
    pub unit: UnitFile,
    /// One value per round: its work by its time.
    pub rounds_per_s: Vec<f64>,
    /// Mean of the rounds.
    pub mean_per_s: f64,
    /// Sample standard deviation of the rounds (n − 1); absent for one.
    pub stddev_per_s: Option<f64>,
    /// Median of the rounds.
    pub median_per_s: f64,
    /// Interval for the median; absent for one round.
    pub interval: Option<IntervalFile>,
    /// Standard deviation that the tool states where it gives no repetitions.
    pub stated_stddev_per_s: Option<f64>,
}

/// A latency that is told as figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedLatencyFile {
    /// Ours where the definition agrees, the tool's name otherwise.
    pub metric: String,
    /// What it is, in words.
    pub description: String,
    /// Number of values, if it is told.
    pub count: Option<u64>,
    /// Mean.
    pub mean_ns: Option<f64>,
    /// Standard deviation, as the tool counts it.
    pub stddev_ns: Option<f64>,
    /// Smallest value.
    pub min_ns: Option<f64>,
    /// Largest value.
    pub max_ns: Option<f64>,
    /// Percentiles as stated, keyed `p50`, `p90`, … Nothing shows how many values carry them.
    pub percentiles_ns: BTreeMap<String, f64>,
}

/// The longest time that is believed: thirty years.
pub const MAX_NS: f64 = 1e18;

/// Settings of a case. llama-bench has about forty.
const MAX_SETTINGS: usize = 256;

/// Names of settings of all cases together.
const MAX_SETTING_NAMES: usize = 1_000;

/// Cases times names of settings: every name is held against every case.
const MAX_SETTINGS_IN_ALL: usize = 5_000_000;

/// Keys that only a file of our own can have.
const OF_OUR_OWN: [&str; 6] = ["claims", "check", "roofline", "ceilings", "environment", "plan"];

/// The rate of passes of `tokens` tokens; absent without rounds that took time.
pub fn imported_throughput(
    definition: &str,
    tokens: u64,
    rounds: &[ImportedRoundFile],
    stated_stddev_per_s: Option<f64>,
) -> Option<ImportedThroughputFile> {
    let rates = rates(tokens, rounds);
    Some(ImportedThroughputFile {
        definition: definition.into(),
        unit: UnitFile::TokensPerS,
        mean_per_s: stats::mean(&rates)?,
        stddev_per_s: stats::stddev(&rates),
        median_per_s: stats::median(&rates)?,
        interval: derive::interval(&rates),
        rounds_per_s: rates,
        stated_stddev_per_s,
    })
}

fn rates(tokens: u64, rounds: &[ImportedRoundFile]) -> Vec<f64> {
    let timed = rounds.iter().filter(|round| round.total_ns > 0);
    timed.map(|round| tokens as f64 * round.passes as f64 / (round.total_ns as f64 / 1e9)).collect()
}

/// That cases have no more settings than can be compared: each name is an axis of all of them.
///
/// # Errors
/// A sentence saying what is too much.
pub fn check_settings(cases: &[ImportedCaseFile]) -> Result<(), String> {
    let mut names = HashSet::new();
    for case in cases {
        let settings = &case.axes.other;
        if settings.len() > MAX_SETTINGS {
            let n = settings.len();
            return Err(format!(
                "a case of {} has {n} settings, and {MAX_SETTINGS} are the most that one may have",
                without_depth(&case.axes.test)
            ));
        }
        names.extend(settings.keys());
        if names.len() > MAX_SETTING_NAMES {
            return Err(format!(
                "its cases have settings of more than {MAX_SETTING_NAMES} names, which are no settings"
            ));
        }
    }
    match names.len().saturating_mul(cases.len()) > MAX_SETTINGS_IN_ALL {
        true => Err(format!(
            "{} cases with settings of {} names are too many together: use fewer cases in a file",
            cases.len(),
            names.len()
        )),
        false => Ok(()),
    }
}

/// Reads the text of an imported file.
///
/// # Errors
/// A sentence saying what is wrong with it.
pub(super) fn parse(text: &str) -> Result<ImportedFile, String> {
    let value: Value =
        serde_json::from_str(text).map_err(|e| format!("this is not a result file: {e}"))?;
    let cases = value.get("cases").and_then(Value::as_array);
    let places = std::iter::once(&value).chain(cases.into_iter().flatten());
    for place in places {
        if let Some(key) = OF_OUR_OWN.iter().find(|key| place.get(**key).is_some()) {
            return Err(format!(
                "it says that it was imported, and has `{key}`: nothing imported is proved, so \
                 this was edited"
            ));
        }
    }
    let file: ImportedFile = serde_json::from_value(value)
        .map_err(|e| format!("this imported file is damaged or was edited: {e}"))?;
    if (file.format_version.major, file.format_version.minor) < (1, 2) {
        return Err(format!(
            "format version {} has no imported results; 1.2 does, up to {FORMAT_VERSION} here",
            file.format_version
        ));
    }
    check_settings(&file.cases)?;
    let mut seen = HashSet::new();
    for case in &file.cases {
        let of = |problem: &str| format!("case {}: {problem}", case.id);
        if !seen.insert(case.id.as_str()) {
            return Err(of("it appears twice"));
        }
        check(case, file.sources.len()).map_err(|problem| of(&problem))?;
    }
    Ok(file)
}

/// What must agree inside a case.
fn check(case: &ImportedCaseFile, n_sources: usize) -> Result<(), String> {
    if case.source_idx as usize >= n_sources {
        return Err("it is of a source that the file does not have".into());
    }
    for latency in &case.latencies {
        let figures = [latency.mean_ns, latency.stddev_ns, latency.min_ns, latency.max_ns];
        let figures = figures.into_iter().flatten().chain(latency.percentiles_ns.values().copied());
        if let Some(figure) = figures.into_iter().find(|ns| !(0.0..=MAX_NS).contains(ns)) {
            return Err(format!(
                "{}: {figure:e} ns is no time that something took: it must be between 0 and thirty \
                 years",
                latency.metric
            ));
        }
    }
    if case.rounds.iter().any(|round| round.total_ns as f64 > MAX_NS) {
        return Err("a round of more than thirty years is none".into());
    }
    if case.rounds.iter().any(|round| round.passes == 0) {
        return Err("a round of no pass is none".into());
    }
    let Some(stated) = &case.throughput else { return Ok(()) };
    let tokens = case.work.tokens.ok_or("it has a throughput, but no tokens")?;
    let stddev = stated.stated_stddev_per_s;
    let found = imported_throughput(&stated.definition, tokens, &case.rounds, stddev)
        .ok_or("it has a throughput, but no rounds")?;
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    let pairs = stated.rounds_per_s.iter().zip(&found.rounds_per_s);
    let agree = stated.rounds_per_s.len() == found.rounds_per_s.len()
        && pairs.into_iter().all(|(a, b)| close(*a, *b))
        && close(stated.mean_per_s, found.mean_per_s)
        && close(stated.median_per_s, found.median_per_s);
    match agree {
        true => Ok(()),
        false => Err("its throughput is not its tokens by the time of its rounds".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(of: &[(&str, &str)]) -> BTreeMap<String, String> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn settings_that_differ_tell_cases_apart() {
        for (cases, want) in [
            (&[][..], &[][..]),
            (&[&[("a", "1")][..]], &[""]),
            (&[&[("a", "1"), ("b", "1")], &[("a", "1"), ("b", "2")]], &["b=1", "b=2"]),
            // What one of them does not have differs too.
            (&[&[("a", "1")], &[]], &["a=1", ""]),
            (&[&[], &[("a", "1")]], &["", "a=1"]),
            (
                &[&[("a", "1"), ("b", "x")], &[("a", "2"), ("b", "x")], &[("b", "x")]],
                &["a=1", "a=2", ""],
            ),
        ] {
            let cases: Vec<_> = cases.iter().map(|of| settings(of)).collect();
            assert_eq!(settings_apart(cases.iter()), want, "{cases:?}");
        }
    }

    #[test]
    fn settings_of_their_own_take_no_longer_than_common_ones() {
        let cases: Vec<_> =
            (0..30_000).map(|i| settings(&[(&format!("s{i}"), "1"), ("a", "1")])).collect();
        let begun = std::time::Instant::now();
        assert_eq!(settings_apart(cases.iter())[29_999], "s29999=1");
        assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
    }
}
