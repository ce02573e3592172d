//! A run with its journal: begun, or taken up again where it was cut off.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::case::DeviceSpec;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::affinity;
use crate::measure::{self, Clock as _, MonotonicClock, OffsetClock};
use crate::model::ModelSpec;
use crate::model::weights::Weights;
use crate::plan::{MAX_THREADS, Plan, PlannedCase, PlannedProbe};
use crate::result::file::{EnvironmentFile, OutcomeFile, ResultFile, RunEnd, RunFile};
use crate::result::{self, Assembly, Entry, FORMAT_VERSION, Journal, Record};
use crate::runner::gpu::gpu_file;
use crate::runner::{Event, Observers, items, run};
use crate::telemetry::Sampler;
use crate::units::Bytes;

/// Begins a run: says in its journal what will be measured, on what and by what. `command_line`
/// is recorded as it is.
///
/// # Errors
/// What is wrong with a checkpoint's files, or [`Error::Journal`].
pub fn begin(
    plan: &Plan,
    command_line: Vec<String>,
    journal: &mut Journal,
    watch: &mut (dyn FnMut(Event) + Send),
) -> Result<Assembly> {
    let file = unmeasured(plan, command_line, watch)?;
    let record = Record::Begin { file: Box::new(file.clone()) };
    journal.append(&Entry { at_ns: 0, record })?;
    Assembly::new(file)
        .map_err(|problem| Error::JournalFile { path: journal.path().into(), problem })
}

/// The result file before anything was measured.
pub(super) fn unmeasured(
    plan: &Plan,
    command_line: Vec<String>,
    watch: &mut (dyn FnMut(Event) + Send),
) -> Result<ResultFile> {
    let started = measure::utc_now();
    let mut plan_file = result::plan_file(plan);
    for (spec, model) in plan.models.iter().zip(&mut plan_file.models) {
        watch(Event::Digesting { model: &spec.label });
        model.weights_sha256 = Weights::sha256(spec)?;
    }
    let skipped = |skip: &Option<String>, outcome: OutcomeFile| {
        skip.clone().map_or(outcome, |reason| OutcomeFile::Skipped { reason })
    };
    let cases = plan.cases.iter().map(|planned| {
        let mut case = result::case_file(&planned.case, &plan.models[planned.model_idx].config);
        case.outcome = skipped(&planned.skip, case.outcome);
        case
    });
    let ceilings = plan.probes.iter().map(|planned| {
        let mut ceiling = result::ceiling_file(&planned.probe, &planned.sizes);
        ceiling.outcome = skipped(&planned.skip, ceiling.outcome);
        ceiling
    });
    Ok(ResultFile {
        format_version: FORMAT_VERSION,
        tool: result::tool(),
        run: RunFile {
            // Differs between any two runs: the time in nanoseconds, and the process.
            id: format!("{:x}-{:x}", started.as_nanosecond(), std::process::id()),
            started: started.to_string(),
            finished: started.to_string(),
            duration_ns: 0,
            // Until it has ended in another way.
            ended: RunEnd::Interrupted,
            command_line,
            time_to_first_iteration_ns: None,
            resumed: Vec::new(),
            merged: Vec::new(),
        },
        environment: environment(plan.settings.device)?,
        plan: plan_file,
        cases: cases.collect(),
        ceilings: ceilings.collect(),
        integrity: None,
    })
}

/// The machine and the device, with what they will not tell of the conditions of a round.
fn environment(device: DeviceSpec) -> Result<EnvironmentFile> {
    let mut environment = result::environment();
    let sampler = Sampler::new();
    let never = sampler.unavailable().iter();
    let named = never.map(|(key, reason)| (format!("conditions.{key}"), reason.clone()));
    environment.unavailable.extend(named);
    environment.gpu = Device::open(device)?.facts().map(gpu_file);
    Ok(environment)
}

/// Measures what is still to be done, writing each record to the journal and into `assembly`. Time
/// goes on where the last record left it.
///
/// # Errors
/// As [`run`]; journal and assembly keep what was measured until then.
pub fn run_recorded(
    plan: &Plan,
    assembly: &mut Assembly,
    journal: &mut Journal,
    interrupted: &AtomicBool,
    watch: &mut (dyn FnMut(Event) + Send),
) -> Result<()> {
    let clock = OffsetClock::new(MonotonicClock::default(), assembly.last_ns());
    let states = items(plan, Some(assembly.file()));
    let contradiction = |path: &Path, problem| Error::JournalFile { path: path.into(), problem };
    let mut record = |at_ns, record| {
        let entry = Entry { at_ns, record };
        journal.append(&entry)?;
        assembly.apply(&entry).map_err(|problem| contradiction(journal.path(), problem))
    };
    let observers = Observers { interrupted, watch, record: &mut record };
    let ended = run(plan, states, &clock, observers)?;
    let at = measure::utc_now().to_string();
    let entry = Entry { at_ns: clock.now_ns(), record: Record::Finished { ended, at } };
    // All that was measured is in the journal. On a disk that is full by now it lacks this word
    // alone, and the result may go to another one.
    let _ = journal.append(&entry);
    assembly.apply(&entry).map_err(|problem| contradiction(journal.path(), problem))
}

/// The result of what was recorded, as far as it goes.
pub fn recorded(assembly: Assembly) -> ResultFile {
    let (run, at_ns) = (&assembly.file().run, assembly.last_ns());
    let at = match assembly.finished() {
        Some(_) => run.finished.clone(),
        // It was cut off; this is when its last record was made, but for pauses.
        None => {
            let started = run.started.parse::<jiff::Timestamp>().ok();
            let length = jiff::SignedDuration::from_nanos(i64::try_from(at_ns).unwrap_or(0));
            let last = started.and_then(|started| started.checked_add(length).ok());
            last.map_or_else(|| run.finished.clone(), |last| last.to_string())
        }
    };
    let ended = assembly.finished().unwrap_or(RunEnd::Interrupted);
    assembly.finish(ended, at, at_ns)
}

/// Reads a journal back and makes its plan again, if this is still the build, the machine, and the
/// models with which the run began: the rounds of two builds are not one measurement.
///
/// # Errors
/// What is wrong with the journal, or [`Error::CannotResume`] with what has changed.
pub fn resume(path: &Path) -> Result<(Plan, Assembly, Journal)> {
    let recovered = result::recover(path)?;
    let (assembly, journal) = (recovered.assembly, recovered.journal);
    let cannot = |problem: String| Error::CannotResume { path: path.into(), problem };
    let device = assembly.file().plan.device.parse().map_err(cannot)?;
    let placement = result::placement_of(&assembly.file().plan).map_err(cannot)?;
    if let Some(mask) = placement.mask() {
        affinity::keep_on(&mask.cpus())?;
    }
    let here = environment(device)?;
    result::check_same_build(&assembly.file().tool, &result::tool())
        .and_then(|()| result::check_same_machine(&assembly.file().environment, &here))
        .map_err(|problem| {
            cannot(format!(
                "{problem}; the rounds of two builds or machines are not one measurement"
            ))
        })?;
    let plan = plan_of(&assembly, &cannot)?;
    Ok((plan, assembly, journal))
}

/// Whether a run that was read back has something left to measure: rounds, and time for them.
pub fn is_open(plan: &Plan, assembly: &Assembly) -> bool {
    let file = assembly.file();
    let of_ceilings = file.ceilings.iter().map(|c| (&c.outcome, c.rounds.len()));
    let mut all = of_ceilings.chain(file.cases.iter().map(|c| (&c.outcome, c.rounds.len())));
    let is_open = |(outcome, n_rounds): (&OutcomeFile, usize)| {
        let may_run = *outcome == OutcomeFile::Measured || result::is_not_yet(outcome);
        may_run && (n_rounds as u64) < u64::from(plan.settings.repetitions)
    };
    !matches!(assembly.finished(), Some(RunEnd::Completed | RunEnd::TimeUp)) && all.any(is_open)
}

/// Notes in the journal that the run goes on, and what it goes on without: what ended the process
/// twice, and what no longer fits the memory.
///
/// # Errors
/// [`Error::Journal`].
pub fn note_resumed(plan: &Plan, assembly: &mut Assembly, journal: &mut Journal) -> Result<()> {
    let at = measure::utc_now().to_string();
    let binary_sha256 =
        assembly.file().tool.binary_sha256.as_ref().and(result::tool().binary_sha256);
    let mut records = vec![Record::Resumed { at, binary_sha256 }];
    let file = assembly.file();
    let ids = file.ceilings.iter().map(|ceiling| &ceiling.id);
    for id in ids.chain(file.cases.iter().map(|case| &case.id)) {
        if is_deadly(assembly, id) {
            let outcome = OutcomeFile::Failed { reason: DEADLY.into() };
            records.push(Record::Ended { id: id.clone(), outcome });
        }
    }
    let cases = plan.cases.iter().zip(&file.cases).map(|(p, c)| (&p.skip, &c.id, &c.outcome));
    let probes = plan.probes.iter().zip(&file.ceilings).map(|(p, c)| (&p.skip, &c.id, &c.outcome));
    for (skip, id, outcome) in cases.chain(probes) {
        if let (Some(reason), true) =
            (skip, result::is_not_yet(outcome) && !is_deadly(assembly, id))
        {
            let outcome = OutcomeFile::Skipped { reason: reason.clone() };
            records.push(Record::Ended { id: id.clone(), outcome });
        }
    }
    for record in records {
        let entry = Entry { at_ns: assembly.last_ns(), record };
        journal.append(&entry)?;
        assembly
            .apply(&entry)
            .map_err(|problem| Error::JournalFile { path: journal.path().into(), problem })?;
    }
    Ok(())
}

/// Why something is not tried a third time.
const DEADLY: &str =
    "the process ended while it ran, twice in a row: killed, or for want of memory";

fn is_deadly(assembly: &Assembly, id: &str) -> bool {
    assembly.n_deaths(id) >= 2
}

/// The plan that a file was measured by.
fn plan_of(assembly: &Assembly, cannot: &dyn Fn(String) -> Error) -> Result<Plan> {
    let file = assembly.file();
    let mut models = Vec::new();
    for model in &file.plan.models {
        let argument = if model.origin == result::BUILTIN { &model.label } else { &model.origin };
        let spec = ModelSpec { label: model.label.clone(), ..ModelSpec::resolve(argument)? };
        if spec.config.to_json() != model.config || Weights::sha256(&spec)? != model.weights_sha256
        {
            return Err(cannot(format!("the model {} is no longer what it was", model.origin)));
        }
        models.push(spec);
    }
    // What was never tried may be tried now; what could not be run still cannot, and what is done
    // needs no memory.
    let skip = |id: &str, outcome: &OutcomeFile, n_rounds: usize| match outcome {
        OutcomeFile::Skipped { reason } if !result::is_not_yet(outcome) => Some(reason.clone()),
        OutcomeFile::Failed { reason } => Some(reason.clone()),
        _ if n_rounds as u64 >= u64::from(file.plan.repetitions) => Some("it is measured".into()),
        _ => is_deadly(assembly, id).then(|| DEADLY.into()),
    };
    let mut cases = Vec::new();
    for case in &file.cases {
        let model_idx = models.iter().position(|model| model.label == case.axes.model);
        let model_idx =
            model_idx.ok_or_else(|| cannot(format!("case {} has no model", case.id)))?;
        let live = result::case_of(&case.axes).map_err(cannot)?;
        if result::case_file(&live, &models[model_idx].config).work != case.work {
            return Err(cannot(format!("case {} is counted otherwise by this build", case.id)));
        }
        cases.push(PlannedCase {
            case: live,
            model_idx,
            skip: skip(&case.id, &case.outcome, case.rounds.len()),
        });
    }
    let settings = result::settings_of(&file.plan).map_err(cannot)?;
    let device = Device::open(settings.device)?;
    let (mut probes, mut sizes_held) = (Vec::new(), HashMap::new());
    for ceiling in &file.ceilings {
        let of = |problem| cannot(format!("ceiling {}: {problem}", ceiling.id));
        result::check_probe_work(ceiling).map_err(of)?;
        let probe = result::probe_of(ceiling).map_err(cannot)?;
        let sizes = result::probe_sizes(ceiling);
        if *sizes_held.entry(probe.kind.holder()).or_insert(sizes) != sizes {
            return Err(cannot(format!(
                "ceiling {} is not as large as another of its kind",
                ceiling.id
            )));
        }
        let skip = skip(&ceiling.id, &ceiling.outcome, ceiling.rounds.len())
            .or_else(|| probe.obstacle(device.capability(), device.n_devices()));
        probes.push(PlannedProbe { probe, sizes, skip });
    }
    let n_threads = |planned: &PlannedProbe| planned.probe.n_threads;
    let of_cases = cases.iter().map(|planned| planned.case.n_threads);
    let mut all_threads = of_cases.chain(probes.iter().map(n_threads));
    if let Some(n) = all_threads.find(|n| *n == 0 || *n > MAX_THREADS) {
        return Err(cannot(format!("{n} threads cannot be asked for")));
    }
    let free_memory = match device.free_bytes() {
        None => result::available_memory(),
        Some(free) => Some(Bytes(free)),
    };
    let planned =
        Plan::from_parts(models.clone(), cases.clone(), probes.clone(), settings, free_memory);
    match planned {
        // What was measured is not lost for want of memory for the rest.
        Err(error @ Error::OutOfMemory { .. })
            if file.cases.iter().any(|c| !c.rounds.is_empty()) =>
        {
            let reason = error.to_string();
            for planned in &mut cases {
                planned.skip.get_or_insert_with(|| reason.clone());
            }
            Plan::from_parts(models, cases, probes, settings, None)
        }
        planned => planned,
    }
}
