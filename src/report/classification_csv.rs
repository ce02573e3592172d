//! A classification as one flat row per device. `docs/classification.md` describes the columns.

use crate::classify::record::{BasisRecord, ClassificationRecord};

/// A header and one line per device. Devices of one answer were held against the same rule sets,
/// so they have the same columns.
pub(super) fn csv(records: &[ClassificationRecord]) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    if let Some(first) = records.first() {
        let header = columns(first).into_iter().map(|(name, _)| name);
        writer.write_record(header).expect("memory takes it");
    }
    for record in records {
        let cells = columns(record).into_iter().map(|(_, cell)| cell);
        writer.write_record(cells).expect("memory takes it, and rows are of one length");
    }
    let bytes = writer.into_inner().expect("memory takes it");
    String::from_utf8(bytes).expect("every field is text")
}

/// Every column with its name.
fn columns(record: &ClassificationRecord) -> Vec<(String, String)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let number = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let basis = |basis: &Option<BasisRecord>| basis.as_ref().map(|b| b.kind.clone());
    let grade = |basis: &Option<BasisRecord>| {
        basis.as_ref().and_then(|b| b.grade).map(|grade| grade.name().to_owned())
    };
    let mut columns: Vec<(String, String)> = vec![
        ("format_version".into(), record.format_version.clone()),
        ("device".into(), record.device.clone()),
        ("as_of".into(), text(&record.as_of)),
        ("tainted".into(), record.tainted.to_string()),
        ("n_files".into(), record.files.len().to_string()),
        ("one_device".into(), text(&record.one_device)),
        (
            "specification".into(),
            record.specification.as_ref().map(|s| s.name.clone()).unwrap_or_default(),
        ),
        ("contradictions".into(), record.contradictions.join("; ")),
        ("datacenter".into(), record.flags["datacenter"].value.clone()),
    ];
    for (name, metric) in &record.metrics {
        let ends = [
            ("lower", metric.lower, &metric.basis.lower),
            ("upper", metric.upper, &metric.basis.upper),
        ];
        for (end, value, of) in ends {
            columns.push((format!("{name}_{end}"), number(value)));
            columns.push((format!("{name}_{end}_basis"), basis(of).unwrap_or_default()));
            columns.push((format!("{name}_{end}_grade"), grade(of).unwrap_or_default()));
        }
    }
    for (name, tier) in &record.tiers {
        columns.push((format!("{name}_tier_proved"), number(tier.proved)));
        columns.push((format!("{name}_tier_possible"), number(tier.possible)));
        columns.push((format!("{name}_factor_to_next"), number(tier.factor_to_next)));
    }
    for verdict in &record.verdicts {
        let name = format!("{}: {}", verdict.rule_set, verdict.paragraph);
        let grade = verdict.weakest_figure.map_or("", |grade| grade.name());
        columns.push((format!("{name} (weakest figure)"), grade.into()));
        columns.push((format!("{name} (by specification)"), text(&verdict.by_specification)));
        columns.push((name, verdict.verdict.clone()));
    }
    columns.push(("disclaimer".into(), record.disclaimer.clone()));
    columns
}
