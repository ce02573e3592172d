//! What a result file says, for people and for programs. Works on a file alone.

mod classification;
mod classification_csv;
mod rows;
mod table;

use crate::result::{self, ResultFile};

pub use classification::{ClassificationFormat, render_classifications};

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

/// The results in a format, ending in a newline.
pub fn render(results: &[ResultFile], format: Format) -> String {
    match format {
        Format::Md => results.iter().map(table::markdown).collect::<Vec<_>>().join("\n"),
        Format::Json => match results {
            [one] => result::to_json(one),
            many => result::to_json(&many),
        },
        Format::Jsonl => rows::jsonl(results),
        Format::Csv => rows::csv(results),
    }
}
