//! What names in tables, rows, comparisons and result files mean: `benchinf explain`.

use super::definitions::{COLUMNS, METRICS, TERMS};
use crate::classify::metric::Flag;
use crate::compare::DifferenceKind;
use crate::error::{Error, Result};
use crate::result::file::WarningKindFile;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefinitionKind {
    /// A figure.
    Metric,
    /// A warning.
    Warning,
    /// What was run, on what, and what became of it.
    Column,
    /// A fact that rules ask for and no run shows.
    Flag,
    /// A word of comparisons: a column of theirs, or a verdict.
    Term,
    /// Something that may differ between the sides of a comparison.
    Difference,
}

impl DefinitionKind {
    fn name(self) -> &'static str {
        match self {
            DefinitionKind::Metric => "metric",
            DefinitionKind::Warning => "warning",
            DefinitionKind::Column => "column",
            DefinitionKind::Flag => "flag of rules",
            DefinitionKind::Term => "comparison",
            DefinitionKind::Difference => "difference between sides",
        }
    }
}

/// What a few names mean. Of a column there is the meaning alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Definition {
    /// The name, and others for the same or for its parts.
    pub(super) names: &'static [&'static str],
    pub(super) kind: DefinitionKind,
    pub(super) meaning: &'static str,
    pub(super) unit: &'static str,
    pub(super) computed: &'static str,
    pub(super) matters: &'static str,
    pub(super) advice: &'static str,
}

/// A definition under one of its names.
struct Entry {
    name: String,
    others: Vec<&'static str>,
    kind: DefinitionKind,
    meaning: String,
    /// Titles and sentences.
    details: Vec<(&'static str, &'static str)>,
}

/// Every definition, once for each of its names.
fn entries() -> impl Iterator<Item = Entry> {
    let tables = METRICS.iter().chain(COLUMNS).chain(TERMS).flat_map(|definition| {
        definition.names.iter().map(|name| Entry {
            name: (*name).into(),
            others: definition.names.iter().filter(|other| *other != name).copied().collect(),
            kind: definition.kind,
            meaning: definition.meaning.into(),
            details: vec![
                ("unit", definition.unit),
                ("computed", definition.computed),
                ("why it matters", definition.matters),
                ("what to do", definition.advice),
            ],
        })
    });
    let warnings = WarningKindFile::KNOWN.iter().filter_map(|kind| {
        let explained = kind.explained()?;
        Some(Entry {
            name: kind.as_str().into(),
            others: Vec::new(),
            kind: DefinitionKind::Warning,
            meaning: explained.meaning.into(),
            details: vec![
                ("why it matters", explained.consequence),
                ("what to do", explained.advice),
            ],
        })
    });
    let flags = Flag::ALL.into_iter().map(|flag| Entry {
        name: flag.name().into(),
        others: Vec::new(),
        kind: DefinitionKind::Flag,
        meaning: format!("whether {}", flag.question()),
        details: vec![(
            "what to do",
            "declare it to `benchinf classify` with --declare NAME=yes|no",
        )],
    });
    let differences = DifferenceKind::ALL.into_iter().map(|kind| Entry {
        name: kind.name().into(),
        others: Vec::new(),
        kind: DefinitionKind::Difference,
        meaning: kind.meaning().into(),
        details: vec![
            (
                "why it matters",
                "it could explain what a comparison shows; `benchinf explain noted` has what that \
                 does to verdicts",
            ),
            ("what to do", kind.advice()),
        ],
    });
    tables.chain(warnings).chain(flags).chain(differences)
}

/// The definition of a name, whatever its case, ending in a newline.
///
/// # Errors
/// [`Error::UnknownTerm`] with the nearest names.
pub fn explain(name: &str) -> Result<String> {
    let plain = |name: &str| name.trim().to_lowercase().replace(['-', ' '], "_");
    let wanted = plain(name);
    // `model` is a column, and may differ between the sides of a comparison.
    let found: Vec<String> =
        entries().filter(|entry| plain(&entry.name) == wanted).map(|entry| text(&entry)).collect();
    if !found.is_empty() {
        return Ok(found.join("\n"));
    }
    let mut alike: Vec<(f64, String)> = entries()
        .map(|entry| (strsim::jaro_winkler(&wanted, &entry.name), entry.name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0));
    let nearest = alike.into_iter().take(3).map(|(_, name)| name).collect();
    Err(Error::UnknownTerm { name: name.into(), nearest })
}

fn text(entry: &Entry) -> String {
    let mut text = format!("{} ({})\n  {}\n", entry.name, entry.kind.name(), entry.meaning);
    for (title, sentence) in entry.details.iter().filter(|(_, sentence)| !sentence.is_empty()) {
        text += &format!("  {title}: {sentence}\n");
    }
    if !entry.others.is_empty() {
        text += &format!("  the same definition: {}\n", entry.others.join(", "));
    }
    text
}

/// One line for each name of some kinds, ending in a newline.
pub fn list_definitions(of: impl Fn(DefinitionKind) -> bool) -> String {
    let entries: Vec<Entry> = entries().filter(|entry| of(entry.kind)).collect();
    let width = entries.iter().map(|entry| entry.name.chars().count()).max().unwrap_or_default();
    let line = |entry: &Entry| format!("{:<width$}  {}\n", entry.name, entry.meaning);
    entries.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::metric;
    use crate::compare::Verdict;
    use crate::compare::record::Effect;
    use crate::report::comparison::COMPARISON_HEADER;
    use crate::report::{Format, render};
    use crate::result;

    fn fixture() -> result::ResultFile {
        result::parse(include_str!("../../tests/data/results/valid/v1.1.json")).unwrap()
    }

    /// Names that outputs have today; a new column or warning without a definition fails here.
    fn shown() -> Vec<String> {
        let mut names = Vec::new();
        let with_cases = fixture();
        let mut probes_alone = fixture();
        probes_alone.cases.clear();
        for file in [with_cases, probes_alone] {
            let rows = render(std::slice::from_ref(&file), Format::Jsonl);
            for row in rows.lines() {
                let row: serde_json::Value = serde_json::from_str(row).unwrap();
                names.extend(row.as_object().unwrap().keys().cloned());
            }
            let latencies = file.cases.iter().flat_map(|case| &case.latencies);
            names.extend(latencies.map(|latency| latency.metric.clone()));
        }
        assert!(names.len() > 100);
        names.extend(WarningKindFile::KNOWN.iter().map(|kind| kind.as_str().to_owned()));
        names.extend(metric::Metric::ALL.map(|metric| metric.name().to_owned()));
        names.extend(Flag::ALL.map(|flag| flag.name().to_owned()));
        names.extend(COMPARISON_HEADER.map(str::to_owned));
        names.extend(Verdict::ALL.map(|verdict| verdict.name().to_owned()));
        names.extend(Effect::ALL.map(|effect| effect.name().to_owned()));
        names.extend(DifferenceKind::ALL.map(|kind| kind.name().to_owned()));
        names.extend(["geometric mean", "margin", "round", "run"].map(str::to_owned));
        names
    }

    #[test]
    fn everything_that_is_shown_is_explained() {
        for name in shown() {
            let text = explain(&name).unwrap_or_else(|error| panic!("{error}"));
            assert!(text.starts_with(&format!("{name} (")), "{text}");
        }
    }

    #[test]
    fn a_name_means_one_thing_and_a_metric_is_defined_in_full() {
        let mut names: Vec<(String, &str)> =
            entries().map(|entry| (entry.name, entry.kind.name())).collect();
        let n = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n);
        for metric in METRICS {
            let sentences =
                [metric.meaning, metric.unit, metric.computed, metric.matters, metric.advice];
            assert!(sentences.iter().all(|s| !s.is_empty()), "{:?}", metric.names);
        }
        for kind in WarningKindFile::KNOWN {
            let text = explain(kind.as_str()).unwrap();
            assert!(text.contains("why it matters: ") && text.contains("what to do: "), "{text}");
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        for (name, near) in [("media_ts", "median_ts"), ("stall", "steal"), ("tfft", "ttft")] {
            let problem = explain(name).unwrap_err().to_string();
            assert!(problem.contains(&format!("`{near}`")), "{problem}");
        }
        assert!(explain("zzzzzz").unwrap_err().to_string().contains("benchinf list metrics"));
        assert!(explain("CLOCK-CHANGE").is_ok());
    }
}
