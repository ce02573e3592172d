//! Throughput against each axis that varies.

use crate::report::html::chart::{Axis, Chart, Kind, Point, Series};
use crate::report::html::plots::{Gallery, MAX_CHARTS, MAX_SERIES, left_out};
use crate::report::html::view::{Axes, Row, View, Word, axis};
use crate::units::significant;

/// An axis that a sweep goes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Along {
    Batch,
    Depth,
    Prompt,
    Threads,
}

impl Along {
    const ALL: [Along; 4] = [Along::Batch, Along::Depth, Along::Prompt, Along::Threads];

    fn title(self) -> &'static str {
        match self {
            Along::Batch => "batch size",
            Along::Depth => "depth",
            Along::Prompt => "prompt length",
            Along::Threads => "threads",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Along::Batch => "sequences",
            Along::Depth => "cached tokens",
            Along::Prompt => "prompt tokens",
            Along::Threads => "processor threads",
        }
    }

    fn of(self, axes: &Axes) -> Option<u32> {
        match self {
            Along::Batch => axes.batch_size,
            Along::Depth => axes.n_depth,
            Along::Prompt => axes.n_prompt,
            Along::Threads => axes.n_threads,
        }
    }

    /// All other axes: cases that differ in this one alone belong to one curve.
    fn others<'a>(self, row: &Row<'a>) -> (Axes<'a>, usize) {
        let mut axes = row.axes.clone();
        axes.test = "";
        match self {
            Along::Batch => axes.batch_size = None,
            Along::Depth => axes.n_depth = None,
            Along::Prompt => axes.n_prompt = axes.n_prompt.map(|n| n.min(1)),
            Along::Threads => axes.n_threads = None,
        }
        (axes, row.file_idx)
    }
}

/// What a pass does: figures of different kinds are not of one picture.
fn kind(axes: &Axes) -> &'static str {
    match (axes.n_prompt, axes.n_gen) {
        (None, _) | (_, None) => "unknown",
        (_, Some(0)) => "prefill",
        (Some(0), _) => "decode",
        _ => "request",
    }
}

pub(super) fn gallery(view: &View) -> Gallery {
    let mut charts = Vec::new();
    let (mut shown, mut of) = (0, 0);
    for along in Along::ALL {
        for kind in ["prefill", "decode", "request"] {
            let curves = curves(view, along, kind);
            of += curves.len();
            if curves.is_empty() || charts.len() == MAX_CHARTS {
                continue;
            }
            shown += curves.len().min(MAX_SERIES);
            charts.extend(chart(view, along, kind, &curves));
        }
    }
    Gallery {
        id: "throughput",
        title: "Throughput along the axes",
        caption: "Medians of rounds; bars are the intervals of the table.",
        charts,
        left_out: left_out(shown, of, "curves"),
    }
}

/// Groups of at least two cases that differ along one axis alone.
fn curves<'v, 'a>(view: &'v View<'a>, along: Along, of_kind: &str) -> Vec<Vec<&'v Row<'a>>> {
    let mut groups: Vec<((Axes, usize), Vec<&Row>)> = Vec::new();
    let mut index = std::collections::HashMap::new();
    for row in view.measured().filter(|row| row.throughput.is_some() && kind(&row.axes) == of_kind)
    {
        let others = along.others(row);
        let at = *index.entry(format!("{others:?}")).or_insert_with(|| {
            groups.push((others, Vec::new()));
            groups.len() - 1
        });
        groups[at].1.push(row);
    }
    let mut groups: Vec<Vec<&Row>> = groups.into_iter().map(|(_, rows)| rows).collect();
    for rows in &mut groups {
        rows.sort_by_key(|row| along.of(&row.axes));
        rows.dedup_by_key(|row| along.of(&row.axes));
    }
    groups.retain(|rows| rows.len() > 1);
    groups
}

fn chart(view: &View, along: Along, kind: &str, curves: &[Vec<&Row>]) -> Option<Chart> {
    let curves = &curves[..curves.len().min(MAX_SERIES)];
    let series: Vec<Series> = curves
        .iter()
        .enumerate()
        .map(|(look, rows)| Series {
            name: name(view, along, rows[0], curves),
            look,
            kind: Kind::Joined,
            points: rows.iter().filter_map(|row| point(along, row)).collect(),
        })
        .collect();
    let points = || series.iter().flat_map(|s| &s.points);
    let xs: Vec<f64> = points().map(|point| point.x).collect();
    let ends = points().flat_map(|p| [p.y, p.interval.map_or(p.y, |(_, upper)| upper)]);
    let count = |value: f64| format!("{value:.0}");
    let x = match xs.iter().all(|x| *x > 0.0) {
        true => Axis::log_of_few(along.unit(), &xs, count)?,
        false => Axis::from_zero(along.unit(), xs.iter().copied(), count)?,
    };
    Some(Chart {
        title: format!("{kind} against {}", along.title()),
        caption: format!("Tokens per second by {}, everything else alike.", along.title()),
        x,
        y: Axis::from_zero("tokens/s", ends, rate_name)?,
        series,
        height: Chart::HEIGHT,
    })
}

/// A rate as ticks have it.
fn rate_name(rate: f64) -> String {
    match rate {
        r if r >= 1e4 => format!("{} k", significant(r / 1e3)),
        r => significant(r),
    }
}

fn point(along: Along, row: &Row) -> Option<Point> {
    let throughput = row.throughput.as_ref()?;
    let interval = throughput.interval.map(|(lower, upper, _)| (lower, upper));
    let between = interval.map_or_else(String::new, |(lower, upper)| {
        format!(" [{}, {}]", significant(lower), significant(upper))
    });
    Some(Point {
        x: along.of(&row.axes)?.into(),
        y: throughput.median,
        interval,
        tip: Some(format!("{}: {} t/s{between}", row.label, significant(throughput.median))),
        is_flagged: false,
    })
}

/// What tells a curve from the others of its chart.
fn name(view: &View, along: Along, row: &Row, curves: &[Vec<&Row>]) -> String {
    let differs = |of: &dyn Fn(&Row) -> String| curves.iter().any(|c| of(c[0]) != of(row));
    let parts: [(Word, bool); 11] = [
        (&|r| r.side.name().to_owned(), view.has_two_sides()),
        (&|r| r.axes.model.to_owned(), true),
        (&|r| r.axes.dtype.to_owned(), true),
        (&|r| r.axes.settings.clone(), true),
        (&|r| r.axes.kernels.to_owned(), true),
        (&|r| r.axes.cuda_graphs_word().to_owned(), true),
        (&|r| axis("pp", r.axes.n_prompt), along != Along::Prompt && row.axes.n_prompt > Some(0)),
        (&|r| axis("tg", r.axes.n_gen), row.axes.n_gen > Some(0)),
        (&|r| axis("d", r.axes.n_depth), along != Along::Depth),
        (&|r| axis("b", r.axes.batch_size), along != Along::Batch),
        (&|r| axis("t", r.axes.n_threads), along != Along::Threads),
    ];
    let words: Vec<String> =
        parts.into_iter().filter(|(of, may)| *may && differs(*of)).map(|(of, _)| of(row)).collect();
    let mut name = words.join(" ");
    if curves.iter().any(|c| c[0].file_idx != row.file_idx && c[0].side == row.side) {
        name = format!("{name} in {}", view.files[row.file_idx].name);
    }
    crate::report::html::view::text(name.trim())
}
