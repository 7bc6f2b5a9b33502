//! The kernels against f64, on whatever adapter there is: software Vulkan in CI.

mod argmax;
mod attend;
mod attend_prompt;
mod embed;
mod forward;
mod gemm;
mod history;
mod matvec;
mod matvec_rows;
mod plan;
mod rms_norm;
mod rope_kv;
mod rows;
mod sampling;
mod silu_mul;
mod top_candidates;

use crate::device::{AdapterChoice, Gpu};
use crate::kernels::Kernel;
use crate::layout::{Areas, pack};
use crate::pipeline::{Checks, Pipelines};
use gguf::TensorType;
use testkit::Random;

/// Bits of a NaN that no kernel makes: what every output is filled with before a run.
const POISON: u32 = 0x7fc0_dead;
/// Floats around each region that must stay as they were.
const GUARD: usize = 64;

/// A device with its pipelines.
struct Lab {
    gpu: Gpu,
    pipelines: Pipelines,
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
            .expect("the tests need a GPU, or software Vulkan (Debian: mesa-vulkan-drivers)");
        let pipelines = Pipelines::new(&gpu, checks);
        Self { gpu, pipelines }
    }

    /// Runs one step and gives back what it may have written.
    fn run(&mut self, kernel: Kernel, params: &[u8], grid: [u32; 3], memory: &Memory) -> Memory {
        self.pipelines.prepare(&self.gpu, [kernel]).unwrap();
        let upload = |label, words: &[u32]| {
            let buffer = self.gpu.private(label, 4 * words.len() as u64);
            self.gpu.queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
            buffer
        };
        let weights = upload("weights", &memory.weights);
        let kv = upload("kv", &memory.kv);
        let scratch = upload("scratch", &memory.scratch);
        let tables = upload("tables", &memory.tables);
        let tokens = upload("tokens", &memory.tokens);
        let groups = [
            self.pipelines.weights(&self.gpu, &weights),
            self.pipelines.kv(&self.gpu, &kv),
            self.pipelines.scratch(&self.gpu, &scratch, &tables, &tokens),
        ];
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            pass.set_pipeline(self.pipelines.get(&kernel));
            for (i, group) in (0..).zip(&groups) {
                pass.set_bind_group(i, group, &[]);
            }
            pass.set_immediates(0, params);
            let [x, y, z] = grid;
            pass.dispatch_workgroups(x, y, z);
        }
        self.gpu.queue.submit([encoder.finish()]);
        Memory {
            kv: self.gpu.read(&kv, 0, memory.kv.len()).unwrap(),
            scratch: self.gpu.read(&scratch, 0, memory.scratch.len()).unwrap(),
            tokens: self.gpu.read(&tokens, 0, memory.tokens.len()).unwrap(),
            ..memory.clone()
        }
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
