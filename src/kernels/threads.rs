//! How many threads the engine computes with.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::kernels::Pool;
use crate::kernels::affinity::keep_on;

/// Thread pools of the sizes a run asks for: one for the engine's operations, and one for our own
/// kernels (`pool.rs`), whose workers sleep while the engine's work, and the other way round.
///
/// candle splits a product by the variable `RAYON_NUM_THREADS`, which it reads on every call,
/// and runs it on the current rayon pool; so both are set for each size. It also keeps a second
/// pool of its own for elementwise operations, whose size is fixed once; that one is switched
/// off, or a run with one thread would use more.
#[derive(Debug, Default)]
pub struct Threads {
    /// Hardware threads for a thread each; none where the system puts them.
    cpus: Vec<u32>,
    pools: HashMap<u32, rayon::ThreadPool>,
    kernels: HashMap<u32, Pool>,
}

impl Threads {
    /// Pools whose threads are bound to a hardware thread each, given by their numbers: that which
    /// calls operations to the first, and so on; none for threads that the system puts anywhere.
    pub fn pinned(cpus: Vec<u32>) -> Self {
        Self { cpus, ..Self::default() }
    }

    /// Runs `work` on a pool of `n_threads`. The engine's settings belong to the whole process,
    /// so work under another value of this type waits; it must not be nested.
    ///
    /// # Errors
    /// [`Error::Engine`] if the system refuses the threads, [`Error::Affinity`] if it does not run
    /// them where they belong.
    pub fn run<R: Send>(&mut self, n_threads: u32, work: impl FnOnce() -> R + Send) -> Result<R> {
        let pool = match self.pools.entry(n_threads) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(n_threads as usize)
                    .thread_name(|i| format!("engine-{i}"))
                    .build()
                    .map_err(Error::engine(format!("starting {n_threads} threads")))?;
                entry.insert(pool)
            }
        };
        let (kernels, cpus) = (self.kernels.remove(&n_threads), &self.cpus);
        // A panic in some work leaves nothing behind that could mislead the next.
        let _alone = ENGINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        set_engine_threads(n_threads);
        let (kernels, result) = pool.install(|| {
            pin_engine(cpus)?;
            let kernels = match kernels {
                Some(kernels) => kernels,
                None if cpus.is_empty() => Pool::new(n_threads as usize)
                    .map_err(Error::engine(format!("starting {n_threads} threads")))?,
                None => Pool::pinned(n_threads as usize, cpus)?,
            };
            Ok(kernels.install(work))
        })?;
        self.kernels.insert(n_threads, kernels);
        Ok(result)
    }
}

/// Binds the threads of the pool that it is called in to `cpus`, the calling one to the first: work
/// begins on any of them, and calls our own workers, which have the others.
fn pin_engine(cpus: &[u32]) -> Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let caller = rayon::current_thread_index().unwrap_or(0);
    let pinned = rayon::broadcast(|thread| {
        let place = match thread.index() {
            i if i == caller => 0,
            i if i < caller => i + 1,
            i => i,
        };
        keep_on(&[cpus[place % cpus.len()]])
    });
    pinned.into_iter().collect()
}

/// Held while work runs on any pool.
static ENGINE: Mutex<()> = Mutex::new(());

/// What the engine reads on every call, and what it reads once.
const SETTINGS: [&str; 2] = ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"];

/// Gives the engine's settings a place in the environment, before foreign code with threads of its
/// own is started: from then on they are only replaced.
pub fn reserve_engine_settings() {
    if SETTINGS.iter().any(|name| std::env::var_os(name).is_none()) {
        let _alone = ENGINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // What they mean without these settings, for whoever starts threads before work sets them.
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        set_engine_threads(u32::try_from(n_threads).unwrap_or(1));
    }
}

fn set_engine_threads(n_threads: u32) {
    for (name, value) in SETTINGS.into_iter().zip([n_threads, 1]) {
        let value = value.to_string();
        if std::env::var_os(name).is_some_and(|now| now == value.as_str()) {
            continue;
        }
        // SAFETY: changing the environment is unsound only while foreign code reads it without
        // the standard library's lock. The allocator reads its options when the process starts.
        // NVIDIA's driver and libraries may read theirs at any time, but before they have threads
        // both names have a place (`reserve_engine_settings`), where glibc puts another text and
        // frees nothing. All else is Rust and takes that lock. Engine threads are idle here, since
        // `ENGINE` is held until work is done.
        unsafe { std::env::set_var(name, value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn each_thread_is_bound_to_its_hardware_thread() {
        use crate::kernels::affinity::usable;
        use crate::kernels::pool::Team;
        use std::sync::Barrier;

        let all = usable().unwrap();
        // Backwards, so that the first place is not where everything begins anyway.
        let cpus: Vec<u32> = all.iter().rev().take(2).copied().collect();
        let mut threads = Threads::pinned(cpus.clone());
        for n_threads in [3_usize, 1, 3] {
            let mut expected: Vec<_> = (0..n_threads).map(|i| vec![cpus[i % cpus.len()]]).collect();
            let (caller, mut engine, mut ours) = threads
                .run(n_threads as u32, || {
                    let engine = rayon::broadcast(|_| usable().unwrap());
                    let (places, all_here) = (Mutex::new(Vec::new()), Barrier::new(n_threads));
                    Pool::with_current(|pool| {
                        pool.run(Team::All, n_threads, &|_| {
                            // Every thread has one of the tasks.
                            all_here.wait();
                            places.lock().unwrap().push(usable().unwrap());
                        });
                    });
                    (usable().unwrap(), engine, places.into_inner().unwrap())
                })
                .unwrap();
            assert_eq!(caller, [cpus[0]]);
            for places in [&mut expected, &mut engine, &mut ours] {
                places.sort();
            }
            assert_eq!(engine, expected);
            assert_eq!(ours, expected);
        }
        assert_eq!(usable(), Ok(all), "whoever asked is as before");
    }

    #[test]
    fn work_runs_on_as_many_threads_as_asked() {
        let mut threads = Threads::default();
        for n_threads in [1, 3, 2, 3] {
            let found = threads.run(n_threads, rayon::current_num_threads).unwrap();
            assert_eq!(found, n_threads as usize);
            let found = threads.run(n_threads, || Pool::with_current(|pool| pool.n_threads()));
            assert_eq!(found.unwrap(), n_threads as usize);
        }
    }
}
