//! The only place that reads a clock.

use std::cell::Cell;
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

/// A clock that goes on only when told: tests are exact and never sleep.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ns: Cell<u64>,
}

impl ManualClock {
    /// Moves the clock on.
    pub fn advance_ns(&self, ns: u64) {
        self.now_ns.set(self.now_ns.get() + ns);
    }
}

impl Clock for ManualClock {
    fn now_ns(&self) -> u64 {
        self.now_ns.get()
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
