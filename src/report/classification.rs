//! A classification for people and for programs.

use super::table::{add_row, align_right, plain, table};
use crate::classify::record::{
    BasisRecord, CaseRecord, ClassificationRecord, MetricRecord, ReasonRecord, TierRecord,
    VerdictRecord,
};
use crate::classify::{DISCLAIMER, nothing_known, number_text};
use crate::units::significant;

/// Formats of a classification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassificationFormat {
    /// For people.
    Text,
    /// One JSON object per device and line.
    Json,
    /// A header and one line per device.
    Csv,
}

/// Classifications in a format, ending in a newline.
pub fn render_classifications(
    records: &[ClassificationRecord],
    format: ClassificationFormat,
) -> String {
    match format {
        ClassificationFormat::Text => text(records),
        ClassificationFormat::Json => records.iter().map(json).collect(),
        ClassificationFormat::Csv => super::classification_csv::csv(records),
    }
}

fn json(record: &ClassificationRecord) -> String {
    serde_json::to_string(record).expect("keys are strings and numbers are finite") + "\n"
}

fn text(records: &[ClassificationRecord]) -> String {
    let mut text = if records.len() > 1 { side_by_side(records) } else { String::new() };
    text += &records.iter().map(device).collect::<Vec<_>>().join("\n");
    text += &format!("\n{DISCLAIMER}\n");
    text
}

/// Several devices under the same rules.
fn side_by_side(records: &[ClassificationRecord]) -> String {
    let names: Vec<String> = records.iter().map(|record| name_among(record, records)).collect();
    let names = names.iter().map(String::as_str);
    let header: Vec<&str> =
        ["rule set", "from", "status", "paragraph"].into_iter().chain(names).collect();
    let header: Vec<String> = header.into_iter().map(plain).collect();
    let mut table = table(&header.iter().map(String::as_str).collect::<Vec<_>>());
    for (i, verdict) in records[0].verdicts.iter().enumerate() {
        let mut cells = vec![
            verdict.rule_set.clone(),
            span(verdict),
            status(verdict),
            verdict.paragraph.clone(),
        ];
        let of = |record: &ClassificationRecord| words(&record.verdicts[i].verdict);
        cells.extend(records.iter().map(of));
        table.add_row(cells.iter().map(|cell| plain(cell)));
    }
    format!("{table}\n\n")
}

/// A device's name, with its files where another is called the same.
fn name_among(record: &ClassificationRecord, records: &[ClassificationRecord]) -> String {
    let is_alone = records.iter().filter(|other| other.device == record.device).count() == 1;
    match is_alone || record.files.is_empty() {
        true => record.device.clone(),
        false => format!("{} ({})", record.device, record.files.join(", ")),
    }
}

/// One device under the rules of a day, or under every version.
fn device(record: &ClassificationRecord) -> String {
    let mut text = format!("# {}\n\n", plain(&record.device));
    if record.tainted {
        text += "**TAINTED**: altered since it was written, so nothing below is proved:\n";
        for taint in &record.taint {
            text += &format!("- {}\n", plain(taint));
        }
        text.push('\n');
    }
    text += &match &record.as_of {
        Some(day) => format!("Rules as of {day}. "),
        None => format!("Every version of the rules, as it stood on {}. ", record.status_day),
    };
    text += &match (&record.files[..], &record.specification) {
        ([], Some(s)) => {
            format!("By specification alone ({}): nothing was measured.\n", plain(&s.origin))
        }
        ([], None) => "Nothing is known of it.\n".to_owned(),
        (files, Some(s)) => format!(
            "Measured in {}; from above bounded by the specification of {} ({}).\n",
            plain(&files.join(", ")),
            plain(&s.name),
            plain(&s.origin)
        ),
        (files, None) => {
            format!("Measured in {}; nothing bounds it from above.\n", plain(&files.join(", ")))
        }
    };
    if record.one_device.as_deref() == Some("declared") {
        text += "Taken as one device because --one-device says so.\n";
    }
    text.push('\n');
    text += &metrics(record);
    for contradiction in &record.contradictions {
        text += &format!("\n**CONTRADICTION**: {}.\n", plain(contradiction));
    }
    text += &format!("\n{}", tiers(record));
    text += &format!("\n{}", verdicts(record));
    text += &reasons(record);
    text += &cases(record);
    for note in &record.notes {
        text += &format!("\nNote: {}\n", plain(note.trim()));
    }
    text
}

fn metrics(record: &ClassificationRecord) -> String {
    let mut table = table(&["metric", "at least", "at most", "basis"]);
    for (name, metric) in &record.metrics {
        if nothing_known(metric) {
            continue;
        }
        let unit = if metric.unit.is_empty() { String::new() } else { format!(" {}", metric.unit) };
        let end = |value: Option<f64>, open: &str| {
            value.map_or_else(|| open.to_owned(), |value| format!("{}{unit}", number(value)))
        };
        add_row(
            &mut table,
            [name.clone(), end(metric.lower, "–"), end(metric.upper, "open"), bases(metric)],
        );
    }
    for (name, flag) in &record.flags {
        let basis = flag.basis.as_ref().map_or_else(|| "nobody says".to_owned(), basis);
        add_row(&mut table, [name.clone(), flag.value.clone(), String::new(), basis]);
    }
    format!("{table}\n")
}

/// Up to five digits, as thresholds have.
fn number(value: f64) -> String {
    match value {
        v if v == v.trunc() && v < 1e12 => format!("{v:.0}"),
        v if v >= 1e12 => format!("{v:.3e}"),
        v if v >= 999.5 => format!("{v:.1}"),
        v => significant(v),
    }
}

fn bases(metric: &MetricRecord) -> String {
    match (&metric.basis.lower, &metric.basis.upper) {
        (Some(lower), Some(upper)) if lower == upper => basis(lower),
        (lower, upper) => {
            let parts = [lower, upper].into_iter().flatten().map(basis);
            parts.collect::<Vec<_>>().join("; ")
        }
    }
}

fn basis(basis: &BasisRecord) -> String {
    let grade = basis.grade.map_or_else(String::new, |grade| format!(" [{}]", grade.name()));
    format!("{}: {}{grade}", basis.kind, basis.text)
}

fn tiers(record: &ClassificationRecord) -> String {
    let mut table = table(&["tier of", "proved", "possible", "thresholds", "next", "factor"]);
    let figure = |value: Option<f64>| value.map_or_else(|| "none".to_owned(), number_text);
    for (name, tier) in &record.tiers {
        // Where nothing is known everything is possible.
        if record.metrics.get(name).is_some_and(nothing_known) {
            continue;
        }
        let all: Vec<String> = tier.rungs.iter().map(|rung| number_text(rung.threshold)).collect();
        add_row(
            &mut table,
            [
                name.clone(),
                figure(tier.proved),
                figure(tier.possible),
                all.join(", "),
                tier.next.map_or_else(|| "–".to_owned(), number_text),
                factor(tier),
            ],
        );
    }
    align_right(&mut table, &[1, 2, 4, 5]);
    format!("{table}\n")
}

fn factor(tier: &TierRecord) -> String {
    tier.factor_to_next
        .map_or_else(|| "–".to_owned(), |factor| format!("{} ×", significant(factor)))
}

fn verdicts(record: &ClassificationRecord) -> String {
    let both = record.verdicts.iter().any(|verdict| verdict.by_specification.is_some());
    let mut header = vec!["rule set", "from", "status", "paragraph", "verdict", "weakest figure"];
    if both {
        header.push("by specification");
    }
    let mut table = table(&header);
    let mut last = "";
    for verdict in &record.verdicts {
        let is_new = verdict.rule_set != last;
        last = &verdict.rule_set;
        let only_first = |text: String| if is_new { text } else { String::new() };
        // A paragraph may have ended before its rule set.
        let limb = if verdict.part_of.is_some() { "  " } else { "" };
        let mut cells = vec![
            only_first(verdict.rule_set.clone()),
            span(verdict),
            status(verdict),
            format!("{limb}{}", verdict.paragraph),
            words(&verdict.verdict),
            verdict
                .weakest_figure
                .filter(|_| verdict.verdict != "undetermined")
                .map_or_else(String::new, |grade| grade.name().into()),
        ];
        if both {
            cells.push(verdict.by_specification.as_deref().map_or_else(String::new, words));
        }
        table.add_row(cells.iter().map(|cell| plain(cell)));
    }
    format!("{table}\n")
}

fn span(verdict: &VerdictRecord) -> String {
    match &verdict.effective_to {
        Some(to) => format!("{} to {to}", verdict.effective_from),
        None => verdict.effective_from.clone(),
    }
}

/// The status, with what the text is where it is no export control.
fn status(verdict: &VerdictRecord) -> String {
    let kind = match verdict.kind.as_str() {
        "tariff" => "tariff, not an export control",
        _ => "",
    };
    let since = verdict.status_since.as_ref().filter(|since| **since != verdict.effective_from);
    let since = since.filter(|_| verdict.status != "ended");
    let since = since.map_or_else(String::new, |since| format!(" since {since}"));
    let status = match verdict.status.as_str() {
        "enforced" => "in force".to_owned(),
        "not_enforced" => "text in force, not enforced".to_owned(),
        "bill" => "bill, not law".to_owned(),
        "not_yet" => "not yet in force".to_owned(),
        // A rule set that pauses says when by `since`; a paragraph that is over, by its last day.
        "ended" => match &verdict.effective_to {
            Some(to) => format!("ended on {to}"),
            None => "ended".to_owned(),
        },
        other => words(other),
    };
    match (kind, status) {
        ("", status) => format!("{status}{since}"),
        (kind, status) => format!("{kind}; {status}{since}"),
    }
}

fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// Every comparison of what was reached or is open and something is known of, and what would settle
/// the latter; of what is not reached, those that it follows from.
fn reasons(record: &ClassificationRecord) -> String {
    let mut text = String::new();
    let mut not_reached = String::new();
    let mut untold: Vec<String> = Vec::new();
    for verdict in &record.verdicts {
        // Limbs say what their whole says.
        if verdict.part_of.is_some() {
            continue;
        }
        if verdict.verdict == "not_reached" {
            let deciding = verdict.reasons.iter().filter(|reason| reason.decides).map(reason_line);
            let mut deciding: Vec<String> = deciding.collect();
            // Limbs may ask for the same.
            let mut told = std::collections::HashSet::new();
            deciding.retain(|line| told.insert(line.clone()));
            not_reached += &format!(
                "- {} {}: {}\n",
                plain(&verdict.rule_set),
                plain(&verdict.paragraph),
                deciding.join("; ")
            );
            continue;
        }
        if is_untold(verdict) {
            untold.push(format!("{} {}", plain(&verdict.rule_set), plain(&verdict.paragraph)));
            continue;
        }
        text += &format!(
            "\n{} {}: {} – {}\n",
            plain(&verdict.rule_set),
            plain(&verdict.paragraph),
            words(&verdict.verdict),
            plain(&verdict.title)
        );
        for reason in &verdict.reasons {
            text += &format!("- {}\n", reason_line(reason));
        }
        if !verdict.settled_by.is_empty() {
            text += &format!("  settled by: {}\n", plain(&verdict.settled_by.join("; ")));
        }
    }
    if !not_reached.is_empty() {
        text += &format!("\nNot reached, since:\n{not_reached}");
    }
    if !untold.is_empty() {
        text += &format!(
            "\nUndetermined, since nothing is known of anything that they ask: {}. A specification, \
             --datacenter, --die-area or --declare says it; JSON has every comparison.\n",
            untold.join(", ")
        );
    }
    text
}

/// A comparison, what it came to, and how good its figures are.
fn reason_line(reason: &ReasonRecord) -> String {
    let figures = match (reason.lower, reason.upper) {
        (None, None) => String::new(),
        (lower, upper) => format!(
            ", in [{}, {}]",
            lower.map_or_else(|| "0".into(), number),
            upper.map_or_else(|| "open".into(), number)
        ),
    };
    let part = if reason.part == "unless" { "unless " } else { "" };
    let grade = reason.grade.map_or_else(String::new, |grade| format!(" [{}]", grade.name()));
    format!("{part}{}: {}{figures}{grade}", reason.comparison, reason.truth)
}

/// Whether nothing at all is known of what a paragraph asks.
fn is_untold(verdict: &VerdictRecord) -> bool {
    let mut reasons = verdict.reasons.iter();
    reasons.all(|r| r.truth == "unknown" && r.lower.is_none() && r.upper.is_none())
}

fn cases(record: &ClassificationRecord) -> String {
    if record.cases.is_empty() {
        return String::new();
    }
    let mut table = table(&["case", "t/s at least", "threshold", "proved at t/s", "factor"]);
    for case in &record.cases {
        for rung in &case.rungs {
            let factor = match rung.proved {
                true => "proved".to_owned(),
                false => format!("{} ×", significant(rung.factor)),
            };
            add_row(
                &mut table,
                [
                    case.id.clone(),
                    significant(case.tokens_per_s_at_least),
                    format!("{} {}", rung.metric, number_text(rung.threshold)),
                    significant(rung.tokens_per_s),
                    factor,
                ],
            );
        }
    }
    align_right(&mut table, &[1, 3, 4]);
    let mut text =
        format!("\nWhat each case alone would have to reach to prove a threshold:\n\n{table}\n");
    for case in &record.cases {
        for (metric, reason) in &case.absent {
            text += &format!("- {}: proves no {metric}: {}\n", plain(&case.id), plain(reason));
        }
    }
    text += &references(&record.cases);
    text
}

fn references(cases: &[CaseRecord]) -> String {
    let mut text = String::new();
    for case in cases {
        let Some(references) = &case.references else { continue };
        let place = match references.n_below {
            0 => format!("below the bounds of all {} devices", references.n_devices),
            n => format!("above the bounds of {n} of {} devices", references.n_devices),
        };
        let mut line = format!(
            "- {}: {} t/s at least, {place}; nearest:",
            plain(&case.id),
            significant(case.tokens_per_s_at_least)
        );
        for bound in &references.bounds {
            line += &format!(
                " {} at most {} ({});",
                plain(&bound.device),
                significant(bound.tokens_per_s_at_most),
                bound.bound_by
            );
        }
        text += line.trim_end_matches(';');
        text.push('\n');
    }
    match cases.iter().find_map(|case| case.references.as_ref()) {
        Some(references) => {
            format!("\nAmong other devices, by a model ({}):\n{text}", references.model)
        }
        None => text,
    }
}
