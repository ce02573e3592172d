//! Rooflines: every case of a file under the ceilings that were measured in the same run
//! (Williams, Waterman and Patterson, *Roofline*, 2009).

use crate::report::html::chart::{Axis, Chart, Kind, Point, Series};
use crate::report::html::plots::{Gallery, MAX_CHARTS, left_out};
use crate::report::html::view::{FileView, Row, View, text};
use crate::result::file::{CeilingFile, ProbeFile};
use crate::units::{flops_per_s_text, significant};

/// Points of one roofline.
const MAX_POINTS: usize = 200;

pub(super) fn gallery(view: &View) -> Gallery {
    let (mut shown, mut of) = (0, 0);
    let mut charts = Vec::new();
    for (file_idx, file) in view.files.iter().enumerate() {
        let rows =
            || view.measured().filter(|row| row.file_idx == file_idx && row.roofline.is_some());
        let n = rows().count();
        of += n;
        if charts.len() < MAX_CHARTS {
            shown += n.min(MAX_POINTS);
            charts.extend(chart(view, file, &rows().take(MAX_POINTS).collect::<Vec<_>>()));
        }
    }
    Gallery {
        id: "roofline",
        title: "Roofline",
        caption: "Operations per second against operations per byte that must at least move. \
                  Dashed: what the probes reached in the same run. A case whose weights fit the \
                  caches may stand above the slope of memory.",
        charts,
        left_out: left_out(shown, of, "cases"),
    }
}

fn chart(view: &View, file: &FileView, rows: &[&Row]) -> Option<Chart> {
    let mut groups: Vec<(&str, Vec<Point>)> = Vec::new();
    for row in rows {
        let Some(point) = point(row) else { continue };
        match groups.iter_mut().find(|(dtype, _)| *dtype == row.axes.dtype) {
            Some((_, points)) => points.push(point),
            None => groups.push((row.axes.dtype, vec![point])),
        }
    }
    let points = || groups.iter().flat_map(|(_, points)| points);
    let ceilings = file.ceilings();
    let best = |c: &CeilingFile| c.rate.as_ref().map(|rate| rate.best_per_s).filter(|b| *b > 0.0);
    let memory = highest(ceilings, |c| c.probe == ProbeFile::MemoryRead).and_then(best);
    let peaks: Vec<(String, f64)> = dtypes(ceilings)
        .into_iter()
        .filter_map(|dtype| {
            let of = |c: &CeilingFile| c.dtype.as_ref().is_some_and(|d| d.as_str() == dtype);
            Some((format!("{dtype} products"), highest(ceilings, of).and_then(best)?))
        })
        .collect();
    let ridges = peaks.iter().filter_map(|(_, peak)| memory.map(|memory| peak / memory));
    let x = Axis::log("FLOP per byte", points().map(|p| p.x).chain(ridges), plain)?;
    let heights = points().map(|p| p.y).chain(peaks.iter().map(|(_, peak)| *peak));
    let y = Axis::log("FLOP/s", heights, flops_per_s_text)?;
    let machine = file.result().and_then(|result| result.environment.cpu.model.as_deref());
    let mut series = limits(&x, &y, memory, &peaks);
    series.extend(groups.into_iter().enumerate().map(|(look, (dtype, points))| Series {
        name: text(dtype),
        look,
        kind: Kind::Points,
        points,
    }));
    Some(Chart {
        title: if view.files.len() > 1 { file.name.clone() } else { "Every case".into() },
        caption: text(machine.unwrap_or_default()),
        x,
        y,
        series,
        height: Chart::HEIGHT + 30,
    })
}

fn plain(value: f64) -> String {
    match value {
        v if v >= 1.0 => format!("{v:.0}"),
        v => significant(v),
    }
}

/// The ceiling that no other of its kind is above.
fn highest(ceilings: &[CeilingFile], is_it: impl Fn(&CeilingFile) -> bool) -> Option<&CeilingFile> {
    let rate = |c: &CeilingFile| c.rate.as_ref().map_or(0.0, |rate| rate.best_per_s);
    ceilings.iter().filter(|c| is_it(c)).max_by(|a, b| rate(a).total_cmp(&rate(b)))
}

fn dtypes(ceilings: &[CeilingFile]) -> Vec<&str> {
    let mut dtypes: Vec<&str> =
        ceilings.iter().filter_map(|c| c.dtype.as_ref()).map(|d| d.as_str()).collect();
    dtypes.sort_unstable();
    dtypes.dedup();
    dtypes.truncate(4);
    dtypes
}

/// The slope of memory up to the highest peak, and each peak from where it meets the slope.
fn limits(x: &Axis, y: &Axis, memory: Option<f64>, peaks: &[(String, f64)]) -> Vec<Series> {
    let (left, right) = (10_f64.powf(x.range.0), 10_f64.powf(x.range.1));
    let (floor, top) = (10_f64.powf(y.range.0), 10_f64.powf(y.range.1));
    let point = |x, y| Point { x, y, ..Point::default() };
    let limit = |name: String, points| Series { name, look: 0, kind: Kind::Limit, points };
    let mut series: Vec<Series> = peaks
        .iter()
        .map(|(name, peak)| {
            let from = memory.map_or(left, |memory| (peak / memory).clamp(left, right));
            let name = format!("{name}, {}", flops_per_s_text(*peak));
            limit(name, vec![point(from, *peak), point(right, *peak)])
        })
        .collect();
    if let Some(memory) = memory {
        let highest = peaks.iter().map(|(_, peak)| *peak).fold(0.0, f64::max);
        let end = if highest > 0.0 { highest } else { top };
        let from = left.max(floor / memory);
        let to = right.min(end / memory);
        if from < to {
            let name = format!("memory, {}", crate::units::bytes_per_s_text(memory));
            series.push(limit(name, vec![point(from, from * memory), point(to, to * memory)]));
        }
    }
    series
}

fn point(row: &Row) -> Option<Point> {
    let roofline = row.roofline.as_ref()?;
    let intensity = roofline.flops_per_s / roofline.bytes_per_s;
    (intensity.is_finite() && intensity > 0.0).then(|| Point {
        x: intensity,
        y: roofline.flops_per_s,
        interval: None,
        tip: Some(text(&format!("{}: {}", row.label, roofline.sentence))),
        is_flagged: roofline.share.is_some_and(|share| share > 1.0),
    })
}
