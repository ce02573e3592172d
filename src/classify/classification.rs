//! One device under the rules: what is known of it, every verdict, and where it stands.

use jiff::civil::Date;

use crate::classify::evidence::Evidence;
use crate::classify::facts::Facts;
use crate::classify::interval::{Basis, BasisKind};
use crate::classify::kleene::Truth;
use crate::classify::ladder::{self, CaseStanding, Ladder, Standing};
use crate::classify::metric::Flag;
use crate::classify::reference::{self, Bound};
use crate::classify::rules::{Circuit, RuleSet};
use crate::classify::specification::{Declarations, Specification, facts};
use crate::classify::verdict::{Known, Verdict, When, verdicts};

/// Said by every output.
pub const DISCLAIMER: &str = "Each verdict is the outcome of a technical-parameter test on the \
figures shown. It is not a licence determination and not legal advice.";

/// How a device came to its specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matching {
    /// The user named it.
    Named,
    /// The name that the machine reports is that of a device of the catalogue.
    Matched {
        /// The reported name.
        reported: String,
    },
    /// The machine's name is no device's of the catalogue.
    NotFound {
        /// The reported name; absent where the file has none.
        reported: Option<String>,
    },
    /// The user refused it.
    Refused,
}

/// A device to be classified.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// What it is called.
    pub name: String,
    /// What runs prove of it; absent for a mere specification.
    pub evidence: Option<Evidence<'a>>,
    /// What is specified of it.
    pub specification: Option<Specification>,
    /// How that was found.
    pub matching: Matching,
    /// Why the answer cannot be relied on: altered files. Empty when it can.
    pub taint: Vec<String>,
}

/// What devices are held against.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The rule sets, oldest first.
    pub sets: Vec<RuleSet>,
    /// Which of them.
    pub when: When,
    /// Their thresholds.
    pub ladders: Vec<Ladder>,
    /// What the user declares.
    pub declared: Declarations,
    /// Devices whose rooflines measured cases are held against.
    pub references: Vec<Specification>,
}

impl Terms {
    /// Terms with the ladders that follow.
    pub fn new(sets: Vec<RuleSet>, when: When, declared: Declarations) -> Self {
        let ladders = ladder::ladders(&sets, when);
        Terms { sets, when, ladders, declared, references: Vec::new() }
    }

    /// The day that was asked about.
    pub fn as_of(&self) -> Option<Date> {
        match self.when {
            When::On(day) => Some(day),
            When::Timeline(_) => None,
        }
    }

    fn known(&self, of: impl Fn(Circuit) -> Facts) -> Known {
        let asks_for_boards = self.sets.iter().any(|set| set.circuit == Circuit::Board);
        Known { package: of(Circuit::Package), board: asks_for_boards.then(|| of(Circuit::Board)) }
    }
}

/// A device under the rules.
#[derive(Clone, Debug)]
pub struct Classification<'a> {
    /// The device.
    pub subject: &'a Subject<'a>,
    /// What it was held against.
    pub terms: &'a Terms,
    /// What is known of it: by runs from below and a specification from above, or by a
    /// specification alone.
    pub shown: Known,
    /// The verdicts.
    pub verdicts: Vec<Verdict<'a>>,
    /// Where it stands on each ladder.
    pub standings: Vec<(&'a Ladder, Standing)>,
    /// Where each case does, with the rooflines of other devices.
    pub cases: Vec<(CaseStanding<'a>, Vec<Bound<'a>>)>,
}

/// Holds a device against the rules.
pub fn classify<'a>(subject: &'a Subject<'a>, terms: &'a Terms) -> Classification<'a> {
    let specification = subject.specification.as_ref();
    let floors = subject.evidence.as_ref().map(|evidence| evidence.floors.as_slice());
    let is_cpu = subject.evidence.as_ref().is_some_and(|evidence| evidence.is_cpu);
    let of = |floors| {
        terms.known(|circuit| {
            let mut facts = facts(specification, &terms.declared, floors, circuit);
            if is_cpu && facts.flag(Flag::Cpu).truth == Truth::Unknown {
                let text = "the run used the processor".into();
                let basis = Basis { kind: BasisKind::Measured, text, grade: None };
                facts.set_flag(Flag::Cpu, Truth::True, basis);
            }
            facts
        })
    };
    let shown = of(floors);
    let specified = (floors.is_some() && specification.is_some()).then(|| of(None));
    // What was altered since it was written proves nothing.
    let is_proof = subject.taint.is_empty();
    let standing = |ladder: &'a Ladder| {
        let is_shown = floors.is_some() && is_proof;
        (ladder, ladder.standing(shown.package.metric(ladder.metric), is_shown))
    };
    let cases = subject.evidence.as_ref().map(|e| ladder::cases(e, &terms.ladders, is_proof));
    let with_references = |standing: CaseStanding<'a>| {
        let bounds = reference::bounds(standing.case, &terms.references);
        (standing, bounds)
    };
    Classification {
        subject,
        terms,
        verdicts: verdicts(&terms.sets, terms.when, &shown, specified.as_ref()),
        standings: terms.ladders.iter().map(standing).collect(),
        cases: cases.unwrap_or_default().into_iter().map(with_references).collect(),
        shown,
    }
}
