//! What happens in a run, as its journal has it and as a result file is put together from it.
//! A run that was cut off and taken up again goes the same way as one that was not.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::result::derive;
use crate::result::file::*;
use crate::result::latency::Series;

/// An event of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Record {
    /// A run begins: its result file before anything was measured.
    Begin {
        /// Every case and ceiling is in it, and none is measured.
        file: Box<ResultFile>,
    },
    /// A run that was cut off goes on.
    Resumed {
        /// UTC, RFC 3339.
        at: String,
    },
    /// A case or ceiling was warmed up.
    WarmUp {
        /// Which.
        id: String,
        /// What was discarded.
        warm_up: WarmUpFile,
    },
    /// A round was measured, and stood its check.
    Round {
        /// Of which case or ceiling.
        id: String,
        /// The round.
        round: Box<RoundFile>,
        /// What its passes were held against.
        check: CheckFile,
        /// The kernel that ran, of a ceiling.
        kernel: Option<String>,
        /// Its latencies, of a case.
        latencies: Vec<LatencyFile>,
    },
    /// A case or ceiling failed, or cannot be run here.
    Ended {
        /// Which.
        id: String,
        /// What became of it.
        outcome: OutcomeFile,
    },
}

/// A record and when it was made, on the run's clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// From the start of the run, pauses left out.
    pub at_ns: u64,
    /// What happened.
    pub record: Record,
}

/// Index of a case or ceiling in its list.
#[derive(Clone, Copy, Debug)]
enum Item {
    Case(usize),
    Ceiling(usize),
}

/// A result file as far as its records go.
#[derive(Clone, Debug)]
pub struct Assembly {
    file: ResultFile,
    items: HashMap<String, Item>,
    /// Of each case.
    series: Vec<Vec<Series>>,
    /// The round that was interrupted, of at most one item: a run that is taken up again measures
    /// it anew, and one that is not keeps what there is.
    partial: Option<Partial>,
    last_ns: u64,
}

/// A case or ceiling as it is with the round that was interrupted.
#[derive(Clone, Debug)]
enum Partial {
    Case(usize, Box<CaseFile>, Vec<Series>),
    Ceiling(usize, Box<CeilingFile>),
}

impl Assembly {
    /// A run that has just begun.
    ///
    /// # Errors
    /// An id that occurs twice.
    pub fn new(file: ResultFile) -> Result<Self, String> {
        let cases = file.cases.iter().enumerate().map(|(i, case)| (&case.id, Item::Case(i)));
        let ceilings = file.ceilings.iter().enumerate().map(|(i, c)| (&c.id, Item::Ceiling(i)));
        let mut items = HashMap::new();
        for (id, item) in cases.chain(ceilings) {
            if items.insert(id.clone(), item).is_some() {
                return Err(format!("{id} occurs twice"));
            }
        }
        let series = vec![Vec::new(); file.cases.len()];
        Ok(Self { file, items, series, partial: None, last_ns: 0 })
    }

    /// The file so far, without the round that was interrupted; nothing is derived yet.
    pub fn file(&self) -> &ResultFile {
        &self.file
    }

    /// When the last record was made.
    pub fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// Takes an event in.
    ///
    /// # Errors
    /// Why it cannot have happened.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        let item = |id: &String| self.items.get(id).copied().ok_or_else(|| format!("no case {id}"));
        match &entry.record {
            Record::Begin { .. } => return Err("the run begins twice".into()),
            Record::Resumed { at } => {
                self.partial = None;
                self.file.run.resumed.push(at.clone());
            }
            Record::WarmUp { id, warm_up } => {
                let slot = match item(id)? {
                    Item::Case(i) => &mut self.file.cases[i].warm_up,
                    Item::Ceiling(i) => &mut self.file.ceilings[i].warm_up,
                };
                // A run that was taken up again warms up again; the first one had the cold start.
                slot.get_or_insert(*warm_up);
                let begun_ns = entry.at_ns.saturating_sub(warm_up.total_ns);
                self.file.run.time_to_first_iteration_ns.get_or_insert(begun_ns);
            }
            Record::Round { id, round, check, kernel, latencies } => {
                if round.passes == 0 || round.total_ns / round.passes > round.max_pass_ns {
                    return Err(format!("a round of {id} contradicts itself"));
                }
                let item = item(id)?;
                let round_ns = round.start_ns;
                self.file.run.time_to_first_iteration_ns.get_or_insert(round_ns);
                let is_partial = round.stop == StopFile::Interrupted;
                match item {
                    Item::Case(i) if is_partial => {
                        let (mut case, mut series) =
                            (Box::new(self.file.cases[i].clone()), self.series[i].clone());
                        case_with_round(&mut case, &mut series, round, check, latencies)?;
                        self.partial = Some(Partial::Case(i, case, series));
                    }
                    Item::Case(i) => {
                        let (case, series) = (&mut self.file.cases[i], &mut self.series[i]);
                        case_with_round(case, series, round, check, latencies)?;
                    }
                    Item::Ceiling(i) if is_partial => {
                        let mut ceiling = Box::new(self.file.ceilings[i].clone());
                        ceiling_with_round(&mut ceiling, round, check, kernel)?;
                        self.partial = Some(Partial::Ceiling(i, ceiling));
                    }
                    Item::Ceiling(i) => {
                        ceiling_with_round(&mut self.file.ceilings[i], round, check, kernel)?;
                    }
                }
            }
            // What was measured before a failure is dropped: a wrong run is no result, however
            // fast.
            Record::Ended { id, outcome } => match item(id)? {
                Item::Case(i) => {
                    self.series[i].clear();
                    let case = &mut self.file.cases[i];
                    (case.warm_up, case.check) = (None, None);
                    case.rounds.clear();
                    case.outcome = outcome.clone();
                }
                Item::Ceiling(i) => {
                    let ceiling = &mut self.file.ceilings[i];
                    (ceiling.warm_up, ceiling.check, ceiling.kernel) = (None, None, None);
                    ceiling.rounds.clear();
                    ceiling.outcome = outcome.clone();
                }
            },
        }
        self.last_ns = self.last_ns.max(entry.at_ns);
        Ok(())
    }

    /// The whole file, with all that follows from what was measured.
    pub fn finish(mut self, ended: RunEnd, finished: String, duration_ns: u64) -> ResultFile {
        match self.partial {
            None => {}
            Some(Partial::Case(i, case, series)) => {
                (self.file.cases[i], self.series[i]) = (*case, series);
            }
            Some(Partial::Ceiling(i, ceiling)) => self.file.ceilings[i] = *ceiling,
        }
        self.file.run.ended = ended;
        self.file.run.finished = finished;
        self.file.run.duration_ns = duration_ns;
        for (case, series) in self.file.cases.iter_mut().zip(&self.series) {
            case.latencies = series.iter().filter_map(Series::file).collect();
        }
        derive::complete(&mut self.file);
        self.file
    }
}

/// Takes a round into a case.
///
/// # Errors
/// That it does not fit the rounds before it.
fn case_with_round(
    case: &mut CaseFile,
    series: &mut Vec<Series>,
    round: &RoundFile,
    check: &CheckFile,
    latencies: &[LatencyFile],
) -> Result<(), String> {
    merge_latencies(series, latencies)?;
    case.rounds.push(round.clone());
    merge_check(&mut case.check, check)?;
    case.outcome = OutcomeFile::Measured;
    Ok(())
}

/// Takes a round into a ceiling.
///
/// # Errors
/// That it does not fit the rounds before it.
fn ceiling_with_round(
    ceiling: &mut CeilingFile,
    round: &RoundFile,
    check: &CheckFile,
    kernel: &Option<String>,
) -> Result<(), String> {
    ceiling.rounds.push(round.clone());
    merge_check(&mut ceiling.check, check)?;
    ceiling.kernel.clone_from(kernel);
    ceiling.outcome = OutcomeFile::Measured;
    Ok(())
}

/// Takes the latencies of a round, or of another file, into those of a case.
///
/// # Errors
/// What is wrong with them, naming the metric.
pub(super) fn merge_latencies(all: &mut Vec<Series>, more: &[LatencyFile]) -> Result<(), String> {
    for file in more {
        let of = |problem| format!("{}: {problem}", file.metric);
        let series = Series::of_file(file).map_err(of)?;
        match all.iter_mut().find(|known| known.metric() == file.metric) {
            Some(known) => known.merge(&series).map_err(of)?,
            None => all.push(series),
        }
    }
    Ok(())
}

/// Takes a check into those of a case.
///
/// # Errors
/// That the two are not of one kind.
pub(super) fn merge_check(all: &mut Option<CheckFile>, more: &CheckFile) -> Result<(), String> {
    match all {
        None => *all = Some(more.clone()),
        Some(known) if known.reference != more.reference || known.tolerance != more.tolerance => {
            return Err(format!(
                "its rounds were checked against {} and {}",
                known.reference, more.reference
            ));
        }
        Some(known) => {
            known.passes = known.passes.saturating_add(more.passes);
            known.max_error = known.max_error.max(more.max_error);
        }
    }
    Ok(())
}
