//! A rule's test: comparisons and flags, joined by *and*, *or* and *not*.

use std::fmt;

use crate::classify::catalogue::Grade;
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
    /// What the text, or what was seen of it, leaves open: nothing that is known of a device tells.
    Unsettled,
}

/// The word for [`Leaf::Unsettled`].
pub const UNSETTLED: &str = "unsettled";

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
    /// Whether the test asks for its opposite.
    pub is_negated: bool,
    /// What is known of what the test asks for: of the leaf, or of its opposite.
    pub truth: Truth,
    /// Whether the whole is undecided and knowing this might decide it.
    pub is_open: bool,
    /// Whether the whole is decided and this is one of those that it follows from.
    pub decides: bool,
}

impl Finding<'_> {
    /// The grade of the figures that its truth follows from; absent where none has one.
    pub fn support(&self, facts: &Facts) -> Option<Grade> {
        self.leaf.support(facts, if self.is_negated { !self.truth } else { self.truth })
    }
}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_negated {
            f.write_str("not ")?;
        }
        self.leaf.fmt(f)
    }
}

impl Leaf {
    /// What the facts say of it.
    pub fn truth(&self, facts: &Facts) -> Truth {
        match self {
            Leaf::Flag(flag) => facts.flag(*flag).truth,
            Leaf::Unsettled => Truth::Unknown,
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

    /// How good the figures are that its truth follows from; absent where none has a grade.
    fn support(&self, facts: &Facts, truth: Truth) -> Option<Grade> {
        match self {
            Leaf::Flag(flag) => facts.flag(*flag).basis.as_ref()?.grade,
            Leaf::Unsettled => None,
            Leaf::Comparison { sum, comparator, .. } => {
                let asks_for_more = matches!(comparator, Comparator::AtLeast | Comparator::Above);
                let ends = sum.iter().flat_map(|metric| {
                    let interval = facts.metric(*metric);
                    match (truth, asks_for_more) {
                        (Truth::Unknown, _) => [&interval.lower, &interval.upper],
                        (Truth::True, true) | (Truth::False, false) => [&interval.lower, &None],
                        (Truth::True, false) | (Truth::False, true) => [&interval.upper, &None],
                    }
                });
                ends.flatten().filter_map(|end| end.basis.grade).max()
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
                let is_open = truth == Truth::Unknown;
                findings.push(Finding {
                    leaf,
                    is_negated: false,
                    truth,
                    is_open,
                    decides: !is_open,
                });
                truth
            }
            Expression::Not(inner) => {
                let truth = !inner.examine(facts, findings);
                for finding in &mut findings[start..] {
                    finding.is_negated = !finding.is_negated;
                    finding.truth = !finding.truth;
                }
                truth
            }
            Expression::And(all) => examine_all(all, Truth::and, facts, findings),
            Expression::Or(any) => examine_all(any, Truth::or, facts, findings),
        };
        // Where the part is decided, none of its leaves is open any more.
        match truth {
            Truth::Unknown => findings[start..].iter_mut().for_each(|f| f.decides = false),
            _ => findings[start..].iter_mut().for_each(|f| f.is_open = false),
        }
        truth
    }

    /// How good the figures are that the answer follows from, if it is `truth`; absent where it is
    /// not, and `Some(None)` where none of them has a grade. Where one of several is enough, the best
    /// supported counts.
    pub fn support(&self, facts: &Facts, truth: Truth) -> Option<Option<Grade>> {
        let of = |parts: &[Expression], needs_all: bool| {
            let mut each = parts.iter().map(|part| part.support(facts, truth));
            match needs_all {
                true => each.try_fold(None, |weakest: Option<Grade>, one| Some(weakest.max(one?))),
                false => each.flatten().min(),
            }
        };
        match self {
            Expression::Leaf(leaf) => {
                (leaf.truth(facts) == truth).then(|| leaf.support(facts, truth))
            }
            Expression::Not(inner) => inner.support(facts, !truth),
            Expression::And(all) => of(all, truth == Truth::True),
            Expression::Or(any) => of(any, truth == Truth::False),
        }
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

/// Examines the parts of a list. Of a decided list, parts that came to something else decide nothing.
fn examine_all<'r>(
    parts: &'r [Expression],
    join: fn(Truth, Truth) -> Truth,
    facts: &Facts,
    findings: &mut Vec<Finding<'r>>,
) -> Truth {
    let start = findings.len();
    let of_each: Vec<(Truth, usize)> =
        parts.iter().map(|part| (part.examine(facts, findings), findings.len())).collect();
    let whole = of_each.iter().map(|(truth, _)| *truth).reduce(join).unwrap_or(Truth::Unknown);
    let mut begin = start;
    for (truth, end) in of_each {
        if truth != whole {
            findings[begin..end].iter_mut().for_each(|finding| finding.decides = false);
        }
        begin = end;
    }
    whole
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Leaf::Flag(flag) => flag.fmt(f),
            Leaf::Unsettled => f.write_str(UNSETTLED),
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
                Expression::Leaf(leaf @ (Leaf::Flag(_) | Leaf::Unsettled)) => {
                    write!(f, "not {leaf}")
                }
                inner => write!(f, "not ({inner})"),
            },
            Expression::And(all) => joined(f, all, "and"),
            Expression::Or(any) => joined(f, any, "or"),
        }
    }
}
