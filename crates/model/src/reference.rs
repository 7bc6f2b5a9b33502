//! The forward pass in `f64`, as plainly as the mathematics reads: slow, and the oracle for every backend.
#![allow(clippy::cast_possible_truncation, reason = "results are rounded to f32 on purpose")]

use crate::forward::{DeviceInfo, DeviceKind, ForwardError, ForwardPass, MemoryUse};
use crate::kv::{BLOCK_LEN, KvBlocks};
use crate::rope::RopeTable;
use crate::rows::{Row, SequenceId};
use crate::spec::ModelSpec;
use crate::tap::Tap;
use crate::weights::{LayerWeights, Weight, Weights};
use gguf::TensorType;
use half::f16;

/// What the reference rounds as the backends do, so that it can stand for the same computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rounding {
    /// Vectors that meet weights of these types are rounded to 8 bits.
    pub q8_activations: &'static [TensorType],
    /// In which way.
    pub q8_layout: Q8Layout,
    /// Keys and values are rounded to f16.
    pub f16_kv: bool,
}

/// How a vector is rounded to 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Q8Layout {
    /// 32 numbers have a scale.
    #[default]
    Units,
    /// 8 numbers have a scale, and of every four the first is rounded to an even number: in words of four, that is a bit for something
    /// else.
    Words,
}

/// The oracle.
#[derive(Debug)]
pub struct Reference {
    spec: ModelSpec,
    rounding: Rounding,
    token_embd: Matrix,
    layers: Vec<Layer>,
    output_norm: Vec<f64>,
    output: Option<Matrix>,
    blocks: KvBlocks,
    /// Keys and values of a position of a layer, `[n_layers, n_blocks, BLOCK_LEN, 2, kv_dim]`.
    kv: Vec<f64>,
    logits: Vec<f32>,
    /// Intermediate results, while somebody traces.
    taps: Option<Vec<Tap>>,
    device: DeviceInfo,
}

/// Keys and values of another backend: given layer, sequence and position, `[kv_dim]` each.
type Cache<'a> = &'a mut dyn FnMut(usize, SequenceId, usize) -> [Vec<f32>; 2];

/// What a comparison on another backend's cache found.
#[derive(Debug, Clone)]
pub struct OnCache {
    /// Logits of the rows that want them, `[n_wanting_rows, n_vocab]`.
    pub logits: Vec<f32>,
    /// The largest distance of a cached key or value from the exact one, relative to the largest element of its vector. Rounding
    /// to f16 alone makes up to 2^-11.
    pub kv_distance: f64,
}

#[derive(Debug)]
struct Matrix {
    cols: usize,
    values: Vec<f32>,
    ty: TensorType,
}

#[derive(Debug)]
struct Layer {
    attn_norm: Vec<f64>,
    qkv: [Matrix; 3],
    qkv_bias: Option<[Vec<f64>; 3]>,
    qk_norm: Option<[Vec<f64>; 2]>,
    attn_output: Matrix,
    ffn_norm: Vec<f64>,
    ffn_gate: Matrix,
    ffn_up: Matrix,
    ffn_down: Matrix,
}

impl Reference {
    /// Decodes all weights; room for `n_sequences` sequences of `context_len` positions.
    #[must_use]
    pub fn new(
        spec: &ModelSpec,
        weights: &Weights<'_>,
        context_len: usize,
        n_sequences: usize,
        rounding: Rounding,
    ) -> Self {
        let blocks = KvBlocks::new(context_len, n_sequences, spec.n_vocab);
        let kv_len = spec.n_layers * blocks.n_blocks() * BLOCK_LEN * 2 * spec.kv_dim();
        Self {
            spec: spec.clone(),
            rounding,
            token_embd: Matrix::new(&weights.token_embd),
            layers: weights.layers.iter().map(Layer::new).collect(),
            output_norm: vector(&weights.output_norm),
            output: (!spec.tied_head).then(|| Matrix::new(&weights.output)),
            blocks,
            kv: vec![0.0; kv_len],
            logits: Vec::new(),
            taps: None,
            device: DeviceInfo {
                kind: DeviceKind::Cpu,
                backend: "reference",
                name: "f64 reference".into(),
                threads: 1,
            },
        }
    }

    /// Computes `rows` with the keys and values that another backend holds for them, instead of its own: what is left of the
    /// difference between the two is not due to values that fall to different sides of a rounding step of the cache.
    ///
    /// # Errors
    /// As [`ForwardPass::forward`].
    pub fn forward_on(&mut self, rows: &[Row], cache: Cache<'_>) -> Result<OnCache, ForwardError> {
        let kv_distance = self.compute(rows, Some(cache))?;
        Ok(OnCache { logits: self.logits.clone(), kv_distance })
    }

    fn compute(&mut self, rows: &[Row], mut cache: Option<Cache<'_>>) -> Result<f64, ForwardError> {
        self.blocks.append(rows)?;
        self.logits.clear();
        let mut distance = 0f64;
        for &row in rows {
            let x = self.hidden(row, &mut cache, &mut distance);
            if row.wants_logits {
                let normed = rms_norm(&x, &self.output_norm, self.spec.rms_eps);
                let head = self.output.as_ref().unwrap_or(&self.token_embd);
                let logits = head.times(&normed, self.rounding);
                self.tap(|| "output".to_owned(), &logits);
                self.logits.extend(logits.iter().map(|&v| v as f32));
            }
        }
        Ok(distance)
    }

    /// One row through all layers; the hidden state after the last, `[n_embd]`.
    fn hidden(&mut self, row: Row, cache: &mut Option<Cache<'_>>, distance: &mut f64) -> Vec<f64> {
        let mut x = self.token_embd.row(row.token as usize);
        self.tap(|| "token_embd".to_owned(), &x);
        for i in 0..self.layers.len() {
            let [mut q, mut k, v] = self.products(i, &x);
            for (vector, name) in [(&q, "attn_q"), (&k, "attn_k"), (&v, "attn_v")] {
                self.tap(|| format!("blk.{i}.{name}"), vector);
            }
            self.turn(i, row, [&mut q, &mut k]);
            let mut kv = [k, v];
            if self.rounding.f16_kv {
                kv.iter_mut().flatten().for_each(|e| *e = f16::from_f64(*e).to_f64());
            }
            if let Some(cache) = cache {
                let cached = cache(i, row.sequence, row.position as usize);
                for (own, cached) in kv.iter_mut().zip(cached) {
                    *distance = distance.max(adopt(own, &cached));
                }
            }
            self.store(i, row, &kv);
            let attended: Vec<f64> =
                (0..self.spec.n_heads).flat_map(|head| self.attend(i, row, head, &q)).collect();
            self.tap(|| format!("blk.{i}.attn"), &attended);
            add(&mut x, &self.layers[i].attn_output.times(&attended, self.rounding));
            self.tap(|| format!("blk.{i}.attn_residual"), &x);
            let gated = self.gated(&self.layers[i], &x);
            self.tap(|| format!("blk.{i}.ffn_gated"), &gated);
            add(&mut x, &self.layers[i].ffn_down.times(&gated, self.rounding));
            self.tap(|| format!("blk.{i}.ffn_residual"), &x);
        }
        x
    }

    fn tap(&mut self, name: impl FnOnce() -> String, values: &[f64]) {
        if let Some(taps) = &mut self.taps {
            taps.push(Tap { name: name(), values: values.iter().map(|&v| v as f32).collect() });
        }
    }

    /// Q, K and V of a row, neither normalised by head nor rotated.
    fn products(&self, i: usize, x: &[f64]) -> [Vec<f64>; 3] {
        let layer = &self.layers[i];
        let normed = rms_norm(x, &layer.attn_norm, self.spec.rms_eps);
        let mut qkv = layer.qkv.each_ref().map(|m| m.times(&normed, self.rounding));
        if let Some(bias) = &layer.qkv_bias {
            qkv.iter_mut().zip(bias).for_each(|(vector, bias)| add(vector, bias));
        }
        qkv
    }

    /// Norms by head, and rotation.
    fn turn(&self, i: usize, row: Row, qk: [&mut Vec<f64>; 2]) {
        let spec = &self.spec;
        for (vector, norm) in qk.into_iter().zip(0..) {
            for head in vector.chunks_exact_mut(spec.head_dim) {
                if let Some(norms) = &self.layers[i].qk_norm {
                    head.copy_from_slice(&rms_norm(head, &norms[norm], spec.rms_eps));
                }
                rotate(head, row.position, &spec.rope);
            }
        }
    }

    fn store(&mut self, layer: usize, row: Row, [k, v]: &[Vec<f64>; 2]) {
        let place = self.place(layer, row.sequence, row.position as usize);
        self.kv[place..place + k.len()].copy_from_slice(k);
        self.kv[place + k.len()..place + 2 * k.len()].copy_from_slice(v);
    }

    /// One head's mixture of values, `[head_dim]`.
    fn attend(&self, layer: usize, row: Row, head: usize, q: &[f64]) -> Vec<f64> {
        let (n, kv_dim) = (self.spec.head_dim, self.spec.kv_dim());
        let q = &q[head * n..][..n];
        let at = head / self.spec.group_size() * n;
        let places: Vec<usize> =
            (0..=row.position as usize).map(|p| self.place(layer, row.sequence, p) + at).collect();
        let scale = 1.0 / (n as f64).sqrt();
        let scores: Vec<f64> = places.iter().map(|&p| dot(q, &self.kv[p..p + n]) * scale).collect();
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
        let sum: f64 = weights.iter().sum();
        let mut mixed = vec![0.0; n];
        for (place, weight) in places.iter().zip(&weights) {
            for (m, v) in mixed.iter_mut().zip(&self.kv[place + kv_dim..]) {
                *m += weight / sum * v;
            }
        }
        mixed
    }

    fn gated(&self, layer: &Layer, x: &[f64]) -> Vec<f64> {
        let normed = rms_norm(x, &layer.ffn_norm, self.spec.rms_eps);
        let gate = layer.ffn_gate.times(&normed, self.rounding);
        let up = layer.ffn_up.times(&normed, self.rounding);
        gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
    }

    /// Where the key of a position of a layer begins in `kv`; the value follows it.
    fn place(&self, layer: usize, sequence: SequenceId, position: usize) -> usize {
        let block = self.blocks.table(sequence)[position / BLOCK_LEN] as usize;
        let slot = (layer * self.blocks.n_blocks() + block) * BLOCK_LEN + position % BLOCK_LEN;
        slot * 2 * self.spec.kv_dim()
    }
}

impl ForwardPass for Reference {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> &DeviceInfo {
        &self.device
    }

    fn memory(&self) -> MemoryUse {
        let values = |m: &Matrix| 4 * m.values.len() as u64;
        let layer = |l: &Layer| {
            let matrices = [&l.attn_output, &l.ffn_gate, &l.ffn_up, &l.ffn_down];
            matrices.into_iter().chain(&l.qkv).map(values).sum::<u64>()
        };
        let ends = values(&self.token_embd) + self.output.as_ref().map_or(0, values);
        MemoryUse {
            weights_bytes: ends + self.layers.iter().map(layer).sum::<u64>(),
            kv_bytes: 8 * self.kv.len() as u64,
            scratch_bytes: 4 * self.logits.len() as u64,
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

    fn key_and_value(&mut self, layer: usize, sequence: SequenceId, position: usize) -> [Vec<f32>; 2] {
        if position >= self.blocks.len(sequence) {
            return [Vec::new(), Vec::new()];
        }
        let (place, n) = (self.place(layer, sequence, position), self.spec.kv_dim());
        [place, place + n].map(|start| self.kv[start..start + n].iter().map(|&v| v as f32).collect())
    }

    fn forward(&mut self, rows: &[Row]) -> Result<&[f32], ForwardError> {
        self.compute(rows, None)?;
        Ok(&self.logits)
    }

    fn trace_token(&mut self, token: u32) -> Result<Vec<Tap>, ForwardError> {
        self.taps = Some(Vec::new());
        let outcome = self.forward_token(token).map(drop);
        let taps = self.taps.take().unwrap_or_default();
        outcome.map(|()| taps)
    }
}

impl Layer {
    fn new(weights: &LayerWeights<'_>) -> Self {
        Self {
            attn_norm: vector(&weights.attn_norm),
            qkv: [&weights.attn_q, &weights.attn_k, &weights.attn_v].map(Matrix::new),
            qkv_bias: weights.qkv_bias.as_ref().map(|b| b.each_ref().map(vector)),
            qk_norm: weights.qk_norm.as_ref().map(|n| n.each_ref().map(vector)),
            attn_output: Matrix::new(&weights.attn_output),
            ffn_norm: vector(&weights.ffn_norm),
            ffn_gate: Matrix::new(&weights.ffn_gate),
            ffn_up: Matrix::new(&weights.ffn_up),
            ffn_down: Matrix::new(&weights.ffn_down),
        }
    }
}

impl Matrix {
    fn new(weight: &Weight<'_>) -> Self {
        Self { cols: weight.cols, values: weight.decode(), ty: weight.ty }
    }

    fn row(&self, i: usize) -> Vec<f64> {
        self.values[i * self.cols..][..self.cols].iter().map(|&v| f64::from(v)).collect()
    }

    fn times(&self, x: &[f64], rounding: Rounding) -> Vec<f64> {
        let rounded = rounding.q8_activations.contains(&self.ty).then(|| through_q8(x, rounding.q8_layout));
        let x = rounded.as_deref().unwrap_or(x);
        self.values
            .chunks_exact(self.cols)
            .map(|row| row.iter().zip(x).map(|(&w, x)| f64::from(w) * x).sum())
            .collect()
    }
}

fn vector(weight: &Weight<'_>) -> Vec<f64> {
    weight.decode().into_iter().map(f64::from).collect()
}

fn rms_norm(x: &[f64], weight: &[f64], eps: f32) -> Vec<f64> {
    let scale = 1.0 / (dot(x, x) / x.len() as f64 + f64::from(eps)).sqrt();
    x.iter().zip(weight).map(|(x, w)| x * scale * w).collect()
}

fn rotate(head: &mut [f64], position: u32, rope: &RopeTable) {
    for i in 0..rope.frequencies.len() {
        let (cos, sin) = rope.cos_sin(position, i);
        let (a, b) = rope.pairing.elements(i, rope.n_rot());
        (head[a], head[b]) = (head[a] * cos - head[b] * sin, head[a] * sin + head[b] * cos);
    }
}

/// To 8 bits and back.
fn through_q8(x: &[f64], layout: Q8Layout) -> Vec<f64> {
    let (len, evens) = match layout {
        Q8Layout::Units => (32, false),
        Q8Layout::Words => (8, true),
    };
    let block = |block: &[f64]| {
        let largest = block.iter().fold(0f32, |m, &v| m.max((v as f32).abs()));
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        let scale = f64::from(largest / 127.0);
        let whole = |(i, &v): (usize, &f64)| match (v as f32 * inverse, evens && i % 4 == 0) {
            (v, false) => v.round_ties_even(),
            (v, true) => 2.0 * (v.clamp(-126.0, 126.0) / 2.0).round_ties_even(),
        };
        block.iter().enumerate().map(|v| f64::from(whole(v)) * scale).collect::<Vec<_>>()
    };
    x.chunks(len).flat_map(block).collect()
}

/// Replaces `own` by what another backend has, and says how far apart they were, relative to the largest of `own`. What does
/// not even have the right length is infinitely far away.
fn adopt(own: &mut [f64], other: &[f32]) -> f64 {
    if own.len() != other.len() {
        return f64::INFINITY;
    }
    let largest = own.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let distance = own.iter().zip(other).map(|(a, b)| (a - f64::from(*b)).abs()).fold(0f64, f64::max);
    own.iter_mut().zip(other).for_each(|(a, b)| *a = f64::from(*b));
    distance / largest
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_within_their_step() {
        let x: Vec<f64> = (0..64).map(|i| (f64::from(i * 37 % 64) - 31.0) * 0.37f64.powi(i / 8)).collect();
        for (layout, len) in [(Q8Layout::Units, 32), (Q8Layout::Words, 8)] {
            let rounded = through_q8(&x, layout);
            for (block, (x, rounded)) in x.chunks(len).zip(rounded.chunks(len)).enumerate() {
                let step = x.iter().fold(0f64, |m, v| m.max(v.abs())) / 127.0;
                for (i, (x, rounded)) in x.iter().zip(rounded).enumerate() {
                    let even = layout == Q8Layout::Words && i % 4 == 0;
                    let (times, most) = (rounded / step, if even { 1.01 } else { 0.501 });
                    assert!((x - rounded).abs() <= most * step, "{layout:?}, block {block}: {x} {rounded}");
                    let of = if even { 2.0 } else { 1.0 };
                    assert!((times / of - (times / of).round()).abs() < 1e-4, "{layout:?}: {times}");
                    assert!(times.abs() < 127.01);
                }
            }
        }
    }
}
