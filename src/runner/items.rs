//! What takes turns in a run, and how far each has come.

use crate::plan::Plan;
use crate::result::ResultFile;
use crate::result::file::OutcomeFile;
use crate::runner::budget::RoundCost;

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
}

impl ItemState {
    fn new(item: Item, id: String, n_threads: u32, skip: &Option<String>) -> Self {
        let ended = skip.is_some();
        Self { item, id, n_threads, rounds_done: 0, ended, warmed_up: false, cost: None }
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
        ItemState::new(Item::Probe(i), id, n_threads, &planned.skip)
    });
    let cases = plan.cases.iter().enumerate().map(|(i, planned)| {
        let (id, n_threads) = (planned.case.id(), planned.case.n_threads);
        ItemState::new(Item::Case(i), id, n_threads, &planned.skip)
    });
    let mut items: Vec<ItemState> = probes.chain(cases).collect();
    let Some(file) = file else { return items };
    let ceilings = file.ceilings.iter().map(|c| (c.rounds.len(), &c.outcome));
    let done = ceilings.chain(file.cases.iter().map(|c| (c.rounds.len(), &c.outcome)));
    for (item, (n_rounds, outcome)) in items.iter_mut().zip(done) {
        item.rounds_done = n_rounds as u32;
        item.ended |= matches!(outcome, OutcomeFile::Failed { .. });
    }
    items
}
