//! What differs between the sides beside what is compared, and what else casts doubt on one of them.

use std::collections::{BTreeSet, HashSet};

use serde::Serialize;
use serde_json::Value;

use crate::compare::rank::{RankSums, Shift};
use crate::compare::record::{Difference, DifferenceKind, Effect, Integrity, SideName};
use crate::compare::side::{Input, listed, machines_text};
use crate::result::file::{ConditionsFile, ResultFile, RoundFile, RunEnd};
use crate::result::{HANDOVER_FAR_BEYOND, LAYOUT, Verdict};
use crate::stats;

/// Clocks that differ by less than this are as alike as clocks are.
const CLOCKS_ALIKE_WITHIN: f64 = 0.01;
/// Shares of the processors' time that differ by less than this are alike.
const LOAD_ALIKE_WITHIN: f64 = 0.05;
/// Readings of a side's clocks that are looked at, spread over its rounds.
const N_READINGS: usize = 128;

/// Keys of the environment that change from one hour to the next.
const PASSING: [&str; 5] = [
    "load_average_1min",
    "memory_available_bytes",
    "clock_resolution_ns",
    "gpu.memory_available_bytes",
    "gpu.other_processes",
];

/// Remarks of a file that are told.
const MAX_REMARKS: usize = 20;

/// Kinds that never make a verdict `unsure`, and so need no leave.
const NOTED: [DifferenceKind; 3] =
    [DifferenceKind::Imported, DifferenceKind::InjectedSlowdown, DifferenceKind::Unfinished];

/// All differences, and how much of a ratio of rates clocks could explain, as its logarithm.
pub(super) struct Differences {
    pub all: Vec<Difference>,
    pub explained_by_clocks: f64,
}

/// What is compared, and how.
pub(super) struct Compared<'a> {
    pub base: &'a [Input],
    pub new: &'a [Input],
    /// Axes that pairing leaves out.
    pub across: &'a [String],
    /// What of that nobody asked for, in sentences.
    pub unasked: Vec<String>,
    /// Whether all pairs were computed by processors, so that accelerators do not matter.
    pub is_processor_alone: bool,
    pub allowed: &'a BTreeSet<DifferenceKind>,
}

/// Looks for everything that differs. The first file of the base is what all others are held
/// against, so that files of one side that differ among themselves are found as well.
pub(super) fn find(compared: Compared, sums: &mut RankSums) -> Differences {
    let Compared { base, new, across, unasked, is_processor_alone, allowed } = compared;
    let mut found = Found { all: Vec::new(), told: HashSet::new(), allowed };
    let sides =
        || base.iter().map(|i| (SideName::Base, i)).chain(new.iter().map(|i| (SideName::New, i)));
    for (side, input) in sides() {
        found.doubts(side, input);
    }
    found.same_runs(base, new);
    unasked.into_iter().for_each(|message| found.add(DifferenceKind::Axes, message));
    let Some((_, first)) = sides().next() else {
        return Differences { all: Vec::new(), explained_by_clocks: 0.0 };
    };
    for (side, input) in sides().skip(1) {
        match (first.measured(), input.measured()) {
            (Some(ours), Some(theirs)) => found.unlike(ours, side, theirs, across),
            _ => found.unlike_told(first, side, input, is_processor_alone),
        }
    }
    found.load(base, new);
    found.handover(base, new, sums);
    let explained_by_clocks = found.clocks(base, new, sums);
    Differences { all: found.all, explained_by_clocks }
}

struct Found<'a> {
    all: Vec<Difference>,
    told: HashSet<(DifferenceKind, String)>,
    allowed: &'a BTreeSet<DifferenceKind>,
}

impl Found<'_> {
    fn add(&mut self, kind: DifferenceKind, message: String) {
        let effect = match (NOTED.contains(&kind), self.allowed.contains(&kind)) {
            (true, _) => Effect::Noted,
            (false, true) => Effect::Allowed,
            (false, false) => Effect::CostsVerdict,
        };
        self.add_as(kind, effect, message);
    }

    fn add_as(&mut self, kind: DifferenceKind, effect: Effect, message: String) {
        // Files that differ from the first in the same way are one finding.
        if self.told.insert((kind, message.clone())) {
            let advice = kind.advice().to_owned();
            self.all.push(Difference { kind, effect, message, advice });
        }
    }

    /// What casts doubt on one file alone.
    fn doubts(&mut self, side: SideName, input: &Input) {
        let (side, name) = (side.name(), input.name());
        match (input.integrity(), input.reading.verdict()) {
            (Integrity::Intact, _) => {}
            (Integrity::NoDigests, _) => self.add_as(
                DifferenceKind::Altered,
                Effect::Noted,
                format!("{side}: {name} has no digests, so nothing shows whether it was altered"),
            ),
            (Integrity::Altered, Verdict::Altered { records }) if *records == [LAYOUT] => self.add(
                DifferenceKind::Altered,
                format!("{side}: {name} was altered since it was written (its layout alone)"),
            ),
            (Integrity::Altered, Verdict::Altered { records }) => self.add(
                DifferenceKind::Altered,
                format!(
                    "{side}: {name} was altered since it was written ({})",
                    listed(records.iter().map(String::as_str), ", ")
                ),
            ),
            (Integrity::Altered, _) => self.add(
                DifferenceKind::Altered,
                format!("{side}: the digests of {name} cannot be read"),
            ),
        }
        if let Some(file) = input.imported() {
            self.add(
                DifferenceKind::Imported,
                format!(
                    "{side}: {name} was imported from {}, which tells nothing of system, clocks, load \
                     and throttling",
                    input.tool_text()
                ),
            );
            let remarks = file.remarks();
            for remark in remarks.iter().take(MAX_REMARKS) {
                self.add(DifferenceKind::Imported, format!("{side}: {remark}"));
            }
            if let Some(n @ 1..) = remarks.len().checked_sub(MAX_REMARKS) {
                let message = format!("{side}: {name} has {n} more remarks");
                self.add(DifferenceKind::Imported, message);
            }
        }
        let Some(file) = input.measured() else { return };
        if file.tool.debug_build {
            self.add(
                DifferenceKind::Debug,
                format!(
                    "{side}: {name} is of a debug build, which says nothing about the hardware"
                ),
            );
        }
        if let Some(share) = file.plan.injected_slowdown {
            self.add(
                DifferenceKind::InjectedSlowdown,
                format!("{side}: {name} was slowed down by {:.1} % on purpose", share * 100.0),
            );
        }
        let ended = match file.run.ended {
            RunEnd::Completed => None,
            RunEnd::TimeUp => Some("its time was up"),
            RunEnd::Interrupted => Some("it was interrupted"),
        };
        if let Some(why) = ended {
            let message = format!("{side}: {name} ended before all rounds were measured: {why}");
            self.add(DifferenceKind::Unfinished, message);
        }
        let throttled: u64 = conditions(file)
            .filter_map(|conditions| conditions.throttle_events)
            .fold(0, u64::saturating_add);
        if throttled > 0 {
            let message = format!("{side}: the processor throttled {throttled} times in {name}");
            self.add(DifferenceKind::Throttling, message);
        }
        let gpus = conditions(file).filter_map(|conditions| conditions.gpu.as_ref());
        let held_back = gpus.filter(|gpu| gpu.held_back_by().next().is_some()).count();
        if held_back > 0 {
            let message =
                format!("{side}: the device held its clocks down in {held_back} rounds of {name}");
            self.add(DifferenceKind::Throttling, message);
        }
    }

    fn same_runs(&mut self, base: &[Input], new: &[Input]) {
        let of_base: BTreeSet<&str> = base.iter().flat_map(Input::run_ids).collect();
        for id in new.iter().flat_map(Input::run_ids).filter(|id| of_base.contains(id)) {
            let message = format!("run {id} is on both sides, and cannot differ from itself");
            self.add(DifferenceKind::SameRun, message);
        }
    }

    /// The same where one of them is another tool's. It tells so little that what is not told may be
    /// anything.
    fn unlike_told(
        &mut self,
        first: &Input,
        side: SideName,
        other: &Input,
        is_processor_alone: bool,
    ) {
        let of = other_side(side);
        let (ours, theirs) = (first.tool_text(), other.tool_text());
        if ours != theirs {
            let message = format!("`{ours}` measured the base, and `{theirs}` {of}");
            self.add(DifferenceKind::Tool, message);
        } else if !first.tells_version() {
            let tools: Vec<&str> = first.tools().into_iter().collect();
            let message = format!(
                "no version of {} is told, or several, so that it may be any",
                tools.join(", ")
            );
            self.add(DifferenceKind::Tool, message);
        }
        // A machine is a processor and what it has beside it: `EPYC; H100`.
        let relevant = |machine: &'_ str| match is_processor_alone {
            true => machine.split(';').next().unwrap_or_default().trim().to_owned(),
            false => machine.to_owned(),
        };
        let machines = |input: &Input| -> BTreeSet<String> {
            input.machines().into_iter().map(relevant).collect()
        };
        let text = |machines: &BTreeSet<String>| {
            machines_text(&machines.iter().map(String::as_str).collect()).unwrap_or_default()
        };
        let (ours, theirs) = (machines(first), machines(other));
        let message = if ours.is_empty() || theirs.is_empty() {
            let untold = if ours.is_empty() { first } else { other };
            format!("{} does not tell the machine, so that it may be any", untold.name())
        } else if ours != theirs {
            format!("the machine is `{}` in the base and `{}` in {of}", text(&ours), text(&theirs))
        } else if ours.len() > 1 {
            format!("there are several machines, `{}`: a case may have been on others", text(&ours))
        } else {
            return;
        };
        self.add(DifferenceKind::Machine, message);
    }

    /// In what a file is unlike the first one. What one of them does not tell, as older files do
    /// not, is not known to differ.
    fn unlike(
        &mut self,
        first: &ResultFile,
        side: SideName,
        other: &ResultFile,
        across: &[String],
    ) {
        let mut unlike = unlike_keys(&first.environment, &other.environment, "environment");
        // What says most comes first.
        unlike.sort_by_key(|unlike| unlike.path != "environment.cpu.model");
        for unlike in unlike {
            let key = unlike.path.trim_start_matches("environment.");
            let is_passing = PASSING.contains(&key) || key.starts_with("unavailable");
            // A processor without a name may be any.
            let is_known = unlike.is_known() || key == "cpu.model";
            let kind =
                match key.starts_with("cpu.") || key.starts_with("gpu") || key == "memory_bytes" {
                    true => DifferenceKind::Machine,
                    false => DifferenceKind::System,
                };
            if is_known && !is_passing {
                self.add(kind, unlike.message(side));
            }
        }
        let is_known_commit = first.tool.dirty == Some(false) && other.tool.dirty == Some(false);
        for unlike in unlike_keys(&first.tool, &other.tool, "tool") {
            // Of a clean commit, binaries built twice may differ and are the same program.
            let is_told_by_commit = unlike.path == "tool.binary_sha256" && is_known_commit;
            // A debug build is a doubt of its own.
            let is_told_already = unlike.path == "tool.debug_build" || is_told_by_commit;
            if unlike.is_known() && !is_told_already {
                self.add(DifferenceKind::Tool, unlike.message(side));
            }
        }
        let (mut ours, mut theirs) = (first.plan.clone(), other.plan.clone());
        for plan in [&mut ours, &mut theirs] {
            // Axes, and how many rounds there are, are looked at case by case.
            (plan.repetitions, plan.max_time_ns) = (0, None);
            plan.device.clear();
            plan.models.clear();
            // Told of each file by itself.
            plan.injected_slowdown = None;
        }
        if ours.probe_round.is_none() || theirs.probe_round.is_none() {
            (ours.probe_round, theirs.probe_round) = (None, None);
        }
        // Here an absent value means something: no warm-up, no bound.
        for unlike in unlike_keys(&ours, &theirs, "plan") {
            self.add(DifferenceKind::Settings, unlike.message(side));
        }
        if across.iter().any(|axis| axis == "model") {
            return;
        }
        for ours in &first.plan.models {
            let same_name = other.plan.models.iter().find(|theirs| theirs.label == ours.label);
            let Some(theirs) = same_name else { continue };
            for unlike in unlike_keys(ours, theirs, &format!("model `{}`", ours.label)) {
                // Where it was found does not matter.
                if unlike.is_known() && !unlike.path.ends_with(".origin") {
                    self.add(DifferenceKind::Model, unlike.message(side));
                }
            }
        }
    }

    fn load(&mut self, base: &[Input], new: &[Input]) {
        for (what, share) in [
            ("other programs", (|c| c.other_load_share) as fn(&ConditionsFile) -> Option<f64>),
            ("the hypervisor's other guests", |c| c.steal_share),
        ] {
            let mean = |inputs: &[Input]| {
                let all = inputs.iter().filter_map(Input::measured).flat_map(conditions);
                stats::mean(&all.filter_map(share).collect::<Vec<_>>())
            };
            let Some((before, after)) = mean(base).zip(mean(new)) else { continue };
            if (before - after).abs() > LOAD_ALIKE_WITHIN {
                self.add(
                    DifferenceKind::Load,
                    format!(
                        "{what} took {:.0} % of the processors' time in the base, and {:.0} % in the \
                         new side",
                        before * 100.0,
                        after * 100.0
                    ),
                );
            }
        }
    }

    /// Holds what words took between two threads against each other, by the same test as everything
    /// else. What that explains of a rate is not known.
    fn handover(&mut self, base: &[Input], new: &[Input], sums: &mut RankSums) {
        let (base, new) = (handovers(base), handovers(new));
        if let Some(shift) = shown_shift(&base, &new, HANDOVER_FAR_BEYOND.ln(), sums) {
            let [times, lower, upper] = [shift.estimate, shift.lower, shift.upper].map(f64::exp);
            let message = format!(
                "a word took {times:.2} [{lower:.2}, {upper:.2}] times as long from one thread to the \
                 other in the new side as in the base"
            );
            self.add(DifferenceKind::Handover, message);
        }
    }

    /// Holds the speeds of cores against each other, by the same test as everything else. Gives what
    /// they could explain of a ratio of rates.
    fn clocks(&mut self, base: &[Input], new: &[Input], sums: &mut RankSums) -> f64 {
        let shift = shown_shift(&speeds(base), &speeds(new), CLOCKS_ALIKE_WITHIN.ln_1p(), sums);
        let Some(shift) = shift else { return 0.0 };
        let is_allowed = self.allowed.contains(&DifferenceKind::Clocks);
        let percent = |log: f64| format!("{:+.1} %", log.exp_m1() * 100.0);
        let message = format!(
            "cores ran at another speed in the new side than in the base: {} [{}, {}]",
            percent(shift.estimate),
            percent(shift.lower),
            percent(shift.upper),
        );
        match is_allowed {
            true => {
                self.add_as(DifferenceKind::Clocks, Effect::Allowed, message);
                0.0
            }
            false => {
                self.add_as(DifferenceKind::Clocks, Effect::TakenOff, message);
                shift.estimate
            }
        }
    }
}

fn rounds(file: &ResultFile) -> impl Iterator<Item = &RoundFile> {
    let of_cases = file.cases.iter().flat_map(|case| &case.rounds);
    of_cases.chain(file.ceilings.iter().flat_map(|ceiling| &ceiling.rounds))
}

fn conditions(file: &ResultFile) -> impl Iterator<Item = &ConditionsFile> {
    rounds(file).filter_map(|round| round.conditions.as_ref())
}

/// By how much values of `new` lie above those of `base`, where that is shown and they are not alike
/// within `alike_within`.
fn shown_shift(base: &[f64], new: &[f64], alike_within: f64, sums: &mut RankSums) -> Option<Shift> {
    let shift = sums.shift(base, new, 0.05)?;
    let is_shown = shift.lower > 0.0 || shift.upper < 0.0;
    (is_shown && shift.estimate.abs() >= alike_within).then_some(shift)
}

/// A logarithm for each round that was looked at, of what `reading` finds in its conditions.
fn readings(inputs: &[Input], reading: impl Fn(&ConditionsFile) -> Option<f64>) -> Vec<f64> {
    let rounds = inputs.iter().filter_map(Input::measured).flat_map(conditions);
    let all: Vec<f64> =
        rounds.filter_map(reading).filter(|value| *value > 0.0).map(f64::ln).collect();
    let step = all.len().div_ceil(N_READINGS).max(1);
    all.into_iter().step_by(step).collect()
}

/// Speeds of cores: the faster of a round's two readings, since whatever comes between makes one
/// slower and nothing makes it faster.
fn speeds(inputs: &[Input]) -> Vec<f64> {
    readings(inputs, |c| {
        stats::max(
            &[c.core_speed_before_per_s, c.core_speed_after_per_s]
                .map(|speed| speed.unwrap_or(0.0)),
        )
    })
}

/// What words took between two threads: the mean of what a round tells.
fn handovers(inputs: &[Input]) -> Vec<f64> {
    readings(inputs, |c| {
        let told = [c.handover_before_ns, c.handover_ns].into_iter().flatten().collect::<Vec<_>>();
        stats::mean(&told)
    })
}

/// Whose a file is that is held against the first of the base.
fn other_side(side: SideName) -> &'static str {
    match side {
        SideName::Base => "another file of the base",
        SideName::New => "the new side",
    }
}

/// A key in which two values differ.
struct Unlike {
    path: String,
    first: Value,
    other: Value,
}

impl Unlike {
    /// Whether both are there.
    fn is_known(&self) -> bool {
        !self.first.is_null() && !self.other.is_null()
    }

    fn message(&self, side: SideName) -> String {
        let of = other_side(side);
        let [first, other] = [&self.first, &self.other].map(value_text);
        format!("{} is {first} in the base and {other} in {of}", self.path)
    }
}

/// The keys in which two values differ.
fn unlike_keys<T: Serialize>(first: &T, other: &T, path: &str) -> Vec<Unlike> {
    let value = |it: &T| serde_json::to_value(it).unwrap_or(Value::Null);
    let mut found = Vec::new();
    collect_unlike(&value(first), &value(other), path, &mut found);
    found
}

fn collect_unlike(first: &Value, other: &Value, path: &str, found: &mut Vec<Unlike>) {
    match (first, other) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let [a, b] = [a, b].map(|object| object.get(key).unwrap_or(&Value::Null));
                collect_unlike(a, b, &format!("{path}.{key}"), found);
            }
        }
        (a, b) if a != b => {
            found.push(Unlike { path: path.to_owned(), first: a.clone(), other: b.clone() });
        }
        _ => {}
    }
}

/// A value in a sentence; long ones are cut.
fn value_text(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = match value {
        Value::Null => "absent".to_owned(),
        Value::String(text) => format!("`{text}`"),
        other => other.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
