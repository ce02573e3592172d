//! How anything is timed: warm-up, rounds of passes, stopping. Knows a [`Workload`] and a
//! [`Clock`], and nothing of models, devices or files.
//!
//! A *pass* is one whole run of a case's work, made of *iterations* that are each timed (a
//! decode of 128 tokens is a pass of 128 iterations). A *round* is as many passes as its limits
//! ask for, and is the unit of replication: iterations inside a round are correlated.

mod blocks;
mod check;
mod clock;
mod metric;
mod steadiness;
mod stopping;

pub use blocks::{Blocks, MAX_BLOCKS};
pub use check::{Check, Checks, Reference};
pub use clock::{Clock, ManualClock, MonotonicClock, OffsetClock, resolution_ns, utc_now};
pub use metric::{Metric, Recorder};
pub use steadiness::{Drift, drift, is_steady};
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

    /// Timed: one iteration, which a device may still be busy with when this returns.
    ///
    /// # Errors
    /// Whatever went wrong; the case ends with it.
    fn iterate(&mut self) -> Result<()>;

    /// Timed, after every iteration: returns only when its work is done on the device.
    ///
    /// # Errors
    /// Whatever went wrong there; the case ends with it.
    fn wait(&mut self) -> Result<()> {
        Ok(())
    }

    /// Whether a device with a clock of its own does the work, so that giving it out and doing it
    /// are two times.
    fn has_device_clock(&self) -> bool {
        false
    }

    /// Untimed, after a pass: what each of its iterations took by the device's clock, from the moment
    /// the device came to its first launch to the end of its last. Absent where there is none.
    ///
    /// # Errors
    /// Whatever keeps that clock from being read; the case ends with it.
    fn device_iteration_ns(&mut self) -> Result<Option<Vec<u64>>> {
        Ok(None)
    }

    /// Untimed, after every pass: how far its output is from what it should be.
    ///
    /// # Errors
    /// Whatever keeps the output from being looked at; the case ends with it.
    fn check(&mut self) -> Result<Check>;
}

impl<W: Workload + ?Sized> Workload for &mut W {
    fn iterations_per_pass(&self) -> usize {
        (**self).iterations_per_pass()
    }

    fn reset(&mut self) -> Result<()> {
        (**self).reset()
    }

    fn iterate(&mut self) -> Result<()> {
        (**self).iterate()
    }

    fn wait(&mut self) -> Result<()> {
        (**self).wait()
    }

    fn has_device_clock(&self) -> bool {
        (**self).has_device_clock()
    }

    fn device_iteration_ns(&mut self) -> Result<Option<Vec<u64>>> {
        (**self).device_iteration_ns()
    }

    fn check(&mut self) -> Result<Check> {
        (**self).check()
    }
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
    /// Why it ended; the minima count as met only once passes are steady.
    pub stop: StopReason,
    /// Whether the last passes took as long as those before them.
    pub steady: bool,
}

/// A round beside the host's clock: what it spent on giving work out, and what the device's own clock
/// says of it. Both are parts of [`Round::total_ns`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceTime {
    /// Time of the host until each iteration was given out.
    pub launch_ns: u64,
    /// Time of the device, from its first launch of each iteration to the end of the last.
    pub device_ns: u64,
}

/// What the iterations of one pass took, each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassTimes<'a> {
    /// By the host's clock.
    pub host_ns: &'a [u64],
    /// By the device's own, as many; absent where there is none.
    pub device_ns: Option<&'a [u64]>,
}

/// One measured round.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// Passes measured.
    pub passes: u64,
    /// Iterations measured.
    pub iterations: u64,
    /// Sum of the passes' times; untimed resets are not in it.
    pub total_ns: u64,
    /// The fastest pass.
    pub min_pass_ns: u64,
    /// Which one that was, counted from 0.
    pub min_pass_idx: u64,
    /// The slowest pass.
    pub max_pass_ns: u64,
    /// Mean pass time of consecutive blocks of passes, at most [`MAX_BLOCKS`].
    pub block_pass_ns: Vec<u64>,
    /// What a device's own clock says; absent where there is none.
    pub device: Option<DeviceTime>,
    /// When the round began, on the run's clock.
    pub start_ns: u64,
    /// What the passes were held against; each of them stood it.
    pub checks: Checks,
    /// Why it ended.
    pub stop: StopReason,
}

/// Runs passes until `limits` say stop and their times are steady, and throws them away, except
/// the first iteration's. `None` when it was interrupted before its first pass was done.
///
/// A maximum ends it whether steady or not. Passes longer than that are warmed up by one, since
/// two cannot show a trend.
///
/// # Errors
/// The workload's own.
pub fn warm_up(
    workload: &mut (impl Workload + ?Sized),
    clock: &impl Clock,
    limits: &Limits,
    interrupted: &dyn Fn() -> bool,
) -> Result<Option<WarmUp>> {
    let mut cold_start_ns = None;
    let mut series = Blocks::default();
    let stop = |progress: Progress, series: &Blocks| match limits.stop(progress) {
        Some(StopReason::MinimaMet) if !is_steady(&series.means()) => limits.maximum_hit(progress),
        other => other,
    };
    let round = run_passes(workload, clock, interrupted, stop, &mut series, |pass| {
        cold_start_ns.get_or_insert(pass.host_ns.first().copied().unwrap_or(0));
    })?;
    Ok(round.map(|round| WarmUp {
        passes: round.passes,
        iterations: round.iterations,
        total_ns: round.total_ns,
        cold_start_ns: cold_start_ns.unwrap_or(0),
        stop: round.stop,
        steady: is_steady(&series.means()),
    }))
}

/// Runs passes until `limits` say stop, and gives `record` the iteration times of each pass,
/// after the pass: between two iterations stand only the clock and a look at `interrupted`.
///
/// A pass is never cut short by a limit, so a round may end past its maximum time. An interrupt
/// drops the pass under way; `None` when no pass was done by then.
///
/// # Errors
/// The workload's own, its check of a pass included; passes already recorded stay recorded.
pub fn run_round(
    workload: &mut (impl Workload + ?Sized),
    clock: &impl Clock,
    limits: &Limits,
    interrupted: &dyn Fn() -> bool,
    record: impl FnMut(PassTimes<'_>),
) -> Result<Option<Round>> {
    let stop = |progress, _: &Blocks| limits.stop(progress);
    run_passes(workload, clock, interrupted, stop, &mut Blocks::default(), record)
}

fn run_passes(
    workload: &mut (impl Workload + ?Sized),
    clock: &impl Clock,
    interrupted: &dyn Fn() -> bool,
    stop: impl Fn(Progress, &Blocks) -> Option<StopReason>,
    series: &mut Blocks,
    mut record: impl FnMut(PassTimes<'_>),
) -> Result<Option<Round>> {
    let mut iteration_ns = vec![0; workload.iterations_per_pass()];
    let start_ns = clock.now_ns();
    let mut progress = Progress::default();
    let (mut min_pass_ns, mut min_pass_idx, mut max_pass_ns) = (u64::MAX, 0, 0);
    let mut checks: Option<Checks> = None;
    let mut device: Option<DeviceTime> = None;
    let stop = loop {
        workload.reset()?;
        let mut launch_ns = 0;
        let passed = time_pass(workload, clock, interrupted, &mut iteration_ns, &mut launch_ns)?;
        let Some(pass_ns) = passed else {
            break StopReason::Interrupted;
        };
        let device_ns = workload.device_iteration_ns()?;
        if let Some(device_ns) = &device_ns {
            let sum = device.get_or_insert_default();
            sum.launch_ns += launch_ns;
            sum.device_ns += device_ns.iter().sum::<u64>();
        }
        let check = workload.check()?.passed()?;
        checks = Some(checks.map_or_else(|| Checks::of(check), |checks| checks.and(check)));
        record(PassTimes { host_ns: &iteration_ns, device_ns: device_ns.as_deref() });
        if pass_ns < min_pass_ns {
            (min_pass_ns, min_pass_idx) = (pass_ns, progress.passes);
        }
        max_pass_ns = max_pass_ns.max(pass_ns);
        series.record(pass_ns);
        progress = progress.and_pass(pass_ns);
        if let Some(stop) = stop(progress, series) {
            break stop;
        }
    };
    Ok(checks.map(|checks| Round {
        passes: progress.passes,
        iterations: progress.passes * iteration_ns.len() as u64,
        total_ns: progress.total_ns,
        min_pass_ns,
        min_pass_idx,
        max_pass_ns,
        block_pass_ns: series.means(),
        device,
        start_ns,
        checks,
        stop,
    }))
}

/// One pass; the end of an iteration is the start of the next, so no time falls between two.
/// `None` when interrupted. Where a device has a clock of its own, one more reading of the host's
/// tells when an iteration was given out, which `launch_ns` sums up.
fn time_pass(
    workload: &mut (impl Workload + ?Sized),
    clock: &impl Clock,
    interrupted: &dyn Fn() -> bool,
    iteration_ns: &mut [u64],
    launch_ns: &mut u64,
) -> Result<Option<u64>> {
    let has_device_clock = workload.has_device_clock();
    let start = clock.now_ns();
    let mut previous = start;
    for slot in iteration_ns {
        if interrupted() {
            return Ok(None);
        }
        workload.iterate()?;
        if has_device_clock {
            *launch_ns += clock.now_ns() - previous;
        }
        workload.wait()?;
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
        wrong_from: Option<usize>,
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

        fn check(&mut self) -> Result<Check> {
            self.clock.advance_ns(1_000_000); // As slow as a reset, and as unseen.
            let error = if self.wrong_from.is_some_and(|n| self.next >= n) { 0.2 } else { 0.1 };
            Ok(Check { reference: Reference::TeacherForced, values: 7, error, tolerance: 0.1 })
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
            wrong_from: None,
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
            |pass| seen.push((pass.host_ns.to_vec(), pass.device_ns.is_some())),
        )
        .unwrap()
        .unwrap();
        assert_eq!(seen, vec![(vec![5, 7, 11], false); 2]);
        assert_eq!(
            round,
            Round {
                passes: 2,
                iterations: 6,
                total_ns: 46,
                min_pass_ns: 23,
                min_pass_idx: 0,
                max_pass_ns: 23,
                block_pass_ns: vec![23, 23],
                device: None,
                start_ns: 0,
                checks: Checks {
                    reference: Reference::TeacherForced,
                    passes: 2,
                    values: 7,
                    max_error: 0.1,
                    tolerance: 0.1,
                },
                stop: StopReason::MinimaMet,
            }
        );
        assert_eq!(workload.resets, 2);
    }

    /// Gives an iteration out in 3 ns, and its device is busy with it for 8 of the next 10.
    struct Elsewhere<'a>(Scripted<'a>);

    impl Workload for Elsewhere<'_> {
        fn iterations_per_pass(&self) -> usize {
            self.0.iterations_per_pass()
        }

        fn reset(&mut self) -> Result<()> {
            self.0.reset()
        }

        fn iterate(&mut self) -> Result<()> {
            self.0.iterate()
        }

        fn wait(&mut self) -> Result<()> {
            self.0.clock.advance_ns(10);
            Ok(())
        }

        fn has_device_clock(&self) -> bool {
            true
        }

        fn device_iteration_ns(&mut self) -> Result<Option<Vec<u64>>> {
            Ok(Some(vec![8; self.iterations_per_pass()]))
        }

        fn check(&mut self) -> Result<Check> {
            self.0.check()
        }
    }

    #[test]
    fn launches_and_the_devices_own_time_stand_beside_the_hosts() {
        let clock = ManualClock::default();
        let mut workload = Elsewhere(scripted(&clock, 4, &[3]));
        let two = limits(0, 2, u64::MAX, u64::MAX);
        let mut seen = Vec::new();
        let record = |pass: PassTimes<'_>| {
            let device_ns = pass.device_ns.unwrap().iter();
            seen.extend(pass.host_ns.iter().copied().zip(device_ns.copied()));
        };
        let round = run_round(&mut workload, &clock, &two, &|| false, record).unwrap().unwrap();
        assert_eq!(seen, [(13, 8); 8]);
        assert_eq!(round.total_ns, 8 * 13);
        assert_eq!(round.device, Some(DeviceTime { launch_ns: 8 * 3, device_ns: 8 * 8 }));
    }

    #[test]
    fn warm_up_keeps_the_cold_start() {
        let clock = ManualClock::default();
        let mut workload = scripted(&clock, 2, &[900, 10, 10, 10, 10, 10]);
        let limits = limits(1, 2, u64::MAX, u64::MAX);
        let warm_up = warm_up(&mut workload, &clock, &limits, &|| false).unwrap().unwrap();
        assert_eq!(warm_up.cold_start_ns, 900);
        // Two passes meet the minima, but only the third is like the one before it.
        assert_eq!((warm_up.passes, warm_up.iterations, warm_up.total_ns), (3, 6, 950));
        assert!(warm_up.steady && warm_up.stop == StopReason::MinimaMet);
    }

    #[test]
    fn warm_up_that_never_gets_steady_ends_at_a_maximum() {
        let clock = ManualClock::default();
        let script: Vec<u64> = (0..40).map(|i| 1 << i).collect();
        let mut workload = scripted(&clock, 1, &script);
        let limits = limits(1, 1, 1000, u64::MAX);
        let warm_up = warm_up(&mut workload, &clock, &limits, &|| false).unwrap().unwrap();
        assert!(!warm_up.steady);
        assert_eq!((warm_up.passes, warm_up.stop), (10, StopReason::MaxTime));
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
            assert_eq!(round.as_ref().map(|r| r.passes), passes, "{iterations_before}");
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

    #[test]
    fn a_pass_with_a_wrong_output_is_no_result_however_fast() {
        let clock = ManualClock::default();
        let mut workload = scripted(&clock, 2, &[10]);
        workload.wrong_from = Some(4);
        let mut passes = 0;
        let forever = limits(u64::MAX, 1, u64::MAX, u64::MAX);
        let result = run_round(&mut workload, &clock, &forever, &|| false, |_| passes += 1);
        assert!(matches!(result, Err(Error::OutputWrong { .. })), "{result:?}");
        assert_eq!(passes, 1);
    }
}
