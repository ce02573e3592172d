//! How many threads the engine computes with.

#![allow(unsafe_code)]

use std::collections::HashMap;

use crate::error::{Error, Result};

/// Thread pools of the sizes a run asks for.
///
/// candle splits a product by the variable `RAYON_NUM_THREADS`, which it reads on every call,
/// and runs it on the current rayon pool; so both are set for each size. It also keeps a second
/// pool of its own for elementwise operations, whose size is fixed once; that one is switched
/// off, or a run with one thread would use more.
#[derive(Debug, Default)]
pub struct Threads {
    pools: HashMap<u32, rayon::ThreadPool>,
}

impl Threads {
    /// Runs `work` on a pool of `n_threads`.
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
        set_engine_threads(n_threads);
        Ok(pool.install(work))
    }
}

fn set_engine_threads(n_threads: u32) {
    for (name, value) in [("RAYON_NUM_THREADS", n_threads), ("CANDLE_NUM_THREADS", 1)] {
        let value = value.to_string();
        if std::env::var_os(name).is_some_and(|now| now == value.as_str()) {
            continue;
        }
        // SAFETY: changing the environment is unsound only while foreign code reads it without
        // the standard library's lock. All code of this process that reads the environment is
        // Rust and takes that lock, and engine threads are idle here: `run` holds `&mut self`
        // and returns only when its work is done.
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
        }
    }
}
