//! Threads that stay awake between the operations of a step.
//!
//! A decode step of a small model has some hundred operations of a few dozen microseconds. To
//! sleep and to be woken between two of them would cost as much as many of them take; so workers
//! wait by looking for the next operation for a while before they sleep.

#![allow(unsafe_code)]

use std::cell::{RefCell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::thread::{JoinHandle, Thread};

use super::affinity::keep_on;
use crate::error::{Error, Result};

/// Looks for work before a worker sleeps: longer than the short operations of a step take.
const SPINS: u32 = 4_000;
/// Looks before a waiting thread offers its core to others, among them a worker that holds a task
/// but lost its core: about the length of a short operation.
const SPINS_BEFORE_YIELD: u32 = 2_000;

/// Which threads work on an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Team {
    /// The caller's alone: others would come when most is done.
    Alone,
    /// All of the pool.
    All,
}

impl Team {
    /// Nanoseconds of one thread from which on others are worth calling. Below
    /// it, calling them and waiting for them took longer than they saved: a pass of the tiny model
    /// was faster on one thread than on two.
    const WORTH_CALLING_NS: usize = 8_000;

    /// For an operation of about so many multiplications and so many bytes read and written,
    /// at what one core of a fast processor does in a nanosecond when the bytes are in its caches.
    /// Where either takes longer than that, others are only more welcome.
    pub fn for_work(n_products: usize, n_bytes: usize) -> Self {
        const PRODUCTS_PER_NS: usize = 50;
        const BYTES_PER_NS: usize = 30;
        match n_products / PRODUCTS_PER_NS + n_bytes / BYTES_PER_NS < Self::WORTH_CALLING_NS {
            true => Self::Alone,
            false => Self::All,
        }
    }
}

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

/// What is to be done: `tasks` for every number that [`Shared::left`] holds.
#[derive(Clone, Copy)]
struct Job {
    /// Lives until [`Pool::run_ranges`] returns, which waits for the workers that use it.
    tasks: *const (dyn Fn(Range<usize>) + Sync),
    /// Of one call, at most.
    n_at_once: usize,
}

/// Tasks of one thread that nobody has begun, as one word: the first in its lower half, the end in
/// its upper. Alone on its lines of the cache (processors fetch them in pairs), since to take a task
/// from a line that another core has just changed takes as long as a short task.
#[repr(align(128))]
struct Left(AtomicU64);

impl Left {
    fn new(tasks: Range<usize>) -> Self {
        let left = Self(AtomicU64::new(0));
        left.put(tasks);
        left
    }

    fn word(tasks: Range<u64>) -> u64 {
        tasks.end << 32 | tasks.start
    }

    fn put(&self, tasks: Range<usize>) {
        self.0.store(Self::word(tasks.start as u64..tasks.end as u64), Ordering::Relaxed);
    }

    /// Takes what `which` chooses of the tasks that are left: none, or some from one end.
    fn take(&self, which: impl Fn(Range<u64>) -> Range<u64>) -> Range<usize> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (start, end) = (word & u64::from(u32::MAX), word >> 32);
            let taken = which(start..end);
            if taken.is_empty() {
                return 0..0;
            }
            let left = match taken.start == start {
                true => taken.end..end,
                false => start..taken.start,
            };
            // Tasks tell each other nothing, so numbers are all that has to be right. The caller put
            // them itself and a worker joined after that, so neither sees older ones, and the tasks
            // of a worker that never comes are found.
            let (now, relaxed) = (Self::word(left), Ordering::Relaxed);
            match self.0.compare_exchange_weak(word, now, relaxed, relaxed) {
                Ok(_) => return taken.start as usize..taken.end as usize,
                Err(changed) => word = changed,
            }
        }
    }

    /// The first few: [`n_to_begin`] of what is left.
    fn take_first(&self, n_at_once: usize) -> Range<usize> {
        self.take(|left| {
            let n = n_to_begin((left.end - left.start) as usize, n_at_once) as u64;
            left.start..left.start + n
        })
    }

    /// The last half.
    fn take_last(&self) -> Range<usize> {
        self.take(|left| left.end - (left.end - left.start).div_ceil(2)..left.end)
    }
}

/// How many of so many tasks a thread begins: a quarter, so that threads that are done find some,
/// one at least and `n_at_once` at most.
fn n_to_begin(n_left: usize, n_at_once: usize) -> usize {
    (n_left / 4).clamp(1, n_at_once).min(n_left)
}

struct Shared {
    /// [`State`], as one word.
    state: AtomicU64,
    /// Written by [`Pool::run_ranges`] while the door is shut and nobody is inside.
    job: UnsafeCell<Option<Job>>,
    /// Of each thread, the caller's first.
    left: Vec<Left>,
    /// Workers that sleep or are about to.
    asleep: AtomicUsize,
    panicked: AtomicBool,
    stop: AtomicBool,
}

/// Which job there is, whether workers may still join it, and how many have.
///
/// The caller shuts the door once no task is left, and then waits only for those inside. So a
/// worker that lost its core before it came costs nothing but its help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State(u64);

impl State {
    const WORKER: u64 = 1;
    const OPEN: u64 = 1 << 31;
    const EPOCH: u64 = 1 << 32;

    /// Changes with each job.
    fn epoch(self) -> u64 {
        self.0 / Self::EPOCH
    }

    fn is_open(self) -> bool {
        self.0 & Self::OPEN != 0
    }

    /// Workers that work on the job.
    fn n_inside(self) -> u64 {
        self.0 % Self::OPEN
    }

    /// The next epoch, nobody inside.
    fn next(self) -> Self {
        Self(self.epoch().wrapping_add(1).wrapping_mul(Self::EPOCH))
    }
}

// SAFETY: the job is written only while no worker may read it (see `Pool::run_ranges`), and its tasks
// may be called by any thread.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Pool {
    /// Starts `n_threads − 1` workers; the thread that calls [`Pool::run`] is the other one.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn new(n_threads: usize) -> std::io::Result<Self> {
        let mut pool = Self::of(n_threads);
        for _ in 1..n_threads {
            pool.add_worker()?;
        }
        Ok(pool)
    }

    /// The same with a thread on each of `cpus`, hardware threads by their numbers, the caller's on
    /// the first. More threads than that begin again at the first.
    ///
    /// # Errors
    /// If the system refuses a thread, or does not run it there.
    ///
    /// # Panics
    /// If `cpus` is empty.
    pub fn pinned(n_threads: usize, cpus: &[u32]) -> Result<Self> {
        let mut pool = Self::of(n_threads);
        for i in 1..n_threads {
            // A thread begins where the one is that starts it.
            keep_on(&[cpus[i % cpus.len()]])?;
            pool.add_worker().map_err(Error::engine(format!("starting {n_threads} threads")))?;
        }
        keep_on(&cpus[..1])?;
        Ok(pool)
    }

    fn add_worker(&mut self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let worker = std::thread::Builder::new().name(format!("kernel-{}", self.n_threads()));
        let me = self.n_threads();
        self.workers.push(worker.spawn(move || shared.work(me))?);
        Ok(())
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
        let mut pool = CURRENT.take().unwrap_or_else(|| Self::of(1));
        let result = work(&mut pool);
        CURRENT.set(Some(pool));
        result
    }

    /// The caller's thread, with room for as many as `n_threads` in all.
    fn of(n_threads: usize) -> Self {
        Self { shared: Arc::new(Shared::new(n_threads.max(1))), workers: Vec::new() }
    }

    /// Threads, the caller's included.
    pub fn n_threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task` with every number below `n_tasks`, in any order and on any thread of `team`,
    /// and returns when all calls have. Threads that are faster take more of them.
    ///
    /// # Panics
    /// As [`Pool::run_ranges`] does.
    pub fn run(&mut self, team: Team, n_tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        self.run_ranges(team, n_tasks, 1, &|tasks| tasks.for_each(task));
    }

    /// As [`Pool::run`], with up to `n_at_once` neighbours in a call.
    ///
    /// Each thread begins with tasks of its own, one after another, so that what they read lies one
    /// after another too; a thread that has none left takes the last half of what another has
    /// (work stealing, Blumofe and Leiserson, Journal of the ACM 46(5), 1999).
    ///
    /// # Panics
    /// If a task does, or there are 2³² of them or more for several threads.
    pub fn run_ranges(
        &mut self,
        team: Team,
        n_tasks: usize,
        n_at_once: usize,
        tasks: &(dyn Fn(Range<usize>) + Sync),
    ) {
        let n_at_once = n_at_once.max(1);
        if n_tasks <= 1 || self.workers.is_empty() || team == Team::Alone {
            (0..n_tasks)
                .step_by(n_at_once)
                .for_each(|first| tasks(first..n_tasks.min(first + n_at_once)));
            return;
        }
        assert!(u32::try_from(n_tasks).is_ok(), "{n_tasks} are too many tasks");
        let shared = &*self.shared;
        // SAFETY: only the lifetime is forgotten. Only workers inside use the job, and this
        // function waits for them before it returns, also by a panic.
        let tasks: *const (dyn Fn(Range<usize>) + Sync) = unsafe { std::mem::transmute(tasks) };
        let job = Job { tasks, n_at_once };
        // SAFETY: no job is under way, since `self` is borrowed mutably: the door is shut and
        // nobody is inside, so no worker reads.
        unsafe { *shared.job.get() = Some(job) };
        let n_threads = shared.left.len();
        // Rounded up, so that the caller, who is awake, has the first.
        let begin = |i: usize| (i as u64 * n_tasks as u64).div_ceil(n_threads as u64) as usize;
        for (i, left) in shared.left.iter().enumerate() {
            left.put(begin(i)..begin(i + 1));
        }
        let next = State(shared.state.load(Ordering::Relaxed)).next();
        shared.state.store(next.0 | State::OPEN, Ordering::Release);
        // Either a worker that goes to sleep sees the epoch, or this sees that it sleeps.
        fence(Ordering::SeqCst);
        if shared.asleep.load(Ordering::Relaxed) > 0 {
            self.workers.iter().map(JoinHandle::thread).for_each(Thread::unpark);
        }
        let mine = catch_unwind(AssertUnwindSafe(|| shared.take_tasks(job, 0)));
        shared.state.fetch_and(!State::OPEN, Ordering::AcqRel);
        let mut spins = 0_u32;
        while State(shared.state.load(Ordering::Acquire)).n_inside() > 0 {
            wait(&mut spins);
        }
        let theirs = shared.panicked.swap(false, Ordering::Relaxed);
        if let Err(panic) = mine {
            resume_unwind(panic);
        }
        if theirs {
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
    fn new(n_threads: usize) -> Self {
        Self {
            state: AtomicU64::new(0),
            job: UnsafeCell::new(None),
            left: (0..n_threads).map(|_| Left::new(0..0)).collect(),
            asleep: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        }
    }

    /// Works on what is left to thread `me`, and then on what is left to others.
    fn take_tasks(&self, job: Job, me: usize) {
        loop {
            let mine = self.left[me].take_first(job.n_at_once);
            if !mine.is_empty() {
                // SAFETY: the job is under way, so its tasks live.
                unsafe { (*job.tasks)(mine) };
                continue;
            }
            let others = (1..self.left.len()).map(|i| (me + i) % self.left.len());
            let taken = others.map(|i| self.left[i].take_last()).find(|tasks| !tasks.is_empty());
            // What others took and have not put yet, they do themselves.
            let Some(taken) = taken else { return };
            // Some are begun at once, or the last one could go to and fro.
            let rest = taken.start + n_to_begin(taken.len(), job.n_at_once);
            // Only this thread puts tasks here, and there are none, so nobody is taking.
            self.left[me].put(rest..taken.end);
            // SAFETY: as above.
            unsafe { (*job.tasks)(taken.start..rest) };
        }
    }

    /// What worker `me` does.
    fn work(&self, me: usize) {
        let mut seen = State(0);
        loop {
            seen = self.await_change(seen);
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let Some(job) = self.join(seen) else { continue };
            let done = catch_unwind(AssertUnwindSafe(|| self.take_tasks(job, me)));
            if done.is_err() {
                // The message has been printed; the caller learns of it in its own words.
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.state.fetch_sub(State::WORKER, Ordering::Release);
        }
    }

    /// The job of an epoch, with this worker inside, unless its door is shut already.
    fn join(&self, seen: State) -> Option<Job> {
        let joined = |state| {
            let same = State(state).epoch() == seen.epoch() && State(state).is_open();
            same.then_some(state + State::WORKER)
        };
        self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, joined).ok()?;
        // SAFETY: written before the door was opened, and not again while this worker is inside.
        unsafe { *self.job.get() }
    }

    /// Waits for an epoch other than that of `seen`.
    fn await_change(&self, seen: State) -> State {
        let change = || {
            let state = State(self.state.load(Ordering::Acquire));
            (state.epoch() != seen.epoch()).then_some(state)
        };
        for _ in 0..SPINS {
            if let Some(state) = change() {
                return state;
            }
            std::hint::spin_loop();
        }
        self.asleep.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let state = loop {
            if let Some(state) = change() {
                break state;
            }
            std::thread::park();
        };
        self.asleep.fetch_sub(1, Ordering::Relaxed);
        state
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.state.fetch_add(State::EPOCH, Ordering::Release);
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
                    pool.run(Team::All, n_tasks, &|i| {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 50));
            }
        }
    }

    #[test]
    fn ranges_cover_all_tasks_once_and_are_as_short_as_asked() {
        for (n_threads, n_tasks, n_at_once) in
            [(1, 10, 4), (2, 64, 64), (2, 3, 8), (3, 1000, 7), (8, 5, 1), (8, 4097, 64)]
        {
            let mut pool = Pool::new(n_threads).unwrap();
            let counts: Vec<AtomicUsize> = (0..n_tasks).map(|_| AtomicUsize::new(0)).collect();
            for _ in 0..50 {
                pool.run_ranges(Team::All, n_tasks, n_at_once, &|tasks| {
                    assert!((1..=n_at_once).contains(&tasks.len()), "{tasks:?}");
                    for i in tasks {
                        counts[i].fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 50));
        }
    }

    #[test]
    fn a_thread_that_is_kept_has_its_tasks_taken() {
        let mut pool = Pool::new(2).unwrap();
        let n_done = AtomicUsize::new(0);
        // Whoever has the first task waits for all others to be done.
        pool.run(Team::All, 100, &|i| {
            while i == 0 && n_done.load(Ordering::Acquire) < 99 {
                std::thread::yield_now();
            }
            n_done.fetch_add(1, Ordering::Release);
        });
        assert_eq!(n_done.load(Ordering::Relaxed), 100);
    }

    #[test]
    fn tasks_of_workers_that_never_come_are_done() {
        for (n_tasks, n_at_once) in [(1, 1), (10, 1), (999, 16)] {
            let shared = Shared::new(4);
            for (i, left) in shared.left.iter().enumerate() {
                left.put(i * n_tasks / 4..(i + 1) * n_tasks / 4);
            }
            let counts: Vec<AtomicUsize> = (0..n_tasks).map(|_| AtomicUsize::new(0)).collect();
            let tasks: &(dyn Fn(Range<usize>) + Sync) = &|tasks| {
                tasks.for_each(|i| {
                    counts[i].fetch_add(1, Ordering::Relaxed);
                });
            };
            // SAFETY: only the lifetime is forgotten, and the job does not outlive this round.
            let tasks: *const (dyn Fn(Range<usize>) + Sync) = unsafe { std::mem::transmute(tasks) };
            shared.take_tasks(Job { tasks, n_at_once }, 0);
            assert!(counts.iter().all(|count| count.load(Ordering::Relaxed) == 1));
        }
    }

    #[test]
    fn tasks_are_taken_from_both_ends() {
        let left = Left::new(10..74);
        assert_eq!(left.take_first(64), 10..26);
        assert_eq!(left.take_first(3), 26..29);
        assert_eq!(left.take_last(), 51..74);
        assert_eq!(left.take_last(), 40..51);
        for first in [29, 31, 33, 34, 35, 36, 37, 38, 39] {
            assert_eq!(left.take_first(64).start, first);
        }
        assert!(left.take_first(64).is_empty() && left.take_last().is_empty());
        left.put(5..6);
        assert_eq!(left.take_last(), 5..6);
        assert!(left.take_first(1).is_empty());
    }

    #[test]
    fn a_worker_joins_the_open_job_that_it_saw_and_no_other() {
        let shared = Shared::new(1);
        let tasks: &(dyn Fn(Range<usize>) + Sync) = &|_| {};
        // SAFETY: this thread alone has `shared`.
        unsafe { *shared.job.get() = Some(Job { tasks, n_at_once: 1 }) };
        let first = State(0).next();
        // (the state, what the worker saw, whether it joins)
        for (state, seen, joins) in [
            (State(0), State(0), false),
            (first, first, false),
            (State(first.0 | State::OPEN), first, true),
            (State(first.0 | State::OPEN | 5), first, true),
            (State(first.next().0 | State::OPEN), first, false),
        ] {
            shared.state.store(state.0, Ordering::Relaxed);
            assert_eq!(shared.join(seen).is_some(), joins, "{state:?} and {seen:?}");
            let after = State(shared.state.load(Ordering::Relaxed));
            assert_eq!(after.n_inside(), state.n_inside() + u64::from(joins), "{state:?}");
            assert_eq!((after.epoch(), after.is_open()), (state.epoch(), state.is_open()));
        }
    }

    #[test]
    fn small_operations_run_on_the_callers_thread() {
        let mut pool = Pool::new(3).unwrap();
        let (caller, elsewhere) = (std::thread::current().id(), AtomicUsize::new(0));
        pool.run(Team::for_work(1000, 1000), 100, &|_| {
            std::thread::sleep(Duration::from_micros(10));
            let is_elsewhere = std::thread::current().id() != caller;
            elsewhere.fetch_add(usize::from(is_elsewhere), Ordering::Relaxed);
        });
        assert_eq!(elsewhere.load(Ordering::Relaxed), 0);
        for (n_products, n_bytes) in [(1 << 19, 0), (0, 1 << 18), (1 << 18, 1 << 17)] {
            assert_eq!(Team::for_work(n_products, n_bytes), Team::All);
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
        pool.run(Team::All, 2, &|_| {
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
        for bad in [0..1, 99..100, 0..100] {
            let run = AssertUnwindSafe(|| {
                pool.run(Team::All, 100, &|i| {
                    assert!(!bad.contains(&i), "a task of the test fails on purpose")
                });
            });
            assert!(catch_unwind(run).is_err());
            let count = AtomicUsize::new(0);
            pool.run(Team::All, 100, &|_| {
                count.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(count.load(Ordering::Relaxed), 100);
        }
    }
}
