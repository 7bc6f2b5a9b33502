//! Where the time of a whole pass goes: the device's clock after every step, and the host's around them.
//!
//! [`measure`](crate::measure()) times each step by itself, in a chain of its like; here steps stand where they stand in a prompt or
//! in a decode, with weights that come from memory and not from a cache. A look at the clock makes a step a little longer, so that
//! the steps add up to more than the pass takes without it, which is told beside them.

use crate::device::Gpu;
use crate::error::GpuError;
use crate::forward::GpuForwardPass;
use crate::measure::Measurement;
use crate::options::GpuOptions;
use crate::plan::Step;
use model::{Choice, ForwardError, ForwardPass, ModelSpec, Row, SequenceId, Weights};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use wgpu::{BindGroup, Buffer, Features, QuerySet};

const OWN: SequenceId = SequenceId(0);
/// How long each pass is repeated at least: a device takes a tenth of a second of work to reach its clock.
const WARM_UP: Duration = Duration::from_millis(400);
/// Runs of which the median is told, or the shortest where steps are.
const RUNS: usize = 15;
/// Tokens of a decode that are looked at together, and whose mean is told.
const TOKENS: usize = 4;
/// Tokens of the decode whose time as a whole is told.
const DECODE: usize = 128;

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passes {
    /// Prompts of so many tokens, each at the beginning of a context.
    pub prompts: Vec<usize>,
    /// Tokens one by one behind contexts of so many.
    pub depths: Vec<usize>,
}

/// Runs passes of a model, and tells for each kind of step what all of them take, and what the host does meanwhile.
///
/// # Errors
/// See [`GpuError`]; [`GpuError::Unsupported`] where the device has no clock to look at between steps.
pub fn profile(
    spec: &ModelSpec,
    weights: &Weights<'_>,
    options: &GpuOptions,
    passes: &Passes,
) -> Result<Vec<Measurement>, GpuError> {
    let longest = passes.prompts.iter().copied().chain(passes.depths.iter().map(|n| n + DECODE + 1)).max();
    let options = GpuOptions { context_len: longest.unwrap_or(1), ..options.clone() };
    let pass = GpuForwardPass::new(spec, weights, &options, &mut |_| ())?;
    let clock = Clock::new(&pass.machine.gpu)?;
    let mut profile = Profile { pass, clock, found: Vec::new() };
    for &n in &passes.prompts {
        profile.prompt(n)?;
    }
    for &n in &passes.depths {
        profile.decode(n)?;
    }
    Ok(profile.found)
}

struct Profile {
    pass: GpuForwardPass,
    clock: Clock,
    found: Vec<Measurement>,
}

impl Profile {
    fn add(&mut self, name: String, us: f64) {
        self.found.push(Measurement { name, value: us, unit: "us" });
    }

    fn prompt(&mut self, n: usize) -> Result<(), GpuError> {
        let rows = Row::prompt(OWN, 0, &prompt(n, self.pass.spec.n_vocab));
        let title = format!("prompt of {n}");
        let whole = repeat(|| {
            self.pass.truncate(OWN, 0);
            let started = Instant::now();
            self.pass.forward(&rows).map_err(failed)?;
            Ok(started.elapsed())
        })?;
        self.add(format!("{title}, whole"), whole);
        self.host(&title, &rows)?;
        let (Some(scratch), Some((_, plan))) = (&self.pass.batch, &self.pass.batch_plan) else {
            return Ok(());
        };
        let (scratch, steps) = (scratch.group.clone(), plan.steps.clone());
        self.device(&title, &scratch, &steps)?;
        self.steps(&title, &scratch, &steps, &[0])
    }

    /// All steps in one submit, with no look at the clock between them.
    fn device(&mut self, title: &str, scratch: &BindGroup, steps: &[Step]) -> Result<(), GpuError> {
        let clock = &self.clock;
        let mut times = (0..RUNS)
            .map(|_| Ok(clock.times(&self.pass, scratch, steps, &[0], steps.len())?.iter().sum()))
            .collect::<Result<Vec<f64>, GpuError>>()?;
        self.add(format!("{title}, device"), median(&mut times));
        Ok(())
    }

    /// What the host does for rows that fit at once, one thing after another.
    fn host(&mut self, title: &str, rows: &[Row]) -> Result<(), GpuError> {
        let names = ["tell the rows", "plan", "record and submit", "wait for logits"];
        let mut times = names.map(|_| Vec::new());
        for _ in 0..RUNS {
            let pass = &mut self.pass;
            pass.logits.clear();
            pass.batch_plan = None;
            let mut at = vec![Instant::now()];
            let batch = pass.describe(rows);
            at.push(Instant::now());
            let logits = rows.len() - 1..rows.len();
            pass.plan_batch(batch, rows, Some(logits))?;
            at.push(Instant::now());
            let steps = pass.batch_plan.as_ref().map_or(&[][..], |(_, plan)| &plan.steps);
            let logits = pass.submit(steps, 1);
            at.push(Instant::now());
            pass.take_logits(logits)?;
            at.push(Instant::now());
            for (times, pair) in times.iter_mut().zip(at.windows(2)) {
                times.push((pair[1] - pair[0]).as_secs_f64() * 1e6);
            }
        }
        for (name, mut times) in names.into_iter().zip(times) {
            self.add(format!("{title}, host: {name}"), median(&mut times));
        }
        Ok(())
    }

    fn decode(&mut self, depth: usize) -> Result<(), GpuError> {
        let title = format!("token at {depth}");
        let before = prompt(depth, self.pass.spec.n_vocab);
        if depth > 0 {
            self.pass.truncate(OWN, 0);
            self.pass.forward_prompt(&before).map_err(failed)?;
        }
        let whole = repeat(|| {
            self.pass.truncate(OWN, depth);
            let (started, mut n) = (Instant::now(), 0);
            let mut last = started;
            let mut count = |_| {
                (n, last) = (n + 1, Instant::now());
                if n == DECODE { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            self.pass.decode(0, &Choice::GREEDY, &mut count).map_err(failed)?;
            Ok((last - started) / DECODE as u32)
        })?;
        self.add(format!("{title}, whole, of {DECODE}"), whole);
        self.pass.truncate(OWN, depth);
        self.pass.blocks.append(&Row::prompt(OWN, depth as u32, &[0; TOKENS])).map_err(failed)?;
        self.pass.write_table();
        let choose = self.pass.planner().choose(&Choice::GREEDY).unwrap_or_default();
        let mut steps = self.pass.plans.at(depth).steps.clone();
        steps.extend(choose.steps);
        self.pass.machine.prepare(&steps)?;
        let scratch = self.pass.token.group.clone();
        let positions: Vec<u32> = (depth as u32..).take(TOKENS).collect();
        self.steps(&title, &scratch, &steps, &positions)
    }

    /// The steps at each of `positions` in one submit: for each kind, what all of them take at one position.
    fn steps(
        &mut self,
        title: &str,
        scratch: &BindGroup,
        steps: &[Step],
        positions: &[u32],
    ) -> Result<(), GpuError> {
        let mut best: Option<Vec<f64>> = None;
        let begun = Instant::now();
        for run in 0.. {
            let times = self.clock.times(&self.pass, scratch, steps, positions, 1)?;
            if best.as_ref().is_none_or(|best| times.iter().sum::<f64>() < best.iter().sum::<f64>()) {
                best = Some(times);
            }
            if run >= RUNS && begun.elapsed() > WARM_UP {
                break;
            }
        }
        let times = best.unwrap_or_default();
        let each = |us: f64| us / positions.len() as f64;
        let mut kinds: Vec<(String, usize, f64)> = Vec::new();
        for (i, us) in times.iter().enumerate() {
            let step = &steps[i % steps.len()];
            let name = format!("{} {}", step.what.role.name(), step.kernel.name());
            match kinds.iter_mut().find(|kind| kind.0 == name) {
                Some(kind) => (kind.1, kind.2) = (kind.1 + 1, kind.2 + us),
                None => kinds.push((name, 1, *us)),
            }
        }
        for (name, count, us) in kinds {
            self.add(format!("{title}, {} x {name}", count / positions.len()), each(us));
        }
        self.add(format!("{title}, {} steps together", steps.len()), each(times.iter().sum()));
        Ok(())
    }
}

/// A device's clock, looked at after steps.
struct Clock {
    queries: QuerySet,
    ticks: Buffer,
    /// Nanoseconds.
    period: f64,
}

impl Clock {
    fn new(gpu: &Gpu) -> Result<Self, GpuError> {
        if !gpu.device.features().contains(Features::TIMESTAMP_QUERY_INSIDE_PASSES) {
            return Err(GpuError::Unsupported {
                what: format!("{} has no clock that could be looked at between steps", gpu.name),
            });
        }
        let queries = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("steps"),
            ty: wgpu::QueryType::Timestamp,
            count: wgpu::QUERY_SET_MAX_QUERIES,
        });
        let ticks = gpu.ticks(wgpu::QUERY_SET_MAX_QUERIES);
        Ok(Self { queries, ticks, period: f64::from(gpu.queue.get_timestamp_period()) })
    }

    /// Microseconds of the steps at each position, one after another, in one submit, with a look at the clock every so many steps.
    fn times(
        &self,
        pass: &GpuForwardPass,
        scratch: &BindGroup,
        steps: &[Step],
        positions: &[u32],
        every: usize,
    ) -> Result<Vec<f64>, GpuError> {
        let machine = &pass.machine;
        let n = steps.len() * positions.len() / every + 1;
        if n > wgpu::QUERY_SET_MAX_QUERIES as usize {
            return Err(GpuError::Unsupported { what: format!("a look at the clock after {n} steps") });
        }
        machine.submit(
            |pass| {
                let mut steps_done = 0..;
                let mut look = |pass: &mut wgpu::ComputePass<'_>| {
                    if let Some(done) = steps_done.next().filter(|done| done % every == 0) {
                        pass.write_timestamp(&self.queries, (done / every) as u32);
                    }
                };
                look(pass);
                for &position in positions {
                    machine.record_each(pass, scratch, steps, position, &mut look);
                }
            },
            |encoder| encoder.resolve_query_set(&self.queries, 0..n as u32, &self.ticks, 0),
        );
        let words = machine.gpu.read(&self.ticks, 0, 2 * n)?;
        let ticks: Vec<u64> = words
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[low, high]| u64::from(*high) << 32 | u64::from(*low))
            .collect();
        Ok(ticks.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) as f64 * self.period / 1e3).collect())
    }
}

/// The median of many runs, in microseconds.
fn repeat(mut run: impl FnMut() -> Result<Duration, GpuError>) -> Result<f64, GpuError> {
    // The first may compile, while the device has nothing to do.
    run()?;
    let begun = Instant::now();
    while begun.elapsed() < WARM_UP {
        run()?;
    }
    let mut times = Vec::new();
    for _ in 0..RUNS {
        times.push(run()?.as_secs_f64() * 1e6);
    }
    Ok(median(&mut times))
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(0.0)
}

/// Tokens that differ.
fn prompt(n: usize, n_vocab: usize) -> Vec<u32> {
    (0..n).map(|i| (i * 7919 % n_vocab) as u32).collect()
}

fn failed(error: ForwardError) -> GpuError {
    GpuError::Lost { reason: error.to_string() }
}
