//! How anything is timed: warm-up, rounds of passes, stopping. Knows a [`Workload`] and a
//! [`Clock`], and nothing of models, devices or files.
//!
//! A *pass* is one whole run of a case's work, made of *iterations* that are each timed (a
//! decode of 128 tokens is a pass of 128 iterations). A *round* is as many passes as its limits
//! ask for, and is the unit of replication: iterations inside a round are correlated.

mod clock;
mod metric;
mod stopping;

pub use clock::{Clock, ManualClock, MonotonicClock, utc_now};
pub use metric::{Metric, Recorder};
pub use stopping::{Limits, Progress, StopReason};

use crate::error::Result;

/// What is measured.
pub trait Workload {
    /// Timed iterations in one pass, at least 1.
    fn iterations_per_pass(&self) -> usize;

    /// Untimed: back to the state that every pass starts from.
    ///
    /// # Errors
    /// Whatever keeps the workload from starting; the case ends with it.
    fn reset(&mut self) -> Result<()>;

    /// Timed: one iteration; returns only when its work is done on the device.
    ///
    /// # Errors
    /// Whatever went wrong; the case ends with it.
    fn iterate(&mut self) -> Result<()>;
}

/// What a warm-up threw away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WarmUp {
    /// Passes discarded.
    pub passes: u64,
    /// Iterations discarded.
    pub iterations: u64,
    /// Time of the discarded passes.
    pub total_ns: u64,
    /// The very first iteration: what a cold start costs.
    pub cold_start_ns: u64,
    /// Why the warm-up ended.
    pub stop: StopReason,
}

/// One measured round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Passes measured.
    pub passes: u64,
    /// Iterations measured.
    pub iterations: u64,
    /// Sum of the passes' times; untimed resets are not in it.
    pub total_ns: u64,
    /// The fastest pass.
    pub min_pass_ns: u64,
    /// The slowest pass.
    pub max_pass_ns: u64,
    /// When the round began, on the run's clock.
    pub start_ns: u64,
    /// Why it ended.
    pub stop: StopReason,
}

/// Runs passes and throws their times away, except the first iteration's. `None` when it was
/// interrupted before its first pass was done.
///
/// # Errors
/// The workload's own.
pub fn warm_up(
    workload: &mut impl Workload,
    clock: &impl Clock,
    limits: &Limits,
    interrupted: &dyn Fn() -> bool,
) -> Result<Option<WarmUp>> {
    let mut cold_start_ns = None;
    let round = run_round(workload, clock, limits, interrupted, |pass| {
        cold_start_ns.get_or_insert(pass.first().copied().unwrap_or(0));
    })?;
    Ok(round.map(|round| WarmUp {
        passes: round.passes,
        iterations: round.iterations,
        total_ns: round.total_ns,
        cold_start_ns: cold_start_ns.unwrap_or(0),
        stop: round.stop,
    }))
}

/// Runs passes until `limits` say stop, and gives `record` the iteration times of each pass,
/// after the pass: between two iterations stand only the clock and a look at `interrupted`.
///
/// A pass is never cut short by a limit, so a round may end past its maximum time. An interrupt
/// drops the pass under way; `None` when no pass was done by then.
///
/// # Errors
/// The workload's own; passes already recorded stay recorded.
pub fn run_round(
    workload: &mut impl Workload,
    clock: &impl Clock,
    limits: &Limits,
    interrupted: &dyn Fn() -> bool,
    mut record: impl FnMut(&[u64]),
) -> Result<Option<Round>> {
    let mut iteration_ns = vec![0; workload.iterations_per_pass()];
    let start_ns = clock.now_ns();
    let mut progress = Progress::default();
    let (mut min_pass_ns, mut max_pass_ns) = (u64::MAX, 0);
    let stop = loop {
        workload.reset()?;
        let Some(pass_ns) = time_pass(workload, clock, interrupted, &mut iteration_ns)? else {
            break StopReason::Interrupted;
        };
        record(&iteration_ns);
        min_pass_ns = min_pass_ns.min(pass_ns);
        max_pass_ns = max_pass_ns.max(pass_ns);
        progress = progress.and_pass(pass_ns);
        if let Some(stop) = limits.stop(progress) {
            break stop;
        }
    };
    Ok((progress.passes > 0).then_some(Round {
        passes: progress.passes,
        iterations: progress.passes * iteration_ns.len() as u64,
        total_ns: progress.total_ns,
        min_pass_ns,
        max_pass_ns,
        start_ns,
        stop,
    }))
}

/// One pass; the end of an iteration is the start of the next, so no time falls between two.
/// `None` when interrupted.
fn time_pass(
    workload: &mut impl Workload,
    clock: &impl Clock,
    interrupted: &dyn Fn() -> bool,
    iteration_ns: &mut [u64],
) -> Result<Option<u64>> {
    let start = clock.now_ns();
    let mut previous = start;
    for slot in iteration_ns {
        if interrupted() {
            return Ok(None);
        }
        workload.iterate()?;
        let now = clock.now_ns();
        *slot = now - previous;
        previous = now;
    }
    Ok(Some(previous - start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// Takes scripted times, one per iteration, over and over.
    struct Scripted<'a> {
        clock: &'a ManualClock,
        iterations_per_pass: usize,
        script_ns: &'a [u64],
        next: usize,
        resets: usize,
        fail_at: Option<usize>,
    }

    impl Workload for Scripted<'_> {
        fn iterations_per_pass(&self) -> usize {
            self.iterations_per_pass
        }

        fn reset(&mut self) -> Result<()> {
            self.resets += 1;
            self.clock.advance_ns(1_000_000); // A reset is slow, and must not be seen.
            Ok(())
        }

        fn iterate(&mut self) -> Result<()> {
            if self.fail_at == Some(self.next) {
                return Err(Error::NothingToRun);
            }
            self.clock.advance_ns(self.script_ns[self.next % self.script_ns.len()]);
            self.next += 1;
            Ok(())
        }
    }

    fn scripted<'a>(clock: &'a ManualClock, per_pass: usize, script_ns: &'a [u64]) -> Scripted<'a> {
        Scripted {
            clock,
            iterations_per_pass: per_pass,
            script_ns,
            next: 0,
            resets: 0,
            fail_at: None,
        }
    }

    fn limits(min_ns: u64, min_passes: u64, max_ns: u64, max_passes: u64) -> Limits {
        Limits { min_ns, min_passes, max_ns, max_passes }
    }

    #[test]
    fn a_round_times_iterations_and_not_resets() {
        let clock = ManualClock::default();
        let mut workload = scripted(&clock, 3, &[5, 7, 11]);
        let mut seen = Vec::new();
        let round = run_round(
            &mut workload,
            &clock,
            &limits(0, 2, u64::MAX, u64::MAX),
            &|| false,
            |pass| seen.push(pass.to_vec()),
        )
        .unwrap()
        .unwrap();
        assert_eq!(seen, vec![vec![5, 7, 11]; 2]);
        assert_eq!(
            round,
            Round {
                passes: 2,
                iterations: 6,
                total_ns: 46,
                min_pass_ns: 23,
                max_pass_ns: 23,
                start_ns: 0,
                stop: StopReason::MinimaMet,
            }
        );
        assert_eq!(workload.resets, 2);
    }

    #[test]
    fn warm_up_keeps_the_cold_start() {
        let clock = ManualClock::default();
        let mut workload = scripted(&clock, 2, &[900, 10, 10, 10]);
        let limits = limits(1, 2, u64::MAX, u64::MAX);
        let warm_up = warm_up(&mut workload, &clock, &limits, &|| false).unwrap().unwrap();
        assert_eq!(warm_up.cold_start_ns, 900);
        assert_eq!((warm_up.passes, warm_up.iterations, warm_up.total_ns), (2, 4, 930));
    }

    #[test]
    fn an_interrupt_drops_the_pass_under_way() {
        for (iterations_before, passes) in [(5, Some(2)), (4, Some(2)), (1, None), (0, None)] {
            let clock = ManualClock::default();
            let mut workload = scripted(&clock, 2, &[10]);
            let polls = std::cell::Cell::new(0);
            let interrupted = || {
                polls.set(polls.get() + 1);
                polls.get() > iterations_before
            };
            let forever = limits(u64::MAX, 1, u64::MAX, u64::MAX);
            let round = run_round(&mut workload, &clock, &forever, &interrupted, |_| {}).unwrap();
            assert_eq!(round.map(|r| r.passes), passes, "{iterations_before}");
            assert!(round.is_none_or(|r| r.stop == StopReason::Interrupted));
        }
    }

    #[test]
    fn a_failing_workload_keeps_what_was_recorded() {
        let clock = ManualClock::default();
        let mut workload = scripted(&clock, 2, &[10]);
        workload.fail_at = Some(5);
        let mut passes = 0;
        let forever = limits(u64::MAX, 1, u64::MAX, u64::MAX);
        let result = run_round(&mut workload, &clock, &forever, &|| false, |_| passes += 1);
        assert!(matches!(result, Err(Error::NothingToRun)));
        assert_eq!(passes, 2);
    }
}
