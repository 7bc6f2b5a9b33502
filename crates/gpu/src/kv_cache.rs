//! Keys and values on the device.

use crate::device::Gpu;
use crate::error::GpuError;
use crate::pipeline::Pipelines;
use crate::regions::heads;
use half::f16;
use model::{BLOCK_LEN, ModelSpec};
use wgpu::{BindGroup, Buffer};

/// Where every layer's keys and values are: whole layers in as few buffers as bindings allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KvLayout {
    n_layers: usize,
    per_buffer: usize,
    layer_bytes: u64,
}

/// The buffers.
#[derive(Debug)]
pub(crate) struct KvCache {
    layout: KvLayout,
    buffers: Vec<(Buffer, BindGroup)>,
}

impl KvLayout {
    pub(crate) fn new(spec: &ModelSpec, n_blocks: usize, max_binding: u64) -> Result<Self, GpuError> {
        let block_bytes = (spec.n_kv_heads * 2 * BLOCK_LEN * heads(spec).lanes() * 16) as u64;
        let layer_bytes = n_blocks as u64 * block_bytes;
        if layer_bytes > max_binding {
            return Err(GpuError::KvBinding { need: layer_bytes, have: max_binding });
        }
        let per_buffer = ((max_binding / layer_bytes.max(1)) as usize).clamp(1, spec.n_layers);
        Ok(Self { n_layers: spec.n_layers, per_buffer, layer_bytes })
    }

    /// Bytes of all buffers.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.layer_bytes * self.n_layers as u64
    }

    /// For each layer its buffer, and where it begins there, in quads.
    pub(crate) fn places(&self) -> Vec<(usize, u32)> {
        let place = |i: usize| {
            let quads = (i % self.per_buffer) as u64 * self.layer_bytes / 16;
            (i / self.per_buffer, quads as u32)
        };
        (0..self.n_layers).map(place).collect()
    }
}

impl KvCache {
    pub(crate) fn new(gpu: &Gpu, pipelines: &Pipelines, layout: KvLayout) -> Self {
        let layers: Vec<usize> = (0..layout.n_layers).collect();
        let buffer = |layers: &[usize]| {
            let buffer = gpu.private("kv", layout.layer_bytes * layers.len() as u64);
            let group = pipelines.kv(gpu, &buffer);
            (buffer, group)
        };
        Self { layout, buffers: layers.chunks(layout.per_buffer).map(buffer).collect() }
    }

    pub(crate) fn group(&self, buffer: usize) -> &BindGroup {
        &self.buffers[buffer].1
    }

    /// The key and the value of a position in a block of a layer, `[kv_dim]` each.
    pub(crate) fn read(
        &self,
        gpu: &Gpu,
        spec: &ModelSpec,
        layer: usize,
        block: u32,
        position: usize,
    ) -> Result<[Vec<f32>; 2], GpuError> {
        let (buffer, quads) = self.layout.places()[layer];
        let lanes = heads(spec).lanes();
        let head_words = 2 * BLOCK_LEN * lanes * 4;
        let block_words = spec.n_kv_heads * head_words;
        let start = 4 * quads as usize + block as usize * block_words;
        let words = gpu.read(&self.buffers[buffer].0, start, block_words)?;
        let vector = |part: usize| {
            let head = |h: usize| {
                let at = h * head_words + (part * BLOCK_LEN + position % BLOCK_LEN) * lanes * 4;
                let halves = words[at..at + lanes * 4].iter().flat_map(|w| [*w as u16, (w >> 16) as u16]);
                halves.take(spec.head_dim).map(|bits| f16::from_bits(bits).to_f32()).collect::<Vec<_>>()
            };
            (0..spec.n_kv_heads).flat_map(head).collect()
        };
        Ok([vector(0), vector(1)])
    }
}
