//! Markdown tables for people.

use comfy_table::{CellAlignment, Table, presets};

use super::terminal::bar;
use crate::classify::summary::{RunTier, tiers_of_run};
use crate::report::{Integrity, Source};
use crate::result::ResultFile;
use crate::result::file::{
    AxesFile, CaseFile, CeilingFile, CudaGraphsFile, GpuFile, LatencyFile, OutcomeFile,
    ProvisoFile, QuantityFile, RunEnd, WarningFile,
};
use crate::units::{bytes_per_s_text, count_text, duration_text, flops_per_s_text, significant};

/// Whether shares have bars, which only a terminal shows well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bars {
    Shown,
    Absent,
}

/// A run as two tables, throughput and latency, under a line that says where it ran.
pub(super) fn markdown(source: &Source, bars: Bars) -> String {
    let result = source.result;
    let doubt = source.integrity.doubt();
    let mut text = doubt.map_or_else(String::new, |doubt| format!("{}\n\n", plain(&doubt)));
    text += &heading(result);
    text.push('\n');
    if !result.ceilings.is_empty() {
        text += &ceiling_table(source);
        text.push('\n');
    }
    if result.cases.is_empty() {
        for remark in remarks(source) {
            text += &format!("\n{remark}\n");
        }
        return text;
    }
    if !result.ceilings.is_empty() {
        text.push('\n');
    }
    text += &throughput_table(result);
    if result.cases.iter().any(|case| !case.latencies.is_empty()) {
        text += "\n\n";
        text += &latency_table(result);
    }
    text.push('\n');
    text += &rooflines(result, bars);
    for remark in remarks(source) {
        text += &format!("\n{remark}\n");
    }
    text
}

/// Where each case stands, in a sentence.
fn rooflines(result: &ResultFile, bars: Bars) -> String {
    if result.ceilings.is_empty() {
        return String::new();
    }
    let lines = result.cases.iter().filter_map(|case| {
        let roofline = case.roofline.as_ref()?;
        let name = plain(&case_name(result, case));
        let bar = match bars {
            Bars::Shown => bar(roofline.ceiling_share) + " ",
            Bars::Absent => String::new(),
        };
        Some(format!("- {bar}{name}: {}\n", plain(&roofline.sentence)))
    });
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

fn ceiling_table(source: &Source) -> String {
    let mut table = table(&[
        "ceiling",
        "dtype",
        "device",
        "threads",
        "kernel",
        "rounds",
        "best",
        "proved at least",
    ]);
    for ceiling in &source.result.ceilings {
        let (best, proved) = ceiling_rate_texts(ceiling, source.integrity);
        add_row(
            &mut table,
            [
                ceiling.probe.to_string(),
                ceiling.dtype.as_ref().map_or_else(String::new, ToString::to_string),
                ceiling.device.clone(),
                ceiling.n_threads.to_string(),
                ceiling.kernel.clone().unwrap_or_default(),
                ceiling.rounds.len().to_string(),
                best,
                proved,
            ],
        );
    }
    align_right(&mut table, &[3, 5, 6, 7]);
    table.to_string()
}

/// What a ceiling reached, or why nothing, and what that proves.
pub(super) fn ceiling_rate_texts(ceiling: &CeilingFile, integrity: Integrity) -> (String, String) {
    let rate_text = match ceiling.gemm_size {
        Some(_) => flops_per_s_text,
        None => bytes_per_s_text,
    };
    let best = match (&ceiling.outcome, &ceiling.rate) {
        (OutcomeFile::Skipped { reason }, _) => format!("skipped: {reason}"),
        (OutcomeFile::Failed { reason }, _) => format!("failed: {reason}"),
        (OutcomeFile::Measured, None) => "below the clock's resolution".into(),
        (OutcomeFile::Measured, Some(rate)) => rate_text(rate.best_per_s),
    };
    let claims = ceiling.claims.as_ref().filter(|_| integrity == Integrity::Intact);
    let claim = claims.and_then(|claims| claims.proofs().next());
    (best, claim.map_or_else(|| "–".into(), |claim| rate_text(claim.per_second_at_least)))
}

const VIRTUAL: &str = " On a virtual machine, as far as that tells its caches.";

/// The highest floors of the whole file.
fn proved(result: &ResultFile) -> Option<String> {
    let of_cases = result.cases.iter().map(|case| (case.id.as_str(), &case.claims));
    let of_ceilings = result.ceilings.iter().map(|ceiling| (ceiling.id.as_str(), &ceiling.claims));
    let claims = || {
        of_ceilings.clone().chain(of_cases.clone()).flat_map(|(id, claims)| {
            claims.iter().flat_map(move |claims| claims.proofs().map(move |c| (id, c)))
        })
    };
    let tpp = claims()
        .filter_map(|(id, claim)| Some((id, claim, claim.tpp_at_least?)))
        .max_by(|a, b| a.2.total_cmp(&b.2))
        .map(|(id, claim, tpp)| {
            format!(
                "TPP {} ({} at {} bits, by {})",
                significant(tpp),
                flops_per_s_text(claim.per_second_at_least),
                claim.operand_bits.unwrap_or_default(),
                plain(id)
            )
        });
    let bandwidth = claims()
        .filter(|(_, claim)| claim.quantity == QuantityFile::Bytes)
        .max_by(|a, b| a.1.per_second_at_least.total_cmp(&b.1.per_second_at_least))
        .map(|(id, claim)| {
            let rate = bytes_per_s_text(claim.per_second_at_least);
            format!("memory bandwidth {rate} (by {})", plain(id))
        });
    let parts: Vec<String> = [tpp, bandwidth].into_iter().flatten().collect();
    let of_cases = result.cases.iter().map(|case| &case.claims);
    let all = result.ceilings.iter().map(|ceiling| &ceiling.claims).chain(of_cases).flatten();
    let provisos: Vec<&ProvisoFile> = all.flat_map(|claims| &claims.provisos).collect();
    // Files from before claims had provisos tell it in their environment alone.
    let is_virtual = result.plan.device == "cpu" && result.environment.cpu.hypervisor == Some(true);
    let scope = match provisos.first() {
        Some(ProvisoFile::VirtualMachine) => VIRTUAL,
        None if is_virtual => VIRTUAL,
        Some(ProvisoFile::HypervisorUnknown) => {
            " Whether on a virtual machine is not known; as far as the system tells its caches."
        }
        Some(ProvisoFile::Other(_)) | None => "",
    };
    (!parts.is_empty()).then(|| format!("Proved, at least: {}.{scope}", parts.join("; ")))
}

/// Which thresholds of export rules that proves, and how far the next ones are.
fn tiers(result: &ResultFile) -> Option<String> {
    let (day, tiers) = tiers_of_run(result)?;
    let amount = |tier: &RunTier, value: f64| match tier.metric.unit() {
        "" => value.to_string(),
        unit => format!("{value} {unit}"),
    };
    let of = |tier: &RunTier| {
        let proved = tier.proved.map_or_else(|| "none".to_owned(), |value| amount(tier, value));
        let next = tier.next.zip(tier.factor_to_next).map_or_else(String::new, |(next, factor)| {
            format!(" (next {}, {} times as much)", amount(tier, next), significant(factor))
        });
        format!("{} {proved}{next}", tier.metric.title())
    };
    let tiers: Vec<String> = tiers.iter().map(of).collect();
    Some(format!(
        "Tiers proved, by the rules of {day}: {}. A test of technical parameters, not a licence \
         determination; `benchinf classify` has the paragraphs.",
        tiers.join("; ")
    ))
}

/// Warnings, one line for each kind.
fn warnings(result: &ResultFile) -> Vec<String> {
    let of_cases = result.cases.iter().map(|case| (case.id.as_str(), &case.warnings));
    let of_ceilings = result.ceilings.iter().map(|c| (c.id.as_str(), &c.warnings));
    let mut kinds: Vec<(&str, Vec<(&str, &WarningFile)>)> = Vec::new();
    for (id, warnings) in of_ceilings.chain(of_cases) {
        for warning in warnings {
            match kinds.iter_mut().find(|(kind, _)| *kind == warning.kind.as_str()) {
                Some((_, known)) => known.push((id, warning)),
                None => kinds.push((warning.kind.as_str(), vec![(id, warning)])),
            }
        }
    }
    let line = |(kind, known): &(&str, Vec<(&str, &WarningFile)>)| {
        let (id, first) = known[0];
        let others = match known.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        plain(&format!("**{kind}** in {id}{others}: {}; {}.", first.message, first.advice))
    };
    kinds.iter().map(line).collect()
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
    ) + &environment.gpu.as_ref().map_or_else(String::new, gpu_line)
}

/// The device that computed, under the machine that it sits in.
fn gpu_line(gpu: &GpuFile) -> String {
    let name = plain(gpu.model.as_deref().unwrap_or("an unnamed device"));
    let facts = [
        gpu.compute_capability.as_ref().map(|it| format!("compute capability {}", plain(it))),
        gpu.n_multiprocessors.map(|n| format!("{n} multiprocessors")),
        gpu.memory_available_bytes.map(|free| format!("{free} free")),
        gpu.mig.and_then(|mig| mig.then(|| "a slice or split into slices (MIG)".to_owned())),
        gpu.driver.as_ref().map(|version| format!("driver {}", plain(version))),
        match gpu.other_processes {
            Some(n) if n > 0 => Some(format!("{n} other processes computed on it")),
            _ => None,
        },
    ];
    let facts: Vec<String> = facts.into_iter().flatten().collect();
    format!(
        "on {name}, {}
",
        facts.join(", ")
    )
}

/// How much of the time went into giving work out to a device.
fn launches(result: &ResultFile) -> Vec<String> {
    let told =
        result.cases.iter().filter_map(|case| Some((case, case.launch_and_device_shares()?)));
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    told.map(|(case, (launch, device))| {
        format!(
            "{}: the host gave work out for {} of the time, and by its own clock the device took {}.",
            plain(&case_name(result, case)),
            percent(launch),
            percent(device)
        )
    })
    .collect()
}

/// Everything that changes what the figures mean.
fn remarks(source: &Source) -> Vec<String> {
    let result = source.result;
    let mut remarks = Vec::new();
    if !result.cases.is_empty() {
        remarks.push(
            "t/s: mean ± standard deviation over rounds; of a request, prompt and generated tokens. \
             Median: with the interval that holds it with the chance given, by the order of rounds \
             alone."
                .to_owned(),
        );
    }
    if source.integrity == Integrity::Intact {
        remarks.extend(proved(result));
        remarks.extend(tiers(result));
    }
    let latencies = || result.cases.iter().flat_map(|case| &case.latencies);
    if latencies().any(|latency| !latency.percentiles_absent.is_empty()) {
        remarks.push(
            "`> max`: too few values (n) to bound that percentile with 95 % confidence.".into(),
        );
    }
    remarks.extend(launches(result));
    remarks.extend(warnings(result));
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
    let mut table = table(&[
        "model", "params", "dtype", "device", "kernels", "threads", "batch", "test", "rounds",
        "t/s", "median",
    ]);
    for case in &result.cases {
        let axes = &case.axes;
        let model = result.plan.models.iter().find(|model| model.label == axes.model);
        add_row(
            &mut table,
            [
                axes.model.clone(),
                model.map_or_else(String::new, |model| count_text(model.n_params)),
                axes.dtype.to_string(),
                axes.device.clone(),
                code_name(axes),
                axes.n_threads.to_string(),
                axes.batch_size.to_string(),
                axes.test.clone(),
                case.rounds.len().to_string(),
                rate(case),
                median(case),
            ],
        );
    }
    align_right(&mut table, &[1, 5, 6, 8, 9, 10]);
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

/// The median with its interval and what that covers.
fn median(case: &CaseFile) -> String {
    let Some(throughput) = &case.throughput else { return String::new() };
    let median = significant(throughput.median_tokens_per_s);
    match &throughput.interval {
        None => median,
        Some(interval) => format!(
            "{median} [{}, {}] {:.1} %",
            significant(interval.lower),
            significant(interval.upper),
            interval.coverage * 100.0
        ),
    }
}

fn latency_table(result: &ResultFile) -> String {
    let mut table = table(&["case", "latency", "n", "mean", "p50", "p90", "p99", "max"]);
    for case in &result.cases {
        for latency in &case.latencies {
            add_row(
                &mut table,
                [
                    case_name(result, case),
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

/// What computed, and whether its steps were replayed.
fn code_name(axes: &AxesFile) -> String {
    match axes.cuda_graphs {
        Some(CudaGraphsFile::On) => format!("{}+graphs", axes.kernels_name()),
        Some(CudaGraphsFile::Off) | None => axes.kernels_name().to_owned(),
    }
}

/// The axes of a case that tell it from the others.
fn case_name(result: &ResultFile, case: &CaseFile) -> String {
    let axes = &case.axes;
    let mut name = format!("{} b{} {} t{}", axes.dtype, axes.batch_size, axes.test, axes.n_threads);
    let all_alike = result.cases.iter().all(|other| code_name(&other.axes) == code_name(axes));
    if !all_alike {
        name = format!("{} {name}", code_name(axes));
    }
    if result.plan.models.len() > 1 {
        name = format!("{} {name}", axes.model);
    }
    name
}

/// The percentile, or what a small sample can say instead: its upper bound lies above all that
/// was seen.
fn percentile(latency: &LatencyFile, key: &str) -> String {
    percentile_text(latency.percentiles_ns.get(key).copied(), key == "p50", latency.count)
}

/// A percentile of `count` values, or what so few of them can say instead.
pub(super) fn percentile_text(ns: Option<u64>, is_median: bool, count: u64) -> String {
    match ns {
        Some(ns) => duration_text(ns),
        // A median is never beyond the largest value.
        None if is_median => format!("– (n = {count})"),
        None => format!("> max (n = {count})"),
    }
}

pub(super) fn add_row<const N: usize>(table: &mut Table, cells: [String; N]) {
    table.add_row(cells.map(|cell| plain(&cell)));
}

/// Text of a file, which may be hostile, for a table cell: no control characters, no bars.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| match c {
            '|' => vec!['\\', '|'],
            c if c.is_control() => vec!['\u{fffd}'],
            c => vec![c],
        })
        .collect()
}

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(header);
    table
}

pub(super) fn align_right(table: &mut Table, columns: &[usize]) {
    for &column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
