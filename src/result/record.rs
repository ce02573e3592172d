//! What happens in a run, as its journal has it and as a result file is put together from it.
//! A run that was cut off and taken up again goes the same way as one that was not.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::measure::Metric;
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
        /// SHA-256 of the binary that goes on; absent where the system does not show it.
        #[serde(default)]
        binary_sha256: Option<String>,
    },
    /// A turn of a case or ceiling begins. Where the next record is not of the same one, the process
    /// ended during the turn.
    Began {
        /// Which.
        id: String,
    },
    /// The run ended by itself. Until then, and after it was taken up again, it counts as
    /// interrupted.
    Finished {
        /// How.
        ended: RunEnd,
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
        /// The instruction set of our own kernels, if they ran.
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
    /// The round that was interrupted, of at most one item: a run that is taken up again measures
    /// it anew, and one that is not keeps what there is.
    partial: Option<Partial>,
    last_ns: u64,
    /// Turns that a case or ceiling began since it last ended one.
    open_turns: HashMap<String, u32>,
    finished: Option<RunEnd>,
}

/// A case or ceiling as it is with the round that was interrupted.
#[derive(Clone, Debug)]
enum Partial {
    Case(usize, Box<CaseFile>),
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
        let open_turns = HashMap::new();
        Ok(Self { file, items, partial: None, last_ns: 0, open_turns, finished: None })
    }

    /// The file so far, without the round that was interrupted; nothing is derived yet.
    pub fn file(&self) -> &ResultFile {
        &self.file
    }

    /// When the last record was made.
    pub fn last_ns(&self) -> u64 {
        self.last_ns
    }

    /// How the run ended, unless it was cut off or taken up again since.
    pub fn finished(&self) -> Option<RunEnd> {
        self.finished
    }

    /// Turns of a case or ceiling during which the process ended, one after another without a turn
    /// that came to its end.
    pub fn n_deaths(&self, id: &str) -> u32 {
        self.open_turns.get(id).copied().unwrap_or(0)
    }

    /// Takes an event in.
    ///
    /// # Errors
    /// Why it cannot have happened.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        let item = |id: &String| self.items.get(id).copied().ok_or_else(|| format!("no case {id}"));
        match &entry.record {
            Record::Begin { .. } => return Err("the run begins twice".into()),
            Record::Resumed { at, binary_sha256 } => {
                self.partial = None;
                self.finished = None;
                self.file.run.ended = RunEnd::Interrupted;
                self.file.run.resumed.push(at.clone());
                // Several binaries of one build measured.
                if binary_sha256.is_some() && *binary_sha256 != self.file.tool.binary_sha256 {
                    self.file.tool.binary_sha256 = None;
                }
            }
            Record::Began { id } => {
                item(id)?;
                *self.open_turns.entry(id.clone()).or_insert(0) += 1;
            }
            Record::Finished { ended, at } => {
                self.open_turns.clear();
                self.finished = Some(*ended);
                let run = &mut self.file.run;
                (run.ended, run.finished, run.duration_ns) = (*ended, at.clone(), entry.at_ns);
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
                self.open_turns.remove(id);
                let round_ns = round.start_ns;
                self.file.run.time_to_first_iteration_ns.get_or_insert(round_ns);
                let is_partial = round.stop == StopFile::Interrupted;
                match item {
                    Item::Case(i) if is_partial => {
                        let mut case = Box::new(self.file.cases[i].clone());
                        case_with_round(&mut case, round, check, kernel, latencies)?;
                        self.partial = Some(Partial::Case(i, case));
                    }
                    Item::Case(i) => {
                        case_with_round(&mut self.file.cases[i], round, check, kernel, latencies)?;
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
                    self.open_turns.remove(id);
                    let case = &mut self.file.cases[i];
                    (case.warm_up, case.check, case.kernel) = (None, None, None);
                    case.rounds.clear();
                    case.latencies.clear();
                    case.outcome = outcome.clone();
                }
                Item::Ceiling(i) => {
                    self.open_turns.remove(id);
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
            Some(Partial::Case(i, case)) => self.file.cases[i] = *case,
            Some(Partial::Ceiling(i, ceiling)) => self.file.ceilings[i] = *ceiling,
        }
        self.file.run.ended = ended;
        self.file.run.finished = finished;
        self.file.run.duration_ns = duration_ns;
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
    round: &RoundFile,
    check: &CheckFile,
    kernel: &Option<String>,
    latencies: &[LatencyFile],
) -> Result<(), String> {
    merge_latencies(&mut case.latencies, latencies)?;
    let ttft = latencies.iter().find(|latency| latency.metric == Metric::Ttft.name());
    let ttft_total_ns = ttft.map(|ttft| ttft.sum_ns);
    case.rounds.push(RoundFile { ttft_total_ns, ..round.clone() });
    merge_check(&mut case.check, check)?;
    case.kernel.clone_from(kernel);
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

/// Takes the latencies of a round, or of another file, into those of a case. They stay as files
/// have them: a few bytes of text may stand for a large histogram, and never more than two are held
/// unpacked.
///
/// # Errors
/// What is wrong with them, naming the metric.
pub(super) fn merge_latencies(
    all: &mut Vec<LatencyFile>,
    more: &[LatencyFile],
) -> Result<(), String> {
    for file in more {
        let of = |problem| format!("{}: {problem}", file.metric);
        let mut series = Series::of_file(file).map_err(of)?;
        let known = all.iter_mut().find(|known| known.metric == file.metric);
        if let Some(known) = &known {
            let mut first = Series::of_file(known).map_err(of)?;
            first.merge(&series).map_err(of)?;
            series = first;
        }
        let merged =
            series.file(series.histogram()).ok_or_else(|| of("it has no values".into()))?;
        match known {
            Some(known) => *known = merged,
            None => all.push(merged),
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
