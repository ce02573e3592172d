//! A report as one HTML page that needs nothing else: no file beside it and no network. All text
//! goes through an escaping template, charts are inline SVG, and a content security policy forbids
//! whatever the page itself does not bring.

mod chart;
mod page;
mod plots;
mod sides;
mod tables;
mod view;

use crate::compare::Comparison;

pub use view::NamedReading;
use view::View;

/// The side that a page holds against its files.
#[derive(Clone, Copy, Debug)]
pub struct OtherSide<'a> {
    /// Its files.
    pub files: &'a [NamedReading<'a>],
    /// What the comparison says, or why there is none.
    pub comparison: Result<&'a Comparison, &'a str>,
}

/// Result files as a page. With a second side, it says what `benchinf compare` does.
pub fn page(base: &[NamedReading], other: Option<OtherSide>) -> String {
    page::page(&View::new(base, other)).into_string()
}
