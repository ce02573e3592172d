//! A report as one HTML page that needs nothing else: no file beside it and no network. All text
//! goes through an escaping template, charts are inline SVG, and a content security policy forbids
//! whatever the page itself does not bring.

mod chart;
mod page;
mod plots;
mod tables;
mod view;

pub use view::NamedReading;
use view::View;

/// Result files as a page. With a second side, both stand beside each other.
pub fn page(base: &[NamedReading], with: &[NamedReading]) -> String {
    page::page(&View::new(base, with)).into_string()
}
