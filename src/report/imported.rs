//! Imported results: what another tool told, with nothing added.

use serde::Serialize;

use crate::report::table::{add_row, align_right, plain, table};
use crate::report::{Format, Integrity, integrity_of, json_of};
use crate::result::AnyReading;
use crate::result::imported::{ImportedCaseFile, ImportedFile, SourceFile, settings_apart};
use crate::units::{duration_text, significant};

/// An imported file and whether it is as it was written.
#[derive(Clone, Copy)]
pub(super) struct ImportedSource<'a> {
    file: &'a ImportedFile,
    integrity: Integrity<'a>,
}

pub(super) fn source_of(reading: &AnyReading) -> Option<ImportedSource<'_>> {
    let AnyReading::Imported(reading) = reading else { return None };
    Some(ImportedSource { file: &reading.file, integrity: integrity_of(&reading.verdict) })
}

/// The files in a format, ending in a newline.
pub(super) fn render(sources: &[ImportedSource], format: Format) -> String {
    match format {
        Format::Md => sources.iter().map(markdown).collect::<Vec<_>>().join("\n"),
        Format::Json => json_of(&sources.iter().map(|s| (s.file, s.integrity)).collect::<Vec<_>>()),
        Format::Jsonl => rows(sources)
            .map(|row| serde_json::to_string(&row).expect("a row has string keys only") + "\n")
            .collect(),
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(Vec::new());
            for row in rows(sources) {
                writer.serialize(row).expect("a row is flat, and memory takes it");
            }
            let bytes = writer.into_inner().expect("memory takes it");
            String::from_utf8(bytes).expect("every field is a string or a number")
        }
    }
}

/// A case in flat form, in the names that rows of our own cases have.
#[derive(Debug, Serialize)]
struct Row<'a> {
    origin: &'static str,
    tool: &'a str,
    tool_version: Option<&'a str>,
    source_file: &'a str,
    machine: Option<&'a str>,
    model: Option<&'a str>,
    dtype: Option<&'a str>,
    devices: Option<&'a str>,
    kernels: Option<&'a str>,
    n_threads: Option<u32>,
    batch_size: Option<u32>,
    test: &'a str,
    n_prompt: Option<u32>,
    n_gen: Option<u32>,
    n_depth: Option<u32>,
    test_time: Option<&'a str>,
    n_rounds: usize,
    flops: Option<u64>,
    bytes_min: Option<u64>,
    avg_ts: Option<f64>,
    stddev_ts: Option<f64>,
    median_ts: Option<f64>,
    median_ts_lower: Option<f64>,
    median_ts_upper: Option<f64>,
    median_ts_coverage: Option<f64>,
    /// The tool's first latency.
    latency: Option<&'a str>,
    latency_mean_ns: Option<f64>,
    latency_median_ns: Option<f64>,
    latency_p99_ns: Option<f64>,
    case_id: &'a str,
    /// `intact` or `altered`.
    integrity: &'static str,
}

fn rows<'a>(sources: &'a [ImportedSource<'a>]) -> impl Iterator<Item = Row<'a>> {
    sources.iter().flat_map(|source| source.file.cases.iter().map(move |case| row(source, case)))
}

fn row<'a>(source: &ImportedSource<'a>, case: &'a ImportedCaseFile) -> Row<'a> {
    // The reader has seen that it is there.
    let from = &source.file.sources[case.source_idx as usize];
    let axes = &case.axes;
    let throughput = case.throughput.as_ref();
    let interval = throughput.and_then(|t| t.interval.as_ref());
    let latency = case.latencies.first();
    let percentile = |q: &str| latency.and_then(|l| l.percentiles_ns.get(q).copied());
    Row {
        origin: "imported",
        tool: &from.tool,
        tool_version: from.tool_version.as_deref(),
        source_file: &from.name,
        machine: case.machine.as_deref(),
        model: axes.model.as_deref(),
        dtype: axes.dtype.as_deref(),
        devices: axes.device.as_deref(),
        kernels: axes.kernels.as_deref(),
        n_threads: axes.n_threads,
        batch_size: axes.batch_size,
        test: &axes.test,
        n_prompt: axes.n_prompt,
        n_gen: axes.n_gen,
        n_depth: axes.n_depth,
        test_time: case.measured.as_deref(),
        n_rounds: case.rounds.len(),
        flops: case.work.flops.map(|flops| flops.0),
        bytes_min: case.work.bytes_min.map(|bytes| bytes.0),
        avg_ts: throughput.map(|t| t.mean_per_s),
        stddev_ts: throughput.and_then(|t| t.stddev_per_s.or(t.stated_stddev_per_s)),
        median_ts: throughput.map(|t| t.median_per_s),
        median_ts_lower: interval.map(|i| i.lower),
        median_ts_upper: interval.map(|i| i.upper),
        median_ts_coverage: interval.map(|i| i.coverage),
        latency: latency.map(|l| l.metric.as_str()),
        latency_mean_ns: latency.and_then(|l| l.mean_ns),
        latency_median_ns: percentile("p50"),
        latency_p99_ns: percentile("p99"),
        case_id: &case.id,
        integrity: source.integrity.name(),
    }
}

fn markdown(source: &ImportedSource) -> String {
    let doubt = source.integrity.doubt();
    let mut text = doubt.map_or_else(String::new, |doubt| format!("{}\n\n", plain(&doubt)));
    let of = |s: &SourceFile| {
        let version = s.tool_version.as_deref().unwrap_or_default();
        format!("{} of {} {version}", s.name, s.tool).trim_end().to_owned()
    };
    let from: Vec<String> = source.file.sources.iter().map(of).collect();
    text += &format!(
        "**Imported** from {}: not measured here, and nothing is proved.\n\n",
        plain(&from.join(", "))
    );
    let mut table = table(&[
        "model", "dtype", "device", "test", "settings", "rounds", "t/s", "latency", "mean", "p50",
    ]);
    let settings = settings_apart(source.file.cases.iter().map(|case| &case.axes.other));
    for (case, settings) in source.file.cases.iter().zip(settings) {
        let axes = &case.axes;
        let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "–".into());
        let rate = case.throughput.as_ref().map_or_else(
            || "–".to_owned(),
            |t| match t.stddev_per_s.or(t.stated_stddev_per_s) {
                Some(stddev) => format!("{} ± {}", significant(t.mean_per_s), significant(stddev)),
                None => significant(t.mean_per_s),
            },
        );
        let latency = case.latencies.first();
        let ns = |ns: Option<f64>| {
            ns.map_or_else(|| "–".to_owned(), |ns| duration_text(ns.round() as u64))
        };
        add_row(
            &mut table,
            [
                word(&axes.model),
                word(&axes.dtype),
                word(&axes.device),
                axes.test.clone(),
                if settings.is_empty() { "–".into() } else { settings },
                case.rounds.len().to_string(),
                rate,
                latency.map_or_else(|| "–".to_owned(), |l| l.metric.clone()),
                ns(latency.and_then(|l| l.mean_ns)),
                ns(latency.and_then(|l| l.percentiles_ns.get("p50").copied())),
            ],
        );
    }
    align_right(&mut table, &[5, 6, 8, 9]);
    text += &table.to_string();
    text.push('\n');
    let remarks: String =
        source.file.remarks().iter().map(|remark| format!("\n- {}", plain(remark))).collect();
    if !remarks.is_empty() {
        text += &remarks;
        text.push('\n');
    }
    text
}
