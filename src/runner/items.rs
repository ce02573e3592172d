//! What takes turns in a run, and how far each has come.

use crate::plan::Plan;
use crate::probe::ProbeKind;
use crate::result::file::{OutcomeFile, UnitFile};
use crate::result::{self, ResultFile};
use crate::runner::Estimate;
use crate::runner::budget::RoundCost;
use crate::stats;

/// A probe or a case, by its index in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// Index into [`Plan::probes`].
    Probe(usize),
    /// Index into [`Plan::cases`].
    Case(usize),
}

/// How far a probe or case has come.
#[derive(Clone, Debug)]
pub struct ItemState {
    /// Which.
    pub item: Item,
    /// Its id.
    pub id: String,
    /// Threads it runs on.
    pub n_threads: u32,
    /// Rounds recorded.
    pub rounds_done: u32,
    /// It failed, or cannot be run here.
    pub ended: bool,
    /// Warmed up by this process.
    pub(super) warmed_up: bool,
    /// What its last round took.
    pub(super) cost: Option<RoundCost>,
    /// What it does, as far as its rounds show.
    pub(super) so_far: SoFar,
}

/// Rates of the rounds that are done, for whoever watches.
#[derive(Clone, Debug)]
pub(super) struct SoFar {
    unit: UnitFile,
    work_per_pass: f64,
    per_s: Vec<f64>,
}

impl SoFar {
    pub(super) fn add(&mut self, passes: u64, total_ns: u64) {
        if total_ns > 0 {
            let work = self.work_per_pass * passes as f64;
            self.per_s.push(work / (total_ns as f64 / 1e9));
        }
    }

    /// The median so far, as a result file would have it; absent before the first round.
    pub(super) fn estimate(&self) -> Option<Estimate> {
        Some(Estimate {
            unit: self.unit.clone(),
            median_per_s: stats::median(&self.per_s)?,
            interval: result::median_interval(&self.per_s),
        })
    }
}

impl ItemState {
    fn new(
        item: Item,
        id: String,
        n_threads: u32,
        skip: &Option<String>,
        (unit, work_per_pass): (UnitFile, u64),
    ) -> Self {
        Self {
            item,
            id,
            n_threads,
            rounds_done: 0,
            ended: skip.is_some(),
            warmed_up: false,
            cost: None,
            so_far: SoFar { unit, work_per_pass: work_per_pass as f64, per_s: Vec::new() },
        }
    }

    /// Whether no more rounds of it will come.
    pub fn is_done(&self, plan: &Plan) -> bool {
        self.ended || self.rounds_done >= plan.settings.repetitions
    }
}

/// Everything that takes turns in a plan, in its order: probes, so that every case has its ceilings
/// however early the run ends, then cases. Rounds that `file` has, if there is one, are done.
pub fn items(plan: &Plan, file: Option<&ResultFile>) -> Vec<ItemState> {
    let probes = plan.probes.iter().enumerate().map(|(i, planned)| {
        let (id, n_threads) = (planned.probe.id(), planned.probe.n_threads);
        let work = planned.sizes.work(&planned.probe);
        let counted = match planned.probe.kind {
            ProbeKind::Gemm { .. } => (UnitFile::FlopsPerS, work.flops.0),
            ProbeKind::Memory { .. } | ProbeKind::Transfer { .. } | ProbeKind::PeerTransfer => {
                (UnitFile::BytesPerS, work.bytes.0)
            }
        };
        ItemState::new(Item::Probe(i), id, n_threads, &planned.skip, counted)
    });
    let cases = plan.cases.iter().enumerate().map(|(i, planned)| {
        let (id, n_threads) = (planned.case.id(), planned.case.n_threads);
        let counted = (UnitFile::TokensPerS, planned.case.tokens_per_pass());
        ItemState::new(Item::Case(i), id, n_threads, &planned.skip, counted)
    });
    let mut items: Vec<ItemState> = probes.chain(cases).collect();
    let Some(file) = file else { return items };
    let ceilings = file.ceilings.iter().map(|c| (&c.rounds, &c.outcome));
    let done = ceilings.chain(file.cases.iter().map(|c| (&c.rounds, &c.outcome)));
    for (item, (rounds, outcome)) in items.iter_mut().zip(done) {
        item.rounds_done = rounds.len() as u32;
        rounds.iter().for_each(|round| item.so_far.add(round.passes, round.total_ns));
        item.ended |= matches!(outcome, OutcomeFile::Failed { .. });
    }
    items
}
