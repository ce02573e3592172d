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

/// The date and time in UTC. It may jump, and so it names runs and never measures.
pub fn utc_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
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
    }
}
