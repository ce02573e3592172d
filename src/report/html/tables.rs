//! The tables of a page.

use std::collections::BTreeSet;

use maud::{Markup, html};

use crate::report::html::view::{Latency, Outcome, Row, Side, Throughput, View, text};
use crate::report::table::{ceiling_rate_texts, percentile_text};
use crate::result::file::{CudaGraphsFile, OutcomeFile, WarningFile};
use crate::units::{duration_text, significant};

/// Latencies that a page shows: three of each case that it shows.
const MAX_LATENCIES: usize = 3 * super::view::MAX_CASES;

/// A table that scrolls by itself, by keyboard too.
pub(super) fn scrolling(label: &str, table: Markup) -> Markup {
    html! { div.scroll tabindex="0" role="region" aria-label=(label) { (table) } }
}

/// A header that sorts.
pub(super) fn sortable(name: &str, is_number: bool) -> Markup {
    html! { th.number[is_number] scope="col" { button type="button" { (name) } } }
}

/// A number that sorts by its value.
pub(super) fn number(value: Option<f64>, text: &str) -> Markup {
    html! { td.number data-v=[value.map(|v| v.to_string())] { (text) } }
}

fn told(value: Option<u32>) -> String {
    value.map_or_else(|| "–".into(), |value| value.to_string())
}

/// An axis as a column: its name, whether it is a number, and a case's value.
type Column<'a> = (&'static str, bool, fn(&Row<'a>) -> String);

const GRAPHS: &str = "graphs";

/// The axes that rows differ in have columns; the others are said once.
fn axis_columns<'a>(view: &View<'a>) -> (Vec<Column<'a>>, Vec<Column<'a>>) {
    let columns: [Column; 8] = [
        ("model", false, |row| text(row.axes.model)),
        ("dtype", false, |row| text(row.axes.dtype)),
        ("device", false, |row| text(row.axes.device)),
        ("kernels", false, |row| row.axes.kernels.to_owned()),
        (GRAPHS, false, |row| match row.axes.cuda_graphs {
            Some(CudaGraphsFile::On) => "on".into(),
            Some(CudaGraphsFile::Off) => "off".into(),
            None => "–".into(),
        }),
        ("threads", true, |row| told(row.axes.n_threads)),
        ("batch", true, |row| told(row.axes.batch_size)),
        ("test", false, |row| text(row.axes.test)),
    ];
    let first = view.rows.first();
    // Where nothing tells of it, it is no axis.
    let told = |name| name != GRAPHS || view.rows.iter().any(|r| r.axes.cuda_graphs.is_some());
    columns.into_iter().filter(|(name, ..)| told(*name)).partition(|(name, _, of)| {
        *name == "test" || first.is_some_and(|first| view.rows.iter().any(|r| of(r) != of(first)))
    })
}

/// Throughput of every case.
pub(super) fn cases(view: &View) -> Markup {
    let has = |of: &dyn Fn(&Row) -> bool| view.rows.iter().any(of);
    let many_files = view.files.len() > 1;
    let any_warning = has(&|row| !row.warnings.is_empty());
    let any_share = has(&|row| row.roofline.as_ref().is_some_and(|r| r.share.is_some()));
    let (columns, alike) = axis_columns(view);
    let largest = view
        .rows
        .iter()
        .filter_map(|row| row.throughput.as_ref())
        .map(|t| t.interval.map_or(t.median, |(_, upper, _)| upper))
        .fold(0.0, f64::max);
    let table = html! {
        table {
            thead { tr {
                @if view.has_two_sides() { (sortable("side", false)) }
                @if many_files { (sortable("file", false)) }
                @for (name, is_number, _) in &columns { (sortable(name, *is_number)) }
                (sortable("median, t/s", true))
                th scope="col" colspan="2" { "interval" }
                (sortable("coverage", true))
                (sortable("mean ± sd", true))
                (sortable("rounds", true))
                @if any_share { (sortable("of ceiling", true)) }
                @if any_warning { (sortable("warnings", true)) }
            } }
            tbody { @for row in &view.rows { tr.new[row.side == Side::New] {
                @if view.has_two_sides() { td { (row.side.name()) } }
                @if many_files { td { (view.files[row.file_idx].name) } }
                @for (_, is_number, of) in &columns { td.number[*is_number] { (of(row)) } }
                (throughput(row, largest, view.files[row.file_idx].result().is_none()))
                td.number { (row.n_rounds) }
                @if any_share { (share(row)) }
                @if any_warning { (warnings(row)) }
            } } }
        }
    };
    html! {
        @if let (Some(first), false) = (view.rows.first(), alike.is_empty()) {
            p.note {
                "All cases: "
                @for (i, (name, _, of)) in alike.iter().enumerate() {
                    @if i > 0 { ", " }
                    (name) " " strong { (of(first)) }
                }
                "."
            }
        }
        (scrolling("Throughput of every case", table))
    }
}

/// Median, interval, its coverage and the mean; or why there is none.
fn throughput(row: &Row, largest: f64, is_imported: bool) -> Markup {
    let reason = match (&row.outcome, &row.throughput) {
        (Outcome::Measured, Some(t)) => return measured(t, largest),
        (Outcome::Measured, None) if is_imported => "no rate: its work is not told".to_owned(),
        (Outcome::Measured, None) => "below the clock's resolution".to_owned(),
        (Outcome::Skipped(reason), _) => format!("skipped: {reason}"),
        (Outcome::Failed(reason), _) => format!("failed: {reason}"),
    };
    html! { td.number { "–" } td.wrap colspan="2" { (text(&reason)) } td {} td {} }
}

fn measured(t: &Throughput, largest: f64) -> Markup {
    let mean = match t.stddev {
        Some(stddev) => format!("{} ± {}", significant(t.mean), significant(stddev)),
        None => significant(t.mean),
    };
    html! {
        (number(Some(t.median), &significant(t.median)))
        td {
            @if let Some((lower, upper, _)) = t.interval {
                "[" (significant(lower)) ", " (significant(upper)) "]"
            } @else { "–" }
        }
        td.bar { (bar(t, largest)) }
        (number(t.interval.map(|i| i.2), &t.interval.map_or("–".into(), |i| format!("{:.1} %", i.2 * 100.0))))
        (number(Some(t.mean), &mean))
    }
}

/// The interval as a small bar: from zero to the largest of the table.
fn bar(t: &Throughput, largest: f64) -> Markup {
    let at = |value: f64| format!("{:.1}", 4.0 + (value / largest).clamp(0.0, 1.0) * 110.0);
    html! {
        @if largest > 0.0 && largest.is_finite() {
            svg.interval viewBox="0 0 118 12" aria-hidden="true" {
                path.track d="M4 6H114" {}
                @if let Some((lower, upper, _)) = t.interval {
                    path.span d={ "M" (at(lower)) " 6H" (at(upper)) } {}
                }
                circle.centre cx=(at(t.median)) cy="6" r="3" {}
            }
        }
    }
}

fn share(row: &Row) -> Markup {
    let share = row.roofline.as_ref().and_then(|r| r.share);
    let text = match share {
        Some(share) if share > 1.0 => "above it".to_owned(),
        Some(share) => format!("{:.0} %", share * 100.0),
        None => "–".into(),
    };
    number(share, &text)
}

fn warnings(row: &Row) -> Markup {
    let kinds: Vec<&str> = row.warnings.iter().map(|warning| warning.kind.as_str()).collect();
    html! {
        td.number data-v=(kinds.len()) title=[(!kinds.is_empty()).then(|| text(&kinds.join(", ")))] {
            @if kinds.is_empty() { "–" } @else { (kinds.len()) }
        }
    }
}

/// Latencies of every case.
pub(super) fn latencies(view: &View) -> Markup {
    let rows = || view.rows.iter().flat_map(|row| row.latencies.iter().map(move |l| (row, l)));
    let duration = |ns: Option<u64>| {
        number(ns.map(|ns| ns as f64), &ns.map_or_else(|| "–".into(), duration_text))
    };
    let percentile = |latency: &Latency, i: usize| {
        let ns = latency.percentiles_ns[i];
        match latency.count.filter(|_| latency.histogram.is_some()) {
            Some(count) => number(ns.map(|ns| ns as f64), &percentile_text(ns, i == 0, count)),
            None => duration(ns),
        }
    };
    let table = html! {
        table {
            thead { tr {
                (sortable("case", false)) (sortable("latency", false)) (sortable("values", true))
                (sortable("mean", true)) (sortable("p50", true)) (sortable("p90", true))
                (sortable("p99", true)) (sortable("max", true))
            } }
            tbody { @for (row, latency) in rows().take(MAX_LATENCIES) { tr {
                td { (row.label) }
                td title=(text(latency.description)) { (text(latency.metric)) }
                (number(latency.count.map(|n| n as f64), &latency.count.map_or_else(|| "–".into(), |n| n.to_string())))
                (duration(latency.mean_ns))
                (percentile(latency, 0)) (percentile(latency, 1)) (percentile(latency, 2))
                (duration(latency.max_ns))
            } } }
        }
    };
    let n = rows().count();
    html! {
        (scrolling("Latencies of every case", table))
        @if n > MAX_LATENCIES { p.note { strong { "Shown are the first " (MAX_LATENCIES) " of " (n) " latencies." } } }
    }
}

/// What the machines could do at most.
pub(super) fn ceilings(view: &View) -> Markup {
    let all = || view.files.iter().flat_map(|file| file.ceilings().iter().map(move |c| (file, c)));
    let many_files = view.files.len() > 1;
    let table = html! {
        table {
            thead { tr {
                @if many_files { (sortable("file", false)) }
                (sortable("ceiling", false)) (sortable("dtype", false)) (sortable("device", false))
                (sortable("threads", true)) (sortable("kernel", false)) (sortable("best", true))
                (sortable("proved at least", true)) (sortable("warnings", false))
            } }
            tbody { @for (file, ceiling) in all().take(super::view::MAX_CASES) {
                @let (best, proved) = ceiling_rate_texts(ceiling, file.integrity);
                tr {
                    @if many_files { td { (file.name) } }
                    td { (ceiling.probe) }
                    td { @match &ceiling.dtype { Some(dtype) => (dtype), None => "–" } }
                    td { (text(&ceiling.device)) }
                    (number(Some(ceiling.n_threads.into()), &ceiling.n_threads.to_string()))
                    td { (text(ceiling.kernel.as_deref().unwrap_or("–"))) }
                    @match &ceiling.outcome {
                        OutcomeFile::Measured => (number(ceiling.rate.as_ref().map(|r| r.best_per_s), &best)),
                        _ => td.wrap { (text(&best)) },
                    }
                    td.number { (proved) }
                    td.wrap { (kinds_of(&ceiling.warnings)) }
                }
            } }
        }
    };
    scrolling("Measured ceilings", table)
}

/// The kinds of warnings in words, each once.
fn kinds_of(warnings: &[WarningFile]) -> String {
    let kinds: BTreeSet<String> =
        warnings.iter().map(|warning| text(&warning.kind.as_str().replace('_', " "))).collect();
    if kinds.is_empty() { "–".into() } else { kinds.into_iter().collect::<Vec<_>>().join(", ") }
}
