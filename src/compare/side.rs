//! A side: what all of its files have measured, case by case.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::compare::metric::{self, Metric, Values};
use crate::compare::record::{self, Integrity, Replicate, Side, SideFile, Unit};
use crate::error::{Error, Result};
use crate::result::file::{
    AxesFile, CaseFile, CeilingFile, OutcomeFile, ResultFile, WarningFile, WarningKindFile,
};
use crate::result::{self, Reading, Verdict};

/// A result file of a side.
#[derive(Clone, Debug)]
pub struct Input {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says, and whether it is as it was written.
    pub reading: Reading,
}

/// Both sides' files, read and held against their digests, each side on a thread of its own.
///
/// # Errors
/// As [`result::read_verified`].
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
    /// As [`result::read_verified`].
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self { reading: result::read_verified(path)?, path: path.to_owned() })
    }

    pub(super) fn file(&self) -> &ResultFile {
        &self.reading.file
    }

    /// The path, as texts show it.
    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    pub(super) fn integrity(&self) -> Integrity {
        match self.reading.verdict {
            Verdict::Intact { .. } => Integrity::Intact,
            Verdict::NoDigests => Integrity::NoDigests,
            Verdict::Altered { .. } | Verdict::Unreadable { .. } => Integrity::Altered,
        }
    }

    /// Ids of the runs in it.
    pub(super) fn run_ids(&self) -> Vec<&str> {
        let run = &self.file().run;
        match run.merged.is_empty() {
            true => vec![&run.id],
            false => run.merged.iter().map(|run| run.id.as_str()).collect(),
        }
    }
}

/// A case of a side, or a probe where files have no cases.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub id: String,
    pub axes: Vec<(&'static str, String)>,
    /// Why it has no values, or none to be trusted.
    pub problem: Option<String>,
    /// Whether it was tried and went wrong in any of the files.
    pub is_failed: bool,
    /// What they are, by each file that has it.
    pub definition: Option<(String, Unit)>,
    /// One value for each replicate.
    pub values: Vec<f64>,
}

/// How a side's files are described.
pub(super) fn describe(inputs: &[Input]) -> Side {
    let file = |input: &Input| {
        let ResultFile { tool, run, environment, .. } = input.file();
        let commit = tool.commit.as_deref().unwrap_or("unknown commit");
        let modified = if tool.dirty == Some(true) { ", modified" } else { "" };
        SideFile {
            path: input.name(),
            run_id: run.id.clone(),
            started: run.started.clone(),
            tool: format!("{} {} ({commit}{modified})", tool.name, tool.version),
            processor: environment.cpu.model.clone().unwrap_or_else(|| "unnamed".into()),
            integrity: input.integrity(),
        }
    };
    Side { files: inputs.iter().map(file).collect(), n_runs: n_runs(inputs) }
}

pub(super) fn n_runs(inputs: &[Input]) -> usize {
    inputs.iter().map(|input| input.run_ids().len()).sum()
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
    inputs.iter().any(|input| !input.file().cases.is_empty())
}

/// All cases of a side, in the order of its files.
pub(super) fn items(
    inputs: &[Input],
    of_cases: bool,
    metric: Metric,
    replicate: Replicate,
) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for input in inputs {
        let file = input.file();
        let found: Vec<Found> = match of_cases {
            true => file.cases.iter().map(|case| Found::of_case(case, metric)).collect(),
            false => {
                file.ceilings.iter().map(|ceiling| Found::of_ceiling(ceiling, metric)).collect()
            }
        };
        for found in found {
            let idx = *known.entry(found.id.to_owned()).or_insert_with(|| {
                items.push(Item {
                    id: found.id.to_owned(),
                    axes: found.axes.clone(),
                    problem: None,
                    is_failed: false,
                    definition: None,
                    values: Vec::new(),
                });
                items.len() - 1
            });
            items[idx].add(found, metric, replicate);
        }
    }
    items
}

impl Item {
    fn add(&mut self, found: Found, metric: Metric, replicate: Replicate) {
        self.is_failed |= found.is_failed;
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
        let numbers = match replicate {
            Replicate::Round => values.of_rounds.iter().map(|(_, value)| *value).collect(),
            Replicate::Run => metric::medians_of_runs(&values.of_rounds),
        };
        self.values.extend(numbers.iter().filter(|value| value.is_finite() && **value > 0.0));
    }

    /// What is compared of it, as it appears in the record.
    pub fn sample(&self) -> record::Sample {
        record::Sample { values: self.values.clone(), median: crate::stats::median(&self.values) }
    }

    /// Natural logarithms of the values.
    pub fn logs(&self) -> Vec<f64> {
        self.values.iter().map(|value| value.ln()).collect()
    }
}

/// A case of one file.
struct Found<'a> {
    id: &'a str,
    axes: Vec<(&'static str, String)>,
    problem: Option<String>,
    is_failed: bool,
    values: Option<Values>,
}

impl<'a> Found<'a> {
    fn of_case(case: &'a CaseFile, metric: Metric) -> Self {
        Self {
            id: &case.id,
            axes: axes_of_case(&case.axes),
            problem: problem(&case.outcome, &case.warnings),
            is_failed: matches!(case.outcome, OutcomeFile::Failed { .. }),
            values: metric::of_case(case, metric),
        }
    }

    fn of_ceiling(ceiling: &'a CeilingFile, metric: Metric) -> Self {
        let dtype = ceiling.dtype.as_ref().map_or_else(|| "-".into(), ToString::to_string);
        let size = match (ceiling.gemm_size, ceiling.working_set_bytes) {
            (Some(size), _) => size.to_string(),
            (None, bytes) => bytes.unwrap_or_default().0.to_string(),
        };
        let axes = vec![
            ("probe", ceiling.probe.to_string()),
            ("dtype", dtype),
            ("device", ceiling.device.clone()),
            ("n_threads", ceiling.n_threads.to_string()),
            ("size", size),
        ];
        Self {
            id: &ceiling.id,
            axes,
            problem: problem(&ceiling.outcome, &ceiling.warnings),
            is_failed: matches!(ceiling.outcome, OutcomeFile::Failed { .. }),
            values: metric::of_ceiling(ceiling, metric),
        }
    }
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

/// Every axis of a case. Those of a file are known by these names.
fn axes_of_case(axes: &AxesFile) -> Vec<(&'static str, String)> {
    vec![
        ("model", axes.model.clone()),
        ("dtype", axes.dtype.to_string()),
        ("device", axes.device.clone()),
        ("kernels", axes.kernels_name().to_owned()),
        ("n_threads", axes.n_threads.to_string()),
        ("n_prompt", axes.n_prompt.to_string()),
        ("n_gen", axes.n_gen.to_string()),
        ("n_depth", axes.n_depth.to_string()),
        ("batch_size", axes.batch_size.to_string()),
    ]
}
