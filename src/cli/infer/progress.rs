//! Progress on standard error: one live line on a terminal, nothing elsewhere.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::say;
use crate::units::duration_text;

/// A live line that says what runs and how long it will take.
pub(super) struct ProgressLine {
    bar: Option<ProgressBar>,
    quiet: bool,
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
        Self { bar, quiet }
    }

    pub(super) fn message(&self, message: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(message);
            bar.tick();
        }
    }

    pub(super) fn round(&self, case: &str, done: u64, planned: u64, remaining_ns: Option<u64>) {
        let Some(bar) = &self.bar else { return };
        bar.set_length(planned);
        bar.set_position(done);
        let left =
            remaining_ns.map_or_else(String::new, |ns| format!(", {} left", duration_text(ns)));
        self.message(format!("{case}{left}"));
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
