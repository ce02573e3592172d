//! A side: what all of its files have measured, case by case.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::compare::metric::{self, Grain, Metric, Value, Values};
use crate::compare::record::{self, Integrity, Origin, Replicate, Side, SideFile, SideName, Unit};
use crate::error::{Error, Result};
use crate::result::file::{
    AxesFile, CaseFile, CeilingFile, OutcomeFile, ResultFile, WarningFile, WarningKindFile,
};
use crate::result::imported::{ImportedCaseFile, ImportedFile, without_depth};
use crate::result::{self, AnyReading, Verdict};

/// What another tool's cases are called by, beside the axes that ours have.
const TEST: &str = "test";

/// A result file of a side.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says, and whether it is as it was written.
    pub reading: AnyReading,
}

/// Both sides' files, read and held against their digests, each side on a thread of its own.
///
/// # Errors
/// As [`result::read_any`].
pub fn read_sides(base: &[PathBuf], new: &[PathBuf]) -> Result<(Vec<Input>, Vec<Input>)> {
    let read = |paths: &[PathBuf]| paths.iter().map(|path| Input::read(path)).collect();
    std::thread::scope(|scope| {
        let base = scope.spawn(|| read(base));
        let new: Result<_> = read(new);
        let base: Result<_> = base.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((base?, new?))
    })
}

impl Input {
    /// Reads a file and holds it against its digests.
    ///
    /// # Errors
    /// As [`result::read_any`].
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self { reading: result::read_any(path)?, path: path.to_owned() })
    }

    /// The file, if it is one of our own.
    pub(super) fn measured(&self) -> Option<&ResultFile> {
        match &self.reading {
            AnyReading::Measured(reading) => Some(&reading.file),
            AnyReading::Imported(_) => None,
        }
    }

    /// The file, if it is another tool's.
    pub(super) fn imported(&self) -> Option<&ImportedFile> {
        match &self.reading {
            AnyReading::Measured(_) => None,
            AnyReading::Imported(reading) => Some(&reading.file),
        }
    }

    /// The path, as texts show it.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn integrity(&self) -> Integrity {
        match self.reading.verdict() {
            Verdict::Intact { .. } => Integrity::Intact,
            Verdict::NoDigests => Integrity::NoDigests,
            Verdict::Altered { .. } | Verdict::Unreadable { .. } => Integrity::Altered,
        }
    }

    /// Ids of the runs in it: of an imported file, digests of what was translated.
    pub(super) fn run_ids(&self) -> Vec<&str> {
        match &self.reading {
            AnyReading::Measured(reading) => match &reading.file.run {
                run if run.merged.is_empty() => vec![&run.id],
                run => run.merged.iter().map(|run| run.id.as_str()).collect(),
            },
            AnyReading::Imported(reading) => {
                reading.file.sources.iter().map(|source| source.sha256.as_str()).collect()
            }
        }
    }

    /// The names of the tools that measured.
    pub(super) fn tools(&self) -> BTreeSet<&str> {
        match &self.reading {
            AnyReading::Measured(reading) => BTreeSet::from([reading.file.tool.name.as_str()]),
            AnyReading::Imported(reading) => {
                reading.file.sources.iter().map(|source| source.tool.as_str()).collect()
            }
        }
    }

    /// The tools that measured, with their versions as far as they are told.
    pub(super) fn tool_text(&self) -> String {
        match &self.reading {
            AnyReading::Measured(reading) => {
                let tool = &reading.file.tool;
                let commit = tool.commit.as_deref().unwrap_or("unknown commit");
                let modified = if tool.dirty == Some(true) { ", modified" } else { "" };
                format!("{} {} ({commit}{modified})", tool.name, tool.version)
            }
            AnyReading::Imported(reading) => {
                let sources = reading.file.sources.iter();
                let all: BTreeSet<String> = sources
                    .map(|source| match &source.tool_version {
                        Some(version) => format!("{} {version}", source.tool),
                        None => format!("{} of an untold version", source.tool),
                    })
                    .collect();
                all.into_iter().collect::<Vec<_>>().join(", ")
            }
        }
    }

    /// Whether every tool tells its version, and has only one.
    pub(super) fn tells_version(&self) -> bool {
        let Some(file) = self.imported() else { return true };
        let versions: BTreeSet<(&str, Option<&str>)> =
            file.sources.iter().map(|s| (s.tool.as_str(), s.tool_version.as_deref())).collect();
        let is_told = versions.iter().all(|(_, version)| version.is_some());
        is_told && versions.len() == self.tools().len()
    }

    /// The machines that it was measured on; none if any case does not tell its own.
    pub(super) fn machines(&self) -> BTreeSet<&str> {
        let all: Option<BTreeSet<&str>> = match &self.reading {
            AnyReading::Measured(reading) => {
                reading.file.environment.cpu.model.as_deref().map(|model| BTreeSet::from([model]))
            }
            AnyReading::Imported(reading) => {
                reading.file.cases.iter().map(|case| case.machine.as_deref()).collect()
            }
        };
        all.unwrap_or_default()
    }
}

/// Name and value of an axis.
pub(super) type NamedValue = (Cow<'static, str>, String);

/// Names and values of axes.
pub(super) type Axes = Vec<NamedValue>;

/// When a value was measured: file of the side, run of the file, round of the run. Values of different
/// cases that have one key belong to one moment.
pub(super) type Moment = (usize, u32, u32);

/// A case of a side, or a probe where files have no cases.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub id: String,
    pub axes: Axes,
    /// Why it has no values, or none to be trusted.
    pub problem: Option<String>,
    /// Whether it was tried and went wrong in any of the files.
    pub is_failed: bool,
    /// What they are, by each file that has it.
    pub definition: Option<(String, Unit)>,
    /// The tool whose one figure is all that a file tells of it.
    summary_of: Option<String>,
    /// Whether another tool measured it.
    pub is_imported: bool,
    /// Digests of what was run, where its axes have less of that.
    pub commands: BTreeSet<Option<String>>,
    /// One value for each replicate, with its moment.
    pub values: Vec<(Moment, f64)>,
}

/// How a side's files are described.
pub(super) fn describe(inputs: &[Input]) -> Side {
    let file = |input: &Input| {
        let run = input.measured().map(|file| &file.run);
        let told = || input.imported()?.cases.iter().find_map(|case| case.measured.clone());
        SideFile {
            path: input.name(),
            origin: if run.is_some() { Origin::Measured } else { Origin::Imported },
            run_id: run.map(|run| run.id.clone()),
            started: run.map(|run| run.started.clone()).or_else(told),
            tool: input.tool_text(),
            processor: machines_text(&input.machines()),
            integrity: input.integrity(),
        }
    };
    Side { files: inputs.iter().map(file).collect(), n_runs: n_runs(inputs) }
}

/// Machines in a text; absent if there is none.
pub(super) fn machines_text(machines: &BTreeSet<&str>) -> Option<String> {
    (!machines.is_empty()).then(|| listed(machines.iter().copied(), " and "))
}

/// Names in a text, however many there are: the first of them, and how many more.
pub(super) fn listed<'a>(mut names: impl Iterator<Item = &'a str>, between: &str) -> String {
    const N_NAMED: usize = 20;
    let named: Vec<&str> = names.by_ref().take(N_NAMED).collect();
    let more = match names.count() {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    named.join(between) + &more
}

/// Runs of a side. What was imported counts by its cases: files of different benchmarks are translated
/// together, and only what was measured twice has two runs.
pub(super) fn n_runs(inputs: &[Input]) -> usize {
    let measured = inputs.iter().filter(|input| input.measured().is_some());
    let n_measured: usize = measured.map(|input| input.run_ids().len()).sum();
    let mut runs_of: HashMap<String, HashSet<(usize, u32)>> = HashMap::new();
    for (file_idx, input) in inputs.iter().enumerate() {
        for case in input.imported().into_iter().flat_map(|file| &file.cases) {
            let runs =
                runs_of.entry(joined(&axes_of_imported(case, Beside::Imported))).or_default();
            runs.insert((file_idx, case.source_idx));
        }
    }
    n_measured + runs_of.values().map(HashSet::len).max().unwrap_or(0)
}

/// Names and values as one text.
fn joined(axes: &Axes) -> String {
    let words: Vec<String> = axes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    words.join("\u{1f}")
}

/// That no run is on a side twice.
///
/// # Errors
/// [`Error::RunTwice`].
pub(super) fn check_runs(inputs: &[Input]) -> Result<()> {
    let mut seen: HashMap<&str, &Input> = HashMap::new();
    for input in inputs {
        for id in input.run_ids() {
            if let Some(first) = seen.insert(id, input) {
                return Err(Error::RunTwice {
                    first: first.path.clone(),
                    other: input.path.clone(),
                    run: id.to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// What is compared: cases, or probes where neither side has any case.
pub(super) fn has_cases(inputs: &[Input]) -> bool {
    let has = |input: &Input| input.measured().is_none_or(|file| !file.cases.is_empty());
    inputs.iter().any(has)
}

/// What files of another tool stand beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// Files of our own alone: there is none of another tool.
    Nothing,
    /// Files of our own.
    Measured,
    /// Others of their kind alone.
    Imported,
}

impl Beside {
    pub fn of(base: &[Input], new: &[Input]) -> Self {
        let is_imported = |input: &Input| input.imported().is_some();
        let mut all = base.iter().chain(new);
        match (all.clone().any(is_imported), all.any(|input| !is_imported(input))) {
            (false, _) => Beside::Nothing,
            (true, true) => Beside::Measured,
            (true, false) => Beside::Imported,
        }
    }
}

/// How the values of a side are taken.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    pub of_cases: bool,
    pub metric: Metric,
    pub replicate: Replicate,
    pub beside: Beside,
}

/// All cases of a side, in the order of its files.
pub(super) fn items(inputs: &[Input], taken: Taken) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut known: HashMap<Cow<str>, usize> = HashMap::new();
    for (file_idx, input) in inputs.iter().enumerate() {
        // A case that one source has twice is two that nothing tells apart, and no second run.
        let mut seen = HashSet::new();
        for found in found_in(input, taken) {
            let (key, is_again) = match &found.source {
                None => (Cow::Borrowed(found.id), false),
                Some(source) => {
                    let key = joined(&found.axes);
                    let is_again = !seen.insert((key.clone(), source.idx));
                    (Cow::Owned(key), is_again)
                }
            };
            let idx = known.get(&key).copied().filter(|_| !is_again).unwrap_or_else(|| {
                items.push(Item {
                    id: found.id.to_owned(),
                    axes: found.axes.clone(),
                    problem: None,
                    is_failed: false,
                    definition: None,
                    summary_of: None,
                    is_imported: found.source.is_some(),
                    commands: BTreeSet::new(),
                    values: Vec::new(),
                });
                items.len() - 1
            });
            known.entry(key).or_insert(idx);
            items[idx].add(found, file_idx, taken);
        }
    }
    items
}

fn found_in(input: &Input, taken: Taken) -> Vec<Found<'_>> {
    match &input.reading {
        AnyReading::Imported(reading) => {
            let file = &reading.file;
            file.cases.iter().map(|case| Found::of_imported(file, case, taken)).collect()
        }
        AnyReading::Measured(reading) if taken.of_cases => {
            reading.file.cases.iter().map(|case| Found::of_case(case, taken)).collect()
        }
        AnyReading::Measured(reading) => {
            let ceilings = reading.file.ceilings.iter();
            ceilings.map(|ceiling| Found::of_ceiling(ceiling, taken.metric)).collect()
        }
    }
}

/// Axes that one side alone tells.
pub(super) struct Untold {
    /// Who tells them.
    pub told_by: SideName,
    /// Their names.
    pub axes: Vec<String>,
}

/// Leaves items the axes that both sides tell, in one order, so that files that do not tell the same
/// can be paired. What a case does not tell of them is `–`, and pairs only with the same.
pub(super) fn align(base: &mut [Item], new: &mut [Item]) -> Vec<Untold> {
    let names = |items: &[Item]| {
        let mut seen = HashSet::new();
        let all = items.iter().flat_map(|item| item.axes.iter().map(|(name, _)| name.clone()));
        all.filter(|name| seen.insert(name.clone())).collect::<Vec<_>>()
    };
    let (of_base, of_new) = (names(base), names(new));
    let known: HashSet<&Cow<str>> = of_new.iter().collect();
    let shared: Vec<Cow<str>> =
        of_base.iter().filter(|name| known.contains(name)).cloned().collect();
    for item in base.iter_mut().chain(new) {
        let mut told: HashMap<Cow<str>, String> = item.axes.drain(..).collect();
        let value = |name: &Cow<'static, str>| {
            (name.clone(), told.remove(name).unwrap_or_else(|| "–".into()))
        };
        item.axes = shared.iter().map(value).collect();
    }
    let known: HashSet<&Cow<str>> = shared.iter().collect();
    let untold = |told_by, all: Vec<Cow<'static, str>>| {
        let axes = all.into_iter().filter(|name| !known.contains(name));
        Untold { told_by, axes: axes.map(Cow::into_owned).collect() }
    };
    [untold(SideName::Base, of_base), untold(SideName::New, of_new)]
        .into_iter()
        .filter(|untold| !untold.axes.is_empty())
        .collect()
}

impl Item {
    /// A case that has not been measured yet.
    pub fn planned(axes: &AxesFile, beside: Beside) -> Self {
        Self {
            id: axes.test.clone(),
            axes: axes_of_case(axes, beside),
            problem: None,
            is_failed: false,
            definition: None,
            summary_of: None,
            is_imported: false,
            commands: BTreeSet::new(),
            values: Vec::new(),
        }
    }

    fn add(&mut self, found: Found, file_idx: usize, taken: Taken) {
        let Taken { metric, replicate, .. } = taken;
        self.is_failed |= found.is_failed;
        self.commands.insert(found.command.map(str::to_owned));
        let problem = match (&found.values, found.problem) {
            (_, Some(problem)) => Some(problem),
            (None, None) => Some(format!("it has no {}", metric.name())),
            (Some(values), None) if values.of_rounds.is_empty() => Some(match metric {
                Metric::Throughput => "its rounds are below the clock's resolution".into(),
                Metric::Latency(_) => format!(
                    "its rounds do not keep {}, as files did not at first: measure again, or \
                     compare e2el",
                    metric.name()
                ),
            }),
            (Some(values), None) => {
                let this = (values.definition.clone(), values.unit);
                match self.definition.get_or_insert_with(|| this.clone()) == &this {
                    true => None,
                    false => Some(format!("one file counts it by {}, another differently", this.0)),
                }
            }
        };
        // A problem in one file is one of the side: what failed once is not mended by other runs.
        self.problem = self.problem.take().or(problem);
        let Some(values) = found.values else { return };
        if values.grain == Grain::Summary {
            self.summary_of = self.summary_of.take().or(found.source.map(|s| s.tool.to_owned()));
        }
        let replicates = match replicate {
            Replicate::Round => values.of_rounds,
            Replicate::Run => metric::medians_of_runs(&values.of_rounds),
        };
        let usable = replicates.iter().filter(|v| v.value.is_finite() && v.value > 0.0);
        let moment = |v: &Value| ((file_idx, v.run_idx, v.round_idx), v.value);
        self.values.extend(usable.map(moment));
    }

    /// Whether it is known to have run on the processor.
    pub fn is_on_cpu(&self) -> bool {
        self.axes.iter().any(|(name, value)| name == "device" && value == "cpu")
    }

    /// The tool that tells nothing but one figure of it. Figures of several runs show a spread.
    pub fn single_figure_of(&self) -> Option<&str> {
        self.summary_of.as_deref().filter(|_| self.values.len() < 2)
    }

    /// What is compared of it, as it appears in the record.
    pub fn sample(&self) -> record::Sample {
        let values: Vec<f64> = self.values.iter().map(|(_, value)| *value).collect();
        record::Sample { median: crate::stats::median(&values), values }
    }

    /// Natural logarithms of the values.
    pub fn logs(&self) -> Vec<f64> {
        self.values.iter().map(|(_, value)| value.ln()).collect()
    }
}

/// A case of one file.
struct Found<'a> {
    id: &'a str,
    axes: Axes,
    /// The tool that an imported one comes from.
    source: Option<Source<'a>>,
    /// Digest of what was run, where the axes have less of that.
    command: Option<&'a str>,
    problem: Option<String>,
    is_failed: bool,
    values: Option<Values>,
}

/// Where an imported case comes from.
struct Source<'a> {
    tool: &'a str,
    /// Index among the sources of its file.
    idx: u32,
}

impl<'a> Found<'a> {
    fn of_case(case: &'a CaseFile, taken: Taken) -> Self {
        Self {
            id: &case.id,
            axes: axes_of_case(&case.axes, taken.beside),
            source: None,
            command: None,
            problem: problem(&case.outcome, &case.warnings),
            is_failed: matches!(case.outcome, OutcomeFile::Failed { .. }),
            values: metric::of_case(case, taken.metric),
        }
    }

    fn of_imported(file: &'a ImportedFile, case: &'a ImportedCaseFile, taken: Taken) -> Self {
        // The reader has seen that it is there.
        let tool = &file.sources[case.source_idx as usize].tool;
        Self {
            id: &case.id,
            axes: axes_of_imported(case, taken.beside),
            source: Some(Source { tool, idx: case.source_idx }),
            command: case.command_sha256.as_deref(),
            problem: case.failure.clone(),
            is_failed: case.failure.is_some(),
            values: metric::of_imported(case, taken.metric),
        }
    }

    fn of_ceiling(ceiling: &'a CeilingFile, metric: Metric) -> Self {
        let dtype = ceiling.dtype.as_ref().map_or_else(|| "-".into(), ToString::to_string);
        let size = match (ceiling.gemm_size, ceiling.working_set_bytes) {
            (Some(size), _) => size.to_string(),
            (None, bytes) => bytes.unwrap_or_default().0.to_string(),
        };
        let axes = [
            ("probe", ceiling.probe.to_string()),
            ("dtype", dtype),
            ("device", ceiling.device.clone()),
            ("n_threads", ceiling.n_threads.to_string()),
            ("size", size),
        ];
        Self {
            id: &ceiling.id,
            axes: named(axes),
            source: None,
            command: None,
            problem: problem(&ceiling.outcome, &ceiling.warnings),
            is_failed: matches!(ceiling.outcome, OutcomeFile::Failed { .. }),
            values: metric::of_ceiling(ceiling, metric),
        }
    }
}

fn named(axes: impl IntoIterator<Item = (&'static str, String)>) -> Axes {
    axes.into_iter().map(|(name, value)| (Cow::Borrowed(name), value)).collect()
}

/// Why a figure is none, or cannot be trusted.
fn problem(outcome: &OutcomeFile, warnings: &[WarningFile]) -> Option<String> {
    match outcome {
        OutcomeFile::Skipped { reason } => return Some(format!("it was skipped: {reason}")),
        OutcomeFile::Failed { reason } => return Some(format!("it failed: {reason}")),
        OutcomeFile::Measured => {}
    }
    let invalid = warnings.iter().find(|warning| warning.kind == WarningKindFile::AboveRating);
    invalid.map(|warning| warning.message.clone())
}

/// Every axis of a case. Those of a file are known by these names; beside another tool's files the
/// test's name stands for prompt and generated tokens, which not every tool tells.
fn axes_of_case(axes: &AxesFile, beside: Beside) -> Axes {
    let mut all = named([
        ("model", axes.model.clone()),
        ("dtype", axes.dtype.to_string()),
        ("device", axes.device.clone()),
        ("kernels", axes.kernels_name().to_owned()),
        ("n_threads", axes.n_threads.to_string()),
    ]);
    // Of a processor it is no axis that another tool could tell.
    if beside == Beside::Nothing || axes.cuda_graphs.is_some() {
        all.extend(named([("cuda_graphs", axes.cuda_graphs_name().to_owned())]));
    }
    match beside {
        Beside::Nothing => all.extend(named([
            ("n_prompt", axes.n_prompt.to_string()),
            ("n_gen", axes.n_gen.to_string()),
        ])),
        Beside::Measured | Beside::Imported => {
            all.extend(named([(TEST, without_depth(&axes.test).to_owned())]));
        }
    }
    all.extend(named([
        ("n_depth", axes.n_depth.to_string()),
        ("batch_size", axes.batch_size.to_string()),
    ]));
    all
}

/// The axes that another tool tells. Beside our own files the model is the one that was declared when
/// it was imported, since tools name models by their files.
fn axes_of_imported(case: &ImportedCaseFile, beside: Beside) -> Axes {
    let axes = &case.axes;
    let declared = case.work.declared_model.as_ref().filter(|_| beside == Beside::Measured);
    let number = |value: Option<u32>| value.map(|value| value.to_string());
    let told = [
        ("model", declared.or(axes.model.as_ref()).cloned()),
        ("dtype", axes.dtype.clone()),
        ("device", axes.device.clone()),
        ("kernels", axes.kernels.clone()),
        ("n_threads", number(axes.n_threads)),
        (TEST, Some(without_depth(&axes.test).to_owned())),
        ("n_depth", number(axes.n_depth)),
        ("batch_size", number(axes.batch_size)),
    ];
    let mut all = named(told.into_iter().filter_map(|(name, value)| Some((name, value?))));
    // A setting may not pass for an axis.
    let settings = axes.other.iter().filter(|(name, _)| !all.iter().any(|(axis, _)| axis == *name));
    let settings: Vec<_> =
        settings.map(|(name, value)| (Cow::Owned(name.clone()), value.clone())).collect();
    all.extend(settings);
    all
}
