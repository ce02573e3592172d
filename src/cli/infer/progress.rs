//! Progress on standard error: one live line on a terminal, a plain line for each round of all
//! elsewhere. It is written between rounds and never while one is timed.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU32, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::say;
use crate::result::file::UnitFile;
use crate::runner::Estimate;
use crate::units::{bytes_per_s_text, duration_text, flops_per_s_text, significant};

/// A live line that says what runs and how long it will take.
pub(super) struct ProgressLine {
    bar: Option<ProgressBar>,
    quiet: bool,
    /// The last round that a plain line told of, counted from 1.
    last_round: AtomicU32,
}

/// What is known as a round begins.
pub(super) struct RoundBegins<'a> {
    pub(super) id: &'a str,
    /// Counted from 0.
    pub(super) round_idx: u32,
    /// Rounds finished and planned, over all cases and probes.
    pub(super) done: u64,
    pub(super) planned: u64,
    pub(super) remaining_ns: Option<u64>,
    pub(super) so_far: Option<&'a Estimate>,
}

/// `tiny/f32/cpu/t2/b1/tg4@d0, round 3: 50.0 t/s [47.0, 51.5], 21 s left`.
fn live_text(begins: &RoundBegins) -> String {
    let so_far = begins.so_far.map_or_else(String::new, |so_far| format!(": {}", rate(so_far)));
    let round = begins.round_idx + 1;
    format!("{}, round {round}{so_far}{}", begins.id, left(begins.remaining_ns))
}

/// `round 3: 14 of 35 done, 21 s left`.
fn plain_text(begins: &RoundBegins) -> String {
    let RoundBegins { round_idx, done, planned, remaining_ns, .. } = begins;
    format!("round {}: {done} of {planned} done{}", round_idx + 1, left(*remaining_ns))
}

fn left(remaining_ns: Option<u64>) -> String {
    remaining_ns.map_or_else(String::new, |ns| format!(", {} left", duration_text(ns)))
}

fn rate(so_far: &Estimate) -> String {
    let number = |per_s: f64| match so_far.unit {
        UnitFile::FlopsPerS => flops_per_s_text(per_s),
        UnitFile::BytesPerS => bytes_per_s_text(per_s),
        _ => format!("{} t/s", significant(per_s)),
    };
    let median = number(so_far.median_per_s);
    let unit = median.rsplit_once(' ').map_or("", |(_, unit)| unit);
    // The unit once, unless an end of the interval needs another.
    let end = |per_s: f64| {
        let text = number(per_s);
        text.strip_suffix(unit).map_or(text.clone(), |bare| bare.trim_end().to_owned())
    };
    let interval = so_far.interval.as_ref().map_or_else(String::new, |interval| {
        format!(" [{}, {}]", end(interval.lower), end(interval.upper))
    });
    format!("{median}{interval}")
}

impl ProgressLine {
    /// Shown on a terminal unless `quiet`.
    pub(super) fn new(quiet: bool) -> Self {
        // No ticker thread: it would wake up inside a measurement.
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{bar:20.cyan} {pos}/{len} {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar
        });
        Self { bar, quiet, last_round: AtomicU32::new(0) }
    }

    pub(super) fn message(&self, message: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(message);
            bar.tick();
        }
    }

    /// A live line of where the run is; without a terminal a plain one as each turn of all begins.
    pub(super) fn round(&self, begins: &RoundBegins) {
        match &self.bar {
            Some(bar) => {
                bar.set_length(begins.planned);
                bar.set_position(begins.done);
                self.message(live_text(begins));
            }
            None => {
                let round = begins.round_idx.saturating_add(1);
                if self.last_round.swap(round, Ordering::Relaxed) != round {
                    self.say(&plain_text(begins));
                }
            }
        }
    }

    /// A line that stays, also where there is no terminal.
    pub(super) fn warn(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(&format!("warning: {text}"))),
            None => say(&format!("warning: {text}")),
        }
    }

    /// A line that stays, unless `quiet`.
    pub(super) fn say(&self, text: &str) {
        if !self.quiet {
            say(text);
        }
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::file::IntervalFile;

    #[test]
    fn a_line_says_where_the_run_is() {
        let so_far = Estimate {
            unit: UnitFile::TokensPerS,
            median_per_s: 50.04,
            interval: Some(IntervalFile {
                lower: 47.0,
                upper: 51.5,
                coverage: 0.75,
                lower_rank: 1,
                upper_rank: 3,
            }),
        };
        let mut begins = RoundBegins {
            id: "tiny/tg4",
            round_idx: 2,
            done: 14,
            planned: 35,
            remaining_ns: Some(21_000_000_000),
            so_far: Some(&so_far),
        };
        let live = "tiny/tg4, round 3: 50.0 t/s [47.0, 51.5], 21.0 s left";
        assert_eq!(live_text(&begins), live);
        assert_eq!(plain_text(&begins), "round 3: 14 of 35 done, 21.0 s left");
        begins = RoundBegins { round_idx: 0, done: 0, remaining_ns: None, so_far: None, ..begins };
        assert_eq!(live_text(&begins), "tiny/tg4, round 1");
        assert_eq!(plain_text(&begins), "round 1: 0 of 35 done");
    }
}
