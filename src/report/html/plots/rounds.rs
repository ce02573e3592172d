//! Rounds over time: whether the machine was the same all along.

use crate::report::html::chart::{Axis, Chart, Kind, Point, Series};
use crate::report::html::plots::{Gallery, MAX_CHARTS, MAX_SERIES, left_out};
use crate::report::html::view::{FileView, Row, Throughput, View, text};
use crate::result::file::{RoundFile, StopFile, WarningKindFile};
use crate::units::significant;

/// Rounds of one case that a chart shows.
const MAX_ROUNDS: usize = 200;

pub(super) fn gallery(view: &View) -> Gallery {
    let (mut shown, mut of) = (0, 0);
    let mut charts = Vec::new();
    for (file_idx, file) in view.files.iter().enumerate() {
        let rows: Vec<&Row> = view
            .measured()
            .filter(|row| {
                row.file_idx == file_idx && row.rounds.len() > 1 && row.throughput.is_some()
            })
            .collect();
        of += rows.len();
        if charts.len() < MAX_CHARTS {
            shown += rows.len().min(MAX_SERIES);
            charts.extend(chart(view, file, &rows[..rows.len().min(MAX_SERIES)]));
        }
    }
    Gallery {
        id: "rounds",
        title: "Rounds over time",
        caption: "Each round against the median of its case. Rounds of different cases take turns, \
                  so that a drift of the machine shows in all of them. Ringed: a warning is about \
                  that round, or it stands far from the others.",
        charts,
        left_out: left_out(shown, of, "cases"),
    }
}

fn chart(view: &View, file: &FileView, rows: &[&Row]) -> Option<Chart> {
    let series: Vec<Series> = rows
        .iter()
        .enumerate()
        .filter_map(|(look, row)| {
            let throughput = row.throughput.as_ref()?;
            Some(Series {
                name: row.label.clone(),
                look,
                kind: Kind::Joined,
                points: points(row, throughput),
            })
        })
        .collect();
    let points = || series.iter().flat_map(|s| &s.points);
    let x = Axis::from_zero("seconds from the start", points().map(|p| p.x), significant_short)?;
    let y = Axis::around("% of the median", points().map(|p| p.y), |v| format!("{v:.0} %"));
    let y = match y {
        // Less than a percent is noise that nobody should see mountains in.
        Some(y) if y.range.1 - y.range.0 >= 4.0 => y,
        _ => Axis::around("% of the median", [98.0, 102.0].into_iter(), |v| format!("{v:.0} %"))?,
    };
    Some(Chart {
        title: if view.files.len() > 1 { file.name.clone() } else { "Every round".into() },
        caption: caption(rows, points().count()),
        x,
        y,
        series,
        height: Chart::HEIGHT,
    })
}

fn caption(rows: &[&Row], shown: usize) -> String {
    let n_rounds: usize = rows.iter().map(|row| row.n_rounds).sum();
    match n_rounds > shown {
        true => format!("{} cases, {shown} of {n_rounds} rounds.", rows.len()),
        false => format!("{} cases, {n_rounds} rounds.", rows.len()),
    }
}

fn significant_short(value: f64) -> String {
    if value >= 10.0 || value == 0.0 { format!("{value:.0} s") } else { format!("{value:.1} s") }
}

fn points(row: &Row, throughput: &Throughput) -> Vec<Point> {
    // Rounds that the clock could not see have no rate; the others stand in order.
    let timed = row.rounds.iter().filter(|round| round.total_ns > 0);
    timed
        .zip(throughput.rounds)
        .take(MAX_ROUNDS)
        .enumerate()
        .map(|(i, (round, rate))| {
            let remarks = remarks(row, throughput, i, round);
            let share = rate / throughput.median * 100.0;
            let mut tip = format!(
                "{}, round {}: {} t/s, {share:.1} % of the median",
                row.label,
                i + 1,
                significant(*rate)
            );
            for remark in &remarks {
                tip += &format!("; {remark}");
            }
            Point {
                x: round.start_ns as f64 / 1e9,
                y: share,
                interval: None,
                tip: Some(text(&tip)),
                is_flagged: !remarks.is_empty(),
            }
        })
        .collect()
}

/// What casts doubt on one round.
fn remarks(row: &Row, throughput: &Throughput, i: usize, round: &RoundFile) -> Vec<String> {
    let has = |kind: WarningKindFile| row.warnings.iter().any(|warning| warning.kind == kind);
    let mut remarks = Vec::new();
    if throughput.outlier_rounds.contains(&(i as u32)) {
        remarks.push("far from the other rounds".to_owned());
    }
    if round.stop == StopFile::Interrupted {
        remarks.push("interrupted".into());
    }
    let Some(conditions) = &round.conditions else { return remarks };
    if let Some(events) = conditions.throttle_events.filter(|events| *events > 0) {
        remarks.push(format!("{events} throttle events"));
    }
    let share = |share: Option<f64>, kind| share.filter(|share| has(kind) && *share > 0.05);
    if let Some(share) = share(conditions.other_load_share, WarningKindFile::OtherLoad) {
        remarks.push(format!("other processes took {:.0} % of the processors", share * 100.0));
    }
    if let Some(share) = share(conditions.steal_share, WarningKindFile::Steal) {
        remarks.push(format!("the hypervisor took {:.0} % of the processors", share * 100.0));
    }
    remarks
}
