//! What a device can do, measured: the numbers behind plans, and a first look at an unknown one.

use crate::device::{AdapterChoice, Gpu};
use crate::error::GpuError;
use crate::kernels::matvec::{Epilogue, Matvec, Params, Prologue};
use crate::pipeline::{Checks, Pipelines};
use crate::plan::{Plan, Role, Step, What};
use crate::weights::{Layout, Order};
use model::{Synthetic, SyntheticPreset, Weights};
use std::time::{Duration, Instant};
use wgpu::{BindGroup, Buffer};

/// One number.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// The number.
    pub value: f64,
    /// `us`, `GB/s`, ...
    pub unit: &'static str,
}

/// Dispatches in the long chain; the short one has a fifth, and what is reported is the slope between the two.
const CHAIN: usize = 1500;
/// How long a measurement is repeated.
const WARM_UP: Duration = Duration::from_millis(250);

/// A device with the buffers of a few tensors of real shape.
struct Bench {
    gpu: Gpu,
    pipelines: Pipelines,
    groups: [BindGroup; 3],
    scratch: Buffer,
}

/// Copy bandwidth, the costs of dispatch, encoding and waiting, and the matrix-vector products of `preset`.
///
/// # Errors
/// No such adapter, or a driver that fails.
pub fn measure(choice: AdapterChoice, preset: SyntheticPreset) -> Result<Vec<Measurement>, GpuError> {
    let gpu = Gpu::open(choice, None)?;
    let mut found = vec![copy_bandwidth(&gpu)?];
    let spec = preset.spec();
    let source = Synthetic::new(preset, 7);
    let weights = Weights::new(&spec, &source)
        .map_err(|error| GpuError::Refused { what: preset.name.to_owned(), message: error.to_string() })?;
    let layer = &weights.layers[0];
    let mut layout = Layout::new(gpu.caps.max_binding);
    let norm = vec![vec![1.0; spec.n_embd]];
    let eps_bits = spec.rms_eps.to_bits();
    let normed = Prologue::Norm { eps_bits };
    let mut tensors = Vec::new();
    for (name, sources, order, vectors, prologue, epilogue) in [
        (
            "qkv",
            vec![&layer.attn_q, &layer.attn_k, &layer.attn_v],
            Order::Joined,
            &norm[..],
            normed,
            Epilogue::Store,
        ),
        ("attn_output", vec![&layer.attn_output], Order::Joined, &[], Prologue::Plain, Epilogue::Add),
        (
            "gate_up",
            vec![&layer.ffn_gate, &layer.ffn_up],
            Order::Alternating,
            &norm[..],
            normed,
            Epilogue::SiluMul,
        ),
        ("ffn_down", vec![&layer.ffn_down], Order::Joined, &[], Prologue::Plain, Epilogue::Add),
        ("output", vec![&weights.output], Order::Joined, &norm[..], normed, Epilogue::Store),
    ] {
        let parts = layout.add(&sources, order, vectors)?;
        tensors.push((name, parts, prologue, epilogue));
    }
    let buffers = layout.upload(&gpu, &mut |_| ())?;
    let longest = spec.n_vocab.max(spec.n_ff * 2) + spec.n_embd;
    let scratch = gpu.private("scratch", 4 * 2 * longest.next_multiple_of(64) as u64);
    let small = gpu.private("small", 256);
    let pipelines = Pipelines::new(&gpu, Checks::Off);
    let groups = [
        pipelines.weights(&gpu, &buffers[0]),
        pipelines.kv(&gpu, &small),
        pipelines.scratch(&gpu, &scratch, &gpu.private("tables", 256), &gpu.private("tokens", 256)),
    ];
    let mut bench = Bench { gpu, pipelines, groups, scratch };
    for (name, parts, prologue, epilogue) in tensors {
        let (placed, offsets) = &parts[0];
        bench.groups[0] = bench.pipelines.weights(&bench.gpu, &buffers[placed.buffer]);
        let kernel = Matvec::new(placed.ty, placed.n_cols, placed.n_groups, prologue, epilogue, bench.gpu.caps);
        let params = Params {
            quads: placed.quads,
            words: placed.words,
            pairs: placed.pairs,
            supers: placed.supers,
            n_units: placed.n_units,
            x: 0,
            y: longest.next_multiple_of(64) as u32,
            norm: offsets.first().map_or(0, |at| at / 4),
            bias: 0,
        };
        let what = What::new(Role::Output, None, [placed.n_cols, placed.n_groups * 32]);
        let step = Step::new(kernel.kernel(), what, &params, kernel.grid(placed.n_groups));
        let us = bench.chain(&step)?;
        let bytes = placed.ty.row_bytes(placed.n_cols as u64).unwrap_or(0) * (placed.n_groups * 32) as u64;
        found.push(Measurement { name: format!("{} {name}", kernel.name()), value: us, unit: "us" });
        found.push(Measurement {
            name: format!("{} {name}", kernel.name()),
            value: bytes as f64 / us / 1e3,
            unit: "GB/s",
        });
    }
    found.extend(bench.overheads()?);
    Ok(found)
}

impl Bench {
    /// Microseconds of one dispatch in a chain of dependent ones.
    fn chain(&mut self, step: &Step) -> Result<f64, GpuError> {
        self.pipelines.prepare(&self.gpu, [step.kernel])?;
        let time = |this: &Self, n: usize| -> Result<f64, GpuError> {
            let plan = Plan { steps: vec![step.clone(); n] };
            best_seconds(|| {
                this.submit(&plan);
                this.gpu.wait()
            })
            .map(|seconds| seconds * 1e6)
        };
        Ok((time(self, CHAIN)? - time(self, CHAIN / 5)?) / (CHAIN - CHAIN / 5) as f64)
    }

    fn submit(&self, plan: &Plan) {
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (i, group) in (0..).zip(&self.groups) {
                pass.set_bind_group(i, group, &[]);
            }
            for step in &plan.steps {
                pass.set_pipeline(self.pipelines.get(&step.kernel));
                let (params, n) = step.params(0);
                pass.set_immediates(0, bytemuck::cast_slice(&params[..n]));
                let [x, y, z] = step.grid;
                pass.dispatch_workgroups(x, y, z);
            }
        }
        self.gpu.queue.submit([encoder.finish()]);
    }

    /// What an empty submit and its wait take.
    fn overheads(&self) -> Result<Vec<Measurement>, GpuError> {
        let mut waits = Vec::new();
        for _ in 0..20 {
            let started = Instant::now();
            self.gpu.read(&self.scratch, 0, 1)?;
            waits.push(started.elapsed().as_secs_f64() * 1e6);
        }
        waits.sort_by(f64::total_cmp);
        Ok(vec![Measurement {
            name: "submit, wait and read 4 bytes".into(),
            value: waits[waits.len() / 2],
            unit: "us",
        }])
    }
}

/// A large copy on the device, bytes read and written counted.
fn copy_bandwidth(gpu: &Gpu) -> Result<Measurement, GpuError> {
    let len = gpu.caps.max_binding.min(512 << 20);
    let (from, to) = (gpu.private("copy from", len), gpu.private("copy to", len));
    let copies = 8;
    let best = best_seconds(|| {
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for _ in 0..copies {
            encoder.copy_buffer_to_buffer(&from, 0, &to, 0, len);
        }
        gpu.queue.submit([encoder.finish()]);
        gpu.wait()
    })?;
    Ok(Measurement { name: "copy".into(), value: 2.0 * (copies * len) as f64 / best / 1e9, unit: "GB/s" })
}

/// The shortest of many runs of `work`: a device takes a tenth of a second of work to reach its clock.
fn best_seconds(work: impl Fn() -> Result<(), GpuError>) -> Result<f64, GpuError> {
    let (begun, mut best, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs < 5 || (begun.elapsed() < WARM_UP && runs < 200) {
        let started = Instant::now();
        work()?;
        best = best.min(started.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(best)
}
