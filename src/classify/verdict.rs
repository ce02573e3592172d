//! The verdict of a paragraph on a device: what it came to, by which comparisons.

use jiff::civil::Date;

use crate::classify::catalogue::Grade;
use crate::classify::expression::{Finding, Leaf};
use crate::classify::facts::Facts;
use crate::classify::interval::Comparator;
use crate::classify::kleene::Truth;
use crate::classify::metric::{Flag, Metric};
use crate::classify::rules::{Circuit, Paragraph, Period, RuleSet};

/// The word for what a test came to.
pub fn word(truth: Truth) -> &'static str {
    match truth {
        Truth::True => "reached",
        Truth::False => "not_reached",
        Truth::Unknown => "undetermined",
    }
}

/// What a paragraph says of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict<'r> {
    /// The rule set.
    pub rule_set: &'r RuleSet,
    /// The paragraph.
    pub paragraph: &'r Paragraph,
    /// Whether it applied on the day that was asked about.
    pub application: Application<'r>,
    /// What it came to: [`Truth::True`] is "reached".
    pub truth: Truth,
    /// What its parameters came to by the specification alone, beside a measurement.
    pub by_specification: Option<Truth>,
    /// Every comparison of the test, and from `n_of_test` on those of what takes an item out.
    pub findings: Vec<Finding<'r>>,
    /// How many findings belong to the test.
    pub n_of_test: usize,
    /// The grade of the weakest figure that the verdict follows from, or that an undetermined one
    /// looked at; absent where none has one.
    pub weakest_figure: Option<Grade>,
}

/// Whether a paragraph applied on a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Application<'r> {
    /// It did, with the status of this period.
    Applies(&'r Period),
    /// It began later.
    NotYet,
    /// It had ended, on this day at the latest.
    Ended(Date),
}

impl<'r> Application<'r> {
    fn of(rule_set: &'r RuleSet, paragraph: &Paragraph, day: Date) -> Self {
        if day < paragraph.span.from {
            return Application::NotYet;
        }
        if let Some(end) = paragraph.span.to.filter(|end| *end < day) {
            return Application::Ended(end);
        }
        match rule_set.period_on(day) {
            Some(period) => Application::Applies(period),
            None => {
                let ends = rule_set.periods.iter().filter_map(|period| period.span.to);
                ends.filter(|end| *end < day).max().map_or(Application::NotYet, Application::Ended)
            }
        }
    }
}

/// Which texts are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Those in force on a day.
    On(Date),
    /// Every version there ever was, each with what became of it by a day.
    Timeline(Date),
}

impl When {
    /// The day.
    pub fn day(self) -> Date {
        match self {
            When::On(day) | When::Timeline(day) => day,
        }
    }
}

/// What is known of one package, and of the board that it sits on.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Of one package.
    pub package: Facts,
    /// Of its board; absent where no rule set asks.
    pub board: Option<Facts>,
}

impl Known {
    /// Of what a rule set calls an integrated circuit.
    pub fn of(&self, circuit: Circuit) -> &Facts {
        match (circuit, &self.board) {
            (Circuit::Board, Some(board)) => board,
            _ => &self.package,
        }
    }
}

impl From<Facts> for Known {
    fn from(package: Facts) -> Self {
        Known { package, board: None }
    }
}

/// Looks at every paragraph of the rule sets that applied then.
pub fn verdicts<'r>(
    sets: &'r [RuleSet],
    when: When,
    shown: &Known,
    specified: Option<&Known>,
) -> Vec<Verdict<'r>> {
    let mut verdicts = Vec::new();
    for rule_set in sets {
        for paragraph in &rule_set.paragraphs {
            let application = Application::of(rule_set, paragraph, when.day());
            let applies = matches!(application, Application::Applies(_));
            if matches!(when, When::On(_)) && !applies {
                continue;
            }
            let shown = shown.of(rule_set.circuit);
            let mut findings = Vec::with_capacity(8);
            let test = paragraph.test.examine(shown, &mut findings);
            let n_of_test = findings.len();
            let out = paragraph
                .unless
                .as_ref()
                .map_or(Truth::False, |unless| unless.examine(shown, &mut findings));
            let truth = test.and(!out);
            match truth {
                Truth::Unknown => findings.iter_mut().for_each(|f| f.decides = false),
                _ => findings.iter_mut().for_each(|f| f.is_open = false),
            }
            // What is not met is decided by that, and what is taken out again by that alone.
            let (of_test, of_unless) = findings.split_at_mut(n_of_test);
            if truth != test {
                of_test.iter_mut().for_each(|finding| finding.decides = false);
            }
            if truth != !out {
                of_unless.iter_mut().for_each(|finding| finding.decides = false);
            }
            verdicts.push(Verdict {
                rule_set,
                paragraph,
                application,
                truth,
                weakest_figure: weakest_figure(paragraph, truth, &findings, shown),
                by_specification: specified
                    .map(|known| paragraph.truth(known.of(rule_set.circuit))),
                findings,
                n_of_test,
            });
        }
    }
    verdicts
}

/// The grade of the weakest figure behind a verdict.
fn weakest_figure(
    paragraph: &Paragraph,
    truth: Truth,
    findings: &[Finding],
    facts: &Facts,
) -> Option<Grade> {
    let of_unless = || paragraph.unless.as_ref()?.support(facts, !truth);
    match truth {
        Truth::Unknown => findings.iter().filter_map(|f| f.support(facts)).max(),
        Truth::True => paragraph.test.support(facts, truth)?.max(of_unless().flatten()),
        // Either is enough.
        Truth::False => {
            let both = [paragraph.test.support(facts, truth), of_unless()];
            both.into_iter().flatten().min()?
        }
    }
}

/// What would settle a comparison of a paragraph that is open.
pub fn settled_by(leaf: &Leaf, paragraph: &Paragraph, facts: &Facts) -> String {
    match leaf {
        Leaf::Unsettled => format!(
            "a reading of the text, which leaves it open: {}",
            paragraph.note.as_deref().unwrap_or("it is silent").trim()
        ),
        Leaf::Flag(flag) => match flag {
            Flag::Datacenter => "--datacenter yes or no".into(),
            _ => format!("--declare {flag}=yes or no"),
        },
        Leaf::Comparison { sum, comparator, threshold } => {
            let wrong: Vec<&str> = sum
                .iter()
                .filter(|metric| facts.metric(**metric).is_contradiction())
                .map(|metric| metric.title())
                .collect();
            if !wrong.is_empty() {
                return format!(
                    "finding out whether the measurement or the specification of {} is wrong",
                    wrong.join(" and ")
                );
            }
            let number = super::expression::number_text(*threshold);
            let names: Vec<&str> = sum.iter().map(|metric| metric.title()).collect();
            let (name, unit) = (names.join(" + "), sum[0].unit());
            let amount = if unit.is_empty() { number } else { format!("{number} {unit}") };
            let (over, under) = match comparator {
                Comparator::AtLeast | Comparator::Below => {
                    (format!("{amount} or more"), format!("below {amount}"))
                }
                Comparator::Above | Comparator::AtMost => {
                    (format!("more than {amount}"), format!("of {amount} at most"))
                }
            };
            match sum.as_slice() {
                [Metric::Tpp | Metric::DramBandwidth] => format!(
                    "a measured {name} of {over}, or a specification with an upper end {under}"
                ),
                [Metric::PerformanceDensity] => format!(
                    "the die area (--die-area MM2), with a TPP that makes the {name} {over} for \
                     certain, or {under}"
                ),
                _ => format!("a specification or --declare: {name} of {over}, or {under}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::interval::{Basis, End, Interval};
    use crate::classify::load;

    const ALWAYS: When = When::Timeline(Date::constant(2026, 11, 24));

    const RULES: &str = r#"
        id = "T"
        title = "t"
        jurisdiction = "X"
        kind = "export_control"
        citation = "c"
        source = "s"
        grade = "official"
        [[period]]
        from = 2020-01-01
        status = "enforced"
        [[paragraph]]
        id = "p"
        title = "t"
        test = "tpp >= 4800 or (tpp >= 1600 and performance_density >= 5.92)"
        unless = "not datacenter and tpp < 4800"
        [[vector]]
        paragraph = "p"
        facts = { tpp = 4800 }
        verdict = "reached"
    "#;

    fn at_least(value: f64) -> Interval {
        Interval { lower: End::new(value, Basis::declared("x")), ..Interval::default() }
    }

    #[test]
    fn only_what_could_decide_is_open() {
        let sets = [load::parse(RULES, "t").unwrap()];
        let mut facts = Facts::default();
        facts.set_metric(Metric::Tpp, at_least(1700.0));
        let known = Known::from(facts.clone());
        let verdict = &verdicts(&sets, ALWAYS, &known, None)[0];
        assert_eq!(verdict.truth, Truth::Unknown);
        let open: Vec<String> =
            verdict.findings.iter().filter(|f| f.is_open).map(|f| f.to_string()).collect();
        // That it is 1600 at least is shown and decides nothing more.
        assert_eq!(
            open,
            [
                "tpp >= 4800",
                "tpp >= 1600",
                "performance_density >= 5.92",
                "not datacenter",
                "tpp < 4800"
            ]
            .iter()
            .filter(|t| **t != "tpp >= 1600")
            .map(|t| t.to_string())
            .collect::<Vec<_>>()
        );
        facts.set_metric(Metric::Tpp, at_least(4800.0));
        let known = Known::from(facts.clone());
        let verdict = &verdicts(&sets, ALWAYS, &known, None)[0];
        assert_eq!(verdict.truth, Truth::True);
        assert!(verdict.findings.iter().all(|finding| !finding.is_open));
        assert_eq!((verdict.findings.len(), verdict.n_of_test), (5, 3));
    }

    #[test]
    fn a_measurement_beyond_the_specification_decides_nothing() {
        let sets = [load::parse(RULES, "t").unwrap()];
        let mut facts = Facts::default();
        let wrong = Interval { upper: at_least(1000.0).lower, ..at_least(5000.0) };
        facts.set_metric(Metric::Tpp, wrong);
        let known = Known::from(facts.clone());
        let verdict = &verdicts(&sets, ALWAYS, &known, None)[0];
        assert_eq!(verdict.truth, Truth::Unknown);
        let sentence = settled_by(verdict.findings[0].leaf, verdict.paragraph, &facts);
        assert!(sentence.contains("is wrong"));
    }

    #[test]
    fn a_day_picks_what_was_in_force() {
        let sets = [load::parse(RULES, "t").unwrap()];
        let on = |day: &str| {
            verdicts(&sets, When::On(day.parse().unwrap()), &Facts::default().into(), None).len()
        };
        assert_eq!((on("2019-12-31"), on("2020-01-01"), on("2050-01-01")), (0, 1, 1));
    }
}
