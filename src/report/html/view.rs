//! What a page shows of result files: one row for each case, whoever measured it, with texts of a
//! bounded length and figures that stand there only if the file has them.

use std::collections::BTreeSet;

use crate::compare::Comparison;
use crate::report::html::OtherSide;
use crate::report::{Integrity, integrity_of};
use crate::result::file::{
    CaseFile, CeilingFile, CudaGraphsFile, HistogramFile, OutcomeFile, ResultFile, RoundFile,
    WarningFile,
};
use crate::result::imported::{ImportedCaseFile, ImportedFile, settings_apart};
use crate::result::{AnyReading, Verdict};

/// Cases that a page shows.
pub(super) const MAX_CASES: usize = 2_000;

/// Characters of a text of a file that a page shows.
const MAX_TEXT: usize = 300;

/// A result file and the name that the page calls it by.
#[derive(Clone, Copy, Debug)]
pub struct NamedReading<'a> {
    /// The name, as the user gave it.
    pub name: &'a str,
    /// The file and whether it is intact.
    pub reading: &'a AnyReading,
}

/// Which side of a comparison a file is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Base,
    New,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Side::Base => "base",
            Side::New => "new",
        }
    }
}

/// A file of the page.
pub(super) struct FileView<'a> {
    pub(super) side: Side,
    pub(super) name: String,
    pub(super) origin: Origin<'a>,
    pub(super) verdict: &'a Verdict,
    pub(super) integrity: Integrity<'a>,
}

/// Who measured.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    /// We did.
    Measured(&'a ResultFile),
    /// Another tool did.
    Imported(&'a ImportedFile),
}

impl<'a> FileView<'a> {
    /// The file, if it is one of our own.
    pub(super) fn result(&self) -> Option<&'a ResultFile> {
        match self.origin {
            Origin::Measured(result) => Some(result),
            Origin::Imported(_) => None,
        }
    }

    /// Its ceilings; another tool measures none.
    pub(super) fn ceilings(&self) -> &'a [CeilingFile] {
        self.result().map_or(&[], |result| &result.ceilings)
    }

    fn rows(&self, file_idx: usize) -> Box<dyn Iterator<Item = Row<'a>> + 'a> {
        let side = self.side;
        match self.origin {
            Origin::Measured(result) => {
                Box::new(result.cases.iter().map(move |case| row(side, file_idx, case)))
            }
            Origin::Imported(file) => {
                let settings = settings_apart(file.cases.iter().map(|case| &case.axes.other));
                let cases = file.cases.iter().zip(settings);
                Box::new(cases.map(move |(case, s)| imported_row(side, file_idx, case, s)))
            }
        }
    }

    fn n_cases(&self) -> usize {
        match self.origin {
            Origin::Measured(result) => result.cases.len(),
            Origin::Imported(file) => file.cases.len(),
        }
    }
}

/// Everything that the page is made from.
pub(super) struct View<'a> {
    pub(super) files: Vec<FileView<'a>>,
    pub(super) rows: Vec<Row<'a>>,
    /// Cases of all files, shown or not.
    pub(super) n_cases: usize,
    /// What is said of two sides, if there are two.
    pub(super) comparison: Option<Result<&'a Comparison, &'a str>>,
}

/// A case.
pub(super) struct Row<'a> {
    pub(super) side: Side,
    /// Index into [`View::files`].
    pub(super) file_idx: usize,
    /// What tells it from the other rows.
    pub(super) label: String,
    pub(super) axes: Axes<'a>,
    pub(super) outcome: Outcome<'a>,
    pub(super) throughput: Option<Throughput<'a>>,
    pub(super) latencies: Vec<Latency<'a>>,
    pub(super) roofline: Option<Roofline<'a>>,
    /// The rounds of our own runs; what another tool tells of its own is a number alone.
    pub(super) rounds: &'a [RoundFile],
    pub(super) n_rounds: usize,
    pub(super) warnings: &'a [WarningFile],
}

/// The axes as texts and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axes<'a> {
    pub(super) model: &'a str,
    pub(super) dtype: &'a str,
    pub(super) device: &'a str,
    pub(super) kernels: &'a str,
    /// Absent where no choice is told.
    pub(super) cuda_graphs: Option<CudaGraphsFile>,
    pub(super) n_threads: Option<u32>,
    pub(super) batch_size: Option<u32>,
    pub(super) test: &'a str,
    pub(super) n_prompt: Option<u32>,
    pub(super) n_gen: Option<u32>,
    pub(super) n_depth: Option<u32>,
    /// What else another tool was told, where that differs between cases.
    pub(super) settings: String,
}

impl Axes<'_> {
    /// How decode steps were launched, as names have it.
    pub(super) fn cuda_graphs_word(&self) -> &'static str {
        match self.cuda_graphs {
            Some(CudaGraphsFile::On) => "graphs",
            Some(CudaGraphsFile::Off) | None => "",
        }
    }
}

/// What became of a case.
pub(super) enum Outcome<'a> {
    Measured,
    Skipped(&'a str),
    Failed(&'a str),
}

/// Tokens per second over rounds.
pub(super) struct Throughput<'a> {
    pub(super) mean: f64,
    pub(super) stddev: Option<f64>,
    pub(super) median: f64,
    /// Lower end, upper end, and the chance that it holds the median.
    pub(super) interval: Option<(f64, f64, f64)>,
    pub(super) rounds: &'a [f64],
    pub(super) outlier_rounds: &'a [u32],
}

/// A latency.
pub(super) struct Latency<'a> {
    pub(super) metric: &'a str,
    pub(super) description: &'a str,
    pub(super) count: Option<u64>,
    pub(super) mean_ns: Option<u64>,
    /// p50, p90 and p99, where the sample carries them, or as another tool states them.
    pub(super) percentiles_ns: [Option<u64>; 3],
    pub(super) max_ns: Option<u64>,
    /// Absent where another tool gives figures alone.
    pub(super) histogram: Option<&'a HistogramFile>,
}

/// Where a case stands under its roofline.
pub(super) struct Roofline<'a> {
    pub(super) flops_per_s: f64,
    pub(super) bytes_per_s: f64,
    pub(super) share: Option<f64>,
    pub(super) sentence: &'a str,
}

impl<'a> View<'a> {
    pub(super) fn new(base: &[NamedReading<'a>], other: Option<OtherSide<'a>>) -> Self {
        let with = other.map_or(&[][..], |other| other.files);
        let of = |side: Side| {
            move |named: &NamedReading<'a>| FileView {
                side,
                name: text(named.name),
                origin: match named.reading {
                    AnyReading::Measured(reading) => Origin::Measured(&reading.file),
                    AnyReading::Imported(reading) => Origin::Imported(&reading.file),
                },
                verdict: named.reading.verdict(),
                integrity: integrity_of(named.reading.verdict()),
            }
        };
        let files: Vec<FileView> =
            base.iter().map(of(Side::Base)).chain(with.iter().map(of(Side::New))).collect();
        let n_cases = files.iter().map(FileView::n_cases).sum();
        let cases = files.iter().enumerate().flat_map(|(i, file)| file.rows(i));
        let mut rows: Vec<Row> = cases.take(MAX_CASES).collect();
        name_rows(&mut rows, &files);
        View { files, rows, n_cases, comparison: other.map(|other| other.comparison) }
    }

    pub(super) fn has_two_sides(&self) -> bool {
        self.comparison.is_some()
    }

    /// Every warning with the label of what it is of: cases, then ceilings.
    pub(super) fn warnings(&self) -> impl Iterator<Item = (String, &WarningFile)> {
        let of_rows = self
            .rows
            .iter()
            .flat_map(|row| row.warnings.iter().map(|warning| (row.label.clone(), warning)));
        let of_ceilings = self.files.iter().flat_map(|file| file.ceilings()).flat_map(|ceiling| {
            ceiling.warnings.iter().map(|warning| (text(&ceiling.id), warning))
        });
        of_rows.chain(of_ceilings)
    }

    /// Whether all files are as we wrote them, of a build for measuring, and without a warning.
    pub(super) fn is_without_doubt(&self) -> bool {
        let is_sound = |file: &FileView| {
            file.integrity == Integrity::Intact
                && file.result().is_some_and(|result| !result.tool.debug_build)
        };
        self.files.iter().all(is_sound) && self.warnings().next().is_none()
    }

    /// The rows that were measured.
    pub(super) fn measured(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter().filter(|row| matches!(row.outcome, Outcome::Measured))
    }
}

fn row<'a>(side: Side, file_idx: usize, case: &'a CaseFile) -> Row<'a> {
    let axes = &case.axes;
    Row {
        side,
        file_idx,
        label: String::new(),
        axes: Axes {
            model: &axes.model,
            dtype: axes.dtype.as_str(),
            device: &axes.device,
            kernels: axes.kernels_name(),
            cuda_graphs: axes.cuda_graphs,
            n_threads: Some(axes.n_threads),
            batch_size: Some(axes.batch_size),
            test: &axes.test,
            n_prompt: Some(axes.n_prompt),
            n_gen: Some(axes.n_gen),
            n_depth: Some(axes.n_depth),
            settings: String::new(),
        },
        outcome: match &case.outcome {
            OutcomeFile::Measured => Outcome::Measured,
            OutcomeFile::Skipped { reason } => Outcome::Skipped(reason),
            OutcomeFile::Failed { reason } => Outcome::Failed(reason),
        },
        throughput: case.throughput.as_ref().map(|t| Throughput {
            mean: t.mean_tokens_per_s,
            stddev: t.stddev_tokens_per_s,
            median: t.median_tokens_per_s,
            interval: t.interval.as_ref().map(|i| (i.lower, i.upper, i.coverage)),
            rounds: &t.rounds_tokens_per_s,
            outlier_rounds: &t.outlier_rounds,
        }),
        latencies: case
            .latencies
            .iter()
            .map(|l| Latency {
                metric: &l.metric,
                description: &l.description,
                count: Some(l.count),
                mean_ns: Some(l.mean_ns.round() as u64),
                percentiles_ns: ["p50", "p90", "p99"].map(|q| l.percentiles_ns.get(q).copied()),
                max_ns: Some(l.max_ns),
                histogram: Some(&l.histogram),
            })
            .collect(),
        roofline: case.roofline.as_ref().map(|r| Roofline {
            flops_per_s: r.flops_per_s,
            bytes_per_s: r.bytes_per_s,
            share: r.ceiling_share,
            sentence: &r.sentence,
        }),
        rounds: &case.rounds,
        n_rounds: case.rounds.len(),
        warnings: &case.warnings,
    }
}

fn imported_row<'a>(
    side: Side,
    file_idx: usize,
    case: &'a ImportedCaseFile,
    settings: String,
) -> Row<'a> {
    let axes = &case.axes;
    fn word(text: &Option<String>) -> &str {
        text.as_deref().unwrap_or("–")
    }
    let throughput = case.throughput.as_ref();
    let seconds = case.work.tokens.zip(throughput).map(|(n, t)| n as f64 / t.median_per_s);
    let per_s = |work: u64| seconds.map(|seconds| work as f64 / seconds);
    let flops_per_s = case.work.flops.and_then(|flops| per_s(flops.0));
    let bytes_per_s = case.work.bytes_min.and_then(|bytes| per_s(bytes.0));
    Row {
        side,
        file_idx,
        label: String::new(),
        axes: Axes {
            model: word(&axes.model),
            dtype: word(&axes.dtype),
            device: word(&axes.device),
            kernels: word(&axes.kernels),
            cuda_graphs: None,
            n_threads: axes.n_threads,
            batch_size: axes.batch_size,
            test: &axes.test,
            n_prompt: axes.n_prompt,
            n_gen: axes.n_gen,
            n_depth: axes.n_depth,
            settings,
        },
        outcome: Outcome::Measured,
        throughput: throughput.map(|t| Throughput {
            mean: t.mean_per_s,
            stddev: t.stddev_per_s.or(t.stated_stddev_per_s),
            median: t.median_per_s,
            interval: t.interval.as_ref().map(|i| (i.lower, i.upper, i.coverage)),
            rounds: &t.rounds_per_s,
            outlier_rounds: &[],
        }),
        latencies: case
            .latencies
            .iter()
            .map(|l| Latency {
                metric: &l.metric,
                description: &l.description,
                count: l.count,
                mean_ns: l.mean_ns.map(|ns| ns.round() as u64),
                percentiles_ns: ["p50", "p90", "p99"]
                    .map(|q| l.percentiles_ns.get(q).map(|ns| ns.round() as u64)),
                max_ns: l.max_ns.map(|ns| ns.round() as u64),
                histogram: None,
            })
            .collect(),
        roofline: flops_per_s.zip(bytes_per_s).map(|(flops_per_s, bytes_per_s)| Roofline {
            flops_per_s,
            bytes_per_s,
            share: None,
            sentence: "imported, with work counted from a declared shape",
        }),
        rounds: &[],
        n_rounds: case.rounds.len(),
        warnings: &[],
    }
}

/// What a row is called by one of its axes.
pub(super) type Word<'w> = &'w dyn Fn(&Row) -> String;

/// An axis as names have it; nothing where it is not told.
pub(super) fn axis(prefix: &str, value: Option<u32>) -> String {
    value.map_or_else(String::new, |value| format!("{prefix}{value}"))
}

/// Names each row by its test and by the axes in which rows differ.
fn name_rows(rows: &mut [Row], files: &[FileView]) {
    let varies =
        |of: &dyn Fn(&Row) -> String| rows.iter().map(of).collect::<BTreeSet<String>>().len() > 1;
    let parts: [(Word, bool); 9] = [
        (&|r| r.axes.model.to_owned(), false),
        (&|r| r.axes.dtype.to_owned(), false),
        (&|r| r.axes.kernels.to_owned(), false),
        (&|r| r.axes.cuda_graphs_word().to_owned(), false),
        (&|r| r.axes.test.to_owned(), true),
        (&|r| r.axes.settings.clone(), false),
        (&|r| axis("b", r.axes.batch_size), false),
        (&|r| axis("t", r.axes.n_threads), false),
        (&|r| r.axes.device.to_owned(), false),
    ];
    let wanted: Vec<Word> =
        parts.into_iter().filter(|(of, always)| *always || varies(of)).map(|(of, _)| of).collect();
    let sides = files.iter().any(|file| file.side == Side::New);
    let files_per_side = |side| files.iter().filter(|file| file.side == side).count();
    let labels: Vec<String> = rows
        .iter()
        .map(|row| {
            let mut words: Vec<String> = wanted.iter().map(|of| of(row)).collect();
            if sides {
                words.insert(0, row.side.name().into());
            }
            if files_per_side(row.side) > 1 {
                words.push(format!("in {}", files[row.file_idx].name));
            }
            words.retain(|word| !matches!(word.as_str(), "" | "–"));
            text(&words.join(" "))
        })
        .collect();
    for (row, label) in rows.iter_mut().zip(labels) {
        row.label = label;
    }
}

/// Text of a file for the page: no control characters, none that turn the direction of what
/// follows, and not longer than a page can bear. Escaping is the template's part.
pub(super) fn text(text: &str) -> String {
    bounded(text, MAX_TEXT)
}

/// The same of so many characters at most.
pub(super) fn bounded(text: &str, n_most: usize) -> String {
    let plain = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns { '\u{fffd}' } else { c }
    };
    let mut shown: String = text.chars().take(n_most).map(plain).collect();
    if text.chars().nth(n_most).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_plain() {
        assert_eq!(text("a\u{202e}b\n<script>"), "a\u{fffd}b\u{fffd}<script>");
        assert_eq!(text(&"ä".repeat(1_000)).chars().count(), MAX_TEXT + 1);
    }
}
