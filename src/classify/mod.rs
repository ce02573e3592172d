//! What figures mean for the rules that control exports: what is proved, what is possible and what
//! is unknown, under every version of the rules. It sees result files, rule sets and device
//! specifications, runs nothing and prints nothing.

pub mod catalogue;
pub mod classification;
pub mod described;
pub mod evidence;
pub mod expression;
pub mod facts;
pub mod interval;
pub mod kleene;
pub mod ladder;
pub mod load;
pub mod metric;
pub mod parse;
pub mod record;
pub mod reference;
pub mod request;
pub mod rules;
pub mod specification;
pub mod summary;
pub mod verdict;

#[cfg(test)]
mod tests;

use crate::error::{Error, Result};

pub use classification::{Classification, DISCLAIMER, Matching, Subject, Terms, classify};
pub use expression::number_text;
pub use record::{ClassificationRecord, References, record, schema};
pub use request::{MatchRequest, Request, answer};

/// The text of a rule or device file, which may be anything that a user names.
///
/// # Errors
/// [`Error::Read`] if it is not a regular file, has more than `max_bytes`, or is not text.
fn read_bounded(path: &std::path::Path, max_bytes: usize) -> Result<String> {
    use std::io::Read as _;
    let refused = |problem: String| Error::read(path)(std::io::Error::other(problem));
    // Before it is opened: opening a pipe waits for whoever writes to it.
    if !path.metadata().map_err(Error::read(path))?.is_file() {
        return Err(refused("it is not a regular file".into()));
    }
    let file = std::fs::File::open(path).map_err(Error::read(path))?;
    let mut text = String::new();
    file.take(max_bytes as u64 + 1).read_to_string(&mut text).map_err(Error::read(path))?;
    match text.len() > max_bytes {
        true => Err(refused(format!("it has more than {max_bytes} bytes"))),
        false => Ok(text),
    }
}

/// The day of today, in UTC: what is asked about when nobody says otherwise.
pub fn today() -> jiff::civil::Date {
    jiff::tz::Offset::UTC.to_datetime(crate::measure::utc_now()).date()
}

/// Whether nothing at all is known of a metric.
pub fn nothing_known(metric: &record::MetricRecord) -> bool {
    metric.lower.is_none() && metric.upper.is_none()
}
