//! `benchinf run`, and `benchinf` alone.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::args::{RunArgs, nanoseconds, values};
use super::progress::ProgressLine;
use crate::case::DeviceSpec;
use crate::cli::{exit, print};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::ModelSpec;
use crate::model::weights::Weights;
use crate::plan::{Axes, Plan, Settings};
use crate::report;
use crate::result::file::{OutcomeFile, ResultFile, RunEnd};
use crate::result::{self, Destination};
use crate::runner::{self, Event};

pub(in crate::cli) fn run(args: RunArgs) -> Result<ExitCode> {
    let plan = plan(&args)?;
    let destination = match &args.out {
        Some(path) => Destination::named(path.clone(), args.force)?,
        None => Destination::default_for(&plan),
    };
    if args.dry_run {
        print(&dry_run(&plan, &destination))?;
        return Ok(ExitCode::SUCCESS);
    }
    destination.prepare()?;

    let progress = ProgressLine::new(args.quiet);
    if result::is_debug_build() {
        progress.warn("this is a debug build; its figures say nothing about the hardware");
    }
    let interrupted = stop_on_ctrl_c()?;
    let mut watch = |event: Event| match event {
        Event::Loading { model, dtype } => progress.message(format!("loading {model} {dtype}")),
        Event::WarmUp { case } => progress.message(format!("warming up {}", case.id())),
        Event::Round { case, done, planned, remaining_ns, .. } => {
            progress.round(&case.id(), done, planned, remaining_ns);
        }
        Event::Failed { case, reason } => progress.warn(&format!("{} failed: {reason}", case.id())),
    };
    let result = runner::run_to_result(&plan, command_line(), &interrupted, &mut watch);
    progress.clear();
    let result = result?;

    // A full disk must not cost the figures, nor a closed pipe the word about the disk.
    let written = destination.write(&result);
    let printed = print(&report::render(std::slice::from_ref(&result), args.output.into()));
    progress.say(&format!("result file: {}", written?.display()));
    match printed {
        Err(Error::Stdout(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
        printed => printed?,
    }
    Ok(exit_code(&result))
}

fn exit_code(result: &ResultFile) -> ExitCode {
    let outcomes = || result.cases.iter().map(|case| &case.outcome);
    let any_failed = outcomes().any(|o| matches!(o, OutcomeFile::Failed { .. }));
    let none_measured = !outcomes().any(|o| *o == OutcomeFile::Measured);
    if result.run.ended == RunEnd::Interrupted {
        ExitCode::from(exit::INTERRUPTED)
    } else if any_failed || none_measured {
        ExitCode::from(exit::FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

fn plan(args: &RunArgs) -> Result<Plan> {
    // Opening the device first: without it nothing else matters.
    Device::open(args.device)?;
    let models: Vec<ModelSpec> = args
        .model
        .iter()
        .flat_map(|names| split_models(names))
        .map(ModelSpec::resolve)
        .collect::<Result<_>>()?;
    models.iter().try_for_each(Weights::check)?;
    let n_threads = match args.threads.as_slice() {
        [] => vec![result::physical_cores()],
        given => values(given),
    };
    let axes = Axes {
        models,
        dtypes: args.dtype.clone(),
        n_threads,
        n_prompts: values(&args.n_prompt),
        n_gens: values(&args.n_gen),
        requests: args.request.iter().map(|r| (r.n_prompt, r.n_gen)).collect(),
        n_depths: values(&args.n_depth),
        batch_sizes: values(&args.batch_size),
    };
    let settings = Settings {
        device: args.device,
        seed: args.seed,
        repetitions: args.repetitions,
        warm_up_passes: if args.no_warmup { 0 } else { u64::from(args.warmup) },
        min_time_ns: nanoseconds(args.min_time),
        max_time_ns: args.max_time.map(nanoseconds),
    };
    Plan::new(axes, settings, memory_present(args.device))
}

/// Memory that the plan must fit.
pub(super) fn memory_present(device: DeviceSpec) -> Option<crate::units::Bytes> {
    // On another device, memory of the host decides nothing.
    match device {
        DeviceSpec::Cpu => result::available_memory(),
        DeviceSpec::Cuda { .. } => None,
    }
}

/// A list of models, unless the whole text is the path of one.
fn split_models(names: &str) -> Vec<&str> {
    match Path::new(names).exists() {
        true => vec![names],
        false => names.split(',').collect(),
    }
}

/// The arguments as typed, after the program's name: where it is installed is nobody's business.
fn command_line() -> Vec<String> {
    let arguments = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once("benchinf".to_owned()).chain(arguments).collect()
}

fn dry_run(plan: &Plan, destination: &Destination) -> String {
    let mut text = String::new();
    for planned in &plan.cases {
        text += &planned.case.id();
        text.push('\n');
    }
    text += &format!(
        "{} case(s), {} round(s) each; about {} of memory; result file {}\n",
        plan.cases.len(),
        plan.settings.repetitions,
        plan.memory.total(),
        destination.path().display(),
    );
    text
}

/// The first Ctrl-C ends the run after the iteration under way and keeps what was measured. The
/// second may be the same request, since wrappers such as `timeout` signal both the process and
/// its group; the third ends the process.
fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let n_requests = AtomicU8::new(0);
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::Relaxed);
        if n_requests.fetch_add(1, Ordering::Relaxed) >= 2 {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    })
    .map_err(Error::engine("listening for Ctrl-C"))?;
    Ok(interrupted)
}
