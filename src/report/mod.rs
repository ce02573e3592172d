//! What a result file says, for people and for programs. Works on a file alone.

mod classification;
mod classification_csv;
mod comparison;
mod definitions;
mod explain;
mod html;
mod imported;
mod rows;
mod table;
mod terminal;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::result::{self, AnyReading, LAYOUT, ResultFile, Verdict};
use imported::ImportedSource;

pub use explain::{DefinitionKind, explain, list_definitions};

pub use classification::{ClassificationFormat, render_classifications};
pub use comparison::{ComparisonFormat, render_comparison};
pub use html::{NamedReading, OtherSide, page};

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
struct Doubted<'a, T> {
    /// As rows have it.
    integrity_verdict: &'static str,
    #[serde(flatten)]
    result: &'a T,
}

/// The results in a format, ending in a newline. They are of this process: nothing was altered.
pub fn render(results: &[ResultFile], format: Format) -> String {
    let sources: Vec<Source> =
        results.iter().map(|result| Source { result, integrity: Integrity::Intact }).collect();
    render_sources(&sources, format)
}

/// Files in a format, ending in a newline. What was altered, or may have been, says so in the data
/// itself, and proves nothing.
///
/// # Errors
/// [`Error::BadValue`] for files of both origins in one format that has no place for both.
pub fn render_read(readings: &[AnyReading], format: Format) -> Result<String> {
    let measured: Vec<Source> = readings.iter().filter_map(source_of).collect();
    let imported: Vec<ImportedSource> = readings.iter().filter_map(imported::source_of).collect();
    let name = match format {
        _ if imported.is_empty() => return Ok(render_sources(&measured, format)),
        _ if measured.is_empty() => return Ok(imported::render(&imported, format)),
        Format::Md | Format::Jsonl => {
            let blank = if format == Format::Md { "\n" } else { "" };
            let texts = [render_sources(&measured, format), imported::render(&imported, format)];
            return Ok(texts.join(blank));
        }
        Format::Json => "json",
        Format::Csv => "csv",
    };
    Err(Error::BadValue {
        flag: "--output",
        value: name.into(),
        problem: "files that benchinf measured and imported ones have different keys; print them \
                  apart, or use jsonl"
            .into(),
    })
}

/// Results as a terminal shows them: the Markdown with colours and bars.
pub fn render_for_terminal(results: &[ResultFile]) -> String {
    let sources = results.iter().map(|result| Source { result, integrity: Integrity::Intact });
    on_terminal(sources, &[])
}

/// Files as a terminal shows them, as [`render_read`] has them.
pub fn render_read_for_terminal(readings: &[AnyReading]) -> String {
    let imported: Vec<ImportedSource> = readings.iter().filter_map(imported::source_of).collect();
    on_terminal(readings.iter().filter_map(source_of), &imported)
}

fn on_terminal<'a>(
    sources: impl Iterator<Item = Source<'a>>,
    imported: &[ImportedSource],
) -> String {
    let of = |source: Source| terminal::paint(&table::markdown(&source, table::Bars::Shown));
    let mut texts: Vec<String> = sources.map(of).collect();
    if !imported.is_empty() {
        texts.push(terminal::paint(&imported::render(imported, Format::Md)));
    }
    texts.join("\n")
}

fn source_of(reading: &AnyReading) -> Option<Source<'_>> {
    let AnyReading::Measured(reading) = reading else { return None };
    Some(Source { result: &reading.file, integrity: integrity_of(&reading.verdict) })
}

fn integrity_of(verdict: &Verdict) -> Integrity<'_> {
    match verdict {
        Verdict::Intact { .. } => Integrity::Intact,
        Verdict::Altered { records } => Integrity::Altered(records),
        Verdict::NoDigests => Integrity::NoDigests,
        Verdict::Unreadable { .. } => Integrity::Altered(&[]),
    }
}

fn render_sources(sources: &[Source], format: Format) -> String {
    match format {
        Format::Md => {
            let of = |source: &Source| table::markdown(source, table::Bars::Absent);
            sources.iter().map(of).collect::<Vec<_>>().join("\n")
        }
        Format::Json => json(sources),
        Format::Jsonl => rows::jsonl(sources),
        Format::Csv => rows::csv(sources),
    }
}

fn json(sources: &[Source]) -> String {
    json_of(&sources.iter().map(|s| (s.result, s.integrity)).collect::<Vec<_>>())
}

/// One file as it is, or an array of several; where any is not intact, each says what it is.
fn json_of<T: Serialize>(files: &[(&T, Integrity)]) -> String {
    if files.iter().all(|(_, integrity)| *integrity == Integrity::Intact) {
        return match files {
            [(one, _)] => result::to_json(one),
            many => result::to_json(&many.iter().map(|(file, _)| file).collect::<Vec<_>>()),
        };
    }
    let doubted = files
        .iter()
        .map(|&(result, integrity)| Doubted { integrity_verdict: integrity.name(), result });
    let all: Vec<Doubted<T>> = doubted.collect();
    match all.as_slice() {
        [one] => result::to_json(one),
        many => result::to_json(&many),
    }
}
