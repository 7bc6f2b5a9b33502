//! The kernels against f64, on whatever adapter there is: software Vulkan in CI.

#![allow(
    clippy::single_range_in_vec_init,
    reason = "the ranges that a kernel may write are a list, if a short one"
)]

mod argmax;
mod attend;
mod attend_hidden;
mod attend_prompt;
mod copy;
mod device_memory;
mod doctor;
mod embed;
mod emulator;
mod forward;
mod forward_int8;
mod fused;
mod gemm;
mod gemm_heads;
mod gemm_matrix;
mod history;
mod matvec;
mod matvec_int8;
mod matvec_rows;
mod msl;
mod persistent;
mod persistent_draws;
mod persistent_groups;
mod persistent_texts;
mod plan;
mod profile;
mod quantize;
mod rms_norm;
mod rope_kv;
mod rounding;
mod rows;
mod sampling;
mod silu_mul;
mod top_candidates;
mod upload;
pub(crate) mod variants;

use crate::device::{AdapterChoice, Caps, Gpu};
use crate::kernels::Kernel;
use crate::layout::{Areas, pack};
use crate::pipeline::{Checks, Pipelines};
use emulator::Emulator;
use gguf::TensorType;
use testkit::Random;

/// Bits of a NaN that no kernel makes: what every output is filled with before a run.
const POISON: u32 = 0x7fc0_dead;
/// Floats around each region that must stay as they were.
const GUARD: usize = 64;

/// Where kernels are tried out.
struct Lab {
    caps: Caps,
    machine: Machine,
}

enum Machine {
    /// A device with its pipelines.
    Gpu(Box<(Gpu, Pipelines)>),
    /// Metal's view of the kernels, on the CPU.
    Emulator(Emulator),
}

/// A dispatch.
struct Step {
    kernel: Kernel,
    params: Vec<u8>,
    grid: [u32; 3],
}

impl Step {
    fn new<P: bytemuck::NoUninit>(kernel: Kernel, params: &P, grid: [u32; 3]) -> Self {
        Self { kernel, params: bytemuck::bytes_of(params).to_vec(), grid }
    }
}

/// What a kernel sees.
#[derive(Default, Clone)]
struct Memory {
    weights: Vec<u32>,
    kv: Vec<u32>,
    scratch: Vec<u32>,
    tables: Vec<u32>,
    tokens: Vec<u32>,
}

impl Lab {
    fn new(checks: Checks) -> Self {
        let choice = AdapterChoice { allow_software: true, ..AdapterChoice::default() };
        let gpu = Gpu::open(choice, None)
            .expect("the tests need a GPU, or software Vulkan (Debian: mesa-vulkan-drivers libvulkan1)");
        let pipelines = Pipelines::new(&gpu, checks);
        Self { caps: gpu.caps, machine: Machine::Gpu(Box::new((gpu, pipelines))) }
    }

    /// Whether a shader's results are the same with checks and without: elsewhere compilers fuse other additions.
    fn exact(&self) -> bool {
        match &self.machine {
            Machine::Gpu(gpu) => gpu.0.name.contains("llvmpipe"),
            Machine::Emulator(_) => true,
        }
    }

    /// With kernels that use no subgroup operations.
    fn without_subgroups(mut self) -> Self {
        self.caps.subgroups = false;
        if let Machine::Gpu(device) = &mut self.machine {
            device.0.caps = self.caps;
        }
        self
    }

    fn emulator() -> Self {
        Self { caps: variants::APPLE_MATRICES, machine: Machine::Emulator(Emulator::default()) }
    }

    /// Runs one step and gives back what it may have written.
    fn run(&mut self, kernel: Kernel, params: &[u8], grid: [u32; 3], memory: &Memory) -> Memory {
        self.run_all(&[Step { kernel, params: params.to_vec(), grid }], memory)
    }

    /// Runs steps in one pass and gives back what they may have written.
    fn run_all(&mut self, steps: &[Step], memory: &Memory) -> Memory {
        match &mut self.machine {
            Machine::Gpu(device) => {
                let (gpu, pipelines) = &mut **device;
                run_on_gpu(gpu, pipelines, steps, memory)
            }
            Machine::Emulator(emulator) => steps.iter().fold(memory.clone(), |memory, step| {
                emulator.run(step.kernel, self.caps, &step.params, step.grid, &memory)
            }),
        }
    }
}

fn run_on_gpu(gpu: &Gpu, pipelines: &mut Pipelines, steps: &[Step], memory: &Memory) -> Memory {
    pipelines.prepare(gpu, steps.iter().map(|step| step.kernel)).unwrap();
    let upload = |label, words: &[u32]| {
        let buffer = gpu.private(label, 4 * words.len() as u64);
        gpu.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
        buffer
    };
    let weights = upload("weights", &memory.weights);
    let kv = upload("kv", &memory.kv);
    let scratch = upload("scratch", &memory.scratch);
    let tables = upload("tables", &memory.tables);
    let tokens = upload("tokens", &memory.tokens);
    let weights = pipelines.weights(gpu, &weights);
    let others = [pipelines.kv(gpu, &kv), pipelines.scratch(gpu, &scratch, &tables, &tokens)];
    let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        for step in steps {
            pass.set_pipeline(pipelines.get(&step.kernel));
            for (i, group) in (0..).zip([weights.of(&step.kernel)].into_iter().chain(&others)) {
                pass.set_bind_group(i, group, &[]);
            }
            pass.set_immediates(0, &step.params);
            let [x, y, z] = step.grid;
            pass.dispatch_workgroups(x, y, z);
        }
    }
    gpu.queue.submit([encoder.finish()]);
    Memory {
        kv: gpu.read(&kv, 0, memory.kv.len()).unwrap(),
        scratch: gpu.read(&scratch, 0, memory.scratch.len()).unwrap(),
        tokens: gpu.read(&tokens, 0, memory.tokens.len()).unwrap(),
        ..memory.clone()
    }
}

/// A tensor of random weights: its words on the GPU, where its areas begin, and its values.
struct Tensor {
    words: Vec<u32>,
    areas: Areas,
    starts: [u32; 4],
    n_units: u32,
    values: Vec<f32>,
}

impl Tensor {
    fn random(random: &mut Random, ty: TensorType, rows: usize, cols: usize) -> Self {
        let bytes = testkit::random_matrix(random, ty, rows, cols, 1.0);
        let mut values = vec![0.0; rows * cols];
        ty.decode(&bytes, &mut values).unwrap();
        let areas = Areas::new(ty, rows, cols);
        let mut words = vec![0; areas.len_words()];
        pack(ty, cols, &bytes, &areas, (0, 1), &mut words);
        let [_, a, b, c, _] = areas.starts().map(|start| start as u32);
        Self { words, areas, starts: [0, a, b, c], n_units: cols.div_ceil(32) as u32, values }
    }
}

fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&w| f32::from_bits(w)).collect()
}

fn words(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|f| f.to_bits()).collect()
}
