//! The worker pool: one run a forward pass, a list of phases in it, and a number of items in each phase.
//!
//! A fork and join for every matrix costs more than the matrix does in a small model, so that a run covers the whole pass. A
//! phase ends when all its items are *done*, not when all workers have come by: each worker has a part of the items, takes some
//! of them at a time, and helps the others out when its own are gone. A worker that the system keeps from running between
//! two items holds nobody up; it finds out later that its part was done by others.
//!
//! Items are claimed by compare-and-swap on one word for each worker, which holds the number of the phase and what is left of
//! the part. The numbers of phases only grow, over all runs, so that a late worker's claim on a phase that is over fails. Nothing
//! of a run's caller is touched but by a worker that holds a claim, and the run cannot end before that item is done.
#![allow(unsafe_code, reason = "the job is borrowed from the caller's stack for the length of a run")]

use crate::error::CpuError;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a worker without a job stays awake; a token takes longer than this to sample only when someone is reading.
const AWAKE: Duration = Duration::from_micros(200);
/// A worker takes one in so many of the items that are left of a part: large pieces first, since each costs a little, and small
/// ones in the end, so that all workers end together.
const SHARES: usize = 2;
/// Items left of another's part that are worth taking at once: what is taken was not prefetched, and of fewer the other is done
/// sooner, if it is running at all.
const WORTH_TAKING: usize = 3;
/// Looks before any item is worth taking: a few microseconds.
const PATIENCE: u32 = 100;
/// Most items of a part: what fits the word that claims are made on.
const MOST_ITEMS: usize = u16::MAX as usize;

/// What is to be done, once for some items at a time.
pub(crate) type Job<'a> = dyn Fn(&Task) + Sync + 'a;

/// Some items of one phase, and who does them.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) worker: usize,
    pub(crate) phase: usize,
    pub(crate) items: Range<usize>,
    /// Whether these are the first items of the phase that this worker does.
    pub(crate) is_first: bool,
    /// Whether they are of the worker's own part.
    pub(crate) is_own: bool,
}

/// `count` workers: the caller's thread and `count - 1` others.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

/// What the workers share.
struct State {
    /// Even while a run may be joined; odd while the next is being prepared. Only grows.
    run: AtomicU64,
    stop: AtomicBool,
    /// Of the present run: its job, where a reference to it lies on the caller's stack;
    job: AtomicPtr<&'static Job<'static>>,
    /// how many phases it has, the number of the first, and for each the items done when it is over, counted over all runs.
    n_phases: AtomicUsize,
    first_phase: AtomicU64,
    ends: Box<[AtomicU64]>,
    /// For each worker: what is left of its part, and the items that it has done, over all runs.
    claims: Box<[Cell]>,
    done: Box<[Cell]>,
    panicked: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

/// A number with a cache line (and the line that is fetched beside it) to itself.
#[repr(align(128))]
struct Cell(AtomicU64);

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} workers", self.done.len())
    }
}

impl Pool {
    /// `count` workers for runs of up to `most_phases` phases.
    pub(crate) fn new(count: usize, most_phases: usize) -> Result<Self, CpuError> {
        let cells = || (0..count).map(|_| Cell(AtomicU64::new(0))).collect();
        let state = Arc::new(State {
            run: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            job: AtomicPtr::new(std::ptr::null_mut()),
            n_phases: AtomicUsize::new(0),
            first_phase: AtomicU64::new(1),
            ends: (0..=most_phases).map(|_| AtomicU64::new(0)).collect(),
            claims: cells(),
            done: cells(),
            panicked: AtomicBool::new(false),
            panic: Mutex::new(None),
        });
        let mut pool = Self { state, threads: Vec::new() };
        for index in 1..count {
            let state = Arc::clone(&pool.state);
            let thread = thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || state.serve(index))
                .map_err(|source| CpuError::Thread { index, count, source })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    pub(crate) fn count(&self) -> usize {
        self.state.done.len()
    }

    /// Runs phase after phase; phase `i` has `items[i]` items. Returns when all items are done. What was written in one phase can
    /// be read in the next. A panic in a worker is raised here.
    pub(crate) fn run(&mut self, items: &[usize], job: &Job<'_>) {
        let state = &*self.state;
        assert!(items.len() < state.ends.len(), "a run of {} phases", items.len());
        let most = items.iter().map(|n| n.div_ceil(self.count())).max().unwrap_or(0);
        assert!(most <= MOST_ITEMS, "a part of {most} items");
        // SAFETY: only lifetimes change. The reference is used under a claim only, and all claims are done when this returns.
        let mut job = unsafe { std::mem::transmute::<&Job<'_>, &'static Job<'static>>(job) };
        let run = state.publish(items, &raw mut job);
        for thread in &self.threads {
            thread.thread().unpark();
        }
        state.work(0, run);
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

impl State {
    /// Opens a run. Late workers of the last one may be reading all this: whoever reads it checks afterwards that `run` is still
    /// what it was.
    fn publish(&self, items: &[usize], job: *mut &'static Job<'static>) -> u64 {
        let run = self.run.load(Ordering::Relaxed) + 1;
        self.run.store(run, Ordering::Relaxed);
        fence(Ordering::Release);
        let first = self.first_phase.load(Ordering::Relaxed) + self.n_phases.load(Ordering::Relaxed) as u64;
        self.first_phase.store(first, Ordering::Relaxed);
        self.n_phases.store(items.len(), Ordering::Relaxed);
        let mut end = self.ends.first().map_or(0, |_| self.n_done());
        self.ends[0].store(end, Ordering::Relaxed);
        for (items, place) in items.iter().zip(&self.ends[1..]) {
            end += *items as u64;
            place.store(end, Ordering::Relaxed);
        }
        self.job.store(job, Ordering::Relaxed);
        self.run.store(run + 1, Ordering::Release);
        run + 1
    }

    /// The life of a worker thread.
    fn serve(&self, index: usize) {
        let mut seen = 0;
        loop {
            let idle = Instant::now();
            let mut wait = Backoff::new();
            let run = loop {
                let run = self.run.load(Ordering::Acquire);
                if run != seen && run.is_multiple_of(2) {
                    break run;
                }
                if self.stop.load(Ordering::Acquire) {
                    return;
                }
                if wait.is_yielding() && idle.elapsed() > AWAKE {
                    thread::park();
                } else {
                    wait.snooze();
                }
            };
            seen = run;
            self.work(index, run);
        }
    }

    /// One worker's share of a run.
    fn work(&self, worker: usize, run: u64) {
        for phase in 0.. {
            let Some(plan) = self.plan(phase, run) else { return };
            let mut is_first = true;
            let mut take = |whose: usize, fewest: usize| {
                let is_own = whose == worker;
                let Some(items) = self.claim(&plan, whose, is_own, fewest) else { return false };
                let n = items.len() as u64;
                self.run_items(Task { worker, phase, items, is_first, is_own });
                is_first = false;
                let done = &self.done[worker].0;
                // Written by this worker alone.
                done.store(done.load(Ordering::Relaxed) + n, Ordering::Release);
                true
            };
            while take(worker, 1) {}
            let mut wait = Backoff::new();
            while self.n_done() < plan.end {
                let fewest = if wait.0 < PATIENCE { WORTH_TAKING } else { 1 };
                let mut others = (1..self.claims.len()).map(|i| (worker + i) % self.claims.len());
                if !others.any(|whose| take(whose, fewest)) {
                    wait.snooze();
                }
            }
        }
    }

    /// What there is to know of a phase; `None` after the last, or when the run is over.
    fn plan(&self, phase: usize, run: u64) -> Option<Plan> {
        if phase >= self.n_phases.load(Ordering::Relaxed) {
            return None;
        }
        let number = self.first_phase.load(Ordering::Relaxed) + phase as u64;
        let [start, end] = [phase, phase + 1].map(|i| self.ends[i].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        // Otherwise these may be numbers of the next run.
        (self.run.load(Ordering::Relaxed) == run).then(|| Plan {
            number: number as u32,
            n_items: (end - start) as usize,
            end,
        })
    }

    /// Takes some of what is left of a worker's part, if it is not too few: of the own from the front, of another's from the
    /// back.
    fn claim(&self, plan: &Plan, whose: usize, own: bool, fewest: usize) -> Option<Range<usize>> {
        let part = part(whose, self.claims.len(), plan.n_items);
        let word = &self.claims[whose].0;
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let (number, mut front, mut back) = unpack(seen);
            match plan.number.wrapping_sub(number).cast_signed() {
                // Nobody has taken anything of this part in this phase.
                1.. => (front, back) = (0, part.len()),
                0 => {}
                // The phase is over.
                _ => return None,
            }
            if back - front < fewest {
                return None;
            }
            let n = match self.claims.len() {
                1 => back - front,
                _ => (back - front).div_ceil(SHARES),
            };
            let taken = if own { front..front + n } else { back - n..back };
            if own {
                front += n;
            } else {
                back -= n;
            }
            let new = pack(plan.number, front, back);
            // What earlier phases wrote is visible already: the wait at their end saw the counts of who wrote it.
            match word.compare_exchange_weak(seen, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(part.start + taken.start..part.start + taken.end),
                Err(now) => seen = now,
            }
        }
    }

    /// Does claimed items. After a panic, the rest is only counted.
    fn run_items(&self, task: Task) {
        if self.panicked.load(Ordering::Relaxed) {
            return;
        }
        // SAFETY: the claim keeps the run from ending, and with it the reference and its target alive.
        let job = unsafe { *self.job.load(Ordering::Relaxed) };
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| job(&task))) {
            if let Ok(mut first) = self.panic.lock() {
                first.get_or_insert(payload);
            }
            self.panicked.store(true, Ordering::Relaxed);
        }
    }

    fn n_done(&self) -> u64 {
        self.done.iter().map(|cell| cell.0.load(Ordering::Acquire)).sum()
    }
}

/// One phase of one run.
struct Plan {
    /// Counted over all runs.
    number: u32,
    n_items: usize,
    /// Items done over all runs when the phase is.
    end: u64,
}

/// The part of `n` items that is `worker`'s own: contiguous, and together the parts have each item once.
pub(crate) fn part(worker: usize, count: usize, n: usize) -> Range<usize> {
    n * worker / count..n * (worker + 1) / count
}

/// The word that claims are made on.
fn pack(number: u32, front: usize, back: usize) -> u64 {
    u64::from(number) << 32 | (front as u64) << 16 | back as u64
}

fn unpack(word: u64) -> (u32, usize, usize) {
    ((word >> 32) as u32, (word >> 16) as usize & MOST_ITEMS, word as usize & MOST_ITEMS)
}

/// Spins at first, then gives the processor away, then sleeps: whoever is waited for may be waiting for this core.
struct Backoff(u32);

impl Backoff {
    /// Looks before giving the processor away.
    const SPINS: u32 = 2000;
    /// Times that it is given away before sleeping.
    const YIELDS: u32 = 20;
    const SLEEP: Duration = Duration::from_micros(50);

    fn new() -> Self {
        Self(0)
    }

    fn is_yielding(&self) -> bool {
        self.0 >= Self::SPINS
    }

    fn snooze(&mut self) {
        self.0 = self.0.saturating_add(1);
        match self.0 {
            ..Self::SPINS => std::hint::spin_loop(),
            n if n < Self::SPINS + Self::YIELDS => thread::yield_now(),
            _ => thread::sleep(Self::SLEEP),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_and_phases_follow_one_another() {
        for count in [1, 2, 3, 7] {
            let mut pool = Pool::new(count, 5).unwrap();
            let done: Vec<AtomicUsize> = (0..100).map(|_| AtomicUsize::new(0)).collect();
            for run in 0..200 {
                pool.run(&[100, 7, 100, 0, 1], &|task| {
                    // Every second phase of 100 looks at what the ones before did.
                    let expected = run * 2 + task.phase.min(2).div_ceil(2);
                    for i in task.items.clone() {
                        match task.phase {
                            0 | 2 => drop(done[i].fetch_add(1, Ordering::Relaxed)),
                            1 => assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == expected)),
                            _ => assert!(done.iter().all(|d| d.load(Ordering::Relaxed) == run * 2 + 2)),
                        }
                    }
                });
            }
        }
    }

    #[test]
    fn the_part_of_a_worker_that_does_not_come_is_done_by_others() {
        let mut pool = Pool::new(2, 1).unwrap();
        let others = AtomicUsize::new(0);
        for _ in 0..3 {
            pool.run(&[16], &|task| {
                if task.worker == 1 && task.is_first {
                    thread::sleep(Duration::from_millis(30));
                }
                if task.worker == 0 && !task.is_own {
                    others.fetch_add(task.items.len(), Ordering::Relaxed);
                }
            });
        }
        // Of worker 1's eight items it held four while it slept.
        assert!(others.into_inner() >= 3 * 4);
    }

    #[test]
    fn workers_wake_from_a_long_sleep() {
        let mut pool = Pool::new(3, 1).unwrap();
        let hits = AtomicUsize::new(0);
        for _ in 0..3 {
            thread::sleep(AWAKE * 20);
            pool.run(&[9], &|task| {
                hits.fetch_add(task.items.len(), Ordering::Relaxed);
            });
        }
        assert_eq!(hits.into_inner(), 27);
    }

    #[test]
    fn a_panic_in_a_worker_reaches_the_caller_and_the_pool_goes_on() {
        let mut pool = Pool::new(4, 2).unwrap();
        let result = catch_unwind(AssertUnwindSafe(|| {
            pool.run(&[40, 40], &|task| assert!(!task.items.contains(&25), "item 25"));
        }));
        let message = result.unwrap_err();
        assert!(message.downcast_ref::<&str>().is_some_and(|m| m.contains("item 25")));
        let hits = AtomicUsize::new(0);
        pool.run(&[4], &|task| {
            hits.fetch_add(task.items.len(), Ordering::Relaxed);
        });
        assert_eq!(hits.into_inner(), 4);
    }
}
