//! How many threads the engine computes with.

#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::kernels::Pool;

/// Thread pools of the sizes a run asks for: one for the engine's operations, and one for our own
/// kernels (`pool.rs`), whose workers sleep while the engine's work, and the other way round.
///
/// candle splits a product by the variable `RAYON_NUM_THREADS`, which it reads on every call,
/// and runs it on the current rayon pool; so both are set for each size. It also keeps a second
/// pool of its own for elementwise operations, whose size is fixed once; that one is switched
/// off, or a run with one thread would use more.
#[derive(Debug, Default)]
pub struct Threads {
    pools: HashMap<u32, rayon::ThreadPool>,
    kernels: HashMap<u32, Pool>,
}

impl Threads {
    /// Runs `work` on a pool of `n_threads`. The engine's settings belong to the whole process,
    /// so work under another value of this type waits; it must not be nested.
    ///
    /// # Errors
    /// [`Error::Engine`] if the system refuses the threads.
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
        let kernels = match self.kernels.remove(&n_threads) {
            Some(kernels) => kernels,
            None => Pool::new(n_threads as usize)
                .map_err(Error::engine(format!("starting {n_threads} threads")))?,
        };
        // A panic in some work leaves nothing behind that could mislead the next.
        let _alone = ENGINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        set_engine_threads(n_threads);
        let (kernels, result) = pool.install(|| kernels.install(work));
        self.kernels.insert(n_threads, kernels);
        Ok(result)
    }
}

/// Held while work runs on any pool.
static ENGINE: Mutex<()> = Mutex::new(());

fn set_engine_threads(n_threads: u32) {
    for (name, value) in [("RAYON_NUM_THREADS", n_threads), ("CANDLE_NUM_THREADS", 1)] {
        let value = value.to_string();
        if std::env::var_os(name).is_some_and(|now| now == value.as_str()) {
            continue;
        }
        // SAFETY: changing the environment is unsound only while foreign code reads it without
        // the standard library's lock. The one piece of foreign code in this process, the
        // allocator, reads its options when the process starts; all else is Rust and takes that
        // lock. Engine threads are idle here, since `ENGINE` is held until work is done.
        unsafe { std::env::set_var(name, value) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
