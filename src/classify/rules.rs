//! Rule sets: what a text asks, when it was in force, where it stands, and examples that it must
//! decide as stated.

use jiff::civil::Date;

use crate::classify::catalogue::Grade;
use crate::classify::expression::Expression;
use crate::classify::facts::Facts;
use crate::classify::kleene::Truth;
use crate::error::Result;

/// What kind of text a rule set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An export control regulation.
    ExportControl,
    /// Letters to companies that were never published.
    Letter,
    /// A tariff. It uses the same metrics, and controls no export.
    Tariff,
    /// A bill. It is not law.
    Bill,
}

impl Kind {
    /// The word of the output.
    pub fn name(self) -> &'static str {
        match self {
            Kind::ExportControl => "export_control",
            Kind::Letter => "letter",
            Kind::Tariff => "tariff",
            Kind::Bill => "bill",
        }
    }
}

/// Whether a text applies, during a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Enforcement {
    /// The text is in force and enforced.
    Enforced,
    /// The text is in force, and its authority has said that it is not enforced.
    NotEnforced,
    /// Letters bind those who got them; no text is published.
    UnpublishedLetter,
    /// A bill: nobody is bound.
    Bill,
}

impl Enforcement {
    /// The word of files.
    pub fn name(self) -> &'static str {
        match self {
            Enforcement::Enforced => "enforced",
            Enforcement::NotEnforced => "not_enforced",
            Enforcement::UnpublishedLetter => "unpublished_letter",
            Enforcement::Bill => "bill",
        }
    }

    /// In words.
    pub fn title(self) -> &'static str {
        match self {
            Enforcement::Enforced => "in force",
            Enforcement::NotEnforced => "text in force, not enforced",
            Enforcement::UnpublishedLetter => "unpublished letters",
            Enforcement::Bill => "bill, not law",
        }
    }
}

/// Days from a first to a last one, both in it; without a last one it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first day.
    pub from: Date,
    /// The last day.
    pub to: Option<Date>,
}

impl Span {
    /// Whether a day is in it.
    pub fn contains(&self, day: Date) -> bool {
        self.from <= day && self.to.is_none_or(|to| day <= to)
    }
}

/// A span with the status that the text had.
#[derive(Clone, Debug, PartialEq)]
pub struct Period {
    /// When.
    pub span: Span,
    /// Whether it applied.
    pub enforcement: Enforcement,
    /// Who says so.
    pub note: Option<String>,
}

/// What meeting a paragraph's parameters means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The item is within a control.
    Control,
    /// The parameters of a licence exception are met; its other conditions are not looked at.
    Exception,
    /// The parameters of a lane of licence review are met; the same holds.
    Review,
    /// The item is presumed to be within a control.
    Presumption,
    /// A sign that asks for care.
    RedFlag,
    /// A duty applies.
    Tariff,
}

impl Role {
    /// The word of files and of the output.
    pub fn name(self) -> &'static str {
        match self {
            Role::Control => "control",
            Role::Exception => "exception",
            Role::Review => "review",
            Role::Presumption => "presumption",
            Role::RedFlag => "red_flag",
            Role::Tariff => "tariff",
        }
    }
}

/// One paragraph with its test.
#[derive(Clone, Debug, PartialEq)]
pub struct Paragraph {
    /// The text's own id: `3A090.a`.
    pub id: String,
    /// The paragraph that this one is a limb of; that one's test says the same in full.
    pub part_of: Option<String>,
    /// In plain words.
    pub title: String,
    /// What meeting it means.
    pub role: Role,
    /// When it applies.
    pub span: Span,
    /// What it asks.
    pub test: Expression,
    /// What takes an item out again.
    pub unless: Option<Expression>,
    /// How good the evidence for this paragraph is.
    pub grade: Grade,
    /// What else should be known.
    pub note: Option<String>,
}

impl Paragraph {
    /// Whether the parameters are met.
    pub fn truth(&self, facts: &Facts) -> Truth {
        let out = self.unless.as_ref().map_or(Truth::False, |unless| unless.truth(facts));
        self.test.truth(facts).and(!out)
    }
}

/// What the words "integrated circuit" mean when processing performance is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Circuit {
    /// One package, as the makers' own tables and "any of which" in 4A090 have it.
    Package,
    /// Everything on one circuit board, as one reading has it.
    Board,
}

/// A rule set.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSet {
    /// Unique: `US-2023-11-17`.
    pub id: String,
    /// In plain words.
    pub title: String,
    /// `US`, `EU`, …
    pub jurisdiction: String,
    /// What kind of text.
    pub kind: Kind,
    /// Left out unless asked for.
    pub is_optional: bool,
    /// Where the text stands.
    pub citation: String,
    /// What was read.
    pub source: String,
    /// How good that is.
    pub grade: Grade,
    /// What is added up.
    pub circuit: Circuit,
    /// Whether its thresholds are rungs of the tier ladder.
    pub makes_rungs: bool,
    /// What else should be known.
    pub note: Option<String>,
    /// When it applied and how, in order, without overlap.
    pub periods: Vec<Period>,
    /// Its paragraphs.
    pub paragraphs: Vec<Paragraph>,
    /// Examples that its paragraphs decide as stated; held by whoever reads the file.
    pub vectors: Vec<Vector>,
}

/// An example: what is known of an item, and what follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    /// Index of its paragraph.
    pub paragraph_idx: usize,
    /// What is known.
    pub facts: Facts,
    /// What the paragraph says of it.
    pub truth: Truth,
}

impl RuleSet {
    /// From the first day of the first period to the last of the last.
    pub fn span(&self) -> Span {
        let first = self.periods.first().map_or(Date::MAX, |period| period.span.from);
        Span { from: first, to: self.periods.last().and_then(|period| period.span.to) }
    }

    /// The period that a day is in.
    pub fn period_on(&self, day: Date) -> Option<&Period> {
        self.periods.iter().find(|period| period.span.contains(day))
    }
}

/// Every embedded file, by the name that errors call it.
pub const EMBEDDED: [(&str, &str); 15] = [
    ("us-app-2006.toml", include_str!("rules/us-app-2006.toml")),
    ("us-app.toml", include_str!("rules/us-app.toml")),
    ("eu-app.toml", include_str!("rules/eu-app.toml")),
    ("us-2022-10-07.toml", include_str!("rules/us-2022-10-07.toml")),
    ("us-2023-11-17.toml", include_str!("rules/us-2023-11-17.toml")),
    ("us-2024-04-04.toml", include_str!("rules/us-2024-04-04.toml")),
    ("us-2024-12-02.toml", include_str!("rules/us-2024-12-02.toml")),
    ("us-2025-01-13.toml", include_str!("rules/us-2025-01-13.toml")),
    ("us-2025-01-16.toml", include_str!("rules/us-2025-01-16.toml")),
    ("us-2025-04-letters.toml", include_str!("rules/us-2025-04-letters.toml")),
    ("us-2026-01-15.toml", include_str!("rules/us-2026-01-15.toml")),
    ("us-s232-2026-01-15.toml", include_str!("rules/us-s232-2026-01-15.toml")),
    ("us-bill-s3374.toml", include_str!("rules/us-bill-s3374.toml")),
    ("us-bill-hr6875.toml", include_str!("rules/us-bill-hr6875.toml")),
    ("us-bill-s4456.toml", include_str!("rules/us-bill-s4456.toml")),
];

/// All embedded rule sets, oldest first.
///
/// # Errors
/// Never for a build whose tests passed: the files are part of it.
pub fn embedded() -> Result<Vec<RuleSet>> {
    let read = |(name, text): &(&str, &str)| crate::classify::load::parse(text, name);
    let mut sets = EMBEDDED.iter().map(read).collect::<Result<Vec<_>>>()?;
    sort(&mut sets);
    Ok(sets)
}

/// By the first day, then by id.
pub(super) fn sort(sets: &mut [RuleSet]) {
    sets.sort_by(|a, b| (a.span().from, &a.id).cmp(&(b.span().from, &b.id)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::expression::Leaf;

    #[test]
    fn every_embedded_file_is_read_and_says_where_it_comes_from() {
        let sets = embedded().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(sets.len(), EMBEDDED.len());
        let mut ids: Vec<&str> = sets.iter().map(|set| set.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), EMBEDDED.len());
        for set in &sets {
            assert!(!set.citation.is_empty() && !set.source.is_empty(), "{}", set.id);
            assert_eq!(set.kind == Kind::Bill, set.is_optional, "{}", set.id);
        }
    }

    /// For every threshold of every test there is an example at it, just below and just above.
    #[test]
    fn every_threshold_has_its_boundary_vectors() {
        let mut n_thresholds = 0;
        for set in embedded().unwrap() {
            for (i, paragraph) in set.paragraphs.iter().enumerate() {
                for leaf in paragraph.test.leaves() {
                    let Leaf::Comparison { sum, threshold, .. } = leaf else { continue };
                    n_thresholds += 1;
                    let values = || {
                        set.vectors.iter().filter(|vector| vector.paragraph_idx == i).filter_map(
                            |vector| {
                                let of = sum.iter().map(|metric| vector.facts.metric(*metric));
                                of.map(|interval| Some(interval.lower.as_ref()?.value)).sum()
                            },
                        )
                    };
                    let near = |value: f64| (value / threshold - 1.0).abs() < 0.01;
                    let has = |of: &dyn Fn(f64) -> bool| values().any(of);
                    let place = format!("{} {}: {leaf}", set.id, paragraph.id);
                    assert!(has(&|v| v == *threshold), "nothing at {place}");
                    assert!(has(&|v| v < *threshold && near(v)), "nothing below {place}");
                    assert!(has(&|v| v > *threshold && near(v)), "nothing above {place}");
                }
            }
        }
        assert!(n_thresholds > 90, "{n_thresholds}");
    }

    /// What decides at a threshold decides one step of the number beside it as well.
    #[test]
    fn comparators_are_exact_to_the_last_bit() {
        use crate::classify::interval::Comparator::*;
        for set in embedded().unwrap() {
            for paragraph in &set.paragraphs {
                for leaf in paragraph.test.leaves() {
                    let Leaf::Comparison { comparator, threshold, .. } = leaf else { continue };
                    let holds = |value: f64| comparator.holds(value, value, *threshold);
                    let (below, above) = (threshold.next_down(), threshold.next_up());
                    let expected = match comparator {
                        AtLeast => [false, true, true],
                        Above => [false, false, true],
                        Below => [true, false, false],
                        AtMost => [true, true, false],
                    };
                    let found = [below, *threshold, above].map(holds);
                    assert_eq!(found, expected.map(Truth::from), "{leaf}");
                }
            }
        }
    }

    #[test]
    fn statuses_follow_the_calendar() {
        let sets = embedded().unwrap();
        let status = |id: &str, day: &str| {
            let set = sets.iter().find(|set| set.id == id).unwrap();
            set.period_on(day.parse().unwrap()).map(|period| period.enforcement)
        };
        for (id, day, expected) in [
            ("US-APP-2006", "2006-04-23", None),
            ("US-APP-2006", "2010-01-01", Some(Enforcement::Enforced)),
            ("US-APP-2006", "2024-04-04", None),
            ("US-APP", "2024-04-04", Some(Enforcement::Enforced)),
            ("US-2022-10-07", "2022-10-06", None),
            ("US-2022-10-07", "2022-10-07", Some(Enforcement::Enforced)),
            ("US-2022-10-07", "2023-11-16", Some(Enforcement::Enforced)),
            ("US-2022-10-07", "2023-11-17", None),
            ("US-2023-11-17", "2023-11-16", None),
            ("US-2023-11-17", "2026-11-01", Some(Enforcement::Enforced)),
            ("US-2025-01-13", "2025-05-12", Some(Enforcement::Enforced)),
            ("US-2025-01-13", "2025-05-13", Some(Enforcement::NotEnforced)),
            ("US-2025-01-13", "2026-11-01", Some(Enforcement::NotEnforced)),
            ("US-2025-04", "2025-04-09", Some(Enforcement::UnpublishedLetter)),
            ("US-BILL-S3374", "2026-11-01", Some(Enforcement::Bill)),
        ] {
            assert_eq!(status(id, day), expected, "{id} on {day}");
        }
    }
}
