//! How long a word takes from one thread of a pool to another.

use std::sync::atomic::{AtomicU32, Ordering};

use super::pool::{Pool, Team};

/// Words that go to and fro in a try: some tens of microseconds, of which calling the other thread is
/// a small part.
const N_TURNS: u32 = 500;
const N_TRIES: u32 = 9;
/// How long all tries are made anew where one failed. A thread that is woken may have to share the
/// caller's core until the system moves it, which took up to 27 ms on two cores without other work.
const PATIENCE_NS: u64 = 50_000_000;
/// Times that they are, of which each takes a quarter of a millisecond where threads do not meet.
const N_SERIES: u32 = 100;
/// Looks at a word that does not change before a try is given up: longer than to wake a thread.
const N_LOOKS_MAX: u32 = 1 << 18;
/// Times that whoever waits for the other to begin offers its core instead.
const N_OFFERS: u32 = 16;

impl Pool {
    /// Nanoseconds that a word takes from one thread of two to the other: in the fastest of nine tries,
    /// since whatever comes between makes one slower. Absent for any other number of threads, of which
    /// some pairs are near and some far; where the two did not run at the same time; or where
    /// `now_ns`, a clock that never runs backwards, stands still.
    ///
    /// It tells cores that share a cache from those that do not. In a virtual machine little else
    /// does: where the host runs its processors, and when it moves them, is mostly hidden from it.
    pub fn handover_ns(&mut self, now_ns: &dyn Fn() -> u64) -> Option<f64> {
        if self.n_threads() != 2 {
            return None;
        }
        // The first exchange of a series may have to wake the other thread.
        first_told(now_ns, || self.exchange().then(|| fastest_ns(now_ns, || self.exchange()))?)
    }

    /// Whether two threads have taken all turns.
    fn exchange(&mut self) -> bool {
        let turn = Turn(AtomicU32::new(0));
        self.run(Team::All, 2, &|me| {
            for mine in (me as u32..N_TURNS).step_by(2) {
                let mut n_looks = 0_u32;
                while turn.0.load(Ordering::Acquire) != mine {
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
                turn.0.store(mine + 1, Ordering::Release);
            }
        });
        turn.0.into_inner() == N_TURNS
    }
}

/// Whose turn it is, alone on its lines of the cache.
#[repr(align(128))]
struct Turn(AtomicU32);

/// What the first series of tries tells that tells anything, as long as there is patience.
fn first_told(now_ns: &dyn Fn() -> u64, mut series: impl FnMut() -> Option<f64>) -> Option<f64> {
    let begin_ns = now_ns();
    let is_patient = || now_ns().saturating_sub(begin_ns) < PATIENCE_NS;
    (0..N_SERIES).take_while(|_| is_patient()).find_map(|_| series())
}

/// Nanoseconds of a turn in the fastest of [`N_TRIES`], unless one fails or all take no time.
fn fastest_ns(now_ns: &dyn Fn() -> u64, mut exchange: impl FnMut() -> bool) -> Option<f64> {
    let mut best_ns = None;
    for _ in 0..N_TRIES {
        let begin_ns = now_ns();
        if !exchange() {
            return None;
        }
        let ns = now_ns().saturating_sub(begin_ns);
        if ns > 0 {
            best_ns = Some(best_ns.map_or(ns, |best: u64| best.min(ns)));
        }
    }
    best_ns.map(|ns| ns as f64 / f64::from(N_TURNS))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_fastest_try_counts_if_none_fails() {
        let of_tries = |tries_ns: [u64; 9], fails_at: Option<usize>| {
            let (now_ns, n_tries) = (Cell::new(7), Cell::new(0));
            fastest_ns(&|| now_ns.get(), || {
                let i = n_tries.replace(n_tries.get() + 1);
                now_ns.set(now_ns.get() + tries_ns[i]);
                fails_at != Some(i)
            })
        };
        let tries_ns = [90_000, 50_000, 40_000, 60_000, 0, 50_000, 50_000, 50_000, 50_000];
        assert_eq!(of_tries(tries_ns, None), Some(80.0), "one during which the clock stood still");
        assert_eq!(of_tries(tries_ns, Some(8)), None);
        assert_eq!(of_tries([0; 9], None), None);
    }

    #[test]
    fn a_series_that_fails_is_made_anew_for_a_while() {
        // What a series takes, which of them tells something, and how many there are.
        for (series_ns, told, n_expected) in [
            (250_000, Some(0), 1),
            (250_000, Some(7), 8),
            (20_000_000, Some(2), 3),
            (20_000_000, Some(3), 3),
            (250_000, None, N_SERIES),
            (0, None, N_SERIES),
        ] {
            let (now_ns, n_series) = (Cell::new(7), Cell::new(0));
            let ns = first_told(&|| now_ns.get(), || {
                let i = n_series.replace(n_series.get() + 1);
                now_ns.set(now_ns.get() + series_ns);
                (told == Some(i)).then_some(40.0)
            });
            let is_told = told.is_some_and(|i| i < n_expected);
            assert_eq!(
                (ns.is_some(), n_series.get()),
                (is_told, n_expected),
                "{series_ns} {told:?}"
            );
        }
    }

    #[test]
    fn only_two_threads_hand_over() {
        let (now_ns, n_looks) = (Cell::new(0), Cell::new(0));
        let clock = || {
            n_looks.set(n_looks.get() + 1);
            now_ns.replace(now_ns.get() + 50_000)
        };
        for n_threads in [1, 3] {
            assert_eq!(Pool::new(n_threads).unwrap().handover_ns(&clock), None);
        }
        assert_eq!(n_looks.get(), 0);
    }

    #[test]
    fn turns_are_taken_by_two_threads_and_not_by_one() {
        let (mut one, mut two) = (Pool::new(1).unwrap(), Pool::new(2).unwrap());
        assert!(!one.exchange());
        // Other tests have the cores as well, for a second and more, but one that waits for the other
        // offers its own.
        let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
        assert!(n_cores == 1 || (0..200_000).any(|_| two.exchange()));
        // The pool is as good as before.
        let n_done = AtomicU32::new(0);
        two.run(Team::All, 100, &|_| {
            n_done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(n_done.into_inner(), 100);
    }
}
