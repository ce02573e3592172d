//! Runs a plan: cases in interleaved rounds (A B C A B C …), so that drift of the machine does
//! not look like a difference between cases.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::case::{Case, Dtype};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::kernels::Threads;
use crate::measure::{self, Clock, Limits, MonotonicClock};
use crate::model::Decoder;
use crate::model::weights::Weights;
use crate::plan::{Plan, PlannedCase};
use crate::result::file::{OutcomeFile, ResultFile, RunEnd, RunFile};
use crate::result::{self, CaseSummary, FORMAT_VERSION};
use crate::workload::{self, Inference, Session};

/// What is going on, for whoever watches.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Weights are being loaded or drawn.
    Loading {
        /// The model's label.
        model: &'a str,
        /// The format.
        dtype: Dtype,
    },
    /// A case's warm-up begins.
    WarmUp {
        /// The case.
        case: &'a Case,
    },
    /// A round begins.
    Round {
        /// The case.
        case: &'a Case,
        /// Counted from 0.
        round_idx: u32,
        /// Rounds finished, over all cases.
        done: u64,
        /// Rounds planned, over all cases.
        planned: u64,
        /// What the rest will take, as far as is known.
        remaining_ns: Option<u64>,
    },
    /// A case failed; the run goes on without it.
    Failed {
        /// The case.
        case: &'a Case,
        /// Why.
        reason: &'a str,
    },
}

/// Runs `plan` by the monotonic clock and puts everything about it into a result file's form.
/// `command_line` is recorded as it is.
///
/// # Errors
/// As [`run`].
pub fn run_to_result(
    plan: &Plan,
    command_line: Vec<String>,
    interrupted: &AtomicBool,
    watch: &mut (dyn FnMut(Event) + Send),
) -> Result<ResultFile> {
    let clock = MonotonicClock::default();
    let started = measure::utc_now();
    let environment = result::environment();
    let summary = run(plan, &clock, interrupted, watch)?;
    Ok(ResultFile {
        format_version: FORMAT_VERSION,
        tool: result::tool(),
        run: RunFile {
            // Differs between any two runs: the time in nanoseconds, and the process.
            id: format!("{:x}-{:x}", started.as_nanosecond(), std::process::id()),
            started: started.to_string(),
            finished: measure::utc_now().to_string(),
            duration_ns: clock.now_ns(),
            ended: summary.ended,
            command_line,
            time_to_first_iteration_ns: summary.first_iteration_ns,
        },
        environment,
        plan: result::plan_file(plan),
        cases: summary.cases.iter().map(result::case_result).collect(),
    })
}

/// What a run measured.
#[derive(Debug)]
pub struct RunSummary {
    /// One for every case of the plan, in its order.
    pub cases: Vec<CaseSummary>,
    /// Whether it was completed.
    pub ended: RunEnd,
    /// From the clock's start to the first iteration's.
    pub first_iteration_ns: Option<u64>,
}

/// Runs `plan` and tells `watch` about it. `interrupted` ends the run after the pass under way;
/// what was measured until then is kept.
///
/// # Errors
/// What keeps the run from starting: the device, the weights. A case that fails later is a
/// case with that outcome.
pub fn run(
    plan: &Plan,
    clock: &(impl Clock + Sync),
    interrupted: &AtomicBool,
    watch: &mut (dyn FnMut(Event) + Send),
) -> Result<RunSummary> {
    let device = Device::open(plan.settings.device)?;
    let mut threads = Threads::default();
    let decoders = load(plan, &device, &mut threads, watch)?;
    let summaries = plan
        .cases
        .iter()
        .map(|p| CaseSummary::new(p.case.clone(), &plan.models[p.model_idx].config))
        .collect();
    let mut run = Run {
        plan,
        clock,
        interrupted,
        device,
        decoders,
        session: None,
        summaries,
        costs: vec![None; plan.cases.len()],
        done: 0,
        first_iteration_ns: None,
    };
    let ended = run.all_rounds(&mut threads, watch)?;
    Ok(RunSummary { cases: run.summaries, ended, first_iteration_ns: run.first_iteration_ns })
}

/// The logits after the last token of `prompt`, on a plan whose only case is a prefill of as
/// many tokens: what the numerics are checked by.
///
/// # Errors
/// [`Error::TokenOutOfRange`], or what is wrong with device, weights or logits.
pub fn last_logits(plan: &Plan, prompt: &[u32]) -> Result<Vec<f32>> {
    let PlannedCase { case, model_idx } = &plan.cases[0];
    let spec = &plan.models[*model_idx];
    let vocab_size = spec.config.vocab_size;
    if let Some(&token) = prompt.iter().find(|&&token| token as usize >= vocab_size) {
        return Err(Error::TokenOutOfRange { token, vocab_size, model: spec.label.clone() });
    }
    let device = Device::open(case.device)?;
    let mut threads = Threads::default();
    let decoders = load(plan, &device, &mut threads, &mut |_| {})?;
    let decoder = &decoders[&(*model_idx, case.dtype)];
    threads.run(case.n_threads, || workload::last_logits(decoder, &device, prompt))?
}

type WeightSet = (usize, Dtype);

/// Every set of weights that the plan needs, on as many threads as any case uses.
fn load(
    plan: &Plan,
    device: &Device,
    threads: &mut Threads,
    watch: &mut (dyn FnMut(Event) + Send),
) -> Result<HashMap<WeightSet, Decoder>> {
    let n_threads = plan.cases.iter().map(|p| p.case.n_threads).max().unwrap_or(1);
    // A system that refuses threads does so here, and not in the middle of a run.
    for planned in &plan.cases {
        threads.run(planned.case.n_threads, || ())?;
    }
    let mut decoders = HashMap::new();
    for (model_idx, dtype) in plan.weight_sets() {
        let spec = &plan.models[model_idx];
        watch(Event::Loading { model: &spec.label, dtype });
        let alike = plan.cases.iter().filter(|p| (p.model_idx, p.case.dtype) == (model_idx, dtype));
        let n_positions = alike.map(|p| p.case.n_positions()).max().unwrap_or(0);
        let decoder = threads.run(n_threads, || {
            let weights = Weights::open(spec, plan.settings.seed, dtype, device.engine())?;
            Decoder::new(&spec.config, &weights, n_positions as usize)
        })??;
        decoders.insert((model_idx, dtype), decoder);
    }
    device.synchronize()?;
    Ok(decoders)
}

/// Time for the rounds still to come.
#[derive(Clone, Copy)]
struct Budget {
    /// On the run's clock; absent when unbounded.
    max_ns: Option<u64>,
    rounds_left: u64,
}

impl Budget {
    /// `limits` with one round's share of the time left at `now_ns` as their maximum.
    fn share(self, limits: Limits, now_ns: u64) -> Limits {
        let Some(max_ns) = self.max_ns else { return limits };
        let share_ns = max_ns.saturating_sub(now_ns) / self.rounds_left.max(1);
        Limits { max_ns: limits.max_ns.min(share_ns), ..limits }
    }
}

/// What a round took, without the warm-up.
#[derive(Clone, Copy, Default)]
struct RoundCost {
    /// All of it, with resets and the filling of the cache.
    whole_ns: u64,
    /// The least a round can take: its untimed parts, and one pass.
    least_ns: u64,
}

/// A run under way.
struct Run<'a, C> {
    plan: &'a Plan,
    clock: &'a C,
    interrupted: &'a AtomicBool,
    device: Device,
    decoders: HashMap<WeightSet, Decoder>,
    /// The one KV cache that is held, and the weights and batch size it is for.
    session: Option<((WeightSet, u32), Session)>,
    summaries: Vec<CaseSummary>,
    /// What the last round of each case took.
    costs: Vec<Option<RoundCost>>,
    done: u64,
    first_iteration_ns: Option<u64>,
}

impl<C: Clock + Sync> Run<'_, C> {
    fn all_rounds(
        &mut self,
        threads: &mut Threads,
        watch: &mut (dyn FnMut(Event) + Send),
    ) -> Result<RunEnd> {
        let mut time_up = false;
        for round_idx in 0..self.plan.settings.repetitions {
            for case_idx in 0..self.plan.cases.len() {
                if self.interrupted.load(Ordering::Relaxed) {
                    return Ok(RunEnd::Interrupted);
                }
                if matches!(self.summaries[case_idx].outcome, OutcomeFile::Failed { .. }) {
                    continue;
                }
                if !self.fits_into_the_time_left(case_idx) {
                    time_up = true;
                    continue;
                }
                let case = &self.plan.cases[case_idx].case;
                let n_threads = case.n_threads;
                let outcome =
                    threads.run(n_threads, || self.case_round(case_idx, round_idx, watch))?;
                if let Err(error) = outcome {
                    let reason = error.to_string();
                    watch(Event::Failed { case, reason: &reason });
                    self.summaries[case_idx].fail(reason);
                    // Its other rounds will not come.
                    self.costs[case_idx] = Some(RoundCost::default());
                    self.done += u64::from(self.plan.settings.repetitions - round_idx - 1);
                }
                self.done += 1;
            }
        }
        // An interrupt inside the very last round still cost it.
        Ok(match self.interrupted.load(Ordering::Relaxed) {
            true => RunEnd::Interrupted,
            false if time_up => RunEnd::TimeUp,
            false => RunEnd::Completed,
        })
    }

    /// One round of one case, with its warm-up before the first.
    fn case_round(
        &mut self,
        case_idx: usize,
        round_idx: u32,
        watch: &mut (dyn FnMut(Event) + Send),
    ) -> Result<()> {
        let mut begin_ns = self.clock.now_ns();
        let remaining_ns = self.remaining_ns(round_idx, case_idx);
        let planned = self.n_planned();
        let budget =
            Budget { max_ns: self.plan.settings.max_time_ns, rounds_left: planned - self.done };
        let planned_case = &self.plan.cases[case_idx];
        let PlannedCase { case, model_idx } = planned_case;
        let weight_set = (*model_idx, case.dtype);
        let decoder = &self.decoders[&weight_set];

        let key = (weight_set, case.batch_size);
        if self.session.as_ref().is_none_or(|(held, _)| *held != key) {
            self.session = None; // Freed before its successor is allocated.
            let n_positions = self.plan.cache_positions(planned_case);
            self.session = Some((key, Session::new(decoder, case.batch_size, n_positions)?));
        }
        let Some((_, session)) = &mut self.session else { return Ok(()) };
        let interrupted = || self.interrupted.load(Ordering::Relaxed);
        let (seed, device) = (self.plan.settings.seed, &self.device);
        let Some(mut workload) =
            Inference::new(case, seed, decoder, session, device, &interrupted)?
        else {
            return Ok(());
        };
        let summary = &mut self.summaries[case_idx];
        self.first_iteration_ns.get_or_insert_with(|| self.clock.now_ns());
        if let (None, Some(limits)) = (summary.warm_up, self.plan.settings.warm_up()) {
            watch(Event::WarmUp { case });
            let warm_up_begin_ns = self.clock.now_ns();
            let limits = budget.share(limits, warm_up_begin_ns);
            summary.warm_up = measure::warm_up(&mut workload, self.clock, &limits, &interrupted)?;
            begin_ns += self.clock.now_ns() - warm_up_begin_ns;
        }
        watch(Event::Round { case, round_idx, done: self.done, planned, remaining_ns });
        let limits = budget.share(self.plan.settings.round(), self.clock.now_ns());
        let recorder = &mut summary.recorder;
        let record = |pass: &[u64]| recorder.record_pass(pass);
        let round = measure::run_round(&mut workload, self.clock, &limits, &interrupted, record)?;
        workload.check_output()?;
        if let Some(round) = round {
            summary.rounds.push(round);
            summary.outcome = OutcomeFile::Measured;
            let whole_ns = self.clock.now_ns() - begin_ns;
            let least_ns = whole_ns - round.total_ns + round.max_pass_ns;
            self.costs[case_idx] = Some(RoundCost { whole_ns, least_ns });
        }
        Ok(())
    }

    fn n_planned(&self) -> u64 {
        self.plan.cases.len() as u64 * u64::from(self.plan.settings.repetitions)
    }

    /// Whether the least round of a case can end in time. A case that has not run yet gets its
    /// chance as long as there is any time.
    fn fits_into_the_time_left(&self, case_idx: usize) -> bool {
        let least_ns = self.costs[case_idx].unwrap_or_default().least_ns;
        self.time_left_ns().is_none_or(|left_ns| left_ns > least_ns)
    }

    fn time_left_ns(&self) -> Option<u64> {
        let max_ns = self.plan.settings.max_time_ns?;
        Some(max_ns.saturating_sub(self.clock.now_ns()))
    }

    /// What the rounds still to come will take, once each case has run.
    fn remaining_ns(&self, round_idx: u32, case_idx: usize) -> Option<u64> {
        let rounds_after = u64::from(self.plan.settings.repetitions - round_idx - 1);
        let this_and_later = |i: usize| rounds_after + u64::from(i >= case_idx);
        let costs = self.costs.iter().enumerate();
        let all_ns = costs
            .map(|(i, cost)| cost.map(|c| c.whole_ns.saturating_mul(this_and_later(i))))
            .try_fold(0_u64, |sum_ns, ns| Some(sum_ns.saturating_add(ns?)))?;
        Some(all_ns.min(self.time_left_ns().unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::DeviceSpec;
    use crate::measure::{ManualClock, StopReason};
    use crate::model::ModelSpec;
    use crate::plan::{Axes, Settings};

    fn settings() -> Settings {
        Settings {
            device: DeviceSpec::Cpu,
            seed: 0,
            repetitions: 3,
            warm_up_passes: 1,
            min_time_ns: 0,
            max_time_ns: None,
        }
    }

    fn plan(n_prompts: &[u32], settings: Settings) -> Plan {
        plan_of(n_prompts, &[], settings)
    }

    fn plan_of(n_prompts: &[u32], n_gens: &[u32], settings: Settings) -> Plan {
        let axes = Axes {
            models: vec![ModelSpec::resolve("tiny").unwrap()],
            dtypes: vec![Dtype::F32],
            n_threads: vec![1],
            n_prompts: n_prompts.to_vec(),
            n_gens: n_gens.to_vec(),
            requests: vec![],
            n_depths: vec![0, 3],
            batch_sizes: vec![1],
        };
        Plan::new(axes, settings, None).unwrap()
    }

    /// Runs by a clock that goes on by 1 µs with every reading; gives the order of rounds too.
    fn run_stepping(plan: &Plan, interrupt_at: Option<usize>) -> (RunSummary, Vec<String>) {
        let interrupted = AtomicBool::new(false);
        let mut rounds = Vec::new();
        let clock = ManualClock::stepping(1_000);
        let summary = run(plan, &clock, &interrupted, &mut |event| {
            if let Event::Round { case, round_idx, .. } = event {
                rounds.push(format!("{round_idx} {}", case.test_name()));
                let stop_now = interrupt_at.is_some_and(|n| rounds.len() > n);
                interrupted.store(stop_now, Ordering::Relaxed);
            }
        });
        (summary.unwrap(), rounds)
    }

    #[test]
    fn rounds_are_interleaved_and_all_measured() {
        let (summary, rounds) = run_stepping(&plan(&[2, 4], settings()), None);
        let once = ["pp2", "pp4", "pp2 @ d3", "pp4 @ d3"];
        let want: Vec<String> =
            (0..3).flat_map(|round| once.map(|test| format!("{round} {test}"))).collect();
        assert_eq!(rounds, want);
        assert_eq!(summary.ended, RunEnd::Completed);
        for case in &summary.cases {
            // One reading before and one after the only iteration of the only pass.
            assert!(case.rounds.iter().all(|r| (r.passes, r.total_ns) == (1, 1_000)));
            assert_eq!((case.rounds.len(), case.warm_up.unwrap().cold_start_ns), (3, 1_000));
        }
    }

    #[test]
    fn an_interrupt_keeps_finished_rounds() {
        let (summary, rounds) = run_stepping(&plan(&[2, 4], settings()), Some(5));
        assert_eq!(rounds.len(), 6);
        assert_eq!(summary.ended, RunEnd::Interrupted);
        let measured: Vec<usize> = summary.cases.iter().map(|case| case.rounds.len()).collect();
        assert_eq!(measured, [2, 1, 1, 1]);
    }

    #[test]
    fn the_time_for_all_is_shared_and_kept() {
        let max_time_ns = Some(20_000_000);
        let endless = Settings { min_time_ns: u64::MAX, max_time_ns, ..settings() };
        let (summary, _) = run_stepping(&plan_of(&[], &[20, 30], endless), None);
        let cases = &summary.cases;
        // Twelve rounds and four warm-ups, none of which could reach its minimum: each got a
        // share, all were measured, and the last one ended within a few of its passes.
        assert_eq!(summary.ended, RunEnd::Completed);
        assert!(cases.iter().all(|case| case.rounds.len() == 3));
        let rounds = || cases.iter().flat_map(|case| &case.rounds);
        assert!(rounds().all(|round| round.stop == StopReason::MaxTime));
        let end_ns = rounds().map(|round| round.start_ns + round.total_ns).max().unwrap();
        assert!((18_000_000..20_400_000).contains(&end_ns), "{end_ns}");

        let none = Settings { max_time_ns: Some(0), ..settings() };
        let (summary, rounds) = run_stepping(&plan(&[2], none), None);
        assert_eq!((summary.ended, rounds.len()), (RunEnd::TimeUp, 0));
    }
}
