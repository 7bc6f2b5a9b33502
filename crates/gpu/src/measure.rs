//! What a device can do, measured: the numbers behind plans, and a first look at an unknown one.

use crate::device::Gpu;
use crate::error::GpuError;
use crate::forward::GpuForwardPass;
use crate::kernels::copy::{self, Copy};
use crate::options::GpuOptions;
use crate::plan::{Plan, Role, Step, What};
use crate::planner::{Batch, Planner, Run};
use crate::scratch::Scratch;
use model::{Choice, LayerWeights, ModelSpec, Weight, Weights};
use std::time::{Duration, Instant};
use wgpu::{BindGroup, Buffer, ComputePass};

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// The number.
    pub value: f64,
    /// `us`, `GB/s`, ...
    pub unit: &'static str,
}

/// Dispatches of a chain at most; a shorter one has a fifth, and what is reported is the slope between the two.
const LONGEST_CHAIN: usize = 1000;
/// What a chain should take at most.
const CHAIN_TIME: Duration = Duration::from_millis(60);
/// How long a measurement is repeated at least: a device takes a tenth of a second of work to reach its clock.
const WARM_UP: Duration = Duration::from_millis(120);
/// The row whose token is measured: a short context.
const POSITION: u32 = 100;
/// Rows of the prompt that is measured.
const PROMPT: usize = 512;
/// Buffers that dispatches take turns with where they are to be independent.
const APART: usize = 32;

/// The overheads of a device, and the time of each step of a layer of this model and of its head, for a token, for 2, 4 and 8
/// rows, and for a prompt of 512; also of a layer's steps in turns, as they stand there. Small tensors are measured as they wait in the
/// device's cache, since nothing comes between.
///
/// # Errors
/// See [`GpuError`].
pub fn measure(
    spec: &ModelSpec,
    weights: &Weights<'_>,
    options: &GpuOptions,
) -> Result<Vec<Measurement>, GpuError> {
    let n_layers = spec.n_layers;
    let (spec, weights) = one_layer(spec, weights);
    let context_len = options.context_len.max(2 * PROMPT);
    let options = GpuOptions { context_len, ..options.clone() };
    let mut bench =
        Bench { pass: GpuForwardPass::new(&spec, &weights, &options, &mut |_| ())?, found: vec![] };
    bench.overheads()?;
    let token = bench.token(&weights)?;
    bench.few_rows(&token, n_layers)?;
    bench.prompt()?;
    Ok(bench.found)
}

/// The first layer, and what is around the layers.
fn one_layer<'a>(spec: &ModelSpec, weights: &Weights<'a>) -> (ModelSpec, Weights<'a>) {
    let layers = weights.layers[..1].to_vec();
    (ModelSpec { n_layers: 1, ..spec.clone() }, Weights { layers, ..weights.clone() })
}

struct Bench {
    pass: GpuForwardPass,
    found: Vec<Measurement>,
}

impl Bench {
    fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.found.push(Measurement { name: name.into(), value, unit });
    }

    fn overheads(&mut self) -> Result<(), GpuError> {
        let bandwidth = self.copy_bandwidth()?;
        self.add("copy, read and write", bandwidth, "GB/s");
        let nothing = [empty_step()];
        self.pass.machine.prepare(&nothing)?;
        let scratch = self.pass.token.group.clone();
        let dependent = self.chain(&scratch, &nothing)?;
        self.add("dispatch, dependent on the one before", dependent, "us");
        let independent = self.independent()?;
        self.add("dispatch, independent", independent, "us");
        let encode = self.encode(&nothing);
        self.add("dispatch, recorded by the host", encode, "us");
        let sync = self.sync()?;
        self.add("submit, wait and read 4 bytes", sync, "us");
        Ok(())
    }

    /// The steps of a token, and every product by itself; microseconds of these by role.
    fn token(&mut self, weights: &Weights<'_>) -> Result<Vec<(Role, f64)>, GpuError> {
        let mut plan = self.pass.plans.at(POSITION as usize).clone();
        let apart = Planner { apart: true, ..self.pass.planner() }.token(1);
        let in_turns = of_layers(&plan);
        let known = |role| plan.steps.iter().any(|step| step.what.role == role);
        let others =
            apart.steps.into_iter().filter(|step| is_product(step.what.role) && !known(step.what.role));
        let others: Vec<Step> = others.collect();
        plan.steps.extend(others);
        let choose = self.pass.planner().choose(&Choice::GREEDY).unwrap_or_default();
        plan.steps.extend(choose.steps);
        self.pass.machine.prepare(&plan.steps)?;
        let scratch = self.pass.token.group.clone();
        let mut times = Vec::new();
        for steps in by_role(&plan) {
            let us = self.chain(&scratch, steps)?;
            let what = steps[0].what.role;
            let name = format!("1 row, {}", steps[0].what);
            self.add(&name, us, "us");
            if let Some(bytes) = weight_bytes(what, weights) {
                self.add(&name, bytes as f64 / us / 1e3, "GB/s");
            }
            times.push((what, us));
        }
        let us = self.chain(&scratch, &in_turns)?;
        self.add(format!("1 row, {IN_TURNS}"), us, "us");
        Ok(times)
    }

    /// The products of 2, 4 and 8 rows, and how many tokens those of a whole model are worth: of all its layers, and its head.
    fn few_rows(&mut self, token: &[(Role, f64)], n_layers: usize) -> Result<(), GpuError> {
        for n_rows in [2, 4, 8] {
            let (mut one, mut all) = (0.0, 0.0);
            for Timed { what, us, .. } in self.batch(n_rows)? {
                let Some((_, single)) = token.iter().find(|(role, _)| *role == what.role) else { continue };
                if !is_product(what.role) {
                    continue;
                }
                self.add(format!("{n_rows} rows, {what}"), us, "us");
                let times = if what.layer.is_some() { n_layers as f64 } else { 1.0 };
                one += times * single;
                all += times * us;
            }
            self.add(format!("{n_rows} rows, all products, gain per row"), one * n_rows as f64 / all, "x");
        }
        Ok(())
    }

    fn prompt(&mut self) -> Result<(), GpuError> {
        for Timed { what, us, work } in self.batch(PROMPT)? {
            let name = format!("{PROMPT} rows, {what}");
            self.add(&name, us, "us");
            if is_product(what.role) {
                self.add(&name, (2 * work) as f64 / us / 1e6, "TFLOP/s");
            }
        }
        Ok(())
    }

    /// The steps of a batch of one sequence, by role; those of its layer in turns are added to what was found.
    fn batch(&mut self, n_rows: usize) -> Result<Vec<Timed>, GpuError> {
        let pass = &mut self.pass;
        let n_rows = n_rows.min(pass.batch_regions.n_rows);
        let at = pass.machine.tables_at;
        let batch = Batch { runs: vec![Run { first: 0, n_rows, table: at.blocks }] };
        let rows: Vec<u32> = (0..n_rows as u32).flat_map(|i| [i, at.blocks, 0, 0]).collect();
        pass.machine.write_tables(at.rows, &rows);
        let planner = Planner { regions: pass.batch_regions, ..pass.planner() };
        let mut plan = planner.batch(&batch, 1);
        if n_rows <= 8 {
            plan.steps.extend(planner.logits(0, n_rows).steps);
        }
        pass.machine.prepare(&plan.steps)?;
        let scratch = Scratch::new(
            &pass.machine.gpu,
            &pass.machine.pipelines,
            pass.batch_regions,
            &pass.machine.tables,
            &pass.machine.tokens,
        );
        let timed = |steps: &[Step]| {
            let work = steps.iter().map(|step| step.work).sum();
            Ok(Timed { what: steps[0].what, us: self.chain(&scratch.group, steps)?, work })
        };
        let steps = by_role(&plan).into_iter().map(timed).collect::<Result<_, GpuError>>()?;
        let us = self.chain(&scratch.group, &of_layers(&plan))?;
        self.add(format!("{n_rows} rows, {IN_TURNS}"), us, "us");
        Ok(steps)
    }

    /// Microseconds of `steps` in a chain in which each waits for the one before.
    fn chain(&self, scratch: &BindGroup, steps: &[Step]) -> Result<f64, GpuError> {
        let machine = &self.pass.machine;
        let time = |n: usize| {
            best_seconds(&machine.gpu, |pass| {
                (0..n).for_each(|_| machine.record(pass, scratch, steps, POSITION))
            })
        };
        slope(time)
    }

    /// Microseconds of a dispatch that has nothing to wait for.
    fn independent(&mut self) -> Result<f64, GpuError> {
        let machine = &self.pass.machine;
        let small = |label| machine.gpu.private(label, 256);
        let sets: Vec<[Buffer; 4]> =
            (0..APART).map(|_| ["kv", "scratch", "tables", "tokens"].map(small)).collect();
        let groups: Vec<[BindGroup; 2]> = sets
            .iter()
            .map(|[kv, scratch, tables, tokens]| {
                let pipelines = &machine.pipelines;
                [pipelines.kv(&machine.gpu, kv), pipelines.scratch(&machine.gpu, scratch, tables, tokens)]
            })
            .collect();
        let step = empty_step();
        let (params, n_params) = step.params(0);
        let time = |n: usize| {
            best_seconds(&machine.gpu, |pass| {
                pass.set_pipeline(machine.pipelines.get(&step.kernel));
                pass.set_bind_group(0, &machine.weights[0].read, &[]);
                pass.set_immediates(0, bytemuck::cast_slice(&params[..n_params]));
                for [kv, scratch] in groups.iter().cycle().take(n) {
                    pass.set_bind_group(1, kv, &[]);
                    pass.set_bind_group(2, scratch, &[]);
                    pass.dispatch_workgroups(1, 1, 1);
                }
            })
        };
        slope(time)
    }

    /// Microseconds that the host takes to record a dispatch.
    fn encode(&self, steps: &[Step]) -> f64 {
        let machine = &self.pass.machine;
        let mut best = f64::INFINITY;
        for _ in 0..20 {
            let mut encoder =
                machine.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let started = Instant::now();
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                (0..200).for_each(|_| machine.record(&mut pass, &self.pass.token.group, steps, 0));
            }
            drop(encoder.finish());
            best = best.min(started.elapsed().as_secs_f64() * 1e6 / 200.0);
        }
        best
    }

    /// Microseconds of an empty submit and its wait, the median.
    fn sync(&self) -> Result<f64, GpuError> {
        let mut waits = Vec::new();
        for _ in 0..20 {
            let started = Instant::now();
            self.pass.machine.gpu.read(&self.pass.token.buffer, 0, 1)?;
            waits.push(started.elapsed().as_secs_f64() * 1e6);
        }
        waits.sort_by(f64::total_cmp);
        Ok(waits[waits.len() / 2])
    }

    /// GB/s of a large copy by a kernel, bytes read and written counted.
    fn copy_bandwidth(&mut self) -> Result<f64, GpuError> {
        let machine = &mut self.pass.machine;
        let software = machine.gpu.info.device_type == wgpu::DeviceType::Cpu;
        let len = machine.gpu.caps.max_binding.min(if software { 16 << 20 } else { 512 << 20 });
        let [from, to] = ["copy from", "copy to"].map(|label| machine.gpu.private(label, len));
        let small = machine.gpu.private("small", 256);
        let n_quads = (len / 16) as usize;
        let params = copy::Params { x: 0, y: 0, n_quads: n_quads as u32 };
        let what = What::new(Role::TokenEmbd, None, [4 * n_quads; 2]);
        let step = Step::new(Copy.kernel(), what, &params, Copy.grid(n_quads));
        machine.prepare([&step])?;
        let weights = machine.pipelines.weights(&machine.gpu, &from);
        let scratch = machine.pipelines.scratch(&machine.gpu, &to, &small, &machine.tokens);
        let machine = &*machine;
        let (params, n_params) = step.params(0);
        let us = slope(|n: usize| {
            best_seconds(&machine.gpu, |pass| {
                pass.set_pipeline(machine.pipelines.get(&step.kernel));
                pass.set_bind_group(0, &weights.read, &[]);
                pass.set_bind_group(1, machine.kv.group(0), &[]);
                pass.set_bind_group(2, &scratch, &[]);
                pass.set_immediates(0, bytemuck::cast_slice(&params[..n_params]));
                let [x, y, z] = step.grid;
                (0..n).for_each(|_| pass.dispatch_workgroups(x, y, z));
            })
        })?;
        Ok(2.0 * len as f64 / us / 1e3)
    }
}

/// A dispatch that copies sixteen bytes.
fn empty_step() -> Step {
    let params = copy::Params { x: 0, y: 0, n_quads: 1 };
    Step::new(Copy.kernel(), What::new(Role::TokenEmbd, None, [4, 4]), &params, [1, 1, 1])
}

/// What the steps of a layer in turns are called.
const IN_TURNS: &str = "all steps of a layer in turns";

/// The steps of layers.
fn of_layers(plan: &Plan) -> Vec<Step> {
    plan.steps.iter().filter(|step| step.what.layer.is_some()).cloned().collect()
}

/// Neighbouring steps of one role, which belong to one tensor or one task.
fn by_role(plan: &Plan) -> Vec<&[Step]> {
    plan.steps.chunk_by(|a, b| a.what.role == b.what.role).collect()
}

fn is_product(role: Role) -> bool {
    matches!(
        role,
        Role::AttnQkv
            | Role::AttnOutput
            | Role::FfnGateUp
            | Role::FfnGate
            | Role::FfnUp
            | Role::FfnDown
            | Role::Output
    )
}

/// The steps of a role.
struct Timed {
    what: What,
    us: f64,
    /// Multiplications of its products.
    work: u64,
}

/// Bytes of weights that the products of a role read.
fn weight_bytes(role: Role, weights: &Weights<'_>) -> Option<u64> {
    let layer: &LayerWeights<'_> = &weights.layers[0];
    let tensors: &[&Weight<'_>] = match role {
        Role::AttnQkv => &[&layer.attn_q, &layer.attn_k, &layer.attn_v],
        Role::AttnOutput => &[&layer.attn_output],
        Role::FfnGateUp => &[&layer.ffn_gate, &layer.ffn_up],
        Role::FfnGate => &[&layer.ffn_gate],
        Role::FfnUp => &[&layer.ffn_up],
        Role::FfnDown => &[&layer.ffn_down],
        Role::Output => &[&weights.output],
        _ => return None,
    };
    Some(tensors.iter().map(|weight| weight.len_bytes()).sum())
}

/// Microseconds of one of `n` equal things, whose time together `seconds` gives: what each further one takes; where that is lost in
/// how much times vary, what one of many takes with its share of the wait, which is more.
fn slope(seconds: impl Fn(usize) -> Result<f64, GpuError>) -> Result<f64, GpuError> {
    // A first guess; much of what one takes is the wait.
    let one = seconds(1)?;
    if one > CHAIN_TIME.as_secs_f64() {
        return Ok(one * 1e6);
    }
    let guess = ((CHAIN_TIME.as_secs_f64() / one.max(1e-9)) as usize).clamp(5, 50);
    let each = seconds(guess)? / guess as f64;
    let long = ((CHAIN_TIME.as_secs_f64() / each.max(1e-9)) as usize).clamp(5, LONGEST_CHAIN);
    let short = long / 5;
    let [all, few] = [seconds(long)?, seconds(short)?];
    let each = if all > few { (all - few) / (long - short) as f64 } else { all / long as f64 };
    Ok(each * 1e6)
}

/// The shortest of many runs of what `work` records. The clock starts when it is submitted: the host records while the device is
/// busy with what came before, in a decode as well.
fn best_seconds(gpu: &Gpu, work: impl Fn(&mut ComputePass<'_>)) -> Result<f64, GpuError> {
    let (begun, mut best, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs == 0 || (begun.elapsed() < WARM_UP && runs < 200) {
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        work(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
        let recorded = encoder.finish();
        let started = Instant::now();
        gpu.queue.submit([recorded]);
        gpu.wait()?;
        best = best.min(started.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::slope;

    /// Things that take `each` seconds behind a wait of `wait`.
    fn found(wait: f64, each: f64) -> f64 {
        slope(|n| Ok(wait + each * n as f64)).unwrap()
    }

    #[test]
    fn what_things_take_is_told_without_the_wait() {
        for (wait, each) in [(0.0, 2e-6), (1e-3, 2e-6), (1e-4, 5e-4), (1e-2, 1e-2)] {
            let us = found(wait, each);
            assert!((us - each * 1e6).abs() < 1e-3 * each * 1e6, "{us} of {each}");
        }
        assert_eq!(found(0.0, 1.0), 1e6, "longer than a chain should take");
    }

    #[test]
    fn nothing_takes_no_time() {
        // The longer chain was not slower.
        assert!((10.0..1000.0).contains(&found(1e-2, 0.0)), "{}", found(1e-2, 0.0));
        assert!(found(1e-2, -1e-6) > 0.0);
    }
}
