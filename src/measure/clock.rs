//! The only place that reads a clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A clock that never runs backwards.
pub trait Clock {
    /// Nanoseconds since the clock was made.
    fn now_ns(&self) -> u64;
}

/// The operating system's monotonic clock.
#[derive(Debug)]
pub struct MonotonicClock {
    origin: Instant,
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for MonotonicClock {
    fn now_ns(&self) -> u64 {
        // 2⁶⁴ nanoseconds are 584 years.
        self.origin.elapsed().as_nanos() as u64
    }
}

/// A clock that goes on from where another one stopped: a resumed run counts on.
#[derive(Debug)]
pub struct OffsetClock<C> {
    inner: C,
    offset_ns: u64,
}

impl<C: Clock> OffsetClock<C> {
    /// `inner`, ahead by `offset_ns`.
    pub fn new(inner: C, offset_ns: u64) -> Self {
        Self { inner, offset_ns }
    }
}

impl<C: Clock> Clock for OffsetClock<C> {
    fn now_ns(&self) -> u64 {
        self.inner.now_ns().saturating_add(self.offset_ns)
    }
}

/// The date and time in UTC. It may jump, and so it names runs and never measures.
pub fn utc_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Readings that [`resolution_ns`] compares.
const READINGS: u32 = 10_000;

/// The smallest step that `clock` was seen to make between two readings in a row, of 10,000: its
/// grain, or the price of reading it where that is more. A figure from a clock is no finer than
/// this. 0 when it did not move at all.
pub fn resolution_ns(clock: &impl Clock) -> u64 {
    let mut smallest = None;
    let mut last = clock.now_ns();
    for _ in 1..READINGS {
        let now = clock.now_ns();
        let step = now.saturating_sub(last);
        if step > 0 {
            smallest = Some(smallest.map_or(step, |least: u64| least.min(step)));
        }
        last = now;
    }
    smallest.unwrap_or(0)
}

/// A clock that goes on only when told, or by a fixed step with every reading: tests are exact
/// and never sleep.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ns: AtomicU64,
    step_ns: u64,
}

impl ManualClock {
    /// A clock that goes on by `step_ns` whenever it is read.
    pub fn stepping(step_ns: u64) -> Self {
        Self { now_ns: AtomicU64::new(0), step_ns }
    }

    /// Moves the clock on.
    pub fn advance_ns(&self, ns: u64) {
        self.now_ns.fetch_add(ns, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> u64 {
        self.now_ns.fetch_add(self.step_ns, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_clock_goes_forward() {
        let clock = MonotonicClock::default();
        let readings: Vec<u64> = (0..1000).map(|_| clock.now_ns()).collect();
        assert!(readings.is_sorted());
        assert!(readings[999] > 0);
        assert!(resolution_ns(&clock) > 0);
    }

    #[test]
    fn resolution_is_the_smallest_step_that_was_seen() {
        assert_eq!(resolution_ns(&ManualClock::stepping(40)), 40);
        assert_eq!(resolution_ns(&ManualClock::stepping(1)), 1);
        // It ends for a clock that stands still, and says that nothing was seen.
        assert_eq!(resolution_ns(&ManualClock::default()), 0);
    }

    #[test]
    fn a_coarse_clock_that_repeats_itself_shows_its_grain() {
        /// Every reading takes 30 ns of a clock that counts in steps of 1,000.
        struct Coarse(ManualClock);
        impl Clock for Coarse {
            fn now_ns(&self) -> u64 {
                self.0.now_ns() / 1_000 * 1_000
            }
        }
        assert_eq!(resolution_ns(&Coarse(ManualClock::stepping(30))), 1_000);
    }
}
