//! The page around tables and charts.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use crate::report::Integrity;
use crate::report::html::plots::{self, Gallery, Standing, amount};
use crate::report::html::view::{FileView, MAX_CASES, Origin, Outcome, View, text};
use crate::report::html::{sides, tables};
use crate::result::file::{ResultFile, RunEnd, WarningFile};
use crate::result::imported::ImportedFile;
use crate::result::{LAYOUT, Signature, Verdict};
use crate::units::{Bytes, duration_text, significant};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Altered records that the head names.
const MAX_RECORDS: usize = 12;
/// Kinds of warnings: more than there are, unless a file means harm.
const MAX_KINDS: usize = 40;
/// Cases that a warning names.
const MAX_NAMED: usize = 6;

/// Nothing may be loaded, sent or run but the one style and the one script that the page brings.
fn policy() -> String {
    let digest = |text: &str| {
        base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes()))
    };
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; \
         base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    )
}

pub(super) fn page(view: &View) -> Markup {
    let galleries = plots::galleries(view);
    let standings = plots::standings(view);
    let title = title(view);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { (title) " · benchinf" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header.top {
                    p.eyebrow { "benchinf report" }
                    h1 { (title) }
                    (files(view))
                    (doubts(view))
                    (headline(view, standings.as_ref()))
                    (jump(view, &galleries, standings.is_some()))
                }
                main {
                    @if let Some(comparison) = view.comparison { (sides::sides(comparison)) }
                    (results(view))
                    div.galleries { @for gallery in &galleries { (gallery_section(gallery)) } }
                    @if let Some((day, standings)) = &standings { (tiers(*day, standings)) }
                    (ceilings(view))
                    (warnings(view))
                    (environments(view))
                }
                footer { (definitions()) }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// Models and machines, in a line.
fn title(view: &View) -> String {
    let listed = |names: Vec<String>| {
        let mut seen = HashSet::new();
        let seen: Vec<&String> = names.iter().filter(|name| seen.insert(*name)).collect();
        let more = seen.len().saturating_sub(2);
        let shown = seen.iter().take(2).map(|name| name.as_str()).collect::<Vec<_>>().join(" and ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    };
    let of = |f: &dyn Fn(&FileView) -> Vec<String>| listed(view.files.iter().flat_map(f).collect());
    let models = of(&|file| match file.origin {
        Origin::Measured(result) => result.plan.models.iter().map(|m| m.label.clone()).collect(),
        Origin::Imported(file) => file.cases.iter().filter_map(|c| c.axes.model.clone()).collect(),
    });
    let machines = of(&|file| match file.origin {
        Origin::Measured(result) => {
            let name = result.environment.cpu.model.clone();
            vec![name.unwrap_or_else(|| "an unnamed processor".into())]
        }
        Origin::Imported(file) => file.cases.iter().filter_map(|c| c.machine.clone()).collect(),
    });
    let what = match models.is_empty() {
        true if view.n_cases > 0 => "Imported results".to_owned(),
        true => "Ceilings".into(),
        false => models,
    };
    if machines.is_empty() {
        return text(&what);
    }
    text(&format!("{what} on {machines}"))
}

/// The state of a file, in a word.
fn status(file: &FileView) -> Markup {
    let signed = matches!(file.verdict, Verdict::Intact { signature: Signature::Valid { .. } });
    html! {
        @match file.integrity {
            Integrity::Intact if signed => span.status.intact { "✓ intact, signed" },
            Integrity::Intact => span.status.intact { "✓ intact" },
            Integrity::Altered(_) => span.status.altered { "✗ altered" },
            Integrity::NoDigests => span.status.doubtful { "? no digests" },
        }
    }
}

/// What was run where and when, one line for each file.
fn files(view: &View) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Files of this report" {
            table {
                thead { tr {
                    @if view.has_two_sides() { th scope="col" { "side" } }
                    th scope="col" { "file" } th scope="col" { "state" } th scope="col" { "measured" }
                    th scope="col" { "took" } th scope="col" { "by" } th scope="col" { "run" }
                } }
                tbody { @for file in &view.files {
                    tr {
                        @if view.has_two_sides() { td { (file.side.name()) } }
                        td { (file.name) }
                        td { (status(file)) @if file.result().is_none() { " " span.status.doubtful { "imported" } } }
                        @match file.origin {
                            Origin::Measured(result) => (measured_by(result)),
                            Origin::Imported(imported) => (imported_by(imported)),
                        }
                    }
                } }
            }
        }
    }
}

/// When, for how long, by what and in which run a file was measured.
fn measured_by(result: &ResultFile) -> Markup {
    let (run, tool) = (&result.run, &result.tool);
    html! {
        td { (time(&run.started)) }
        td { (duration_text(run.duration_ns)) (ended(run.ended)) }
        td {
            (text(&tool.name)) " " (text(&tool.version))
            @if let Some(commit) = &tool.commit {
                " " span.mono { (text(&commit.chars().take(10).collect::<String>())) }
            }
            @if tool.dirty == Some(true) { " modified" }
        }
        td.mono { (text(&run.id)) }
    }
}

/// The same of an imported file, as far as it is told.
fn imported_by(file: &ImportedFile) -> Markup {
    let when = file.cases.iter().find_map(|case| case.measured.as_deref());
    let source = file.sources.first();
    html! {
        td { @match when { Some(when) => (time(when)), None => "–" } }
        td { "–" }
        td {
            @if let Some(source) = source {
                (text(&source.tool)) " " (text(source.tool_version.as_deref().unwrap_or_default()))
            }
            @if file.sources.len() > 1 { " and " (file.sources.len() - 1) " more files" }
        }
        td { "–" }
    }
}

/// A time to the second.
fn time(rfc3339: &str) -> String {
    match rfc3339.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => text(rfc3339),
    }
}

fn ended(end: RunEnd) -> &'static str {
    match end {
        RunEnd::Completed => "",
        RunEnd::TimeUp => ", time up",
        RunEnd::Interrupted => ", interrupted",
    }
}

/// What of the files is not to be trusted, where nobody can miss it.
fn doubts(view: &View) -> Markup {
    html! {
        @for file in &view.files {
            @match file.integrity {
                Integrity::Intact => {}
                Integrity::Altered(records) => div.alert.altered role="alert" {
                    p { strong { (file.name) " was altered since it was written." } " Nothing in it is proved, and its claims are left out." }
                    @if *records == [LAYOUT] {
                        p { "Every record is intact, but the text around them is not as it was written." }
                    } @else if !records.is_empty() {
                        ul {
                            @for record in records.iter().take(MAX_RECORDS) { li { code { (text(record)) } } }
                            @if records.len() > MAX_RECORDS { li { "and " (records.len() - MAX_RECORDS) " more: see " code { "benchinf verify" } } }
                        }
                    }
                    @if let Verdict::Unreadable { problem } = file.verdict { p { (text(problem)) } }
                },
                Integrity::NoDigests => div.alert.doubtful role="note" {
                    p { strong { (file.name) " has no digests." } " Nothing shows whether it was altered, and nothing in it is proved." }
                },
            }
            @if file.result().is_some_and(|result| result.tool.debug_build) {
                div.alert.doubtful role="note" { p { strong { (file.name) " was measured by a debug build." } " Its figures say nothing about the hardware." } }
            }
        }
        @if view.n_cases > view.rows.len() {
            div.alert.doubtful role="note" {
                p { "The files have " (view.n_cases) " cases. This page shows the first " (MAX_CASES) "; " code { "benchinf report --csv" } " has them all." }
            }
        }
    }
}

/// A few figures that stand out.
fn headline(view: &View, standings: Option<&(jiff::civil::Date, Vec<Standing>)>) -> Markup {
    let measured = view.measured().count();
    let failed = view.rows.iter().filter(|r| matches!(r.outcome, Outcome::Failed(_))).count();
    let ceilings = view.files.iter().flat_map(|file| file.ceilings());
    let warned = view.rows.iter().filter(|row| !row.warnings.is_empty()).count()
        + ceilings.filter(|ceiling| !ceiling.warnings.is_empty()).count();
    html! {
        dl.headline {
            @for standing in standings.iter().flat_map(|(_, standings)| standings).take(4) {
                div {
                    dt { "Proved: " (standing.metric.title()) " of at least" }
                    dd { (amount(standing.metric, standing.floor))
                        small { @match (standing.factor_to_next, standing.next) {
                            (Some(factor), Some(next)) => { "next threshold at " (amount(standing.metric, next)) ", " (significant(factor)) "×" },
                            _ => { "above every threshold" },
                        } }
                    }
                }
            }
            div {
                dt { "Cases measured" }
                dd { (measured) " of " (view.rows.len())
                    small { @if failed > 0 { (failed) " failed" } @else { "none failed" } }
                }
            }
            div {
                dt { "Cases and ceilings with warnings" }
                dd { (warned)
                    small { @if warned > 0 { a href="#warnings" { "what they mean" } }
                        @else if view.is_without_doubt() { "nothing casts doubt on a figure" }
                        @else { "but see what is said of the files" } }
                }
            }
        }
    }
}

fn jump(view: &View, galleries: &[Gallery], has_tiers: bool) -> Markup {
    html! {
        nav.jump aria-label="On this page" { ul {
            @if view.has_two_sides() { li { a href="#sides" { "Base and new side" } } }
            @if !view.rows.is_empty() { li { a href="#results" { "Results" } } }
            @for gallery in galleries { li { a href={ "#" (gallery.id) } { (gallery.title) } } }
            @if has_tiers { li { a href="#tiers" { "Tiers" } } }
            @if view.files.iter().any(|f| !f.ceilings().is_empty()) { li { a href="#ceilings" { "Ceilings" } } }
            @if view.warnings().next().is_some() { li { a href="#warnings" { "Warnings" } } }
            li { a href="#environment" { "Environment" } }
        } }
    }
}

fn results(view: &View) -> Markup {
    html! {
        @if !view.rows.is_empty() {
            section #results aria-labelledby="results-title" {
                h2 #results-title { "Results" }
                p.note { "Tokens per second, of a request prompt and generated ones together. The interval holds the median of rounds with the chance that stands beside it, by their order alone." }
                (tables::cases(view))
                @if view.rows.iter().any(|row| !row.latencies.is_empty()) {
                    h3.spaced { "Latencies" }
                    p.note { code { "> max" } ": too few values to bound that percentile with 95 % confidence." }
                    (tables::latencies(view))
                }
                (sentences(view))
            }
        }
    }
}

/// Where each case stands under the ceilings, in words.
fn sentences(view: &View) -> Markup {
    let measured = || view.rows.iter().filter(|row| view.files[row.file_idx].result().is_some());
    let rows = || measured().filter_map(|row| Some((row, row.roofline.as_ref()?)));
    let n = rows().count();
    let most = 12;
    html! {
        @if n > 0 && view.files.iter().any(|file| !file.ceilings().is_empty()) {
            h3.spaced { "What binds" }
            ul.plain { @for (row, roofline) in rows().take(most) {
                li { strong { (row.label) } ": " (text(roofline.sentence)) }
            }
            @if n > most { li { "and " (n - most) " more: hover over the points of the roofline" } } }
        }
    }
}

fn gallery_section(gallery: &Gallery) -> Markup {
    html! {
        section.many[gallery.charts.len() > 1] id=(gallery.id) aria-labelledby={ (gallery.id) "-title" } {
            h2 id={ (gallery.id) "-title" } { (gallery.title) }
            p.note { (gallery.caption) }
            @if let Some(left_out) = &gallery.left_out { p.note { strong { (left_out) } } }
            div.charts { @for chart in &gallery.charts { (chart.figure()) } }
        }
    }
}

fn tiers(day: jiff::civil::Date, standings: &[Standing]) -> Markup {
    html! {
        section #tiers aria-labelledby="tiers-title" {
            h2 #tiers-title { "Tiers" }
            p.note { "What the runs prove of a device, and the thresholds of the export rules of " (day.to_string()) ". A measurement proves \"at least\", never \"below\". A test of technical parameters, not a licence determination; " code { "benchinf classify" } " has the paragraphs." }
            div.charts { @for standing in standings {
                @if let Some(chart) = &standing.chart { (chart.figure()) }
            } }
            ul.plain { @for standing in standings {
                li {
                    strong { (standing.metric.title()) " of " (standing.device) } ": "
                    (amount(standing.metric, standing.floor)) " proved, "
                    @match standing.n_proved { 0 => { "no threshold reached" }, 1 => { "one threshold reached" }, n => { (n) " thresholds reached" } }
                    " · " span.soft { (standing.basis) }
                }
            } }
        }
    }
}

fn ceilings(view: &View) -> Markup {
    html! {
        @if view.files.iter().any(|file| !file.ceilings().is_empty()) {
            section #ceilings aria-labelledby="ceilings-title" {
                h2 #ceilings-title { "Ceilings" }
                p.note { "What the machine could do at most, measured between the cases of the same run." }
                (tables::ceilings(view))
            }
        }
    }
}

/// Warnings by kind and what was seen, each with what to do.
fn warnings(view: &View) -> Markup {
    let mut kinds: Vec<(&str, &WarningFile, Vec<String>)> = Vec::new();
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (label, warning) in view.warnings() {
        let kind = warning.kind.as_str();
        let idx = *known.entry(kind).or_insert_with(|| {
            kinds.push((kind, warning, Vec::new()));
            kinds.len() - 1
        });
        kinds[idx].2.push(label);
    }
    html! {
        @if !kinds.is_empty() {
            section #warnings aria-labelledby="warnings-title" {
                h2 #warnings-title { "Warnings" }
                ul.warnings { @for (kind, first, labels) in kinds.iter().take(MAX_KINDS) { li {
                    h3 { (text(&kind.replace('_', " "))) }
                    p { "In " (labels[0]) ": " (text(&first.message)) "." }
                    p { "What to do: " (text(&first.advice)) "." }
                    @if labels.len() > 1 {
                        p.soft { "Also in " (labels[1..].iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", "))
                            @if labels.len() > 1 + MAX_NAMED { " and " (labels.len() - 1 - MAX_NAMED) " more" } "." }
                    }
                } } }
            }
        }
    }
}

fn environments(view: &View) -> Markup {
    html! {
        section #environment aria-labelledby="environment-title" {
            h2 #environment-title { "Environment" }
            @for file in view.files.iter().take(8) {
                @if view.files.len() > 1 { h3.spaced { (file.name) } }
                (environment(file))
            }
            @if view.files.len() > 8 { p.note { "Shown are the first 8 of " (view.files.len()) " files." } }
        }
    }
}

fn environment(file: &FileView) -> Markup {
    match file.origin {
        Origin::Measured(result) => measured_environment(result),
        Origin::Imported(imported) => provenance(imported),
    }
}

/// Where imported results come from, and what they do not tell.
fn provenance(file: &ImportedFile) -> Markup {
    let remarks = file.remarks();
    html! {
        p.note { "Translated by benchinf " (text(&file.importer.version)) " on " (time(&file.imported)) ". It was not measured here, and proves nothing." }
        dl.facts { @for source in file.sources.iter().take(8) {
            dt { (text(&source.tool)) }
            dd { (text(&source.name)) ", " (text(&source.format)) ", SHA-256 " span.mono { (text(&source.sha256)) } }
        } }
        @if !remarks.is_empty() {
            ul.plain { @for remark in remarks.iter().take(12) { li { (text(remark)) } } }
        }
    }
}

fn measured_environment(result: &ResultFile) -> Markup {
    let (environment, cpu, tool) = (&result.environment, &result.environment.cpu, &result.tool);
    let bytes = |bytes: Option<Bytes>| bytes.map(|bytes| bytes.to_string());
    let hz = |hz: Option<u64>| hz.map(|hz| format!("{} GHz", significant(hz as f64 / 1e9)));
    let yes_no = |it: Option<bool>| it.map(|it| if it { "yes".to_owned() } else { "no".into() });
    let cores = match cpu.sockets {
        Some(sockets) => format!(
            "{} cores, {} hardware threads, {sockets} packages",
            cpu.physical_cores, cpu.logical_cores
        ),
        None => format!("{} cores, {} hardware threads", cpu.physical_cores, cpu.logical_cores),
    };
    let gpu = environment.gpu.as_ref();
    let facts: [(&str, Option<String>); 19] = [
        ("device", gpu.and_then(|gpu| gpu.model.clone())),
        ("compute capability", gpu.and_then(|gpu| gpu.compute_capability.clone())),
        ("memory of the device", bytes(gpu.and_then(|gpu| gpu.memory_bytes))),
        ("driver", gpu.and_then(|gpu| gpu.driver.clone())),
        ("processor", cpu.model.clone()),
        ("cores", Some(cores)),
        ("instruction sets", Some(cpu.features.join(" "))),
        ("last-level cache", bytes(cpu.last_level_cache_bytes)),
        ("rated frequency", hz(cpu.max_frequency_hz)),
        ("governor", cpu.governor.clone()),
        ("virtual machine", yes_no(cpu.hypervisor)),
        ("memory", bytes(environment.memory_bytes)),
        ("load before the run", environment.load_average_1min.map(significant)),
        ("system", environment.os.clone()),
        ("kernel", environment.kernel.clone()),
        ("built by", Some(format!("{}, {}", tool.compiler, tool.profile))),
        ("command", Some(result.run.command_line.join(" "))),
        ("seed", Some(result.plan.seed.to_string())),
        ("digest", result.integrity.as_ref().map(|integrity| integrity.file_sha256.clone())),
    ];
    html! {
        dl.facts { @for (name, value) in facts {
            @if let Some(value) = value.filter(|value| !value.is_empty()) {
                dt { (name) }
                dd.mono[name == "command" || name == "digest"] { (text(&value)) }
            }
        } }
    }
}

fn definitions() -> Markup {
    html! {
        p { "Proved figures are floors: work that was certainly done, by a wall-clock bracket around it. Everything else on this page is what was typical in this run. Intact means that not a byte changed since a file was written, or that it was made anew as a whole; it does not show that the run took place." }
        p { "Made by benchinf " (env!("CARGO_PKG_VERSION")) ". This page loads nothing and sends nothing." }
    }
}
