//! The thresholds of the chosen rule sets as rungs: which are proved, which are possible, and how
//! far the next one is, for a device and for each of its cases.

use crate::classify::evidence::{self, Evidence};
use crate::classify::expression::{Expression, Leaf};
use crate::classify::interval::{Comparator, Interval};
use crate::classify::metric::Metric;
use crate::classify::rules::{Role, RuleSet};
use crate::classify::verdict::When;
use crate::result::file::CaseFile;

/// A threshold of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Rung {
    /// The figure.
    pub threshold: f64,
    /// Whether the figure itself is on the rung ("or more"), or only what is above it.
    pub includes_threshold: bool,
    /// Paragraphs that ask for it: `US-2023-11-17 3A090.a`.
    pub asked_by: Vec<String>,
}

impl Rung {
    fn is_reached_by(&self, value: f64) -> bool {
        if self.includes_threshold { value >= self.threshold } else { value > self.threshold }
    }
}

/// The rungs of one metric, lowest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Ladder {
    /// What is compared.
    pub metric: Metric,
    /// The rungs.
    pub rungs: Vec<Rung>,
}

/// A device on a ladder. Rungs below `n_proved` are proved, those from `n_possible` on impossible
/// by what is specified.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Standing {
    /// Rungs that what was shown is on.
    pub n_proved: usize,
    /// Rungs that it may be on.
    pub n_possible: usize,
    /// How many times as much the next rung asks for; absent on the last, and where nothing was
    /// shown.
    pub factor_to_next: Option<f64>,
}

/// The ladders of all metrics that rule sets which applied then compare with a figure.
pub fn ladders(sets: &[RuleSet], when: When) -> Vec<Ladder> {
    let mut ladders: Vec<Ladder> = Vec::new();
    for set in sets.iter().filter(|set| set.makes_rungs) {
        for paragraph in &set.paragraphs {
            let applies = match when {
                When::On(day) => paragraph.span.contains(day) && set.period_on(day).is_some(),
                When::Timeline(_) => true,
            };
            // Exceptions repeat the lines of what they are exceptions from.
            if !applies || paragraph.role == Role::Exception {
                continue;
            }
            let asked_by = format!("{} {}", set.id, paragraph.id);
            thresholds(&paragraph.test, |metric, threshold, includes_threshold| {
                add(&mut ladders, metric, threshold, includes_threshold, &asked_by);
            });
        }
    }
    ladders.sort_by_key(|ladder| ladder.metric);
    for ladder in &mut ladders {
        // "4800 or more" is reached before "more than 4800".
        ladder.rungs.sort_by(|a, b| {
            a.threshold
                .total_cmp(&b.threshold)
                .then(b.includes_threshold.cmp(&a.includes_threshold))
        });
    }
    ladders
}

/// Every figure that one metric alone is compared with.
fn thresholds(test: &Expression, mut found: impl FnMut(Metric, f64, bool)) {
    for leaf in test.leaves() {
        if let Leaf::Comparison { sum, comparator, threshold } = leaf
            && let [metric] = sum.as_slice()
        {
            // Below 21,000 ends where 21,000 or more begins.
            let includes = matches!(comparator, Comparator::AtLeast | Comparator::Below);
            found(*metric, *threshold, includes);
        }
    }
}

fn add(ladders: &mut Vec<Ladder>, metric: Metric, threshold: f64, includes: bool, asked_by: &str) {
    let ladder = match ladders.iter().position(|ladder| ladder.metric == metric) {
        Some(i) => &mut ladders[i],
        None => {
            ladders.push(Ladder { metric, rungs: Vec::new() });
            ladders.last_mut().expect("one was just put there")
        }
    };
    let is_it =
        |rung: &&mut Rung| (rung.threshold, rung.includes_threshold) == (threshold, includes);
    match ladder.rungs.iter_mut().find(is_it) {
        Some(rung) if rung.asked_by.iter().any(|known| known == asked_by) => {}
        Some(rung) => rung.asked_by.push(asked_by.into()),
        None => ladder.rungs.push(Rung {
            threshold,
            includes_threshold: includes,
            asked_by: vec![asked_by.into()],
        }),
    }
}

impl Ladder {
    /// Where an interval stands. `is_shown` says that its lower end was measured; that of a
    /// specification proves nothing.
    pub fn standing(&self, interval: &Interval, is_shown: bool) -> Standing {
        let of = |value: f64| self.rungs.iter().filter(|rung| rung.is_reached_by(value)).count();
        let is_consistent = !interval.is_contradiction();
        let floor = interval.at_least();
        let n_proved = if is_shown && is_consistent { of(floor) } else { 0 };
        let next = self.rungs.get(n_proved).filter(|_| is_shown && is_consistent && floor > 0.0);
        Standing {
            n_proved,
            n_possible: if is_consistent { of(interval.at_most()) } else { self.rungs.len() },
            factor_to_next: next.map(|rung| rung.threshold / floor),
        }
    }
}

/// One case on the ladders of what it can prove.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseStanding<'a> {
    /// The case.
    pub case: &'a CaseFile,
    /// The name of its file.
    pub source: &'a str,
    /// Tokens per second in its best window: work of the claim by its bracket.
    pub tokens_per_s_at_least: f64,
    /// The rungs of each metric that it has a claim for.
    pub rungs: Vec<CaseRung>,
    /// Metrics that it proves nothing of, each with the reason.
    pub absent: Vec<(Metric, String)>,
}

/// What a case would have to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CaseRung {
    /// What is compared.
    pub metric: Metric,
    /// The rung's figure.
    pub threshold: f64,
    /// Tokens per second at which this case alone would prove the rung.
    pub tokens_per_s: f64,
    /// That by what its best window reached.
    pub factor: f64,
    /// Whether its best window proves it.
    pub is_proved: bool,
}

/// Every case with claims.
pub fn cases<'a>(
    evidence: &Evidence<'a>,
    ladders: &[Ladder],
    is_proof: bool,
) -> Vec<CaseStanding<'a>> {
    let cases = evidence
        .sources
        .iter()
        .flat_map(|source| source.file.cases.iter().map(move |case| (source.name, case)));
    cases.filter_map(|(source, case)| of_case(source, case, evidence, ladders, is_proof)).collect()
}

fn of_case<'a>(
    source: &'a str,
    case: &'a CaseFile,
    evidence: &Evidence<'a>,
    ladders: &[Ladder],
    is_proof: bool,
) -> Option<CaseStanding<'a>> {
    let record = evidence::of_case(case)?;
    let packages = f64::from(evidence.packages?);
    let window = record.claims.proofs().next()?;
    let window_ns = window.bracket_ns.saturating_add(window.clock_resolution_ns);
    let tokens_per_s = case.work.tokens as f64 / (window_ns as f64 / 1e9);
    if !tokens_per_s.is_finite() || tokens_per_s <= 0.0 {
        return None;
    }
    let mut standing = CaseStanding {
        case,
        source,
        tokens_per_s_at_least: tokens_per_s,
        rungs: Vec::new(),
        absent: Vec::new(),
    };
    for metric in [Metric::Tpp, Metric::DramBandwidth] {
        let claims = record.claims.existence.iter();
        let mut floors = claims.filter_map(|claim| evidence::floor(claim, &record));
        let floor = floors.find(|(of, value)| *of == metric && *value > 0.0);
        let ladder = ladders.iter().find(|ladder| ladder.metric == metric);
        match (floor, ladder) {
            (Some((_, floor)), Some(ladder)) => {
                let floor = floor / packages;
                standing.rungs.extend(ladder.rungs.iter().map(|rung| CaseRung {
                    metric,
                    threshold: rung.threshold,
                    tokens_per_s: tokens_per_s * (rung.threshold / floor),
                    factor: rung.threshold / floor,
                    is_proved: is_proof && rung.is_reached_by(floor),
                }));
            }
            (None, Some(_)) => {
                let key = if metric == Metric::Tpp { "operations" } else { "bytes" };
                let reason = record.claims.absent.get(key).cloned();
                let reason = reason.unwrap_or_else(|| "no claim of the case proves any".into());
                standing.absent.push((metric, reason));
            }
            (_, None) => {}
        }
    }
    Some(standing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::interval::{Basis, End};
    use crate::classify::rules;

    fn ladder(metric: Metric, when: When) -> Vec<f64> {
        let sets: Vec<RuleSet> =
            rules::embedded().unwrap().into_iter().filter(|set| !set.is_optional).collect();
        let ladders = ladders(&sets, when);
        let ladder = ladders.into_iter().find(|ladder| ladder.metric == metric).unwrap();
        ladder.rungs.iter().map(|rung| rung.threshold).collect()
    }

    #[test]
    fn rungs_are_the_thresholds_of_what_was_in_force() {
        let on = |day: &str| When::On(day.parse().unwrap());
        assert_eq!(ladder(Metric::Tpp, on("2022-12-01")), [4800.0]);
        assert_eq!(ladder(Metric::Tpp, on("2024-01-01")), [1600.0, 2400.0, 4800.0]);
        assert_eq!(ladder(Metric::Tpp, on("2026-11-01")), [1600.0, 2400.0, 4800.0, 21000.0]);
        assert_eq!(ladder(Metric::DramBandwidth, on("2026-11-01")), [1400.0, 6500.0]);
        assert_eq!(ladder(Metric::IoBandwidth, on("2026-11-01")), [1100.0]);
        assert_eq!(
            ladder(Metric::IoBandwidthAll, When::Timeline("2026-11-24".parse().unwrap())),
            [600.0]
        );
    }

    #[test]
    fn a_device_stands_where_it_was_shown_to() {
        let rung = |threshold, includes_threshold| Rung {
            threshold,
            includes_threshold,
            asked_by: vec![],
        };
        let ladder = Ladder {
            metric: Metric::Tpp,
            rungs: vec![rung(10.0, true), rung(20.0, false), rung(40.0, true)],
        };
        let end = |value| End::new(value, Basis::declared("x"));
        let standing = |lower: Option<f64>, upper: Option<f64>, is_shown| {
            let interval = Interval {
                lower: lower.and_then(end),
                upper: upper.and_then(end),
                ..Interval::default()
            };
            let s = ladder.standing(&interval, is_shown);
            (s.n_proved, s.n_possible, s.factor_to_next)
        };
        assert_eq!(standing(Some(10.0), None, true), (1, 3, Some(2.0)));
        assert_eq!(standing(Some(20.0), Some(20.0), true), (1, 1, Some(1.0)));
        assert_eq!(standing(Some(5.0), Some(39.0), true), (0, 2, Some(2.0)));
        assert_eq!(standing(Some(50.0), None, true), (3, 3, None));
        assert_eq!(standing(None, Some(50.0), true), (0, 3, None));
        // A specification alone proves nothing.
        assert_eq!(standing(Some(30.0), Some(30.0), false), (0, 2, None));
        // More than can be: nothing is proved, nothing excluded.
        assert_eq!(standing(Some(30.0), Some(15.0), true), (0, 3, None));
    }
}
