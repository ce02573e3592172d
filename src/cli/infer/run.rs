//! `benchinf run`, and `benchinf` alone.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::args::{RunArgs, values};
use super::progress::ProgressLine;
use crate::case::DeviceSpec;
use crate::cli::{exit, print};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::measure::{Clock as _, Limits, MonotonicClock};
use crate::model::ModelSpec;
use crate::plan::{Axes, Plan, Settings};
use crate::report;
use crate::result::file::{OutcomeFile, ResultFile, RunEnd, RunFile};
use crate::result::{self, Destination, FORMAT_VERSION};
use crate::runner::{self, Event};

pub(in crate::cli) fn run(args: RunArgs) -> Result<ExitCode> {
    let started = jiff::Timestamp::now();
    let clock = MonotonicClock::default();

    let plan = plan(&args)?;
    let path = args.out.clone().unwrap_or_else(|| default_path(started, &plan));
    let destination = Destination::prepare(path, args.force)?;
    if args.dry_run {
        print(&dry_run(&plan, &destination))?;
        return Ok(ExitCode::SUCCESS);
    }

    let environment = result::environment();
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
    let summary = runner::run(&plan, &clock, &interrupted, &mut watch);
    progress.clear();
    let summary = summary?;

    let file = ResultFile {
        format_version: FORMAT_VERSION,
        tool: result::tool(),
        run: RunFile {
            id: run_id(started),
            started: started.to_string(),
            finished: jiff::Timestamp::now().to_string(),
            duration_ns: clock.now_ns(),
            ended: summary.ended,
            command_line: command_line(),
            time_to_first_iteration_ns: summary.first_iteration_ns,
        },
        environment,
        plan: result::plan_file(&plan),
        cases: summary.cases.iter().map(result::case_result).collect(),
    };
    // Even if the disk has filled up meanwhile, the figures are not lost.
    let written = destination.write(&file);
    print(&report::render(std::slice::from_ref(&file), args.output.into()))?;
    written?;
    progress.say(&format!("result file: {}", destination.path().display()));
    Ok(exit_code(&file))
}

fn exit_code(file: &ResultFile) -> ExitCode {
    let failed = |outcome: &OutcomeFile| matches!(outcome, OutcomeFile::Failed { .. });
    if file.run.ended == RunEnd::Interrupted {
        ExitCode::from(exit::INTERRUPTED)
    } else if file.cases.iter().any(|case| failed(&case.outcome)) {
        ExitCode::from(exit::FAILED)
    } else {
        ExitCode::SUCCESS
    }
}

fn plan(args: &RunArgs) -> Result<Plan> {
    // Opening the device first: without it nothing else matters.
    Device::open(args.device)?;
    let models = args.model.iter().map(|name| ModelSpec::resolve(name)).collect::<Result<_>>()?;
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
    let round = Limits {
        min_ns: nanoseconds(args.min_time),
        min_passes: 1,
        max_ns: u64::MAX,
        max_passes: u64::MAX,
    };
    let warm_up = (!args.no_warmup && args.warmup > 0)
        .then_some(Limits { min_passes: u64::from(args.warmup), ..round });
    let settings = Settings {
        device: args.device,
        seed: args.seed,
        repetitions: args.repetitions,
        warm_up,
        round,
        max_time_ns: args.max_time.map(nanoseconds),
    };
    // On another device, memory of the host decides nothing.
    let present = match args.device {
        DeviceSpec::Cpu => result::available_memory(),
        DeviceSpec::Cuda { .. } => None,
    };
    Plan::new(axes, settings, present)
}

/// The grammar bounds a duration to a century, which fits.
fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

fn default_path(started: jiff::Timestamp, plan: &Plan) -> PathBuf {
    let device = plan.settings.device.to_string().replace(':', "");
    let others = match plan.models.len() - 1 {
        0 => String::new(),
        n => format!("+{n}"),
    };
    let model = plan.models[0]
        .label
        .replace(|c: char| !c.is_ascii_alphanumeric() && !"-._".contains(c), "_");
    let time = started.strftime("%Y%m%dT%H%M%SZ");
    let path = |n: u32| match n {
        1 => PathBuf::from(format!("results/{time}-{device}-{model}{others}.json")),
        n => PathBuf::from(format!("results/{time}-{device}-{model}{others}-{n}.json")),
    };
    // Two runs in one second get two files.
    (1..).map(path).find(|path| !path.exists()).unwrap_or_else(|| path(1))
}

/// The arguments as typed, after the program's name: where it is installed is nobody's business.
fn command_line() -> Vec<String> {
    let arguments = std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once("benchinf".to_owned()).chain(arguments).collect()
}

/// Differs between runs: the time in nanoseconds and the process.
fn run_id(started: jiff::Timestamp) -> String {
    format!("{:x}-{:x}", started.as_nanosecond(), std::process::id())
}

fn dry_run(plan: &Plan, destination: &Destination) -> String {
    let mut text = String::new();
    for planned in &plan.cases {
        text += &planned.case.id();
        text.push('\n');
    }
    text += &format!(
        "{} cases, {} rounds each; about {} of memory; result file {}\n",
        plan.cases.len(),
        plan.settings.repetitions,
        plan.memory.total(),
        destination.path().display(),
    );
    text
}

/// The first Ctrl-C ends the run after the iteration under way and keeps what was measured.
/// Another one ends the process, unless it comes at once: wrappers such as `timeout` signal both
/// the process and its group.
fn stop_on_ctrl_c() -> Result<Arc<AtomicBool>> {
    const SAME_REQUEST_NS: u64 = 500_000_000;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let clock = MonotonicClock::default();
    let mut first_ns = None;
    ctrlc::set_handler(move || {
        flag.store(true, Ordering::Relaxed);
        let now_ns = clock.now_ns();
        if now_ns - *first_ns.get_or_insert(now_ns) > SAME_REQUEST_NS {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    })
    .map_err(Error::engine("listening for Ctrl-C"))?;
    Ok(interrupted)
}
