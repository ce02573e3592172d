//! The rounds of a run.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::case::DeviceSpec;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::{Pool, Threads};
use crate::measure::{self, Clock, Limits, PassTimes, Recorder, Round, WarmUp, Workload};
use crate::plan::{Plan, PlannedProbe, WeightSet};
use crate::result::file::{ConditionsFile, OutcomeFile, RunEnd};
use crate::result::{self, Record};
use crate::runner::budget::{Budget, RoundCost};
use crate::runner::gpu::gpu_conditions_file;
use crate::runner::items::{Item, ItemState};
use crate::runner::probes::Probes;
use crate::runner::slowed::Slowed;
use crate::runner::{Decoders, Event, Observers};
use crate::telemetry::{self, Sampler};
use crate::units::Bytes;
use crate::workload::{Expected, Inference, Session};

/// Memory for what passes are held against, from round to round; beyond it, it is computed anew.
const KEPT_REFERENCES: Bytes = Bytes(64 << 20);

/// A run under way.
pub(super) struct Run<'a, C> {
    plan: &'a Plan,
    clock: &'a C,
    observers: Observers<'a>,
    items: Vec<ItemState>,
    sampler: Sampler,
    device: Device,
    decoders: Decoders,
    /// The one KV cache that is held, and the weights and batch size it is for.
    session: Option<((WeightSet, u32), Session)>,
    probes: Probes,
    /// What passes of a case are held against.
    expected: HashMap<usize, Expected>,
    kept: Bytes,
}

/// What one turn of an item left behind.
struct Turn {
    warm_up: Option<WarmUp>,
    round: Option<Round>,
    conditions: Option<ConditionsFile>,
    /// Time on the clock just before the round.
    begin_ns: u64,
}

impl<'a, C: Clock + Sync> Run<'a, C> {
    pub fn new(
        plan: &'a Plan,
        items: Vec<ItemState>,
        clock: &'a C,
        device: Device,
        decoders: Decoders,
        observers: Observers<'a>,
    ) -> Self {
        Self {
            plan,
            clock,
            observers,
            items,
            sampler: Sampler::new(),
            device,
            decoders,
            session: None,
            probes: Probes::default(),
            expected: HashMap::new(),
            kept: Bytes(0),
        }
    }

    /// Every round that is still to come, and how that ended.
    pub fn all_rounds(mut self, threads: &mut Threads) -> Result<RunEnd> {
        let mut time_up = false;
        for round_idx in 0..self.plan.settings.repetitions {
            let mut any_ran = false;
            for idx in 0..self.items.len() {
                if self.is_interrupted() {
                    return Ok(RunEnd::Interrupted);
                }
                let item = &self.items[idx];
                if item.ended || item.rounds_done > round_idx {
                    continue;
                }
                if !self.fits_into_the_time_left(idx) {
                    time_up = true;
                    continue;
                }
                any_ran = true;
                self.turn_or_failure(idx, round_idx, threads)?;
                self.drop_probes_that_are_done();
            }
            // Nothing fits any more, and time does not come back.
            if time_up && !any_ran {
                break;
            }
        }
        // An interrupt inside the very last round still cost it.
        Ok(match self.is_interrupted() {
            true => RunEnd::Interrupted,
            false if time_up => RunEnd::TimeUp,
            false => RunEnd::Completed,
        })
    }

    /// Gives memory back that no probe still to come needs.
    fn drop_probes_that_are_done(&mut self) {
        let open = self.items.iter().filter(|item| !item.is_done(self.plan));
        let kinds: Vec<_> = open
            .filter_map(|item| match item.item {
                Item::Probe(idx) => Some(self.plan.probes[idx].probe.kind),
                Item::Case(_) => None,
            })
            .collect();
        self.probes.keep_only(&kinds);
    }

    fn is_interrupted(&self) -> bool {
        self.observers.interrupted.load(Ordering::Relaxed)
    }

    /// One round of one item; what goes wrong in it ends the item and not the run.
    fn turn_or_failure(&mut self, idx: usize, round_idx: u32, threads: &mut Threads) -> Result<()> {
        let n_threads = self.items[idx].n_threads;
        // Should this turn end the process, whoever resumes the run sees which it was.
        self.record(Record::Began { id: self.items[idx].id.clone() })?;
        let turn = AssertUnwindSafe(|| threads.run(n_threads, || self.turn(idx, round_idx)));
        let reason = match std::panic::catch_unwind(turn) {
            Ok(turn) => match turn? {
                Ok(records) => {
                    for record in records {
                        self.record(record)?;
                    }
                    return Ok(());
                }
                Err(error) => error.to_string(),
            },
            Err(panic) => panic_text(&*panic),
        };
        let id = self.items[idx].id.clone();
        (self.observers.watch)(Event::Failed { id: &id, reason: &reason });
        self.items[idx].ended = true;
        // Whatever it left there is not to be trusted.
        self.session = None;
        self.probes = Probes::default();
        self.record(Record::Ended { id, outcome: OutcomeFile::Failed { reason } })
    }

    fn record(&mut self, record: Record) -> Result<()> {
        (self.observers.record)(self.clock.now_ns(), record)
    }

    fn turn(&mut self, idx: usize, round_idx: u32) -> Result<Vec<Record>> {
        let begin_ns = self.clock.now_ns();
        let (turn, kernel, recorder) = match self.items[idx].item {
            Item::Probe(probe_idx) => {
                let (turn, kernel) = self.probe_turn(idx, probe_idx, round_idx)?;
                (turn, Some(kernel), None)
            }
            Item::Case(case_idx) => match self.case_turn(idx, case_idx, round_idx)? {
                Some((turn, kernel, recorder)) => (turn, kernel, Some(recorder)),
                None => return Ok(Vec::new()),
            },
        };
        let id = &self.items[idx].id;
        let mut records = Vec::new();
        if let Some(warm_up) = &turn.warm_up {
            let warm_up = result::warm_up_file(warm_up);
            records.push(Record::WarmUp { id: id.clone(), warm_up });
        }
        if let Some(round) = &turn.round {
            records.push(Record::Round {
                id: id.clone(),
                round: Box::new(result::round_file(round, turn.conditions)),
                check: result::check_file(&round.checks),
                kernel,
                latencies: recorder.as_ref().map(result::latency_files).unwrap_or_default(),
            });
        }
        let item = &mut self.items[idx];
        item.warmed_up = true;
        if let Some(round) = &turn.round {
            item.rounds_done += 1;
            item.so_far.add(round.passes, round.total_ns);
            let warm_up_ns = turn.warm_up.map_or(0, |warm_up| warm_up.total_ns);
            let until_round_ns = turn.begin_ns.saturating_sub(begin_ns + warm_up_ns);
            let whole_ns = until_round_ns + (self.clock.now_ns() - turn.begin_ns);
            // Checks and resets grow with the passes, so the least round has one of them too.
            let besides_ns = whole_ns.saturating_sub(round.total_ns);
            let least_ns = besides_ns / round.passes.max(1) + until_round_ns + round.max_pass_ns;
            item.cost = Some(RoundCost { whole_ns, least_ns: least_ns.min(whole_ns) });
        }
        Ok(records)
    }

    fn probe_turn(
        &mut self,
        idx: usize,
        probe_idx: usize,
        round_idx: u32,
    ) -> Result<(Turn, String)> {
        let planned = &self.plan.probes[probe_idx];
        let kind = planned.probe.kind;
        if !self.plan.keeps_probes {
            self.probes.keep_only(&[kind]);
        }
        // Out of `self` while it runs: timing needs the rest of it.
        let mut probes = std::mem::take(&mut self.probes);
        let turn = self.probe_round(&mut probes, idx, planned, round_idx);
        if turn.is_err() {
            // What failed may have left anything behind; the others go on with theirs.
            let kinds = self.plan.probes.iter().map(|planned| planned.probe.kind);
            let others = kinds.filter(|other| other.holder() != kind.holder());
            probes.keep_only(&others.collect::<Vec<_>>());
        }
        self.probes = probes;
        turn
    }

    fn probe_round(
        &mut self,
        probes: &mut Probes,
        idx: usize,
        planned: &PlannedProbe,
        round_idx: u32,
    ) -> Result<(Turn, String)> {
        let (kind, seed) = (planned.probe.kind, self.plan.settings.seed);
        let (mut workload, kernel, is_new) =
            probes.workload(&self.device, kind, planned.sizes, seed)?;
        if is_new && self.items[idx].warmed_up {
            // The warm-up was on memory that is gone; the first pass over this one is slow.
            let once = Limits { min_ns: 0, min_passes: 1, ..self.plan.settings.probe_round() };
            measure::run_round(&mut *workload, self.clock, &once, &|| false, |_| {})?;
        }
        let turn = self.time(idx, round_idx, &mut *workload, |_| {})?;
        Ok((turn, kernel.to_owned()))
    }

    fn case_turn(
        &mut self,
        idx: usize,
        case_idx: usize,
        round_idx: u32,
    ) -> Result<Option<(Turn, Option<String>, Recorder)>> {
        let planned = &self.plan.cases[case_idx];
        let case = &planned.case;
        let decoder = match self.decoders.get(&planned.weight_set()) {
            None => return Ok(None),
            Some(Ok(decoder)) => &Arc::clone(decoder),
            Some(Err(reason)) => return Err(Error::NotLoaded { reason: reason.clone() }),
        };
        let key = (planned.weight_set(), case.batch_size);
        let mut session = match self.session.take() {
            Some((held, session)) if held == key => session,
            held => {
                drop(held); // Freed before its successor is allocated.
                let n_positions = self.plan.cache_positions(planned);
                Session::new(decoder, case.batch_size, n_positions)?
            }
        };
        let (seed, device) = (self.plan.settings.seed, self.device.clone());
        let expected = self.take_expected(case_idx);
        let interrupted = || self.observers.interrupted.load(Ordering::Relaxed);
        let workload =
            Inference::new(case, seed, decoder, &mut session, &device, expected, &interrupted)?;
        let Some(mut workload) = workload else {
            self.session = Some((key, session));
            return Ok(None);
        };
        let mut recorder = Recorder::new(case.test);
        let turn = self.time(idx, round_idx, &mut workload, |pass| recorder.record_pass(pass))?;
        if let Some(expected) = workload.into_expected() {
            self.keep_expected(case_idx, expected);
        }
        self.session = Some((key, session));
        Ok(Some((turn, decoder.kernel().map(str::to_owned), recorder)))
    }

    fn take_expected(&mut self, case_idx: usize) -> Option<Expected> {
        let expected = self.expected.remove(&case_idx)?;
        self.kept = Bytes(self.kept.0 - expected.size().0);
        Some(expected)
    }

    fn keep_expected(&mut self, case_idx: usize, expected: Expected) {
        if self.kept + expected.size() <= KEPT_REFERENCES {
            self.kept = self.kept + expected.size();
            self.expected.insert(case_idx, expected);
        }
    }

    /// Warms an item up if this process has not yet, and times a round of it.
    fn time(
        &mut self,
        idx: usize,
        round_idx: u32,
        workload: &mut (impl Workload + ?Sized),
        record: impl FnMut(PassTimes<'_>),
    ) -> Result<Turn> {
        let share = self.plan.settings.injected_slowdown.unwrap_or(0.0);
        let workload = &mut Slowed { workload, clock: self.clock, share };
        let (done, planned) = (self.n_done(), self.n_planned());
        let remaining_ns = self.remaining_ns();
        let settings = &self.plan.settings;
        let budget =
            Budget { max_ns: settings.max_time_ns, rounds_left: planned.saturating_sub(done) };
        let interrupted_flag = self.observers.interrupted;
        let interrupted = || interrupted_flag.load(Ordering::Relaxed);
        let item = &self.items[idx];
        let mut warm_up = None;
        if let (false, Some(limits)) = (item.warmed_up, settings.warm_up()) {
            (self.observers.watch)(Event::WarmUp { id: &item.id });
            let limits: Limits = budget.share(limits, self.clock.now_ns());
            warm_up = measure::warm_up(workload, self.clock, &limits, &interrupted)?;
        }
        let id = &item.id;
        let estimate = item.so_far.estimate();
        let so_far = estimate.as_ref();
        let event = Event::Round { id, round_idx, done, planned, remaining_ns, so_far };
        (self.observers.watch)(event);
        let limits = match item.item {
            Item::Probe(_) => settings.probe_round(),
            Item::Case(_) => settings.round(),
        };
        let limits = budget.share(limits, self.clock.now_ns());
        let now_ns = || self.clock.now_ns();
        let begin_ns = self.clock.now_ns();
        let is_processor = settings.device == DeviceSpec::Cpu;
        let handover_ns =
            || is_processor.then(|| Pool::with_current(|pool| pool.handover_ns(&now_ns))).flatten();
        let speed_before = telemetry::core_speed(&now_ns);
        let handover_before_ns = handover_ns();
        let before = self.sampler.sample();
        let watch = self.device.watch();
        let round = measure::run_round(workload, self.clock, &limits, &interrupted, record)?;
        let gpu = watch.map(|watch| gpu_conditions_file(watch.end()));
        let conditions = before.until(&self.sampler.sample());
        // While the threads of a round of our own kernels are still where they were.
        let handover_ns = handover_ns();
        let speed_after = telemetry::core_speed(&now_ns);
        let mut conditions = ConditionsFile {
            core_speed_before_per_s: speed_before,
            core_speed_after_per_s: speed_after,
            handover_before_ns,
            handover_ns,
            other_load_share: conditions.other_load_share,
            steal_share: conditions.steal_share,
            throttle_events: conditions.throttle_events,
            frequency_hz: conditions.frequency_hz,
            involuntary_switches: conditions.involuntary_switches,
            major_faults: conditions.major_faults,
            gpu,
            absent: BTreeMap::new(),
        };
        conditions.absent = self.absent_conditions(&conditions);
        let conditions = Some(conditions);
        Ok(Turn { warm_up, round, conditions, begin_ns })
    }

    /// Why conditions are absent that this machine tells at other times.
    fn absent_conditions(&self, conditions: &ConditionsFile) -> BTreeMap<String, String> {
        const TOO_SHORT: &str = "the round is too short for the kernel's ticks (200 ms)";
        const STANDS_STILL: &str = "the clock did not move while the core ran";
        const NOT_TWO: &str =
            "it is told of two threads of the processor that run at the same time";
        const UNREAD: &str = "it could not be read";
        let unavailable = self.sampler.unavailable();
        let ConditionsFile {
            core_speed_before_per_s,
            core_speed_after_per_s,
            handover_before_ns,
            handover_ns,
            other_load_share,
            steal_share,
            throttle_events,
            frequency_hz,
            involuntary_switches,
            major_faults,
            // A device that tells nothing says why in the environment.
            gpu: _,
            absent: _,
        } = conditions;
        [
            ("core_speed_before_per_s", core_speed_before_per_s.is_some(), STANDS_STILL),
            ("core_speed_after_per_s", core_speed_after_per_s.is_some(), STANDS_STILL),
            ("handover_before_ns", handover_before_ns.is_some(), NOT_TWO),
            ("handover_ns", handover_ns.is_some(), NOT_TWO),
            ("other_load_share", other_load_share.is_some(), TOO_SHORT),
            ("steal_share", steal_share.is_some(), TOO_SHORT),
            ("throttle_events", throttle_events.is_some(), UNREAD),
            ("frequency_hz", frequency_hz.is_some(), UNREAD),
            ("involuntary_switches", involuntary_switches.is_some(), UNREAD),
            ("major_faults", major_faults.is_some(), UNREAD),
        ]
        .into_iter()
        .filter(|(key, is_told, _)| !is_told && !unavailable.contains_key(*key))
        .map(|(key, _, reason)| (key.to_owned(), reason.to_owned()))
        .collect()
    }

    fn n_planned(&self) -> u64 {
        self.items.len() as u64 * u64::from(self.plan.settings.repetitions)
    }

    /// Rounds done, and those that will not come.
    fn n_done(&self) -> u64 {
        let repetitions = self.plan.settings.repetitions;
        let done = |item: &ItemState| if item.ended { repetitions } else { item.rounds_done };
        self.items.iter().map(|item| u64::from(done(item))).sum()
    }

    /// Whether the least round of an item can end in time. One that has not run yet gets its
    /// chance as long as there is any time.
    fn fits_into_the_time_left(&self, idx: usize) -> bool {
        let least_ns = self.items[idx].cost.unwrap_or_default().least_ns;
        self.time_left_ns().is_none_or(|left_ns| left_ns > least_ns)
    }

    fn time_left_ns(&self) -> Option<u64> {
        let max_ns = self.plan.settings.max_time_ns?;
        Some(max_ns.saturating_sub(self.clock.now_ns()))
    }

    /// What the rounds still to come will take, once each item has run.
    fn remaining_ns(&self) -> Option<u64> {
        let repetitions = self.plan.settings.repetitions;
        let open = self.items.iter().filter(|item| !item.is_done(self.plan));
        let all_ns = open
            .map(|item| {
                let rounds = u64::from(repetitions.saturating_sub(item.rounds_done));
                item.cost.map(|cost| cost.whole_ns.saturating_mul(rounds))
            })
            .try_fold(0_u64, |sum_ns, ns| Some(sum_ns.saturating_add(ns?)))?;
        Some(all_ns.min(self.time_left_ns().unwrap_or(u64::MAX)))
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the engine panicked: {}", text.unwrap_or_else(|| "without a word".into()))
}
