//! The feature record: a classification as data, for other programs. `docs/classification.md`
//! explains it and `docs/classification.schema.json` is its schema.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::classify::catalogue::Grade;
use crate::classify::classification::{Classification, DISCLAIMER, Matching};
use crate::classify::expression::{Finding, Leaf};
use crate::classify::facts::Facts;
use crate::classify::interval::{End, Interval};
use crate::classify::kleene::Truth;
use crate::classify::ladder::{CaseStanding, Ladder, Standing};
use crate::classify::metric::{Flag, Metric};
use crate::classify::reference::Bound;
use crate::classify::rules::{Period, RuleSet};
use crate::classify::verdict::{Application, Verdict, settled_by, word};

/// Version of this format.
pub const FORMAT_VERSION: &str = "1.0";

/// One device under the rules.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ClassificationRecord {
    /// Version of this format, `"major.minor"`.
    pub format_version: String,
    /// What the verdicts are not.
    pub disclaimer: String,
    /// The device's name.
    pub device: String,
    /// The day whose rules were looked at; null for every version there ever was.
    pub as_of: Option<String>,
    /// The day by which statuses are told: that, or the last of a timeline.
    pub status_day: String,
    /// Result files behind it; none for a mere specification.
    pub files: Vec<String>,
    /// Why they are taken as one device: they are of `one_run`, or it was `declared` with
    /// --one-device; null without files.
    pub one_device: Option<String>,
    /// Whether an altered file is among them, so that nothing here is proved.
    pub tainted: bool,
    /// Which, and what was altered.
    pub taint: Vec<String>,
    /// The specification, if there is one.
    pub specification: Option<SpecificationRecord>,
    /// What limits the answer, in sentences.
    pub notes: Vec<String>,
    /// Metrics of which more was shown than can be: the measurement or the specification is wrong.
    pub contradictions: Vec<String>,
    /// What is known of each metric.
    pub metrics: BTreeMap<String, MetricRecord>,
    /// What is known of each flag.
    pub flags: BTreeMap<String, FlagRecord>,
    /// Where it stands among the thresholds of each metric.
    pub tiers: BTreeMap<String, TierRecord>,
    /// The rule sets behind the verdicts.
    pub rule_sets: Vec<RuleSetRecord>,
    /// One for each paragraph.
    pub verdicts: Vec<VerdictRecord>,
    /// One for each measured case.
    pub cases: Vec<CaseRecord>,
}

/// Where a specification comes from.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct SpecificationRecord {
    /// The device that it describes.
    pub name: String,
    /// `catalogue`, or a file.
    pub origin: String,
    /// `named` by the user, or `matched` by the name that the machine reports.
    pub how: String,
}

/// A metric as an interval.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct MetricRecord {
    /// It is this at least; null where nothing was shown.
    pub lower: Option<f64>,
    /// It is this at most; null where nothing is specified.
    pub upper: Option<f64>,
    /// In what it is counted.
    pub unit: String,
    /// Where both ends come from.
    pub basis: BasesRecord,
}

/// Where both ends of an interval come from.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct BasesRecord {
    /// Of the lower end.
    pub lower: Option<BasisRecord>,
    /// Of the upper end.
    pub upper: Option<BasisRecord>,
}

/// Where a figure comes from.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct BasisRecord {
    /// `measured`, `published`, `computed`, `specified` or `declared`.
    pub kind: String,
    /// Where it stands and how it was made.
    pub text: String,
    /// How good the evidence is; null for what was measured or declared.
    pub grade: Option<Grade>,
}

/// A flag.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct FlagRecord {
    /// `yes`, `no` or `unknown`.
    pub value: String,
    /// Who says so.
    pub basis: Option<BasisRecord>,
}

/// Where a device stands among the thresholds of a metric.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct TierRecord {
    /// The highest threshold that a run proves; null if none.
    pub proved: Option<f64>,
    /// The highest threshold that is not excluded; null if none.
    pub possible: Option<f64>,
    /// The lowest threshold that is not proved.
    pub next: Option<f64>,
    /// That by what was proved.
    pub factor_to_next: Option<f64>,
    /// All thresholds, lowest first.
    pub rungs: Vec<RungRecord>,
}

/// A threshold.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RungRecord {
    /// The figure.
    pub threshold: f64,
    /// Whether the figure itself is on the rung.
    pub inclusive: bool,
    /// `proved`, `possible` or `excluded`.
    pub state: String,
    /// Paragraphs that ask for it.
    pub asked_by: Vec<String>,
}

/// A rule set: what was read, and when it applied.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RuleSetRecord {
    /// Its id.
    pub id: String,
    /// In plain words.
    pub title: String,
    /// Where the text stands.
    pub citation: String,
    /// What was read.
    pub source: String,
    /// How good that is.
    pub grade: Grade,
    /// What else should be known.
    pub note: Option<String>,
    /// When it applied and how, in order.
    pub periods: Vec<PeriodRecord>,
}

/// A span of time with a status.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PeriodRecord {
    /// The first day.
    pub from: String,
    /// The last day; null while it goes on.
    pub to: Option<String>,
    /// `enforced`, `not_enforced`, `unpublished_letter` or `bill`.
    pub status: String,
    /// Who says so.
    pub note: Option<String>,
}

/// The verdict of a paragraph.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct VerdictRecord {
    /// Id of the rule set.
    pub rule_set: String,
    /// The paragraph, as the text calls it.
    pub paragraph: String,
    /// `reached`, `not_reached` or `undetermined`.
    pub verdict: String,
    /// The same by the specification alone, beside a measurement.
    pub by_specification: Option<String>,
    /// The paragraph that this one is a limb of.
    pub part_of: Option<String>,
    /// In plain words.
    pub title: String,
    /// What meeting it means: `control`, `exception`, `review`, `presumption`, `red_flag` or
    /// `tariff`.
    pub role: String,
    /// `US`, `EU`, …
    pub jurisdiction: String,
    /// `export_control`, `letter`, `tariff` or `bill`.
    pub kind: String,
    /// `enforced`, `not_enforced`, `unpublished_letter` or `bill`, on the day asked about;
    /// `not_yet` or `ended` for what a timeline shows beside that.
    pub status: String,
    /// The first day of that status; null for what had not begun.
    pub status_since: Option<String>,
    /// The paragraph's first day.
    pub effective_from: String,
    /// Its last day; null while it goes on.
    pub effective_to: Option<String>,
    /// Where the text stands.
    pub citation: String,
    /// How good the evidence for the text is.
    pub grade: Grade,
    /// What else should be known of the paragraph.
    pub note: Option<String>,
    /// The weakest grade of the figures that the verdict follows from, the best where one of several
    /// is enough; of all that it looked at where it is undetermined. Null where none has one.
    pub weakest_figure: Option<Grade>,
    /// Every comparison.
    pub reasons: Vec<ReasonRecord>,
    /// What would settle an undetermined verdict.
    pub settled_by: Vec<String>,
}

/// A comparison and what it came to.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ReasonRecord {
    /// As the rule set has it.
    pub comparison: String,
    /// `test`, or `unless` for what takes an item out again.
    pub part: String,
    /// `true`, `false` or `unknown`.
    pub truth: String,
    /// Whether the verdict follows from this; never where it is undetermined.
    pub decides: bool,
    /// The weakest grade of the figures that its truth follows from; null where none has one.
    pub grade: Option<Grade>,
    /// What is compared is this at least; null for a flag, and where nothing was shown.
    pub lower: Option<f64>,
    /// It is this at most; null for a flag, and where nothing is specified.
    pub upper: Option<f64>,
    /// Where the figures come from.
    pub basis: String,
}

/// A measured case on the ladder.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CaseRecord {
    /// Its id.
    pub id: String,
    /// Its file.
    pub file: String,
    /// Tokens per second in its best window.
    pub tokens_per_s_at_least: f64,
    /// Median of its rounds.
    pub median_tokens_per_s: Option<f64>,
    /// What it would have to reach.
    pub rungs: Vec<CaseRungRecord>,
    /// Metrics that it proves nothing of, each with the reason.
    pub absent: BTreeMap<String, String>,
    /// Where it stands among the rooflines of other devices. A model.
    pub references: Option<ReferencesRecord>,
}

/// What a case would have to reach.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct CaseRungRecord {
    /// `tpp` or `dram_bandwidth`.
    pub metric: String,
    /// The threshold.
    pub threshold: f64,
    /// Tokens per second at which this case alone would prove it.
    pub tokens_per_s: f64,
    /// That by what its best window reached.
    pub factor: f64,
    /// Whether its best window proves it.
    pub proved: bool,
}

/// A case among other devices' rooflines.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ReferencesRecord {
    /// What the figures are.
    pub model: String,
    /// Devices with a bound.
    pub n_devices: usize,
    /// How many have a bound below what this case reached: they could not do it, by the model.
    pub n_below: usize,
    /// The bounds: those nearest to the case, or all if asked for; highest first.
    pub bounds: Vec<BoundRecord>,
}

/// The roofline of a device.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct BoundRecord {
    /// The device.
    pub device: String,
    /// Tokens per second at most, by the model.
    pub tokens_per_s_at_most: f64,
    /// `compute` or `memory`.
    pub bound_by: String,
}

/// What rooflines are.
const MODEL: &str = "roofline: dense peak rate and memory bandwidth as specified, every weight \
read once in each forward pass, nothing kept in caches, no overhead; an upper bound by a model, \
not a measurement";

/// Bounds on either side of a case that are kept when not all are asked for.
const N_NEAREST: usize = 2;

/// Which rooflines are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum References {
    /// Those nearest to the case.
    Nearest,
    /// All.
    All,
}

/// A classification as data.
pub fn record(classification: &Classification, references: References) -> ClassificationRecord {
    let subject = classification.subject;
    let facts = &classification.shown.package;
    let evidence = subject.evidence.as_ref();
    let sources = evidence.map(|e| e.sources.as_slice()).unwrap_or_default();
    let contradiction = |(metric, interval): (Metric, &Interval)| {
        let (lower, upper) = (interval.lower.as_ref(), interval.upper.as_ref());
        let end = |end: Option<&End>| {
            end.map_or("open".into(), |e| format!("{} ({})", e.value, e.basis.text))
        };
        format!(
            "{}: at least {}, but at most {}; the measurement or the specification is wrong",
            metric.title(),
            end(lower),
            end(upper)
        )
    };
    let known_flag =
        |flag: &Flag| facts.flag(*flag).truth != Truth::Unknown || *flag == Flag::Datacenter;
    ClassificationRecord {
        format_version: FORMAT_VERSION.into(),
        disclaimer: DISCLAIMER.into(),
        device: subject.name.clone(),
        as_of: classification.terms.as_of().map(|day| day.to_string()),
        status_day: classification.terms.when.day().to_string(),
        files: sources.iter().map(|source| source.name.to_owned()).collect(),
        one_device: evidence.map(|evidence| evidence.identity.name().into()),
        tainted: !subject.taint.is_empty(),
        taint: subject.taint.clone(),
        specification: subject.specification.as_ref().map(|s| SpecificationRecord {
            name: s.name.clone(),
            origin: s.origin.clone(),
            how: if subject.matching == Matching::Named { "named" } else { "matched" }.into(),
        }),
        notes: notes(classification),
        contradictions: facts.contradictions().map(contradiction).collect(),
        metrics: Metric::ALL
            .into_iter()
            .map(|metric| (metric.name().into(), metric_record(metric, facts.metric(metric))))
            .collect(),
        flags: Flag::ALL
            .into_iter()
            .filter(known_flag)
            .map(|flag| {
                let fact = facts.flag(flag);
                let value = match fact.truth {
                    Truth::True => "yes",
                    Truth::False => "no",
                    Truth::Unknown => "unknown",
                };
                let basis = fact.basis.as_ref().map(basis_record);
                (flag.name().into(), FlagRecord { value: value.into(), basis })
            })
            .collect(),
        tiers: classification
            .standings
            .iter()
            .map(|(ladder, standing)| (ladder.metric.name().into(), tier(ladder, *standing)))
            .collect(),
        rule_sets: rule_sets(&classification.verdicts),
        verdicts: classification
            .verdicts
            .iter()
            .map(|verdict| {
                verdict_record(verdict, classification.shown.of(verdict.rule_set.circuit))
            })
            .collect(),
        cases: classification
            .cases
            .iter()
            .map(|(standing, bounds)| case_record(standing, bounds, references))
            .collect(),
    }
}

fn notes(classification: &Classification) -> Vec<String> {
    let subject = classification.subject;
    let mut notes = Vec::new();
    match &subject.matching {
        Matching::Named => {}
        Matching::Matched { reported } => notes.push(format!(
            "the machine calls it {reported}, which the catalogue has; --match NAME or --no-match \
             overrides that"
        )),
        Matching::NotFound { reported: Some(reported) } => notes.push(format!(
            "the machine calls it {reported}, which names no device of the catalogue; --match NAME \
             says which it is"
        )),
        Matching::NotFound { reported: None } => {
            notes.push("the file does not name the device; --match NAME says which it is".into())
        }
        Matching::Refused => notes.push("no specification is used, as asked".into()),
    }
    notes.extend(subject.evidence.iter().flat_map(|evidence| evidence.notes.clone()));
    notes.extend(subject.specification.iter().filter_map(|s| s.note.clone()));
    let is_cpu = classification.shown.package.flag(Flag::Cpu).truth == Truth::True;
    let of_3a090 = |verdict: &Verdict| verdict.paragraph.id.starts_with("3A090");
    if is_cpu && classification.verdicts.iter().any(of_3a090) {
        notes.push(
            "it is a general-purpose processor: 3A090's list of kinds does not name those, and does \
             not exclude them, so that its parameters alone are tested here"
                .into(),
        );
    }
    notes
}

fn basis_record(basis: &crate::classify::interval::Basis) -> BasisRecord {
    BasisRecord { kind: basis.kind.name().into(), text: basis.text.clone(), grade: basis.grade }
}

fn metric_record(metric: Metric, interval: &Interval) -> MetricRecord {
    let value = |end: &Option<End>| end.as_ref().map(|end| end.value);
    let basis = |end: &Option<End>| end.as_ref().map(|end| basis_record(&end.basis));
    MetricRecord {
        lower: value(&interval.lower),
        upper: value(&interval.upper),
        unit: metric.unit().into(),
        basis: BasesRecord { lower: basis(&interval.lower), upper: basis(&interval.upper) },
    }
}

fn tier(ladder: &Ladder, standing: Standing) -> TierRecord {
    let at = |i: Option<usize>| Some(ladder.rungs.get(i?)?.threshold);
    let rungs = ladder.rungs.iter().enumerate().map(|(i, rung)| RungRecord {
        threshold: rung.threshold,
        inclusive: rung.includes_threshold,
        state: match i {
            i if i < standing.n_proved => "proved",
            i if i < standing.n_possible => "possible",
            _ => "excluded",
        }
        .into(),
        asked_by: rung.asked_by.clone(),
    });
    TierRecord {
        proved: at(standing.n_proved.checked_sub(1)),
        possible: at(standing.n_possible.checked_sub(1)),
        next: at(Some(standing.n_proved)),
        factor_to_next: standing.factor_to_next,
        rungs: rungs.collect(),
    }
}

/// Every rule set that has a verdict, once.
fn rule_sets(verdicts: &[Verdict]) -> Vec<RuleSetRecord> {
    let mut sets: Vec<&RuleSet> = verdicts.iter().map(|verdict| verdict.rule_set).collect();
    sets.dedup_by(|a, b| a.id == b.id);
    let period = |period: &Period| PeriodRecord {
        from: period.span.from.to_string(),
        to: period.span.to.map(|day| day.to_string()),
        status: period.enforcement.name().into(),
        note: period.note.clone(),
    };
    let of = |set: &RuleSet| RuleSetRecord {
        id: set.id.clone(),
        title: set.title.clone(),
        citation: set.citation.clone(),
        source: set.source.clone(),
        grade: set.grade,
        note: set.note.clone(),
        periods: set.periods.iter().map(period).collect(),
    };
    sets.into_iter().map(of).collect()
}

fn verdict_record(verdict: &Verdict, facts: &Facts) -> VerdictRecord {
    let (set, paragraph) = (verdict.rule_set, verdict.paragraph);
    let mut settles: Vec<String> = Vec::new();
    for finding in verdict.findings.iter().filter(|finding| finding.is_open) {
        let sentence = settled_by(finding.leaf, paragraph, facts);
        if !settles.contains(&sentence) {
            settles.push(sentence);
        }
    }
    let parts =
        (0..verdict.findings.len()).map(|i| if i < verdict.n_of_test { "test" } else { "unless" });
    VerdictRecord {
        rule_set: set.id.clone(),
        paragraph: paragraph.id.clone(),
        verdict: word(verdict.truth).into(),
        by_specification: verdict.by_specification.map(|truth| word(truth).into()),
        part_of: paragraph.part_of.clone(),
        title: paragraph.title.clone(),
        role: paragraph.role.name().into(),
        jurisdiction: set.jurisdiction.clone(),
        kind: set.kind.name().into(),
        status: match verdict.application {
            Application::Applies(period) => period.enforcement.name(),
            Application::NotYet => "not_yet",
            Application::Ended(_) => "ended",
        }
        .into(),
        status_since: match verdict.application {
            // A paragraph may have begun within a period of its rule set.
            Application::Applies(period) => {
                Some(period.span.from.max(paragraph.span.from).to_string())
            }
            Application::Ended(last) => last.tomorrow().ok().map(|day| day.to_string()),
            Application::NotYet => None,
        },
        effective_from: paragraph.span.from.to_string(),
        effective_to: paragraph.span.to.map(|day| day.to_string()),
        citation: set.citation.clone(),
        grade: paragraph.grade,
        note: paragraph.note.clone(),
        weakest_figure: verdict.weakest_figure,
        reasons: verdict
            .findings
            .iter()
            .zip(parts)
            .map(|(f, part)| reason(f, part, facts))
            .collect(),
        settled_by: settles,
    }
}

fn reason(finding: &Finding, part: &str, facts: &Facts) -> ReasonRecord {
    let truth = match finding.truth {
        Truth::True => "true",
        Truth::False => "false",
        Truth::Unknown => "unknown",
    };
    let (lower, upper, basis) = match finding.leaf {
        Leaf::Flag(flag) => {
            let basis = facts.flag(*flag).basis.as_ref();
            (None, None, basis.map_or_else(|| "nobody says".into(), |basis| basis.text.clone()))
        }
        Leaf::Unsettled => (None, None, "the text leaves it open".into()),
        Leaf::Comparison { sum, .. } => figures(sum, facts),
    };
    ReasonRecord {
        comparison: finding.to_string(),
        part: part.into(),
        truth: truth.into(),
        decides: finding.decides,
        grade: finding.support(facts),
        lower,
        upper,
        basis,
    }
}

/// Both ends of a sum, and where they come from.
fn figures(sum: &[Metric], facts: &Facts) -> (Option<f64>, Option<f64>, String) {
    let intervals = sum.iter().map(|metric| facts.metric(*metric));
    let some = |value: f64| value.is_finite().then_some(value);
    let is_shown = intervals.clone().any(|interval| interval.lower.is_some());
    let lower = intervals.clone().map(Interval::at_least).sum::<f64>();
    let upper = intervals.map(Interval::at_most).sum::<f64>();
    let basis = sum.iter().map(|metric| {
        let interval = facts.metric(*metric);
        let name = if sum.len() > 1 { format!("{metric} ") } else { String::new() };
        match (&interval.lower, &interval.upper) {
            (None, None) => format!("{name}not known"),
            (Some(lower), None) => {
                format!("{name}{}: {}", lower.basis.kind.name(), lower.basis.text)
            }
            (None, Some(upper)) => {
                format!("{name}{}: {}", upper.basis.kind.name(), upper.basis.text)
            }
            (Some(lower), Some(upper)) if lower.basis == upper.basis => {
                format!("{name}{}: {}", upper.basis.kind.name(), upper.basis.text)
            }
            (Some(lower), Some(upper)) => format!(
                "{name}at least {}: {}; at most {}: {}",
                lower.basis.kind.name(),
                lower.basis.text,
                upper.basis.kind.name(),
                upper.basis.text
            ),
        }
    });
    let basis = basis.collect::<Vec<_>>().join("; ");
    (is_shown.then_some(lower).and_then(some), some(upper), basis)
}

fn case_record(standing: &CaseStanding, bounds: &[Bound], keep: References) -> CaseRecord {
    CaseRecord {
        id: standing.case.id.clone(),
        file: standing.source.into(),
        tokens_per_s_at_least: standing.tokens_per_s_at_least,
        median_tokens_per_s: standing.case.throughput.as_ref().map(|t| t.median_tokens_per_s),
        rungs: standing
            .rungs
            .iter()
            .map(|rung| CaseRungRecord {
                metric: rung.metric.name().into(),
                threshold: rung.threshold,
                tokens_per_s: rung.tokens_per_s,
                factor: rung.factor,
                proved: rung.is_proved,
            })
            .collect(),
        absent: standing.absent.iter().map(|(m, why)| (m.name().into(), why.clone())).collect(),
        references: (!bounds.is_empty()).then(|| references(standing, bounds, keep)),
    }
}

fn references(standing: &CaseStanding, bounds: &[Bound], keep: References) -> ReferencesRecord {
    let reached = standing.tokens_per_s_at_least;
    let n_above = bounds.iter().filter(|bound| bound.tokens_per_s_at_most >= reached).count();
    let kept = match keep {
        References::All => bounds,
        References::Nearest => {
            let end = bounds.len().min(n_above + N_NEAREST);
            &bounds[n_above.saturating_sub(N_NEAREST)..end]
        }
    };
    ReferencesRecord {
        model: MODEL.into(),
        n_devices: bounds.len(),
        n_below: bounds.len() - n_above,
        bounds: kept
            .iter()
            .map(|bound| BoundRecord {
                device: bound.device.into(),
                tokens_per_s_at_most: bound.tokens_per_s_at_most,
                bound_by: bound.bound_by.name().into(),
            })
            .collect(),
    }
}

/// The JSON Schema (draft 2020-12) of the record, ending in a newline.
pub fn schema() -> String {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(ClassificationRecord))
        .expect("a schema has string keys only");
    text.push('\n');
    text
}
