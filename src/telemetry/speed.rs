//! How fast a core runs, told by running on it.

use std::hint::black_box;

/// Steps of one try: some 50 µs on a core of 3 GHz, short enough to fit between two interrupts of
/// the timer and long enough for any clock.
const STEPS: u32 = 32_768;
const TRIES: u32 = 5;

/// Dependent steps per second that the core under this thread does right now: the best of five
/// tries of about 50 µs. Absent when `now_ns`, a clock that never runs backwards, stands still
/// during every try.
///
/// A step is a shift, an exclusive or and a 64-bit multiplication, each of which needs the result
/// of the one before. Such a chain runs at the latency of the three and can do nothing else: it
/// touches no memory, predicts no branch, gains nothing from vectors or from other instructions
/// beside it. A core does it in a fixed number of its cycles (5 on most x86 cores), so **the
/// ratio of two results of the same program on the same core is the ratio of its clocks**.
///
/// The result itself is not a frequency in GHz, and results of different kinds of cores or of
/// different builds do not compare. It says what one core does while this thread is the only one
/// at work: a clock that is lower when all cores compute has often recovered by then. A core
/// that sleeps between rounds may still be waking up. On cores that share their pipeline with
/// another hardware thread, a busy neighbour hardly shows, since the chain leaves most of the
/// core idle.
pub fn core_speed(now_ns: &dyn Fn() -> u64) -> Option<f64> {
    let mut best_ns = None;
    for _ in 0..TRIES {
        let begin = now_ns();
        // Neither start nor end is known to the compiler, so the chain runs here and whole.
        black_box(chain(black_box(0x9e37_79b9_7f4a_7c15), STEPS));
        let ns = now_ns().saturating_sub(begin);
        if ns > 0 {
            best_ns = Some(best_ns.map_or(ns, |best: u64| best.min(ns)));
        }
    }
    best_ns.map(|ns| f64::from(STEPS) * 1e9 / ns as f64)
}

/// Mixing shifts with multiplication leaves no closed form: both are simple on their own, one in
/// the field of two elements and one modulo 2⁶⁴, and neither is in the other's.
fn chain(mut x: u64, steps: u32) -> u64 {
    for _ in 0..steps {
        x = (x ^ (x >> 17)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    }
    x
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A clock on which the tries take the given times, and then none.
    fn clock(tries_ns: &[u64]) -> impl Fn() -> u64 {
        let (readings, now_ns) = (Cell::new(0), Cell::new(0));
        move || {
            let reading = readings.replace(readings.get() + 1);
            if reading % 2 == 1 {
                now_ns.set(now_ns.get() + tries_ns.get(reading / 2).unwrap_or(&0));
            }
            now_ns.get()
        }
    }

    #[test]
    fn the_fastest_try_counts() {
        let clock = clock(&[70_000, 65_536, 90_000, 66_000, 70_000]);
        assert_eq!(core_speed(&clock), Some(5e8));
    }

    #[test]
    fn a_clock_that_stands_still_tells_no_speed() {
        assert_eq!(core_speed(&|| 7), None);
        // Nor does a try during which a coarse clock did not move.
        assert_eq!(core_speed(&clock(&[0, 65_536, 0, 0])), Some(5e8));
        // One that runs backwards, against its promise, is no endless speed either.
        let now = Cell::new(1_000_u64);
        assert_eq!(core_speed(&|| now.replace(now.get() - 10)), None);
    }

    #[test]
    fn steps_depend_on_each_other() {
        assert_eq!(chain(3, 0), 3);
        assert_eq!(chain(1, 1), 0xff51_afd7_ed55_8ccd);
        assert_eq!(chain(chain(5, 2), 3), chain(5, 5));
        // Every step is a permutation, so a chain never runs into zero and gets easy.
        assert_eq!(chain(0, 10), 0);
        assert_ne!(chain(1, STEPS), 0);
    }
}
