//! The backend: a model on the GPU.

use crate::device::{AdapterChoice, Gpu};
use crate::error::GpuError;
use crate::pipeline::{Checks, Pipelines};
use crate::plan::Plan;
use crate::planner::{Planner, Regions, TableOffsets, heads};
use crate::tensors::Tensors;
use model::{
    BLOCK_LEN, DeviceInfo, DeviceKind, ForwardError, ForwardPass, KvBlocks, MemoryUse, ModelSpec, Row,
    SequenceId, Weights,
};
use std::ops::ControlFlow;
use wgpu::{BindGroup, Buffer};

/// Tokens of one submit when decoding.
const TOKENS_A_SUBMIT: usize = 4;

/// How a model is to be run.
#[derive(Debug, Clone)]
pub struct GpuOptions {
    /// Which adapter.
    pub adapter: AdapterChoice,
    /// Positions that a sequence may hold.
    pub context_len: usize,
}

/// A loaded model.
#[derive(Debug)]
pub struct GpuForwardPass {
    spec: ModelSpec,
    gpu: Gpu,
    pipelines: Pipelines,
    weights: Vec<BindGroup>,
    weights_bytes: u64,
    kv: Vec<(Buffer, BindGroup)>,
    scratch: Buffer,
    tables: Buffer,
    tokens: Buffer,
    results: BindGroup,
    regions: Regions,
    table_words: usize,
    blocks: KvBlocks,
    token: Plan,
    choose: Plan,
    logits: Vec<f32>,
    device: DeviceInfo,
}

impl GpuForwardPass {
    /// Uploads `weights`; `progress` hears the share that is done.
    ///
    /// # Errors
    /// See [`GpuError`].
    pub fn new(
        spec: &ModelSpec,
        weights: &Weights<'_>,
        options: &GpuOptions,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Self, GpuError> {
        let gpu = Gpu::open(options.adapter, None)?;
        let (tensors, layout) = Tensors::lay_out(&gpu, spec, weights)?;
        let weights_bytes = layout.len_bytes();
        let buffers = layout.upload(&gpu, progress)?;
        let mut pipelines = Pipelines::new(&gpu, Checks::Off);
        let blocks = KvBlocks::new(options.context_len, 1, spec.n_vocab);

        let layer_bytes =
            (blocks.n_blocks() * spec.n_kv_heads * 2 * BLOCK_LEN * heads(spec).lanes() * 16) as u64;
        let per_buffer = ((gpu.caps.max_binding / layer_bytes.max(1)) as usize).clamp(1, spec.n_layers);
        let n_buffers = spec.n_layers.div_ceil(per_buffer);
        let kv: Vec<(Buffer, BindGroup)> = (0..n_buffers)
            .map(|_| {
                let buffer = gpu.private("kv", layer_bytes * per_buffer as u64);
                let group = pipelines.kv(&gpu, &buffer);
                (buffer, group)
            })
            .collect();
        let kv_places: Vec<(usize, u32)> = (0..spec.n_layers)
            .map(|i| (i / per_buffer, ((i % per_buffer) as u64 * layer_bytes / 16) as u32))
            .collect();

        let pairs = spec.rope.n_rot() / 2;
        let rope_words = 2 * pairs * options.context_len.next_multiple_of(BLOCK_LEN);
        let tables_at = TableOffsets { rope: 0, blocks: rope_words as u32 };
        let regions = Regions::new(spec, 8);
        let scratch = gpu.private("scratch", 4 * regions.len as u64);
        let tables = gpu.private("tables", 4 * (rope_words + blocks.n_blocks()) as u64);
        let tokens = gpu.private("tokens", 4 * (options.context_len + 1) as u64);
        let mut angles = Vec::with_capacity(rope_words);
        for position in 0..rope_words / (2 * pairs).max(1) {
            for i in 0..pairs {
                let (cos, sin) = spec.rope.cos_sin(position as u32, i);
                angles.extend([cos as f32, sin as f32]);
            }
        }
        gpu.queue.write_buffer(&tables, 0, bytemuck::cast_slice(&angles));
        let results = pipelines.scratch(&gpu, &scratch, &tables, &tokens);
        let planner =
            Planner { spec, tensors: &tensors, caps: gpu.caps, tables: tables_at, regions, kv: &kv_places };
        let (token, choose) = (planner.token(1), planner.choose());
        pipelines.prepare(&gpu, token.kernels().chain(choose.kernels()))?;
        let groups = buffers.iter().map(|buffer| pipelines.weights(&gpu, buffer)).collect();
        let device = DeviceInfo {
            kind: DeviceKind::Gpu,
            backend: gpu.backend.name(),
            name: gpu.name.clone(),
            threads: 0,
        };
        Ok(Self {
            spec: spec.clone(),
            gpu,
            pipelines,
            weights: groups,
            weights_bytes,
            kv,
            scratch,
            tables,
            tokens,
            results,
            regions,
            table_words: rope_words,
            blocks,
            token,
            choose,
            logits: Vec::new(),
            device,
        })
    }

    /// The listing of a token's plan.
    #[must_use]
    pub fn listing(&self) -> String {
        format!("{}{}", self.token, self.choose)
    }

    fn record(&self, pass: &mut wgpu::ComputePass<'_>, plan: &Plan, skip: usize, position: u32) {
        let (mut weights, mut kv) = (usize::MAX, usize::MAX);
        pass.set_bind_group(2, &self.results, &[]);
        for step in &plan.steps[skip..] {
            if step.weights != weights {
                weights = step.weights;
                pass.set_bind_group(0, &self.weights[weights], &[]);
            }
            if step.kv != kv {
                kv = step.kv;
                pass.set_bind_group(1, &self.kv[kv].1, &[]);
            }
            pass.set_pipeline(self.pipelines.get(&step.kernel));
            let (params, n) = step.params(position);
            pass.set_immediates(0, bytemuck::cast_slice(&params[..n]));
            let [x, y, z] = step.grid;
            pass.dispatch_workgroups(x, y, z);
        }
    }

    fn submit(&self, work: impl FnOnce(&mut wgpu::ComputePass<'_>)) {
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            work(&mut pass);
        }
        self.gpu.queue.submit([encoder.finish()]);
    }

    /// Writes the block table of sequence 0.
    fn write_table(&self) {
        let table = self.blocks.table(SequenceId(0));
        self.gpu.queue.write_buffer(&self.tables, 4 * self.table_words as u64, bytemuck::cast_slice(table));
    }

    fn lost(error: &GpuError) -> ForwardError {
        ForwardError::DeviceLost { reason: error.to_string() }
    }
}

impl ForwardPass for GpuForwardPass {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> &DeviceInfo {
        &self.device
    }

    fn memory(&self) -> MemoryUse {
        MemoryUse {
            weights_bytes: self.weights_bytes,
            kv_bytes: self.kv.iter().map(|(buffer, _)| buffer.size()).sum(),
            scratch_bytes: self.scratch.size() + self.tables.size() + self.tokens.size(),
        }
    }

    fn context_len(&self) -> usize {
        self.blocks.context_len()
    }

    fn sequence_len(&self, sequence: SequenceId) -> usize {
        self.blocks.len(sequence)
    }

    fn truncate(&mut self, sequence: SequenceId, len: usize) {
        self.blocks.truncate(sequence, len);
    }

    fn key_and_value(&mut self, _layer: usize, _sequence: SequenceId, _position: usize) -> [Vec<f32>; 2] {
        [Vec::new(), Vec::new()]
    }

    fn forward(&mut self, rows: &[Row]) -> Result<&[f32], ForwardError> {
        self.blocks.append(rows)?;
        self.write_table();
        let ids: Vec<u32> = rows.iter().map(|row| row.token).collect();
        self.gpu.queue.write_buffer(
            &self.tokens,
            4 * u64::from(rows[0].position),
            bytemuck::cast_slice(&ids),
        );
        self.logits.clear();
        for row in rows {
            self.submit(|pass| self.record(pass, &self.token, 0, row.position));
            if row.wants_logits {
                let words = self
                    .gpu
                    .read(&self.scratch, self.regions.logits as usize, self.spec.n_vocab)
                    .map_err(|error| Self::lost(&error))?;
                self.logits.extend(words.into_iter().map(f32::from_bits));
            }
        }
        Ok(&self.logits)
    }

    fn decode_greedy(
        &mut self,
        token: u32,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<(), ForwardError> {
        let mut next = token;
        let mut first = true;
        loop {
            let position = self.blocks.len(SequenceId(0));
            let n = TOKENS_A_SUBMIT.min(self.blocks.context_len() - position);
            if n == 0 {
                return Ok(());
            }
            self.blocks.append(&Row::prompt(SequenceId(0), position as u32, &vec![next; n]))?;
            self.write_table();
            if first {
                self.gpu.queue.write_buffer(&self.tokens, 4 * position as u64, bytemuck::cast_slice(&[next]));
            }
            self.submit(|pass| {
                for i in 0..n {
                    let at = (position + i) as u32;
                    self.record(pass, &self.token, usize::from(!first || i > 0), at);
                    self.record(pass, &self.choose, 0, at);
                }
            });
            first = false;
            let ids = self.gpu.read(&self.tokens, position + 1, n).map_err(|error| Self::lost(&error))?;
            for (i, &id) in ids.iter().enumerate() {
                next = id;
                if on_token(id).is_break() {
                    self.blocks.truncate(SequenceId(0), position + i + 1);
                    return Ok(());
                }
            }
        }
    }
}
