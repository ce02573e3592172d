//! Exact merge of result files: the same cases, measured more often.
//!
//! Rounds are put one after another and histograms added up, so that the merged file says what one
//! run with all of these rounds would have said. Only what is alike is merged: the same build, the
//! same class of machine, the same settings, models and cases.

use std::cmp::Ordering;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::measure;
use crate::result::derive;
use crate::result::file::*;
use crate::result::format::FORMAT_VERSION;
use crate::result::record::{merge_check, merge_latencies};

/// Merges files, each with the path that errors call it by. `command_line` is that of the merge.
///
/// # Errors
/// [`Error::CannotMerge`], naming the field that differs.
pub fn merge(files: Vec<(PathBuf, ResultFile)>, command_line: Vec<String>) -> Result<ResultFile> {
    let mut files = files.into_iter();
    let Some((first_path, first)) = files.next() else { return Err(Error::NothingToMerge) };
    let mut all = Merging::new(first);
    for (path, file) in files {
        all.add(file).map_err(|problem| Error::CannotMerge {
            first: first_path.clone(),
            other: path,
            problem,
        })?;
    }
    Ok(all.finish(command_line))
}

struct Merging {
    file: ResultFile,
}

type Outcome = std::result::Result<(), String>;

impl Merging {
    fn new(mut file: ResultFile) -> Self {
        if file.run.merged.is_empty() {
            file.run.merged = vec![merged_run(&file)];
        }
        Self { file }
    }

    fn add(&mut self, mut other: ResultFile) -> Outcome {
        check_alike(&self.file, &other)?;
        let first_run_idx = self.file.run.merged.len() as u32;
        let runs = match other.run.merged.is_empty() {
            true => vec![merged_run(&other)],
            false => std::mem::take(&mut other.run.merged),
        };
        if let Some(run) = runs.iter().find(|r| self.file.run.merged.iter().any(|m| m.id == r.id)) {
            return Err(format!("run {} is in both: its rounds would count twice", run.id));
        }
        self.file.run.merged.extend(runs);
        // Two builds of one commit: each run has its own in the list.
        if self.file.tool.binary_sha256 != other.tool.binary_sha256 {
            self.file.tool.binary_sha256 = None;
        }
        self.file.run.duration_ns = self.file.run.duration_ns.saturating_add(other.run.duration_ns);
        // Rounds of all runs were planned.
        self.file.plan.repetitions =
            self.file.plan.repetitions.saturating_add(other.plan.repetitions);
        // The coarser clock bounds them both.
        let resolutions = [&self.file, &other].map(|file| file.environment.clock_resolution_ns);
        self.file.environment.clock_resolution_ns = match resolutions {
            [Some(a), Some(b)] => Some(a.max(b)),
            _ => None,
        };
        let renumber = |round: RoundFile| RoundFile {
            run_idx: round.run_idx.saturating_add(first_run_idx),
            ..round
        };

        for ceiling in other.ceilings {
            let ours = self.file.ceilings.iter_mut().find(|ours| ours.id == ceiling.id);
            let ours = ours.ok_or_else(|| format!("ceiling {} is only in one", ceiling.id))?;
            let of = |problem| format!("ceiling {}: {problem}", ceiling.id);
            merge_kernel(&mut ours.kernel, ceiling.kernel).map_err(of)?;
            merge_checks(&mut ours.check, ceiling.check).map_err(of)?;
            ours.outcome = merged_outcome(&ours.outcome, &ceiling.outcome);
            ours.warm_up = ours.warm_up.or(ceiling.warm_up);
            ours.rounds.extend(ceiling.rounds.into_iter().map(renumber));
            if ours.outcome != OutcomeFile::Measured {
                (ours.warm_up, ours.check, ours.kernel) = (None, None, None);
                ours.rounds.clear();
            }
        }
        let index: std::collections::HashMap<String, usize> =
            self.file.cases.iter().enumerate().map(|(i, case)| (case.id.clone(), i)).collect();
        for case in other.cases {
            let i = index[&case.id];
            let ours = &mut self.file.cases[i];
            let of = |problem| format!("case {}: {problem}", case.id);
            merge_kernel(&mut ours.kernel, case.kernel).map_err(of)?;
            merge_checks(&mut ours.check, case.check).map_err(of)?;
            merge_latencies(&mut ours.latencies, &case.latencies).map_err(of)?;
            ours.outcome = merged_outcome(&ours.outcome, &case.outcome);
            ours.warm_up = ours.warm_up.or(case.warm_up);
            ours.rounds.extend(case.rounds.into_iter().map(renumber));
            if ours.outcome != OutcomeFile::Measured {
                (ours.warm_up, ours.check, ours.kernel) = (None, None, None);
                ours.rounds.clear();
                ours.latencies.clear();
            }
        }
        Ok(())
    }

    fn finish(mut self, command_line: Vec<String>) -> ResultFile {
        let file = &mut self.file;
        let merged = std::mem::take(&mut file.run.merged);
        let any = |end| merged.iter().any(|run| run.ended == end);
        let ended = [RunEnd::Interrupted, RunEnd::TimeUp].into_iter().find(|end| any(*end));
        file.format_version = FORMAT_VERSION;
        let now = measure::utc_now();
        file.run = RunFile {
            id: format!("{:x}-{:x}", now.as_nanosecond(), std::process::id()),
            started: extreme(merged.iter().map(|run| &run.started), Ordering::Less),
            finished: extreme(merged.iter().map(|run| &run.finished), Ordering::Greater),
            duration_ns: file.run.duration_ns,
            ended: ended.unwrap_or(RunEnd::Completed),
            command_line,
            time_to_first_iteration_ns: None,
            resumed: Vec::new(),
            merged,
        };
        file.integrity = None;
        derive::complete(file);
        self.file
    }
}

/// The earliest or latest of some times.
fn extreme<'a>(times: impl Iterator<Item = &'a String>, wanted: Ordering) -> String {
    let later = |a: &String, b: &String| {
        let parsed = |text: &String| text.parse::<jiff::Timestamp>().ok();
        parsed(a).cmp(&parsed(b))
    };
    times
        .reduce(|best, time| if later(time, best) == wanted { time } else { best })
        .cloned()
        .unwrap_or_default()
}

/// A kernel is known only where something was measured.
fn merge_kernel(ours: &mut Option<String>, theirs: Option<String>) -> Outcome {
    if ours.is_some() && theirs.is_some() {
        return same(ours, &theirs, "kernel");
    }
    *ours = ours.take().or(theirs);
    Ok(())
}

fn merged_run(file: &ResultFile) -> MergedRunFile {
    MergedRunFile {
        id: file.run.id.clone(),
        started: file.run.started.clone(),
        finished: file.run.finished.clone(),
        ended: file.run.ended,
        command_line: file.run.command_line.clone(),
        binary_sha256: file.tool.binary_sha256.clone(),
        integrity_head: file.integrity.as_ref().map(|integrity| integrity.head.clone()),
    }
}

/// A failure anywhere is a failure: what came out wrong once is not made right by another run.
fn merged_outcome(ours: &OutcomeFile, theirs: &OutcomeFile) -> OutcomeFile {
    match (ours, theirs) {
        (failed @ OutcomeFile::Failed { .. }, _) | (_, failed @ OutcomeFile::Failed { .. }) => {
            failed.clone()
        }
        (OutcomeFile::Measured, _) | (_, OutcomeFile::Measured) => OutcomeFile::Measured,
        (skipped, _) => skipped.clone(),
    }
}

fn merge_checks(ours: &mut Option<CheckFile>, theirs: Option<CheckFile>) -> Outcome {
    theirs.map_or(Ok(()), |theirs| merge_check(ours, &theirs))
}

/// Everything in which files must agree to be measurements of the same thing.
fn check_alike(a: &ResultFile, b: &ResultFile) -> Outcome {
    check_same_build(&a.tool, &b.tool)?;
    check_same_machine(&a.environment, &b.environment)?;
    check_plan(&a.plan, &b.plan)?;
    check_cases(&a.cases, &b.cases)?;
    let ids = |file: &ResultFile| file.ceilings.iter().map(|c| c.id.clone()).collect::<Vec<_>>();
    same(&ids(a), &ids(b), "ceilings")?;
    for (a, b) in a.ceilings.iter().zip(&b.ceilings) {
        same(&a.gemm_size, &b.gemm_size, "gemm_size")?;
        same(&a.working_set_bytes, &b.working_set_bytes, "working_set_bytes")?;
    }
    Ok(())
}

/// That two files, or a file and this process, are of one build.
///
/// # Errors
/// The field that differs.
pub fn check_same_build(a: &ToolFile, b: &ToolFile) -> Outcome {
    same(&a.version, &b.version, "tool.version")?;
    same(&a.commit, &b.commit, "tool.commit")?;
    same(&a.dirty, &b.dirty, "tool.dirty")?;
    same(&a.features, &b.features, "tool.features")?;
    same(&a.target, &b.target, "tool.target")?;
    same(&a.target_features, &b.target_features, "tool.target_features")?;
    same(&a.compiler, &b.compiler, "tool.compiler")?;
    same(&a.opt_level, &b.opt_level, "tool.opt_level")?;
    same(&a.debug_build, &b.debug_build, "tool.debug_build")?;
    match a.dirty {
        Some(false) => Ok(()),
        // The commit does not say what was built.
        _ => same(&a.binary_sha256, &b.binary_sha256, "tool.binary_sha256"),
    }
}

/// That two devices are of one kind, with the same driver.
fn check_same_gpu(a: Option<&GpuFile>, b: Option<&GpuFile>) -> Outcome {
    let (a, b) = match (a, b) {
        (None, None) => return Ok(()),
        (Some(a), Some(b)) => (a, b),
        _ => return Err("environment.gpu differs: only one has a device".into()),
    };
    same(&a.model, &b.model, "environment.gpu.model")?;
    same(&a.compute_capability, &b.compute_capability, "environment.gpu.compute_capability")?;
    same(&a.n_multiprocessors, &b.n_multiprocessors, "environment.gpu.n_multiprocessors")?;
    same(&a.l2_cache_bytes, &b.l2_cache_bytes, "environment.gpu.l2_cache_bytes")?;
    same(&a.memory_bytes, &b.memory_bytes, "environment.gpu.memory_bytes")?;
    same(&a.ecc, &b.ecc, "environment.gpu.ecc")?;
    same(&a.mig, &b.mig, "environment.gpu.mig")?;
    same(&a.max_sm_clock_hz, &b.max_sm_clock_hz, "environment.gpu.max_sm_clock_hz")?;
    same(&a.max_memory_clock_hz, &b.max_memory_clock_hz, "environment.gpu.max_memory_clock_hz")?;
    same(&a.power_limit_mw, &b.power_limit_mw, "environment.gpu.power_limit_mw")?;
    same(&a.driver, &b.driver, "environment.gpu.driver")?;
    same(&a.driver_cuda, &b.driver_cuda, "environment.gpu.driver_cuda")?;
    same(&a.runtime_cuda, &b.runtime_cuda, "environment.gpu.runtime_cuda")?;
    same(&a.event_tracking, &b.event_tracking, "environment.gpu.event_tracking")?;
    same(&a.keeps_memory, &b.keeps_memory, "environment.gpu.keeps_memory")
}

/// That two machines are of one class: alike in what decides speed and does not change from one
/// hour to the next.
///
/// # Errors
/// The field that differs.
pub fn check_same_machine(a: &EnvironmentFile, b: &EnvironmentFile) -> Outcome {
    same(&a.cpu.model, &b.cpu.model, "environment.cpu.model")?;
    same(&a.cpu.architecture, &b.cpu.architecture, "environment.cpu.architecture")?;
    same(&a.cpu.physical_cores, &b.cpu.physical_cores, "environment.cpu.physical_cores")?;
    same(&a.cpu.logical_cores, &b.cpu.logical_cores, "environment.cpu.logical_cores")?;
    same(&a.cpu.features, &b.cpu.features, "environment.cpu.features")?;
    same(&a.cpu.caches, &b.cpu.caches, "environment.cpu.caches")?;
    same(
        &a.cpu.last_level_cache_bytes,
        &b.cpu.last_level_cache_bytes,
        "environment.cpu.last_level_cache_bytes",
    )?;
    let (mine, other) = (&a.cpu, &b.cpu);
    same(&mine.smt_active, &other.smt_active, "environment.cpu.smt_active")?;
    same(&mine.governor, &other.governor, "environment.cpu.governor")?;
    same(&mine.vendor, &other.vendor, "environment.cpu.vendor")?;
    same(&mine.microcode, &other.microcode, "environment.cpu.microcode")?;
    same(&mine.hypervisor, &other.hypervisor, "environment.cpu.hypervisor")?;
    same(&mine.sockets, &other.sockets, "environment.cpu.sockets")?;
    same(&mine.threads_per_core, &other.threads_per_core, "environment.cpu.threads_per_core")?;
    same(&mine.base_frequency_hz, &other.base_frequency_hz, "environment.cpu.base_frequency_hz")?;
    same(&mine.max_frequency_hz, &other.max_frequency_hz, "environment.cpu.max_frequency_hz")?;
    same(&mine.min_frequency_hz, &other.min_frequency_hz, "environment.cpu.min_frequency_hz")?;
    same(&mine.boost, &other.boost, "environment.cpu.boost")?;
    same(&mine.numa_nodes, &other.numa_nodes, "environment.cpu.numa_nodes")?;
    same(&mine.affinity, &other.affinity, "environment.cpu.affinity")?;
    same(&mine.all_caches_bytes, &other.all_caches_bytes, "environment.cpu.all_caches_bytes")?;
    same(&mine.quota_cpus, &other.quota_cpus, "environment.cpu.quota_cpus")?;
    same(&a.swap_total_bytes, &b.swap_total_bytes, "environment.swap_total_bytes")?;
    same(&a.transparent_hugepages, &b.transparent_hugepages, "environment.transparent_hugepages")?;
    same(&a.clocksource, &b.clocksource, "environment.clocksource")?;
    same(&a.memory_bytes, &b.memory_bytes, "environment.memory_bytes")?;
    check_same_gpu(a.gpu.as_ref(), b.gpu.as_ref())?;
    same(&a.os, &b.os, "environment.os")?;
    same(&a.kernel, &b.kernel, "environment.kernel")
}

fn check_plan(a: &PlanFile, b: &PlanFile) -> Outcome {
    same(&a.device, &b.device, "plan.device")?;
    same(&a.placement, &b.placement, "plan.placement")?;
    same(&a.seed, &b.seed, "plan.seed")?;
    same(&a.warm_up, &b.warm_up, "plan.warm_up")?;
    same(&a.round, &b.round, "plan.round")?;
    same(&a.injected_slowdown, &b.injected_slowdown, "plan.injected_slowdown")?;
    same(&a.models.len(), &b.models.len(), "the number of plan.models")?;
    for (a, b) in a.models.iter().zip(&b.models) {
        let of = |key: &str| format!("plan.models `{}`: {key}", a.label);
        same(&a.label, &b.label, &of("label"))?;
        same(&a.weights, &b.weights, &of("weights"))?;
        same(&a.config_sha256, &b.config_sha256, &of("config_sha256"))?;
        same(&a.weights_sha256, &b.weights_sha256, &of("weights_sha256"))?;
        if a.config != b.config {
            return Err(of("config differs"));
        }
    }
    Ok(())
}

fn check_cases(a: &[CaseFile], b: &[CaseFile]) -> Outcome {
    for (ones, others) in [(a, b), (b, a)] {
        let known: std::collections::HashMap<&str, &CaseFile> =
            others.iter().map(|case| (case.id.as_str(), case)).collect();
        for case in ones {
            match known.get(case.id.as_str()) {
                Some(other) if case.work != other.work => {
                    return Err(format!("case {}: work differs", case.id));
                }
                Some(_) => {}
                None => return Err(unlike(case, others)),
            }
        }
    }
    Ok(())
}

/// What keeps a case from having a partner: the fields in which the nearest other one differs.
fn unlike(case: &CaseFile, others: &[CaseFile]) -> String {
    let nearest = others.iter().map(|other| differing_axes(case, other)).min_by_key(Vec::len);
    match nearest {
        Some(fields) => {
            format!(
                "case {} is in one of them only; the nearest other case differs in {}",
                case.id,
                fields.join(", ")
            )
        }
        None => format!("case {} is in one of them only", case.id),
    }
}

fn differing_axes(a: &CaseFile, b: &CaseFile) -> Vec<String> {
    let (a, b) = (&a.axes, &b.axes);
    let mut fields = Vec::new();
    let mut add = |name: &str, a: &dyn std::fmt::Display, b: &dyn std::fmt::Display| {
        let (a, b) = (a.to_string(), b.to_string());
        if a != b {
            fields.push(format!("{name} ({a} and {b})"));
        }
    };
    add("model", &a.model, &b.model);
    add("dtype", &a.dtype, &b.dtype);
    add("device", &a.device, &b.device);
    add("n_threads", &a.n_threads, &b.n_threads);
    add("n_prompt", &a.n_prompt, &b.n_prompt);
    add("n_gen", &a.n_gen, &b.n_gen);
    add("n_depth", &a.n_depth, &b.n_depth);
    add("batch_size", &a.batch_size, &b.batch_size);
    fields
}

fn same<T: PartialEq + std::fmt::Debug>(a: &T, b: &T, field: &str) -> Outcome {
    match a == b {
        true => Ok(()),
        false => Err(format!("{field} differs: {a:?} and {b:?}")),
    }
}
