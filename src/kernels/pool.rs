//! Threads that stay awake between the operations of a step.
//!
//! A decode step of a small model has some hundred operations of a few dozen microseconds. To
//! sleep and to be woken between two of them would cost as much as many of them take; so workers
//! wait by looking for the next operation for a while before they sleep.

#![allow(unsafe_code)]

use std::cell::{RefCell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::thread::{JoinHandle, Thread};

/// Looks for work before a worker sleeps: longer than the short operations of a step take.
const SPINS: u32 = 4_000;
/// Looks before a waiting thread offers its core to others.
const SPINS_BEFORE_YIELD: u32 = 20_000;

/// A number of threads, the caller's among them, that work together on one operation at a time.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

thread_local! {
    /// The pool that work on this thread uses.
    static CURRENT: RefCell<Option<Pool>> = const { RefCell::new(None) };
}

/// What is to be done: `task` for every number below `n_tasks`.
#[derive(Clone, Copy)]
struct Job {
    /// Lives until [`Pool::run`] returns, which waits for all workers.
    task: *const (dyn Fn(usize) + Sync),
    n_tasks: usize,
}

struct Shared {
    /// Changes with each job.
    epoch: AtomicUsize,
    /// Written by [`Pool::run`] before the epoch changes, while no worker is busy.
    job: UnsafeCell<Option<Job>>,
    /// The next task.
    next: AtomicUsize,
    /// Workers that have not finished the job.
    busy: AtomicUsize,
    /// Workers that sleep or are about to.
    asleep: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
}

// SAFETY: the job is written only while no worker reads it (see `Pool::run`), and its task may be
// called by any thread.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts `n_threads − 1` workers; the thread that calls [`Pool::run`] is the other one.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn new(n_threads: usize) -> std::io::Result<Self> {
        let mut pool = Self::alone();
        for i in 1..n_threads {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new().name(format!("kernel-{i}"));
            pool.workers.push(worker.spawn(move || shared.work())?);
        }
        Ok(pool)
    }

    /// Runs `work`, in which [`Pool::with_current`] finds this pool, and gives the pool back. A
    /// panic drops it.
    pub fn install<R>(self, work: impl FnOnce() -> R) -> (Self, R) {
        /// Leaves nothing behind.
        struct Installed;
        impl Drop for Installed {
            fn drop(&mut self) {
                CURRENT.take();
            }
        }
        CURRENT.set(Some(self));
        let installed = Installed;
        let result = work();
        let pool = CURRENT.take().expect("whoever takes the pool puts it back");
        std::mem::forget(installed);
        (pool, result)
    }

    /// Runs `work` with the pool that is installed on this thread, or with a pool of this thread
    /// alone.
    pub fn with_current<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        let mut pool = CURRENT.take().unwrap_or_else(Self::alone);
        let result = work(&mut pool);
        CURRENT.set(Some(pool));
        result
    }

    /// The caller's thread and no other.
    fn alone() -> Self {
        Self { shared: Arc::new(Shared::new()), workers: Vec::new() }
    }

    /// Threads, the caller's included.
    pub fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task` with every number below `n_tasks`, in any order and on any thread, and
    /// returns when all calls have. Threads that are faster take more of them.
    ///
    /// # Panics
    /// If a task does.
    pub fn run(&mut self, n_tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if n_tasks <= 1 || self.workers.is_empty() {
            (0..n_tasks).for_each(task);
            return;
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime is forgotten. Workers use the job until `busy` is 0, and this
        // function does not return before, not even by a panic.
        let task: *const (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
        let job = Job { task, n_tasks };
        // SAFETY: no job is under way, since `self` is borrowed mutably; so no worker reads.
        unsafe { *shared.job.get() = Some(job) };
        shared.next.store(0, Ordering::Relaxed);
        shared.busy.store(self.workers.len(), Ordering::Relaxed);
        shared.epoch.fetch_add(1, Ordering::Release);
        // Either a worker that goes to sleep sees the epoch, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        if shared.asleep.load(Ordering::Relaxed) > 0 {
            self.workers.iter().map(JoinHandle::thread).for_each(Thread::unpark);
        }
        let mine = catch_unwind(AssertUnwindSafe(|| shared.take_tasks(job)));
        let mut spins = 0_u32;
        while shared.busy.load(Ordering::Acquire) > 0 {
            wait(&mut spins);
        }
        if let Err(panic) = mine {
            resume_unwind(panic);
        }
        if shared.panicked.swap(false, Ordering::Relaxed) {
            panic!("a kernel panicked on another thread");
        }
    }
}

/// A moment of waiting.
fn wait(spins: &mut u32) {
    *spins = spins.saturating_add(1);
    match *spins < SPINS_BEFORE_YIELD {
        true => std::hint::spin_loop(),
        false => std::thread::yield_now(),
    }
}

impl Shared {
    fn new() -> Self {
        Self {
            epoch: AtomicUsize::new(0),
            job: UnsafeCell::new(None),
            next: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            asleep: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    fn take_tasks(&self, job: Job) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= job.n_tasks {
                return;
            }
            // SAFETY: the job is under way, so its task lives.
            unsafe { (*job.task)(i) };
        }
    }

    /// What a worker does.
    fn work(&self) {
        let mut seen = 0;
        loop {
            seen = self.next_epoch(seen);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            // SAFETY: written before the epoch was, and not written again until `busy` is 0.
            if let Some(job) = unsafe { *self.job.get() } {
                let done = catch_unwind(AssertUnwindSafe(|| self.take_tasks(job)));
                if done.is_err() {
                    // The message has been printed; the caller learns of it in its own words.
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.busy.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits until the epoch is not `seen` any more.
    fn next_epoch(&self, seen: usize) -> usize {
        for _ in 0..SPINS {
            let epoch = self.epoch.load(Ordering::Acquire);
            if epoch != seen {
                return epoch;
            }
            std::hint::spin_loop();
        }
        self.asleep.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let epoch = loop {
            let epoch = self.epoch.load(Ordering::Acquire);
            if epoch != seen {
                break epoch;
            }
            std::thread::park();
        };
        self.asleep.fetch_sub(1, Ordering::Relaxed);
        epoch
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.epoch.fetch_add(1, Ordering::Release);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches what its tasks throw.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_task_runs_once_on_any_number_of_threads() {
        for n_threads in [1, 2, 3, 8] {
            let mut pool = Pool::new(n_threads).unwrap();
            assert_eq!(pool.n_threads(), n_threads);
            for n_tasks in [0, 1, 2, 7, 1000] {
                let counts: Vec<AtomicUsize> = (0..n_tasks).map(|_| AtomicUsize::new(0)).collect();
                for _ in 0..50 {
                    pool.run(n_tasks, &|i| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 50));
            }
        }
    }

    #[test]
    fn workers_that_fell_asleep_wake_up() {
        let mut pool = Pool::new(4).unwrap();
        while pool.shared.asleep.load(Ordering::Relaxed) < 3 {
            std::thread::yield_now();
        }
        let (count, others) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let caller = std::thread::current().id();
        // The caller waits inside a task until another thread has taken one.
        pool.run(2, &|_| {
            count.fetch_add(1, Ordering::Relaxed);
            if std::thread::current().id() == caller {
                while others.load(Ordering::Acquire) == 0 {
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
            others.fetch_add(1, Ordering::Release);
        });
        assert_eq!(count.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn the_installed_pool_is_found_and_given_back() {
        let pool = Pool::new(3).unwrap();
        let (pool, found) = pool.install(|| {
            Pool::with_current(|pool| pool.n_threads())
                + Pool::with_current(|pool| pool.n_threads())
        });
        assert_eq!((pool.n_threads(), found), (3, 6));
        let _ = catch_unwind(AssertUnwindSafe(|| {
            pool.install(|| panic!("the work of the test fails on purpose"))
        }));
        assert_eq!(Pool::with_current(|pool| pool.n_threads()), 1);
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let mut pool = Pool::new(3).unwrap();
        for bad in [0, 99] {
            let run = AssertUnwindSafe(|| {
                pool.run(100, &|i| assert!(i != bad, "a task of the test fails on purpose"));
            });
            assert!(catch_unwind(run).is_err());
            let count = AtomicUsize::new(0);
            pool.run(100, &|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 100);
        }
    }
}
