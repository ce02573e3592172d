//! Markdown tables for people.

use comfy_table::{CellAlignment, Table, presets};

use crate::result::ResultFile;
use crate::result::file::{CaseFile, LatencyFile, OutcomeFile, RunEnd};
use crate::units::{count_text, duration_text, significant};

/// A run as two tables, throughput and latency, under a line that says where it ran.
pub(super) fn markdown(result: &ResultFile) -> String {
    let mut text = heading(result);
    text.push('\n');
    text += &throughput_table(result);
    if result.cases.iter().any(|case| !case.latencies.is_empty()) {
        text += "\n\n";
        text += &latency_table(result);
    }
    text.push('\n');
    for remark in remarks(result) {
        text += &format!("\n{remark}\n");
    }
    text
}

fn heading(result: &ResultFile) -> String {
    let tool = &result.tool;
    let commit = match (&tool.commit, tool.dirty) {
        (Some(commit), Some(true)) => format!(" ({}, modified)", plain(commit)),
        (Some(commit), _) => format!(" ({})", plain(commit)),
        (None, _) => String::new(),
    };
    let environment = &result.environment;
    let cpu = &environment.cpu;
    let memory =
        environment.memory_available_bytes.map_or_else(String::new, |b| format!(", {b} free"));
    format!(
        "{} {}{commit} on {}, {} cores{memory}\n",
        plain(&tool.name),
        plain(&tool.version),
        plain(cpu.model.as_deref().unwrap_or("an unnamed processor")),
        cpu.physical_cores,
    )
}

/// Everything that changes what the figures mean.
fn remarks(result: &ResultFile) -> Vec<String> {
    let mut remarks = vec![
        "t/s: mean ± standard deviation over rounds; of a request, prompt and generated tokens."
            .to_owned(),
    ];
    let latencies = || result.cases.iter().flat_map(|case| &case.latencies);
    if latencies().any(|latency| !latency.percentiles_absent.is_empty()) {
        remarks.push(
            "`> max`: too few values (n) to bound that percentile with 95 % confidence.".into(),
        );
    }
    if result.tool.debug_build {
        remarks.push(
            "**Debug build**: these figures say nothing about the hardware; run `cargo run --release`."
                .into(),
        );
    }
    match result.run.ended {
        RunEnd::Completed => {}
        RunEnd::TimeUp => remarks
            .push("**Time up**: --max-time ended the run before all rounds were measured.".into()),
        RunEnd::Interrupted => remarks.push(
            "**Interrupted**: what was measured until then is above; the rest was not run.".into(),
        ),
    }
    remarks
}

fn throughput_table(result: &ResultFile) -> String {
    let mut table =
        table(&["model", "params", "dtype", "device", "threads", "batch", "test", "rounds", "t/s"]);
    for case in &result.cases {
        let axes = &case.axes;
        let model = result.plan.models.iter().find(|model| model.label == axes.model);
        add_row(
            &mut table,
            [
                axes.model.clone(),
                model.map_or_else(String::new, |model| count_text(model.n_params)),
                axes.dtype.clone(),
                axes.device.clone(),
                axes.n_threads.to_string(),
                axes.batch_size.to_string(),
                axes.test.clone(),
                case.rounds.len().to_string(),
                rate(case),
            ],
        );
    }
    align_right(&mut table, &[1, 4, 5, 7, 8]);
    table.to_string()
}

/// Mean and standard deviation over rounds, or why there is none.
fn rate(case: &CaseFile) -> String {
    match (&case.outcome, &case.throughput) {
        (OutcomeFile::Skipped { reason }, _) => format!("skipped: {reason}"),
        (OutcomeFile::Failed { reason }, _) => format!("failed: {reason}"),
        (OutcomeFile::Measured, None) => "below the clock's resolution".into(),
        (OutcomeFile::Measured, Some(throughput)) => {
            let mean = significant(throughput.mean_tokens_per_s);
            match throughput.stddev_tokens_per_s {
                Some(stddev) => format!("{mean} ± {}", significant(stddev)),
                None => mean,
            }
        }
    }
}

fn latency_table(result: &ResultFile) -> String {
    let many_models = result.plan.models.len() > 1;
    let mut table = table(&["case", "latency", "n", "mean", "p50", "p90", "p99", "max"]);
    for case in &result.cases {
        for latency in &case.latencies {
            add_row(
                &mut table,
                [
                    case_name(case, many_models),
                    latency.metric.clone(),
                    latency.count.to_string(),
                    duration_text(latency.mean_ns.round() as u64),
                    percentile(latency, "p50"),
                    percentile(latency, "p90"),
                    percentile(latency, "p99"),
                    duration_text(latency.max_ns),
                ],
            );
        }
    }
    align_right(&mut table, &[2, 3, 4, 5, 6, 7]);
    table.to_string()
}

fn case_name(case: &CaseFile, with_model: bool) -> String {
    let axes = &case.axes;
    let mut name = format!("{} b{} {} t{}", axes.dtype, axes.batch_size, axes.test, axes.n_threads);
    if with_model {
        name = format!("{} {name}", axes.model);
    }
    name
}

/// The percentile, or what a small sample can say instead: its upper bound lies above all that
/// was seen.
fn percentile(latency: &LatencyFile, key: &str) -> String {
    match latency.percentiles_ns.get(key) {
        Some(&ns) => duration_text(ns),
        // A median is never beyond the largest value.
        None if key == "p50" => format!("– (n = {})", latency.count),
        None => format!("> max (n = {})", latency.count),
    }
}

fn add_row<const N: usize>(table: &mut Table, cells: [String; N]) {
    table.add_row(cells.map(|cell| plain(&cell)));
}

/// Text of a file, which may be hostile, for a table cell: no control characters, no bars.
fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '|' => vec!['\\', '|'],
            c if c.is_control() => vec!['\u{fffd}'],
            c => vec![c],
        })
        .collect()
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header);
    table
}

fn align_right(table: &mut Table, columns: &[usize]) {
    for &column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
