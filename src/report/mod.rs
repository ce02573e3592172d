//! What a result file says, for people and for programs. Works on a file alone.

mod classification;
mod classification_csv;
mod html;
mod rows;
mod table;

use serde::Serialize;

use crate::result::{self, LAYOUT, Reading, ResultFile, Verdict};

pub use classification::{ClassificationFormat, render_classifications};
pub use html::{NamedReading, page};

/// Formats of standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Markdown tables.
    Md,
    /// The result file itself, or an array of several.
    Json,
    /// One JSON object per case and line.
    Jsonl,
    /// One line per case under a header.
    Csv,
}

/// A result and what is to be said of its text.
#[derive(Clone, Copy)]
struct Source<'a> {
    result: &'a ResultFile,
    integrity: Integrity<'a>,
}

/// Whether a result is as it was written.
#[derive(Clone, Copy, PartialEq)]
enum Integrity<'a> {
    Intact,
    Altered(&'a [String]),
    NoDigests,
}

impl Integrity<'_> {
    /// The name in rows.
    fn name(self) -> &'static str {
        match self {
            Integrity::Intact => "intact",
            Integrity::Altered(_) => "altered",
            Integrity::NoDigests => "no_digests",
        }
    }

    /// The doubt in words, if there is any.
    fn doubt(self) -> Option<String> {
        match self {
            Integrity::Intact => None,
            Integrity::Altered(records) if *records == [LAYOUT] => Some(
                "**Altered** since it was written (its layout alone): nothing here is proved."
                    .into(),
            ),
            Integrity::Altered(records) => Some(format!(
                "**Altered** since it was written ({}): nothing here is proved.",
                records.join(", ")
            )),
            Integrity::NoDigests => Some(
                "**Without digests**: nothing shows whether this file was altered, and nothing here \
                 is proved."
                    .into(),
            ),
        }
    }
}

/// What of a file that is not intact is printed as JSON: the file, and that it is not.
#[derive(Serialize)]
struct Doubted<'a> {
    /// As rows have it.
    integrity_verdict: &'static str,
    #[serde(flatten)]
    result: &'a ResultFile,
}

/// The results in a format, ending in a newline. They are of this process: nothing was altered.
pub fn render(results: &[ResultFile], format: Format) -> String {
    let sources: Vec<Source> =
        results.iter().map(|result| Source { result, integrity: Integrity::Intact }).collect();
    render_sources(&sources, format)
}

/// Files in a format, ending in a newline. What was altered, or may have been, says so in the data
/// itself, and proves nothing.
pub fn render_read(readings: &[Reading], format: Format) -> String {
    render_sources(&readings.iter().map(source_of).collect::<Vec<_>>(), format)
}

fn source_of(reading: &Reading) -> Source<'_> {
    let integrity = match &reading.verdict {
        Verdict::Intact { .. } => Integrity::Intact,
        Verdict::Altered { records } => Integrity::Altered(records),
        Verdict::NoDigests => Integrity::NoDigests,
        Verdict::Unreadable { .. } => Integrity::Altered(&[]),
    };
    Source { result: &reading.file, integrity }
}

fn render_sources(sources: &[Source], format: Format) -> String {
    match format {
        Format::Md => sources.iter().map(table::markdown).collect::<Vec<_>>().join("\n"),
        Format::Json => json(sources),
        Format::Jsonl => rows::jsonl(sources),
        Format::Csv => rows::csv(sources),
    }
}

fn json(sources: &[Source]) -> String {
    if sources.iter().all(|source| source.integrity == Integrity::Intact) {
        return match sources {
            [one] => result::to_json(one.result),
            many => result::to_json(&many.iter().map(|source| source.result).collect::<Vec<_>>()),
        };
    }
    fn doubted<'a>(source: &Source<'a>) -> Doubted<'a> {
        Doubted { integrity_verdict: source.integrity.name(), result: source.result }
    }
    let all: Vec<Doubted> = sources.iter().map(doubted).collect();
    match all.as_slice() {
        [one] => result::to_json(one),
        many => result::to_json(&many),
    }
}
