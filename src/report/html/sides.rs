//! The part of a page that holds two sides against each other, in the words that a terminal has.

use maud::{Markup, html};

use crate::compare::record::{Comparison, Pair};
use crate::report::comparison::{
    COMPARISON_HEADER, Words, counts_text, mean_text, pair_cells, telling_axes,
};
use crate::report::html::tables::{number, scrolling, sortable};
use crate::report::html::view::{MAX_CASES, bounded, text};

/// Characters of a sentence that names what differs.
const MAX_SENTENCE: usize = 1_500;

/// Verdicts with their evidence; or why there are none.
pub(super) fn sides(comparison: Result<&Comparison, &str>) -> Markup {
    html! {
        section #sides aria-labelledby="sides-title" {
            h2 #sides-title { "Base and new side" }
            @match comparison {
                Ok(comparison) => (compared(comparison)),
                Err(problem) => p { strong { "No verdict: " } (bounded(problem, MAX_SENTENCE)) "." },
            }
        }
    }
}

fn compared(comparison: &Comparison) -> Markup {
    let words = Words { is_md: false };
    let sentence = |text: &str| bounded(text, MAX_SENTENCE);
    let mean = mean_text(comparison);
    let (reasons, differences) = (words.reasons(comparison), words.differences(comparison));
    html! {
        p.verdicts { strong { (counts_text(comparison)) } @if !mean.is_empty() { "; " (sentence(&mean)) } "." }
        @for change in words.changes(comparison) { p.note { (sentence(&change)) } }
        (table(comparison))
        @if !reasons.is_empty() {
            h3.spaced { "Why cases are unsure" }
            ul.plain { @for reason in &reasons { li { (sentence(reason)) } } }
        }
        @if !differences.is_empty() {
            h3.spaced { "What else differs" }
            ul.plain { @for (kind, said) in &differences { li { strong { (kind) } " " (sentence(said)) } } }
        }
        @for (title, lines) in words.unpaired(comparison) {
            h3.spaced { (title) }
            ul.plain { @for line in &lines { li { (sentence(line)) } } }
        }
        p.note { (words.legend(comparison)) }
    }
}

fn table(comparison: &Comparison) -> Markup {
    let axes = telling_axes(&comparison.pairs);
    let is_number = |idx: usize| !matches!(idx, 0 | 8);
    let values = |pair: &Pair| {
        let ratio = pair.ratio.map(|ratio| ratio.estimate);
        [
            None,
            pair.base.median,
            pair.new.median,
            ratio,
            ratio,
            pair.p_adjusted,
            pair.p_same_adjusted,
            pair.smallest_detectable,
            None,
        ]
    };
    let n_left_out = comparison.pairs.len().saturating_sub(MAX_CASES);
    let table = html! {
        table {
            thead { tr { @for (i, name) in COMPARISON_HEADER.iter().enumerate() { (sortable(name, is_number(i))) } } }
            tbody { @for pair in comparison.pairs.iter().take(MAX_CASES) { tr {
                @for (i, (cell, value)) in pair_cells(pair, &axes).iter().zip(values(pair)).enumerate() {
                    @if is_number(i) { (number(value, cell)) }
                    @else if i == 8 { td { span class={ "verdict " (cell) } { (cell) } } }
                    @else { td { (text(cell)) } }
                }
            } } }
        }
    };
    html! {
        (scrolling("Verdicts on every case", table))
        @if n_left_out > 0 { p.note { strong { (n_left_out) " more pairs" } " are in " code { "benchinf compare -o json" } "." } }
    }
}
