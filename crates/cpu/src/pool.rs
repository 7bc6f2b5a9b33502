//! The worker pool: one run a forward pass, barriers inside it.
//!
//! A fork and join for every matrix costs more than the matrix does in a small model, so that a run covers the whole pass and
//! its workers meet at barriers. A waiting worker spins, then yields, then (between runs) parks.
#![allow(unsafe_code, reason = "the job is borrowed from the caller's stack for the length of a run")]

use crate::error::CpuError;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Loads of a flag before a waiting worker lets other threads run.
const SPINS: u32 = 4000;
/// How long a worker without a job stays awake; a token takes longer than this to sample only when someone is reading.
const AWAKE: Duration = Duration::from_micros(200);

type Job = *const (dyn Fn(&Worker<'_>) + Sync);

/// `count` workers: the caller's thread and `count - 1` others.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

struct State {
    job: UnsafeCell<Option<Job>>,
    /// Runs begun. A worker that sees it grow finds the job in place.
    run: AtomicU64,
    stop: AtomicBool,
    /// The barriers that each worker has reached, counted over all runs.
    reached: Box<[Flag]>,
    panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A counter with a cache line (and the line that is fetched beside it) to itself.
#[repr(align(128))]
struct Flag(AtomicU64);

// SAFETY: `job` is written by the caller's thread only while every worker waits for `run` to grow, and read after that.
unsafe impl Sync for State {}
// SAFETY: the pointer in `job` is used only while `Pool::run`, which borrows its target, has not returned.
unsafe impl Send for State {}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} workers", self.reached.len())
    }
}

/// One worker in one run.
pub(crate) struct Worker<'a> {
    state: &'a State,
    index: usize,
    barriers: Cell<u64>,
}

impl Worker<'_> {
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn count(&self) -> usize {
        self.state.reached.len()
    }

    /// This worker's part of `n` items: contiguous, and together the workers have each item once.
    pub(crate) fn part(&self, n: usize) -> Range<usize> {
        n * self.index / self.count()..n * (self.index + 1) / self.count()
    }

    /// Waits until every worker is here. What any of them wrote before is visible to all of them after.
    pub(crate) fn barrier(&self) {
        let target = self.barriers.get() + 1;
        self.barriers.set(target);
        self.state.reached[self.index].0.store(target, Ordering::Release);
        for flag in &self.state.reached {
            let mut wait = Backoff::new();
            while flag.0.load(Ordering::Acquire) < target {
                assert!(!self.state.panicked.load(Ordering::Relaxed), "another worker panicked");
                wait.snooze();
            }
        }
    }
}

impl Pool {
    pub(crate) fn new(count: usize) -> Result<Self, CpuError> {
        let state = Arc::new(State {
            job: UnsafeCell::new(None),
            run: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            reached: (0..count).map(|_| Flag(AtomicU64::new(0))).collect(),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let mut pool = Self { state, threads: Vec::new() };
        for index in 1..count {
            let state = Arc::clone(&pool.state);
            let thread = thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || serve(&state, index))
                .map_err(|source| CpuError::Thread { index, count, source })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    pub(crate) fn count(&self) -> usize {
        self.state.reached.len()
    }

    /// Runs `job` on every worker, this thread among them, and returns when all are done. A panic in one is raised here.
    pub(crate) fn run(&mut self, job: &(dyn Fn(&Worker<'_>) + Sync)) {
        let state = &*self.state;
        // SAFETY: only the lifetime changes. Every worker is done with the job before this function returns or unwinds.
        let job_pointer =
            unsafe { std::mem::transmute::<*const (dyn Fn(&Worker<'_>) + Sync + '_), Job>(job) };
        // SAFETY: `&mut self` and the wait at the end of the last run: no worker is reading the job now.
        unsafe { *state.job.get() = Some(job_pointer) };
        state.run.fetch_add(1, Ordering::Release);
        for thread in &self.threads {
            thread.thread().unpark();
        }
        work(state, 0, job);
        for flag in &state.reached[1..] {
            let mut wait = Backoff::new();
            while flag.0.load(Ordering::Acquire) != u64::MAX {
                wait.snooze();
            }
        }
        for flag in &state.reached {
            flag.0.store(0, Ordering::Relaxed);
        }
        if state.panicked.swap(false, Ordering::Relaxed) {
            let payload =
                state.panic.lock().map_or_else(|poisoned| poisoned.into_inner().take(), |mut p| p.take());
            resume_unwind(payload.unwrap_or_else(|| Box::new("a worker panicked")));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A worker catches the panics of its jobs, so that this cannot fail; and a drop must not panic.
            let _ = thread.join();
        }
    }
}

/// The life of a worker thread.
fn serve(state: &State, index: usize) {
    let mut runs = 0;
    loop {
        let idle = Instant::now();
        let mut wait = Backoff::new();
        while state.run.load(Ordering::Acquire) == runs {
            if state.stop.load(Ordering::Acquire) {
                return;
            }
            if wait.is_yielding() && idle.elapsed() > AWAKE {
                thread::park();
            } else {
                wait.snooze();
            }
        }
        runs += 1;
        // SAFETY: `run` grew, so that the job is in place and stays until this worker says that it is done.
        let job = unsafe { (*state.job.get()).map(|job| &*job) };
        if let Some(job) = job {
            work(state, index, job);
        }
    }
}

/// One worker's share of a run; ends by marking the worker as done.
fn work(state: &State, index: usize, job: &(dyn Fn(&Worker<'_>) + Sync)) {
    let worker = Worker { state, index, barriers: Cell::new(0) };
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| job(&worker))) {
        if let Ok(mut first) = state.panic.lock() {
            first.get_or_insert(payload);
        }
        state.panicked.store(true, Ordering::Relaxed);
    }
    state.reached[index].0.store(u64::MAX, Ordering::Release);
}

/// Spins at first, then gives the processor away: a peer that shares this core must run before the wait can end.
struct Backoff(u32);

impl Backoff {
    fn new() -> Self {
        Self(0)
    }

    fn is_yielding(&self) -> bool {
        self.0 >= SPINS
    }

    fn snooze(&mut self) {
        if self.is_yielding() {
            thread::yield_now();
        } else {
            self.0 += 1;
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_item_has_one_worker_and_barriers_order_the_phases() {
        for count in [1, 2, 3, 7] {
            let mut pool = Pool::new(count).unwrap();
            let done: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            for run in 0..50 {
                pool.run(&|worker| {
                    for phase in 0..4 {
                        for i in worker.part(done.len()) {
                            done[i].fetch_add(1, Ordering::Relaxed);
                        }
                        worker.barrier();
                        assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == run * 4 + phase + 1));
                        worker.barrier();
                    }
                });
            }
        }
    }

    #[test]
    fn workers_wake_from_a_long_sleep() {
        let mut pool = Pool::new(3).unwrap();
        let hits = AtomicUsize::new(0);
        for _ in 0..3 {
            thread::sleep(AWAKE * 20);
            pool.run(&|_| {
                hits.fetch_add(1, Ordering::Relaxed);
            });
        }
        assert_eq!(hits.into_inner(), 9);
    }

    #[test]
    fn a_panic_in_a_worker_reaches_the_caller_and_the_pool_goes_on() {
        let mut pool = Pool::new(4).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(&|worker| {
                assert!(worker.index() != 2, "worker two");
                worker.barrier();
            });
        }));
        let message = result.unwrap_err();
        assert!(message.downcast_ref::<&str>().is_some_and(|m| m.contains("worker")));
        let hits = AtomicUsize::new(0);
        pool.run(&|worker| {
            hits.fetch_add(1, Ordering::Relaxed);
            worker.barrier();
        });
        assert_eq!(hits.into_inner(), 4);
    }
}
