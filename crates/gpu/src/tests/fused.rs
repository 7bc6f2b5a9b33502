//! The plan of a token against one whose norms and rotations are dispatches of their own.

use super::forward::{OWN, options};
use crate::GpuForwardPass;
use crate::device::Caps;
use crate::kernels::Kernel;
use crate::kernels::attend::{self, Attend, Output, Queries};
use crate::kernels::floats::Floats;
use crate::kernels::matvec::Prologue;
use crate::kernels::rms_norm::{self, RmsNorm};
use crate::kernels::rope_kv::{self, RopeKv};
use crate::plan::{Plan, Role, Step, What};
use crate::planner::Planner;
use crate::regions::heads;
use gguf::TensorType;
use model::{ForwardPass, ModelSpec, Row, Synthetic, SyntheticPreset, Weights};
use std::time::Instant;

/// SmolLM-135M's shape: 576->576, 576->192 (three tensors as one: 576->960), 576->1536, 1536->576, 576->49152.
fn smollm(layers: TensorType) -> GpuForwardPass {
    let preset = SyntheticPreset::ALL[0];
    let source = Synthetic::with_types(preset, [layers, TensorType::Q8_0], 3);
    let spec: ModelSpec = preset.spec();
    let weights = Weights::new(&spec, &source).unwrap();
    GpuForwardPass::new(&spec, &weights, &options(256), &mut |_| ()).unwrap()
}

/// The plan of a token in `splits` parts whose attention is in steps of its own.
fn readable(pass: &GpuForwardPass, splits: usize) -> Plan {
    Planner { apart: true, ..pass.planner() }.token(splits)
}

/// `plan` with norms, and rotation with the cache's writes, taken out of the steps that they are part of.
fn apart(pass: &GpuForwardPass, plan: &Plan) -> Plan {
    let mut steps = Vec::new();
    for step in &plan.steps {
        match step.kernel {
            Kernel::Matvec(kernel) => steps.extend(norm_apart(pass, step, kernel)),
            Kernel::Attend(_) => steps.extend(rotation_apart(pass, step)),
            _ => steps.push(step.clone()),
        }
    }
    Plan { steps }
}

fn norm_apart(pass: &GpuForwardPass, step: &Step, fused: crate::kernels::matvec::Matvec) -> Vec<Step> {
    let Prologue::Norm { eps_bits } = fused.prologue else { return vec![step.clone()] };
    let r = &pass.token.regions;
    // Somewhere that nobody needs at the time.
    let normed = if step.what.role == Role::Output { r.qkv.at } else { r.logits.at };
    let norm = RmsNorm { n_cols: fused.n_cols, eps_bits, y: Floats::F32, n_partials: 0 };
    let mut params: crate::kernels::matvec::Params = step.params_as(0);
    let norm_params = rms_norm::Params {
        x: params.x,
        x_stride: 0,
        y: normed,
        y_stride: 0,
        norm: params.norm,
        partials: 0,
        partial_stride: 0,
    };
    let what = What::new(Role::AttnNorm, step.what.layer, [fused.n_cols; 2]);
    let first = Step::new(norm.kernel(), what, &norm_params, norm.grid(1)).with_weights(step.weights);
    let mut plain = fused;
    plain.prologue = Prologue::Plain;
    params.x = normed;
    let second = Step::new(plain.kernel(), step.what, &params, step.grid);
    vec![first, second.with_weights(step.weights)]
}

fn rotation_apart(pass: &GpuForwardPass, step: &Step) -> Vec<Step> {
    let (spec, rows) = (&pass.spec, pass.machine.tables_at.rows);
    let params: attend::Params = step.params_as(0);
    let rope = RopeKv::new(heads(spec), pass.planner().rotation());
    let rope_params = rope_kv::Params {
        q: params.q,
        k: params.k,
        v: params.v,
        stride: params.stride,
        kv: params.kv,
        rope: params.rope,
        rows,
        q_norm: params.q_norm,
        k_norm: params.k_norm,
    };
    let what = What::new(Role::RopeKv, step.what.layer, step.what.shape);
    let first = Step::new(rope.kernel(), what, &rope_params, rope.grid(1));
    let attend = Attend::new(heads(spec), Queries::Rotated, Output::of(heads(spec), params.splits as usize));
    let second = Step::new(attend.kernel(), step.what, &attend::Params { rows, ..params }, step.grid);
    [first, second].map(|new| new.with_weights(step.weights).with_kv(step.kv)).to_vec()
}

/// The embedding and `plan` for the row at `position`; what is read of scratch then.
fn run(pass: &mut GpuForwardPass, plan: &Plan, position: u32, at: u32, len: usize) -> Vec<f32> {
    pass.machine.prepare(&plan.steps).unwrap();
    pass.write_table();
    pass.machine.write_tables(pass.machine.tables_at.rows, &[position, pass.machine.tables_at.blocks, 0, 0]);
    let machine = &pass.machine;
    machine.submit(
        |p| {
            machine.record(p, &pass.token.group, &pass.plans.embedding.steps, position);
            machine.record(p, &pass.token.group, &plan.steps, position);
        },
        |_| (),
    );
    let words = machine.gpu.read(&pass.token.buffer, at as usize, len).unwrap();
    words.into_iter().map(f32::from_bits).collect()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert!(largest > 0.0 && largest.is_finite());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max) / largest
}

/// Two plans for the row at `position`, the first of them up to each role, leave the same within a bound: floats at a place.
fn same(pass: &mut GpuForwardPass, plans: [&Plan; 2], position: u32, places: &[(Role, u32, usize, f32)]) {
    for &(role, at, len, bound) in places {
        let until = |plan: &Plan| {
            let last = plan.steps.iter().position(|step| step.what.role == role).unwrap();
            Plan { steps: plan.steps[..=last].to_vec() }
        };
        let results = plans.map(|plan| run(pass, &until(plan), position, at, len));
        let apart = distance(&results[0], &results[1]);
        assert!(apart <= bound, "{role:?} of {}: {apart}", plans[0]);
        assert!(role != Role::Output || results[0] != results[1], "the two plans are two");
    }
}

#[test]
fn fused_and_apart_come_to_the_same() {
    for ty in [TensorType::Q4_0, TensorType::F32] {
        // All layers where weights are small.
        let mut pass = smollm(ty);
        let tokens = [11, 500, 7, 40_000, 3, 9];
        pass.forward(&Row::prompt(OWN, 0, &tokens)).unwrap();
        let fused = readable(&pass, 1);
        let apart = apart(&pass, &fused);
        assert!(apart.n_dispatches() > fused.n_dispatches() + 3 * 30, "{}", apart.n_dispatches());
        let r = pass.token.regions;
        // Step by step within the first layer, then after all of them.
        let places = [
            (Role::AttnQkv, r.qkv.at, 960, 1e-4),
            (Role::Attn, r.attended.at, 576, 1e-4),
            (Role::AttnOutput, r.hidden.at, 576, 1e-4),
            (Role::FfnGateUp, r.gated.at, 1536, 1e-4),
            (Role::FfnDown, r.hidden.at, 576, 1e-4),
            (Role::Output, r.logits.at, 49_152, 1e-3),
        ];
        same(&mut pass, [&fused, &apart], tokens.len() as u32 - 1, &places);
    }
}

#[test]
fn attention_from_the_hidden_state_comes_to_the_same() {
    let mut pass = smollm(TensorType::Q4_0);
    let tokens: Vec<u32> = (0..200).map(|i| (i * 7919 + 11) % 49_000).collect();
    pass.forward(&Row::prompt(OWN, 0, &tokens)).unwrap();
    let r = pass.token.regions;
    for (splits, steps) in [(1, 91), (4, 121)] {
        let planner = pass.planner();
        let caps = Caps { wide: true, ..planner.caps };
        let fused = Planner { caps, ..planner }.token(splits);
        assert_eq!(fused.n_dispatches(), steps);
        let apart = readable(&pass, splits);
        assert_eq!(apart.n_dispatches(), 151);
        let places = [
            (Role::FfnGateUp, r.gated.at, 1536, 1e-4),
            (Role::FfnDown, r.hidden.at, 576, 1e-4),
            (Role::Output, r.logits.at, 49_152, 1e-3),
        ];
        same(&mut pass, [&fused, &apart], tokens.len() as u32 - 1, &places);
    }
}

/// Not a test but a measurement, for real devices: `cargo test --release -p metal-attention-gpu fused_is_faster -- --ignored
/// --nocapture`.
#[test]
#[ignore = "a measurement"]
fn fused_is_faster() {
    let mut pass = smollm(TensorType::Q4_0);
    pass.forward(&Row::prompt(OWN, 0, &[1; 100])).unwrap();
    let fused = pass.plans.at(100).clone();
    let apart = apart(&pass, &readable(&pass, 1));
    let mut best = [f64::INFINITY; 2];
    for _ in 0..30 {
        for (best, plan) in best.iter_mut().zip([&fused, &apart]) {
            run(&mut pass, plan, 100, 0, 1);
            let started = Instant::now();
            let machine = &pass.machine;
            machine.submit(
                |p| (0..20).for_each(|_| machine.record(p, &pass.token.group, &plan.steps, 100)),
                |_| (),
            );
            machine.gpu.wait().unwrap();
            *best = best.min(started.elapsed().as_secs_f64() * 1e6 / 20.0);
        }
    }
    let device = &pass.device.name;
    println!("{device}: fused {:.0} us ({} dispatches)", best[0], fused.n_dispatches());
    println!("{device}: apart {:.0} us ({} dispatches)", best[1], apart.n_dispatches());
    assert!(best[0] < best[1]);
}
