//! Latencies by percentile: one chart for each metric, one curve for each case.

use crate::histogram::Buckets;
use crate::report::html::chart::{Axis, Chart, Kind, Point, Series};
use crate::report::html::plots::{Gallery, MAX_SERIES, left_out};
use crate::report::html::view::{Latency, Row, View, text};
use crate::units::duration_text;

/// Latencies that have a chart: our own are nine, and files of other tools name a few.
const MAX_METRICS: usize = 16;
/// Points of a curve: as many as a phone can tell apart.
const MAX_POINTS: usize = 160;

pub(super) fn gallery(view: &View) -> Gallery {
    let mut metrics: Vec<(&str, Vec<(&Row, &Latency)>)> = Vec::new();
    for row in view.measured() {
        for latency in row.latencies.iter().filter(|latency| latency.histogram.is_some()) {
            match metrics.iter_mut().find(|(metric, _)| *metric == latency.metric) {
                Some((_, of)) => of.push((row, latency)),
                None => metrics.push((latency.metric, vec![(row, latency)])),
            }
        }
    }
    let n: usize = metrics.iter().map(|(_, of)| of.len()).max().unwrap_or(0);
    let charts =
        metrics.iter().take(MAX_METRICS).filter_map(|(metric, of)| chart(metric, of)).collect();
    Gallery {
        id: "latency",
        title: "Latency by percentile",
        caption: "Each nine takes the same room: p90, p99 and p99.9 are evenly apart. A curve is \
                  dashed beyond the percentile that its number of values can bound with 95 % \
                  confidence.",
        charts,
        left_out: left_out(n.min(MAX_SERIES), n, "cases"),
    }
}

fn chart(metric: &str, of: &[(&Row, &Latency)]) -> Option<Chart> {
    let series: Vec<Series> = of
        .iter()
        .take(MAX_SERIES)
        .enumerate()
        .filter_map(|(look, (row, latency))| curve(look, row, latency))
        .collect();
    let values = || series.iter().flat_map(|s| s.points.iter().map(|point| point.y));
    let name = |ns: f64| duration_text(ns.max(0.0).round() as u64);
    let y = match Axis::wants_log(values()) {
        true => Axis::log(metric, values(), name)?,
        false => Axis::from_zero(metric, values(), name)?,
    };
    let most = of.iter().take(MAX_SERIES).filter_map(|(_, latency)| latency.count).max()?;
    let description = of.first().map_or("", |(_, latency)| latency.description);
    Some(Chart {
        title: text(metric),
        caption: text(description),
        x: Axis::quantiles("percentile", most),
        y,
        series,
        height: Chart::HEIGHT,
    })
}

fn curve(look: usize, row: &Row, latency: &Latency) -> Option<Series> {
    let buckets = Buckets::decode(&latency.histogram?.data).ok()?;
    let n = buckets.count();
    if n == 0 {
        return None;
    }
    // The largest value stands in the middle of the share that it alone has.
    let last = 1.0 - 0.5 / n as f64;
    let carried = 0.05_f64.powf(1.0 / n as f64);
    let mut points = Vec::new();
    let mut below = 0_u64;
    for (ns, count) in buckets.iter() {
        let ns = ns.min(latency.max_ns.unwrap_or(ns)) as f64;
        for upto in [below, below.saturating_add(count)] {
            let q = (upto as f64 / n as f64).min(last);
            points.push(Point { x: q, y: ns, ..Point::default() });
        }
        below = below.saturating_add(count);
    }
    let points = thinned(points);
    let n_carried = points.iter().take_while(|point| point.x <= carried).count();
    let mut points = points;
    for (q, ns) in ["p50", "p90", "p99"].into_iter().zip(latency.percentiles_ns) {
        // Named points join the curve where they stand.
        let Some(ns) = ns else { continue };
        let share = match q {
            "p50" => 0.5,
            "p90" => 0.9,
            _ => 0.99,
        };
        let tip = Some(format!("{}: {q} {}", row.label, duration_text(ns)));
        let at = points.partition_point(|point| point.x < share);
        points.insert(at, Point { x: share, y: ns as f64, tip, ..Point::default() });
    }
    let n_carried =
        n_carried + points.iter().filter(|point| point.tip.is_some() && point.x <= carried).count();
    Some(Series { name: row.label.clone(), look, kind: Kind::Curve { n_carried }, points })
}

/// Leaves out points that stand next to others.
fn thinned(points: Vec<Point>) -> Vec<Point> {
    if points.len() <= MAX_POINTS {
        return points;
    }
    let nines = |point: &Point| -(1.0 - point.x).max(1e-12).log10();
    let least = points.last().map_or(0.0, nines) / MAX_POINTS as f64 * 2.0;
    let last = points.len() - 1;
    let mut kept: Vec<Point> = Vec::new();
    for (i, point) in points.into_iter().enumerate() {
        let is_apart = kept.last().is_none_or(|known| nines(&point) - nines(known) >= least);
        if is_apart || i == last {
            kept.push(point);
        }
    }
    kept
}
