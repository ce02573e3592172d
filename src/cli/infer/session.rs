//! A run from its plan, or from its journal, to its result file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::args::ResultArgs;
use super::progress::{ProgressLine, RoundBegins};
use crate::cli::args::OutputFormat;
use crate::cli::baseline::BaselineName;
use crate::cli::interrupt::stop_on_ctrl_c;
use crate::cli::{command_line, exit, print, print_report, say};
use crate::compare::{self, Across, Input};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::report::{self, ComparisonFormat};
use crate::result::file::{AxesFile, OutcomeFile, ResultFile, RunEnd};
use crate::result::{self, Assembly, Destination, Journal, SigningKey};
use crate::runner::{self, Event};

/// Where a result would go.
pub(super) fn destination(plan: &Plan, args: &ResultArgs) -> Result<Destination> {
    match &args.out {
        Some(path) => Destination::named(path.clone(), args.force),
        None => Ok(Destination::default_for(plan)),
    }
}

/// Runs a plan, with a word on what was chosen for the user.
pub(super) fn start(plan: &Plan, args: &ResultArgs, chosen: Option<String>) -> Result<ExitCode> {
    let mut destination = destination(plan, args)?;
    let key = args.sign_key.as_deref().map(SigningKey::read).transpose()?;
    let base = read_baseline(args, plan)?;
    let mut journal = destination.prepare()?;
    let progress = ProgressLine::new(args.quiet);
    if let Some(chosen) = chosen {
        progress.say(&chosen);
    }
    let begun = runner::begin(plan, command_line(), &mut journal, &mut |e| show(&progress, e));
    match begun {
        Ok(assembly) => {
            finish(plan, assembly, journal, &Session { destination, key, base, progress, args })
        }
        Err(error) => {
            // Nothing was measured, so there is nothing to go on from.
            let _ = journal.remove();
            Err(error)
        }
    }
}

/// Goes on with a run that was cut off.
pub(super) fn resume(path: &Path, args: &ResultArgs) -> Result<ExitCode> {
    let (journal_path, result_path) = places(path);
    let key = args.sign_key.as_deref().map(SigningKey::read).transpose()?;
    let (plan, mut assembly, mut journal) = runner::resume(&journal_path)?;
    let base = read_baseline(args, &plan)?;
    let destination = match &args.out {
        Some(path) => Destination::named(path.clone(), args.force)?,
        None => {
            // What lies there may only be what this very run left when it was interrupted.
            let is_other = result_path.exists()
                && result::read(&result_path)
                    .ok()
                    .is_none_or(|file| file.run.id != assembly.file().run.id);
            if is_other && !args.force {
                return Err(Error::OutputExists { path: result_path });
            }
            Destination::resumed(result_path)
        }
    };
    let progress = ProgressLine::new(args.quiet);
    let session = Session { destination, key, base, progress, args };
    if !runner::is_open(&plan, &assembly) {
        return keep(runner::recorded(assembly), journal, &session);
    }
    match runner::note_resumed(&plan, &mut assembly, &mut journal) {
        Ok(()) => finish(&plan, assembly, journal, &session),
        // A disk that is still full must not cost what is in the journal already.
        Err(error @ Error::Journal { .. }) if journal.has_results() => {
            session.progress.warn(&format!("{error}; writing what it has"));
            keep(runner::recorded(assembly), journal, &session)
        }
        Err(error) => Err(error),
    }
}

/// The journal and the result file that a path stands for, whichever of them it names.
fn places(path: &Path) -> (PathBuf, PathBuf) {
    match result::result_path(path) {
        Some(result_path) => (path.into(), result_path),
        None => (result::journal_path(path), path.into()),
    }
}

struct Session<'a> {
    destination: Destination,
    key: Option<SigningKey>,
    /// What the result is compared with.
    base: Option<Input>,
    progress: ProgressLine,
    args: &'a ResultArgs,
}

fn finish(
    plan: &Plan,
    mut assembly: Assembly,
    mut journal: Journal,
    session: &Session,
) -> Result<ExitCode> {
    let progress = &session.progress;
    if result::is_debug_build() {
        progress.warn("this is a debug build; its figures say nothing about the hardware");
    }
    let outcome = stop_on_ctrl_c().and_then(|interrupted| {
        let mut watch = |event: Event| show(progress, event);
        runner::run_recorded(plan, &mut assembly, &mut journal, &interrupted, &mut watch)
    });
    progress.clear();
    match outcome {
        Ok(()) => keep(runner::recorded(assembly), journal, session),
        Err(error) if journal.has_results() => {
            // A disk that is full for the journal may have room for the result.
            if matches!(error, Error::Journal { .. }) {
                let _ = keep(runner::recorded(assembly), journal, session);
            }
            Err(error)
        }
        Err(error) => {
            let _ = journal.remove();
            Err(error)
        }
    }
}

/// Writes a result in its place and prints it.
fn keep(mut result: ResultFile, journal: Journal, session: &Session) -> Result<ExitCode> {
    let Session { destination, key, base, progress, args } = session;
    let text = result::seal(&mut result, key.as_ref());
    // A full disk must not cost the figures, nor a closed pipe the word about the disk.
    let written = destination.write(&text);
    let results = std::slice::from_ref(&result);
    let printed = print_report(
        args.output.into(),
        |format| Ok(report::render(results, format)),
        || report::render_for_terminal(results),
    );
    let goes_on_from = journal.path().to_owned();
    let path = written.map_err(|error| Error::ResultNotWritten {
        journal: goes_on_from.clone(),
        source: Box::new(error),
    })?;
    progress.say(&format!("result file: {}", path.display()));
    if result.run.ended == RunEnd::Interrupted && journal.has_results() {
        progress.say(&format!("to go on: benchinf run --resume {}", goes_on_from.display()));
    } else {
        journal.remove()?;
    }
    match printed {
        Err(Error::Stdout(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
        printed => printed?,
    }
    if let Some(name) = &args.baselines.save_baseline {
        match result.run.ended {
            RunEnd::Completed => {
                progress.say(&format!("baseline: {}", save_baseline(name, &text)?.display()))
            }
            _ => progress.warn("the run did not complete, so it is not kept as a baseline"),
        }
    }
    let compared = match base {
        Some(base) => compare_with(base, &path, args)?,
        None => ExitCode::SUCCESS,
    };
    Ok(exit_code(&result).unwrap_or(compared))
}

/// Keeps the text of a result under a name, instead of what had it before.
fn save_baseline(name: &BaselineName, text: &str) -> Result<PathBuf> {
    let path = name.place();
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(Error::write(directory))?;
    }
    Destination::named(path, true)?.write(text)
}

/// The baseline that was named, read and held against the plan before anything is measured.
fn read_baseline(args: &ResultArgs, plan: &Plan) -> Result<Option<Input>> {
    let Some(name) = &args.baselines.baseline else { return Ok(None) };
    let base = Input::read(&name.path()?)?;
    let axes: Vec<AxesFile> =
        plan.cases.iter().map(|planned| result::axes_file(&planned.case)).collect();
    compare::check_planned(std::slice::from_ref(&base), &axes)?;
    Ok(Some(base))
}

/// Compares what was written with the baseline. In Markdown both go to standard output; where that
/// is for programs, the comparison goes to people.
fn compare_with(base: &Input, path: &Path, args: &ResultArgs) -> Result<ExitCode> {
    let judging = &args.baselines.judging;
    let new = Input::read(path)?;
    let options = judging.options(Across::Named(Vec::new()));
    let comparison = compare::compare(std::slice::from_ref(base), &[new], &options)?;
    match args.output {
        OutputFormat::Md => {
            let text = report::render_comparison(&comparison, ComparisonFormat::Md);
            print(&format!("\n## Compared with the baseline\n\n{text}"))?;
        }
        _ => say(&report::render_comparison(&comparison, ComparisonFormat::Text)),
    }
    Ok(judging.exit_code(&comparison))
}

fn show(progress: &ProgressLine, event: Event) {
    match event {
        Event::Digesting { model } => progress.message(format!("digesting {model}")),
        Event::Loading { model, dtype, kernels } => {
            progress.message(format!("loading {model} {dtype} for {kernels} kernels"));
        }
        Event::WarmUp { id } => progress.message(format!("warming up {id}")),
        Event::Round { id, round_idx, done, planned, remaining_ns, so_far } => {
            progress.round(&RoundBegins { id, round_idx, done, planned, remaining_ns, so_far });
        }
        Event::Failed { id, reason } => progress.warn(&format!("{id} failed: {reason}")),
    }
}

/// What went wrong, if anything did.
fn exit_code(result: &ResultFile) -> Option<ExitCode> {
    let ceilings = result.ceilings.iter().map(|ceiling| &ceiling.outcome);
    let cases = result.cases.iter().map(|case| &case.outcome);
    let any_failed =
        ceilings.clone().chain(cases.clone()).any(|o| matches!(o, OutcomeFile::Failed { .. }));
    // Of a run without cases, the ceilings are what was wanted.
    let any_measured = match result.cases.is_empty() {
        true => ceilings.clone().any(|o| *o == OutcomeFile::Measured),
        false => cases.clone().any(|o| *o == OutcomeFile::Measured),
    };
    if result.run.ended == RunEnd::Interrupted {
        Some(ExitCode::from(exit::INTERRUPTED))
    } else if any_failed || !any_measured {
        Some(ExitCode::from(exit::FAILED))
    } else {
        None
    }
}
