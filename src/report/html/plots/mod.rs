//! Which pictures a page has, and what stands in each.

mod ladder;
mod latency;
mod roofline;
mod rounds;
mod sweep;

use crate::report::html::chart::Chart;
use crate::report::html::view::View;

pub(super) use ladder::{Standing, amount, standings};

/// Series that one chart shows: as many as have a look of their own.
const MAX_SERIES: usize = super::chart::N_LOOKS;

/// Charts of one kind.
const MAX_CHARTS: usize = 8;

/// The pictures of one kind.
pub(super) struct Gallery {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// How to read them.
    pub(super) caption: &'static str,
    pub(super) charts: Vec<Chart>,
    /// What is not in them, in a sentence.
    pub(super) left_out: Option<String>,
}

/// All pictures but the ladders, each kind only if there is something to show.
pub(super) fn galleries(view: &View) -> Vec<Gallery> {
    let mut galleries = vec![
        sweep::gallery(view),
        latency::gallery(view),
        roofline::gallery(view),
        rounds::gallery(view),
    ];
    galleries.retain(|gallery| !gallery.charts.is_empty());
    galleries
}

/// Says how many of what are shown, if not all.
fn left_out(shown: usize, of: usize, what: &str) -> Option<String> {
    (shown < of)
        .then(|| format!("Shown are the first {shown} of {of} {what}; the tables have the others."))
}
