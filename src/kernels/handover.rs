//! How long a word takes from one thread of a pool to another.

use std::sync::atomic::{AtomicU32, Ordering};

use super::pool::{Pool, Team};

/// Words that go to and fro in a try: some tens of microseconds, of which calling the other thread is
/// a small part.
const N_TURNS: u32 = 500;
const N_TRIES: u32 = 9;
/// Looks at a word that does not change before a try is given up: longer than to wake a thread.
const N_LOOKS_MAX: u32 = 1 << 18;
/// Times that whoever waits for the other to begin offers its core instead.
const N_OFFERS: u32 = 16;

impl Pool {
    /// Nanoseconds that a word takes from the thread that calls to another of this pool, or back: in
    /// the fastest of nine tries, since whatever comes between makes one slower. Absent where there
    /// is one thread, where two were not running at the same time, or where `now_ns`, a clock that
    /// never runs backwards, stands still.
    ///
    /// It tells cores that share a cache from those that do not. In a virtual machine nothing else
    /// does: where the host runs its processors, and when it moves them, is hidden from it.
    pub fn handover_ns(&mut self, now_ns: &dyn Fn() -> u64) -> Option<f64> {
        if self.n_threads() < 2 {
            return None;
        }
        let mut best_ns = None;
        for _ in 0..N_TRIES {
            let begin_ns = now_ns();
            // The first of two threads that do not meet is as good as all others.
            if !self.exchange() {
                break;
            }
            let ns = now_ns().saturating_sub(begin_ns);
            if ns > 0 {
                best_ns = Some(best_ns.map_or(ns, |best: u64| best.min(ns)));
            }
        }
        best_ns.map(|ns| ns as f64 / f64::from(N_TURNS))
    }

    /// Whether two threads have taken all turns.
    fn exchange(&mut self) -> bool {
        let turn = AtomicU32::new(0);
        self.run(Team::All, 2, &|me| {
            for mine in (me as u32..N_TURNS).step_by(2) {
                let mut n_looks = 0_u32;
                while turn.load(Ordering::Acquire) != mine {
                    // No pause of the processor's, which takes longer than a word on some.
                    n_looks += 1;
                    if n_looks >= N_LOOKS_MAX {
                        // One thread has both tasks, or the other lost its core, or has none yet.
                        if mine > 2 || n_looks == N_LOOKS_MAX + N_OFFERS {
                            return;
                        }
                        std::thread::yield_now();
                    }
                }
                turn.store(mine + 1, Ordering::Release);
            }
        });
        turn.into_inner() == N_TURNS
    }
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
    fn one_thread_hands_nothing_over() {
        assert_eq!(Pool::new(1).unwrap().handover_ns(&clock(&[50_000])), None);
    }

    #[test]
    fn the_fastest_try_counts_unless_threads_do_not_meet() {
        // Others may have all cores when this runs, so a try may be given up; what it says if not is
        // the same each time.
        let mut pool = Pool::new(2).unwrap();
        let found: Vec<Option<f64>> =
            (0..10).map(|_| pool.handover_ns(&clock(&[50_000, 40_000, 60_000]))).collect();
        assert!(found.iter().flatten().all(|&ns| ns == 80.0 || ns == 100.0), "{found:?}");
        assert_eq!(pool.handover_ns(&clock(&[])), None, "the clock stands still");
        // The pool is as good as before.
        let n_done = AtomicU32::new(0);
        pool.run(Team::All, 100, &|_| {
            n_done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(n_done.into_inner(), 100);
    }

    #[test]
    fn turns_are_taken_by_two_threads_and_not_by_one() {
        let (mut one, mut two) = (Pool::new(1).unwrap(), Pool::new(2).unwrap());
        assert!(!one.exchange());
        // Other tests have the cores as well, but one that waits offers its own.
        assert!((0..10_000).any(|_| two.exchange()));
    }
}
