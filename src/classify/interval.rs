//! A metric as an interval: what it is at least, and at most, each end with its basis.

use crate::classify::catalogue::Grade;
use crate::classify::kleene::Truth;

/// How an end came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BasisKind {
    /// Proved by the existence claim of a run. Lower ends only.
    Measured,
    /// The maker's published figure.
    Published,
    /// Computed from a specification, such as rate × bits.
    Computed,
    /// A figure of a specification as it stands.
    Specified,
    /// Declared by the user.
    Declared,
}

impl BasisKind {
    /// The word of the output.
    pub fn name(self) -> &'static str {
        match self {
            BasisKind::Measured => "measured",
            BasisKind::Published => "published",
            BasisKind::Computed => "computed",
            BasisKind::Specified => "specified",
            BasisKind::Declared => "declared",
        }
    }
}

/// Where a figure comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Basis {
    /// How it came about.
    pub kind: BasisKind,
    /// Where it stands and how it was made, in words.
    pub text: String,
    /// How good the evidence is; absent for what was measured or declared.
    pub grade: Option<Grade>,
}

impl Basis {
    /// What a user says.
    pub fn declared(how: impl Into<String>) -> Self {
        Basis { kind: BasisKind::Declared, text: how.into(), grade: None }
    }
}

/// One end of an interval.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// The figure, finite and 0 at least.
    pub value: f64,
    /// Where it comes from.
    pub basis: Basis,
}

impl End {
    /// An end, unless its value is none that a metric can have.
    pub fn new(value: f64, basis: Basis) -> Option<Self> {
        (value.is_finite() && value >= 0.0).then_some(End { value, basis })
    }
}

/// What is known of a metric. An end that is absent is open: nothing was shown, or nothing is
/// specified.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interval {
    /// It is this at least.
    pub lower: Option<End>,
    /// It is this at most.
    pub upper: Option<End>,
    /// The figures behind it contradict each other, though its ends may not.
    pub is_tainted_by_contradiction: bool,
}

impl Interval {
    /// A single known value.
    pub fn point(end: Option<End>) -> Self {
        Interval { lower: end.clone(), upper: end, is_tainted_by_contradiction: false }
    }

    /// The lower end; nothing is below 0.
    pub fn at_least(&self) -> f64 {
        self.lower.as_ref().map_or(0.0, |end| end.value)
    }

    /// The upper end; infinite where it is open.
    pub fn at_most(&self) -> f64 {
        self.upper.as_ref().map_or(f64::INFINITY, |end| end.value)
    }

    /// Whether what was shown is beyond what can be: a measurement or a specification is wrong.
    pub fn is_contradiction(&self) -> bool {
        self.is_tainted_by_contradiction || self.at_least() > self.at_most()
    }

    /// Both ends by others: a quotient's lower end is that of smallest numerator and largest
    /// denominator. Division rounds to nearest, which keeps order, so that an end by a smaller
    /// figure is never above that by a larger one.
    pub fn divided_by(&self, divisor: &Interval) -> Interval {
        let end = |numerator: &Option<End>, denominator: &Option<End>| {
            let (numerator, denominator) = (numerator.as_ref()?, denominator.as_ref()?);
            let grade = numerator.basis.grade.max(denominator.basis.grade);
            let kind = match (numerator.basis.kind, denominator.basis.kind) {
                (BasisKind::Measured, _) => BasisKind::Measured,
                (BasisKind::Declared, BasisKind::Declared) => BasisKind::Declared,
                _ => BasisKind::Computed,
            };
            let text = format!(
                "{} ÷ {}: {}; {}",
                numerator.value, denominator.value, numerator.basis.text, denominator.basis.text
            );
            End::new(numerator.value / denominator.value, Basis { kind, text, grade })
        };
        Interval {
            lower: end(&self.lower, &divisor.upper),
            upper: end(&self.upper, &divisor.lower),
            is_tainted_by_contradiction: self.is_contradiction() || divisor.is_contradiction(),
        }
    }

    /// Both ends times a factor.
    pub fn times(&self, factor: f64, why: &str) -> Interval {
        if factor == 1.0 {
            return self.clone();
        }
        let end = |end: &Option<End>| {
            let end = end.as_ref()?;
            let text = format!("{} × {factor} ({why}): {}", end.value, end.basis.text);
            End::new(end.value * factor, Basis { text, ..end.basis.clone() })
        };
        Interval {
            lower: end(&self.lower),
            upper: end(&self.upper),
            is_tainted_by_contradiction: self.is_tainted_by_contradiction,
        }
    }
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparator {
    /// "or more".
    AtLeast,
    /// "greater than", "exceeding".
    Above,
    /// "less than".
    Below,
    /// "or less".
    AtMost,
}

impl Comparator {
    /// As rule files write it.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparator::AtLeast => ">=",
            Comparator::Above => ">",
            Comparator::Below => "<",
            Comparator::AtMost => "<=",
        }
    }

    /// What the sides say when they are exchanged.
    pub fn mirrored(self) -> Self {
        match self {
            Comparator::AtLeast => Comparator::AtMost,
            Comparator::Above => Comparator::Below,
            Comparator::Below => Comparator::Above,
            Comparator::AtMost => Comparator::AtLeast,
        }
    }

    /// Whether every value, none, or only some of an interval compare so with `threshold`.
    pub fn holds(self, at_least: f64, at_most: f64, threshold: f64) -> Truth {
        let (always, never) = match self {
            Comparator::AtLeast => (at_least >= threshold, at_most < threshold),
            Comparator::Above => (at_least > threshold, at_most <= threshold),
            Comparator::Below => (at_most < threshold, at_least >= threshold),
            Comparator::AtMost => (at_most <= threshold, at_least > threshold),
        };
        match (always, never) {
            (true, _) => Truth::True,
            (_, true) => Truth::False,
            _ => Truth::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn end(value: f64) -> Option<End> {
        End::new(value, Basis::declared("test"))
    }

    fn interval(lower: f64, upper: f64) -> Interval {
        Interval { lower: end(lower), upper: end(upper), ..Interval::default() }
    }

    #[test]
    fn what_no_metric_can_be_is_no_end() {
        for value in [-1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(end(value), None);
        }
        assert!(end(0.0).is_some());
        // Nothing by nothing is not a number, and so no end.
        assert_eq!(interval(0.0, 0.0).divided_by(&interval(0.0, 0.0)).lower, None);
    }

    #[test]
    fn a_contradiction_is_seen_and_inherited() {
        let wrong = interval(2.0, 1.0);
        assert!(wrong.is_contradiction());
        // By an area that may be anything between, the ends themselves look well.
        let density = wrong.divided_by(&interval(1.0, 10.0));
        assert!(density.at_least() < density.at_most() && density.is_contradiction());
    }

    proptest! {
        #[test]
        fn a_comparison_that_is_decided_holds_for_every_value_inside(
            lower in 0.0..100.0_f64, width in 0.0..50.0_f64, share in 0.0..=1.0_f64,
            threshold in 0.0..150.0_f64,
        ) {
            let value = (lower + share * width).clamp(lower, lower + width);
            for comparator in
                [Comparator::AtLeast, Comparator::Above, Comparator::Below, Comparator::AtMost]
            {
                let exact = comparator.holds(value, value, threshold);
                let known = comparator.holds(lower, lower + width, threshold);
                prop_assert_ne!(exact, Truth::Unknown);
                prop_assert!(known == Truth::Unknown || known == exact);
            }
        }

        #[test]
        fn a_quotient_holds_every_quotient(
            a in 0.0..1e6_f64, b in 0.0..1e6_f64, c in 1.0..1e4_f64, d in 1.0..1e4_f64,
            share in 0.0..=1.0_f64,
        ) {
            let (numerator, denominator) = (interval(a, a + b), interval(c, c + d));
            let of = |i: &Interval| {
                let (low, high) = (i.at_least(), i.at_most());
                (low + share * (high - low)).clamp(low, high)
            };
            let exact = of(&numerator) / of(&denominator);
            let quotient = numerator.divided_by(&denominator);
            prop_assert!((quotient.at_least()..=quotient.at_most()).contains(&exact));
        }
    }
}
