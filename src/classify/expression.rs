//! A rule's test: comparisons and flags, joined by *and*, *or* and *not*.

use std::fmt;

use crate::classify::facts::Facts;
use crate::classify::interval::Comparator;
use crate::classify::kleene::Truth;
use crate::classify::metric::{Flag, Metric};

/// Something that is known to be so, known not to be so, or not known.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaf {
    /// The sum of metrics against a figure.
    Comparison {
        /// What is added up; one metric in most rules.
        sum: Vec<Metric>,
        /// How it is compared.
        comparator: Comparator,
        /// With what.
        threshold: f64,
    },
    /// A flag.
    Flag(Flag),
}

/// A test. Lists have two members at least.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// One comparison or flag.
    Leaf(Leaf),
    /// The opposite.
    Not(Box<Expression>),
    /// All of them.
    And(Vec<Expression>),
    /// Any of them.
    Or(Vec<Expression>),
}

/// A leaf, and what it came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding<'r> {
    /// The comparison or flag.
    pub leaf: &'r Leaf,
    /// What is known of it.
    pub truth: Truth,
    /// Whether the whole is undecided and knowing this might decide it.
    pub is_open: bool,
}

impl Leaf {
    /// What the facts say of it.
    pub fn truth(&self, facts: &Facts) -> Truth {
        match self {
            Leaf::Flag(flag) => facts.flag(*flag).truth,
            Leaf::Comparison { sum, comparator, threshold } => {
                let of = sum.iter().map(|metric| facts.metric(*metric));
                if of.clone().any(|interval| interval.is_contradiction()) {
                    return Truth::Unknown;
                }
                let (at_least, at_most) = of.fold((0.0, 0.0), |(low, high), interval| {
                    (low + interval.at_least(), high + interval.at_most())
                });
                comparator.holds(at_least, at_most, *threshold)
            }
        }
    }
}

impl Expression {
    /// What the facts say of the whole.
    pub fn truth(&self, facts: &Facts) -> Truth {
        match self {
            Expression::Leaf(leaf) => leaf.truth(facts),
            Expression::Not(inner) => !inner.truth(facts),
            Expression::And(all) => {
                all.iter().fold(Truth::True, |truth, one| truth.and(one.truth(facts)))
            }
            Expression::Or(any) => {
                any.iter().fold(Truth::False, |truth, one| truth.or(one.truth(facts)))
            }
        }
    }

    /// The same, with every leaf added to `findings`.
    pub fn examine<'r>(&'r self, facts: &Facts, findings: &mut Vec<Finding<'r>>) -> Truth {
        let start = findings.len();
        let truth = match self {
            Expression::Leaf(leaf) => {
                let truth = leaf.truth(facts);
                findings.push(Finding { leaf, truth, is_open: truth == Truth::Unknown });
                truth
            }
            Expression::Not(inner) => !inner.examine(facts, findings),
            Expression::And(all) => {
                let join =
                    |truth: Truth, one: &'r Expression| truth.and(one.examine(facts, findings));
                all.iter().fold(Truth::True, join)
            }
            Expression::Or(any) => {
                let join =
                    |truth: Truth, one: &'r Expression| truth.or(one.examine(facts, findings));
                any.iter().fold(Truth::False, join)
            }
        };
        // Where the part is decided, none of its leaves matters any more.
        if truth != Truth::Unknown {
            findings[start..].iter_mut().for_each(|finding| finding.is_open = false);
        }
        truth
    }

    /// Every leaf, from left to right.
    pub fn leaves(&self) -> Vec<&Leaf> {
        let mut leaves = Vec::new();
        let mut todo = vec![self];
        while let Some(next) = todo.pop() {
            match next {
                Expression::Leaf(leaf) => leaves.push(leaf),
                Expression::Not(inner) => todo.push(inner),
                Expression::And(parts) | Expression::Or(parts) => todo.extend(parts.iter().rev()),
            }
        }
        leaves
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leaf::Flag(flag) => flag.fmt(f),
            Leaf::Comparison { sum, comparator, threshold } => {
                for (i, metric) in sum.iter().enumerate() {
                    write!(f, "{}{metric}", if i == 0 { "" } else { " + " })?;
                }
                write!(f, " {} {}", comparator.symbol(), number_text(*threshold))
            }
        }
    }
}

/// A number as rule files write it: in full, or with an exponent where that would be long.
pub fn number_text(value: f64) -> String {
    match value {
        v if v != 0.0 && !(1e-9..1e9).contains(&v) => format!("{v:e}"),
        v => v.to_string(),
    }
}

impl fmt::Display for Expression {
    /// As it can be read again. Parentheses stand wherever *and* meets *or*.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Expression], word: &str| {
            for (i, part) in parts.iter().enumerate() {
                if i > 0 {
                    write!(f, " {word} ")?;
                }
                match part {
                    Expression::And(_) | Expression::Or(_) => write!(f, "({part})")?,
                    _ => write!(f, "{part}")?,
                }
            }
            Ok(())
        };
        match self {
            Expression::Leaf(leaf) => leaf.fmt(f),
            Expression::Not(inner) => match inner.as_ref() {
                Expression::Leaf(Leaf::Flag(flag)) => write!(f, "not {flag}"),
                inner => write!(f, "not ({inner})"),
            },
            Expression::And(all) => joined(f, all, "and"),
            Expression::Or(any) => joined(f, any, "or"),
        }
    }
}
