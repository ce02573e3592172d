//! Runs a plan: cases in interleaved rounds (A B C A B C …), so that drift of the machine does
//! not look like a difference between cases.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::case::{Case, Dtype};
use crate::device::Device;
use crate::error::Result;
use crate::kernels::Threads;
use crate::measure::{self, Clock, Limits};
use crate::model::Decoder;
use crate::model::weights::Weights;
use crate::plan::{Plan, PlannedCase};
use crate::result::CaseSummary;
use crate::result::file::{OutcomeFile, RunEnd};
use crate::workload::{Inference, Session};

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
        round_ns: vec![None; plan.cases.len()],
        done: 0,
        first_iteration_ns: None,
    };
    let ended = run.all_rounds(&mut threads, watch)?;
    Ok(RunSummary { cases: run.summaries, ended, first_iteration_ns: run.first_iteration_ns })
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
    /// What the last round of each case took, resets and cache filling included.
    round_ns: Vec<Option<u64>>,
    done: u64,
    first_iteration_ns: Option<u64>,
}

impl<C: Clock + Sync> Run<'_, C> {
    fn all_rounds(
        &mut self,
        threads: &mut Threads,
        watch: &mut (dyn FnMut(Event) + Send),
    ) -> Result<RunEnd> {
        for round_idx in 0..self.plan.settings.repetitions {
            for case_idx in 0..self.plan.cases.len() {
                if self.interrupted.load(Ordering::Relaxed) {
                    return Ok(RunEnd::Interrupted);
                }
                if matches!(self.summaries[case_idx].outcome, OutcomeFile::Failed { .. }) {
                    continue;
                }
                if !self.fits_into_the_time_left(case_idx) {
                    return Ok(RunEnd::TimeUp);
                }
                let case = &self.plan.cases[case_idx].case;
                let n_threads = case.n_threads;
                let outcome =
                    threads.run(n_threads, || self.case_round(case_idx, round_idx, watch))?;
                if let Err(error) = outcome {
                    let reason = error.to_string();
                    watch(Event::Failed { case, reason: &reason });
                    self.summaries[case_idx].fail(reason);
                }
                self.done += 1;
            }
        }
        // An interrupt inside the very last round still cost it.
        Ok(match self.interrupted.load(Ordering::Relaxed) {
            true => RunEnd::Interrupted,
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
        let limits = self.round_limits();
        let remaining_ns = self.remaining_ns(round_idx, case_idx);
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
        let mut workload =
            Inference::new(case, self.plan.settings.seed, decoder, session, &self.device)?;

        let summary = &mut self.summaries[case_idx];
        let interrupted = || self.interrupted.load(Ordering::Relaxed);
        self.first_iteration_ns.get_or_insert_with(|| self.clock.now_ns());
        if let (None, Some(limits)) = (summary.warm_up, &self.plan.settings.warm_up) {
            watch(Event::WarmUp { case });
            let warm_up_begin_ns = self.clock.now_ns();
            summary.warm_up = measure::warm_up(&mut workload, self.clock, limits, &interrupted)?;
            begin_ns += self.clock.now_ns() - warm_up_begin_ns;
        }
        watch(Event::Round {
            case,
            round_idx,
            done: self.done,
            planned: self.plan.cases.len() as u64 * u64::from(self.plan.settings.repetitions),
            remaining_ns,
        });
        let recorder = &mut summary.recorder;
        let record = |pass: &[u64]| recorder.record_pass(pass);
        let round = measure::run_round(&mut workload, self.clock, &limits, &interrupted, record)?;
        workload.check_output()?;
        if let Some(round) = round {
            summary.rounds.push(round);
            summary.outcome = OutcomeFile::Measured;
        }
        self.round_ns[case_idx] = Some(self.clock.now_ns() - begin_ns);
        Ok(())
    }

    /// The plan's limits, with this round's fair share of the time left as its maximum.
    fn round_limits(&self) -> Limits {
        let limits = self.plan.settings.round;
        let Some(left_ns) = self.time_left_ns() else { return limits };
        let planned = self.plan.cases.len() as u64 * u64::from(self.plan.settings.repetitions);
        let share_ns = left_ns / (planned - self.done).max(1);
        Limits { max_ns: limits.max_ns.min(share_ns), ..limits }
    }

    fn time_left_ns(&self) -> Option<u64> {
        let max_ns = self.plan.settings.max_time_ns?;
        Some(max_ns.saturating_sub(self.clock.now_ns()))
    }

    /// Whether a round like the case's last one can end in time. A case that has not run yet
    /// gets its chance as long as there is any time.
    fn fits_into_the_time_left(&self, case_idx: usize) -> bool {
        self.time_left_ns().is_none_or(|left_ns| left_ns > self.round_ns[case_idx].unwrap_or(0))
    }

    /// What the rounds still to come will take, once each case has run.
    fn remaining_ns(&self, round_idx: u32, case_idx: usize) -> Option<u64> {
        let rounds_after = u64::from(self.plan.settings.repetitions - round_idx - 1);
        let this_and_later = |i: usize| rounds_after + u64::from(i >= case_idx);
        let all = self.round_ns.iter().enumerate();
        all.map(|(i, ns)| ns.map(|ns| ns * this_and_later(i))).sum()
    }
}
