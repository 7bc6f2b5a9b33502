//! One layer, and the head, as one worker sees them.
//!
//! The same steps serve both ways of splitting a pass. What soundness rests on: between two barriers a worker writes only the
//! columns of its weight groups (split by groups) or its own rows (split by rows), and reads only what is complete: private
//! buffers, its own rows, or what was written before the last barrier.
#![allow(unsafe_code, reason = "workers write disjoint parts of shared buffers")]

use crate::activations::{Need, TILE};
use crate::arch::Kernels;
use crate::attention::{self, Place, Rotation};
use crate::kernels::attend::state_len;
use crate::kernels::{LANES, Lanes};
use crate::kv::KvStore;
use crate::matrix::Matrix;
use crate::pool::Worker;
use crate::scratch::{HEAD_TILES, Scratch, WorkerScratch};
use crate::weights::{CpuLayer, CpuWeights};
use model::ModelSpec;
use std::ops::Range;

/// Weight groups that stay in the cache while all tiles pass them.
const PANEL: usize = 12;

/// How the work of a pass is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    /// Every worker has all rows and some of the weight groups: few rows.
    Groups,
    /// Every worker has all weights and some of the rows: many rows.
    Rows,
}

/// Everything that a pass reads, and the buffers that it writes.
pub(crate) struct Pass<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) kernels: &'a Kernels,
    pub(crate) weights: &'a CpuWeights,
    pub(crate) kv: &'a KvStore,
    pub(crate) rotation: &'a Rotation,
    pub(crate) scratch: &'a Scratch,
    pub(crate) split: Split,
    pub(crate) tokens: &'a [u32],
    pub(crate) places: &'a [Place<'a>],
    /// Rows whose logits are wanted, in order; their logits begin at row `first_logits`.
    pub(crate) wanted: &'a [usize],
    pub(crate) first_logits: usize,
}

/// One worker's view of a pass.
pub(crate) struct Step<'a, 'w> {
    pass: &'a Pass<'a>,
    worker: &'a Worker<'w>,
    own: &'a mut WorkerScratch,
    rows: Range<usize>,
}

impl<'a, 'w> Step<'a, 'w> {
    /// Runs the whole pass.
    pub(crate) fn run(pass: &'a Pass<'a>, worker: &'a Worker<'w>) {
        let n = pass.places.len();
        let rows = match pass.split {
            Split::Groups => 0..n,
            Split::Rows => {
                let tiles = worker.part(n.div_ceil(TILE));
                tiles.start * TILE..(tiles.end * TILE).min(n)
            }
        };
        // SAFETY: the entry of this worker, which nobody else uses.
        let own = unsafe { &mut pass.scratch.workers.get_mut(worker.index()..worker.index() + 1)[0] };
        let mut step = Step { pass, worker, own, rows };
        step.embed();
        for (i, layer) in pass.weights.layers.iter().enumerate() {
            step.layer(i, layer);
        }
        step.head();
    }

    fn embed(&mut self) {
        let rows = match self.pass.split {
            Split::Groups => self.worker.part(self.rows.len()),
            Split::Rows => self.rows.clone(),
        };
        for row in rows {
            self.pass.weights.embed(self.pass.tokens[row], self.hidden_mut(row, 0..self.pass.spec.n_embd));
        }
        self.sync();
    }

    fn layer(&mut self, i: usize, layer: &CpuLayer) {
        // Queries, keys and values of the normalised hidden state.
        self.take_normed(&layer.attn_norm, Need::of(layer.qkv.each_ref().map(|m| m.format)));
        self.qkv(layer);
        self.sync();

        let one_row = self.pass.split == Split::Groups && self.rows.len() == 1;
        if !one_row {
            self.store_keys_and_values(i, layer);
            self.worker.barrier();
        }
        match self.pass.split {
            Split::Groups => self.attend_segments(i, layer, one_row),
            Split::Rows => self.attend_rows(i, layer),
        }
        self.sync();

        self.take_attended(Need::of([layer.attn_output.format]));
        self.add_to_hidden(&layer.attn_output);
        self.sync();

        self.take_normed(&layer.ffn_norm, Need::of(layer.gate_up.each_ref().map(|m| m.format)));
        self.gate_up(layer);
        self.sync();

        self.take_gated(Need::of([layer.ffn_down.format]));
        self.add_to_hidden(&layer.ffn_down);
        self.sync();
    }

    /// Logits of the wanted rows, always split by weight groups.
    fn head(&mut self) {
        let (pass, output) = (self.pass, &self.pass.weights.output);
        if pass.split == Split::Rows {
            self.worker.barrier();
        }
        let need = Need::of([output.format]);
        for (c, wanted) in pass.wanted.chunks(HEAD_TILES * TILE).enumerate() {
            self.take(wanted.len(), pass.spec.n_embd, need, |step, i, out| {
                let h = step.hidden(wanted[i]);
                (pass.kernels.rms_norm)(h, &pass.weights.output_norm, pass.spec.rms_eps, out);
            });
            let first = pass.first_logits + c * HEAD_TILES * TILE;
            let groups = self.worker.part(output.n_groups());
            self.times(output, groups, wanted.len(), |i, columns, lanes| {
                let start = (first + i) * pass.spec.n_vocab;
                // SAFETY: columns of this worker's groups.
                let out = unsafe { pass.scratch.logits.get_mut(start + columns.start..start + columns.end) };
                out.copy_from_slice(&lanes[..columns.len()]);
            });
        }
    }

    fn take_normed(&mut self, norm: &[f32], need: Need) {
        let (pass, rows) = (self.pass, self.rows.clone());
        self.take(rows.len(), pass.spec.n_embd, need, |step, i, out| {
            (pass.kernels.rms_norm)(step.hidden(rows.start + i), norm, pass.spec.rms_eps, out);
        });
    }

    fn take_gated(&mut self, need: Need) {
        let (n_ff, rows) = (self.pass.spec.n_ff, self.rows.clone());
        let gated = &self.pass.scratch.gated;
        self.take(rows.len(), n_ff, need, |_, i, out| {
            let start = (rows.start + i) * n_ff;
            // SAFETY: complete: written before the last barrier, or an own row.
            out.copy_from_slice(unsafe { gated.get(start..start + n_ff) });
        });
    }

    fn take_attended(&mut self, need: Need) {
        let (pass, rows) = (self.pass, self.rows.clone());
        let (q_dim, head_dim) = (pass.spec.q_dim(), pass.spec.head_dim);
        let group = pass.spec.group_size();
        let mut at = 0;
        self.take(rows.len(), q_dim, need, |_, i, out| {
            let row = rows.start + i;
            if pass.split == Split::Rows {
                // SAFETY: an own row.
                out.copy_from_slice(unsafe { pass.scratch.attended.get(row * q_dim..(row + 1) * q_dim) });
                return;
            }
            // In the order in which `attend_segments` numbers them.
            let len = pass.places[row].n_segments() * group * state_len(head_dim);
            for out in out.chunks_exact_mut(group * head_dim) {
                // SAFETY: complete: written before the last barrier.
                attention::merge(unsafe { pass.scratch.states.get(at..at + len) }, head_dim, out);
                at += len;
            }
        });
    }

    /// Puts `n` vectors of `len` elements into this worker's tiles.
    fn take(&mut self, n: usize, len: usize, need: Need, mut vector: impl FnMut(&Self, usize, &mut [f32])) {
        let mut tiles = std::mem::take(&mut self.own.tiles);
        let mut staging = std::mem::take(&mut self.own.staging);
        for (start, tile) in (0..n).step_by(TILE).zip(&mut tiles) {
            let n_tokens = TILE.min(n - start);
            tile.fill(self.pass.kernels, n_tokens, len, need, &mut staging, |t, out| {
                vector(self, start + t, out);
            });
        }
        self.own.tiles = tiles;
        self.own.staging = staging;
    }

    /// Multiplies groups of a matrix with the `n` vectors in the tiles; `sink(i, columns, lanes)` gets 16 outputs of vector
    /// `i` (fewer at the end of the matrix).
    fn times(
        &self,
        matrix: &Matrix,
        groups: Range<usize>,
        n: usize,
        mut sink: impl FnMut(usize, Range<usize>, &Lanes),
    ) {
        let tile_kernel = self.pass.kernels.tile(matrix.format);
        let n_tiles = n.div_ceil(TILE);
        for panel in groups.clone().step_by(PANEL) {
            for (j, tile) in self.own.tiles[..n_tiles].iter().enumerate() {
                for g in panel..(panel + PANEL).min(groups.end) {
                    let mut out = [[0f32; LANES]; TILE];
                    tile_kernel(matrix.group(&self.pass.weights.arena, g), tile, &mut out);
                    let columns = g * LANES..((g + 1) * LANES).min(matrix.rows);
                    for (t, lanes) in out[..tile.n_tokens()].iter().enumerate() {
                        sink(j * TILE + t, columns.clone(), lanes);
                    }
                }
            }
        }
    }

    fn qkv(&self, layer: &CpuLayer) {
        let (pass, width) = (self.pass, self.qkv_width());
        let total = layer.qkv.iter().map(Matrix::n_groups).sum();
        let part = self.groups(total);
        let (mut first_group, mut first_column) = (0, 0);
        for matrix in &layer.qkv {
            let end = first_group + matrix.n_groups();
            let groups = part.start.clamp(first_group, end) - first_group
                ..part.end.clamp(first_group, end) - first_group;
            self.times(matrix, groups, self.rows.len(), |i, columns, lanes| {
                let columns = first_column + columns.start..first_column + columns.end;
                let start = (self.rows.start + i) * width;
                // SAFETY: columns of this worker's groups, or an own row.
                let out = unsafe { pass.scratch.qkv.get_mut(start + columns.start..start + columns.end) };
                out.copy_from_slice(&lanes[..columns.len()]);
                if let Some(bias) = &layer.qkv_bias {
                    out.iter_mut().zip(&bias[columns]).for_each(|(out, b)| *out += b);
                }
            });
            first_group = end;
            first_column += matrix.rows;
        }
    }

    fn add_to_hidden(&self, matrix: &Matrix) {
        self.times(matrix, self.groups(matrix.n_groups()), self.rows.len(), |i, columns, lanes| {
            let out = self.hidden_mut(self.rows.start + i, columns);
            out.iter_mut().zip(lanes).for_each(|(h, v)| *h += v);
        });
    }

    fn gate_up(&mut self, layer: &CpuLayer) {
        let (pass, n_ff) = (self.pass, self.pass.spec.n_ff);
        let [gate, up] = &layer.gate_up;
        let groups = self.groups(gate.n_groups());
        let mut gates = std::mem::take(&mut self.own.states);
        for panel in groups.clone().step_by(PANEL / 2) {
            let panel = panel..(panel + PANEL / 2).min(groups.end);
            let width = panel.len() * LANES;
            gates.resize(self.rows.len() * width, 0.0);
            self.times(gate, panel.clone(), self.rows.len(), |i, columns, lanes| {
                let at = i * width + columns.start - panel.start * LANES;
                gates[at..at + LANES].copy_from_slice(lanes);
            });
            self.times(up, panel.clone(), self.rows.len(), |i, columns, lanes| {
                let at = i * width + columns.start - panel.start * LANES;
                let start = (self.rows.start + i) * n_ff;
                // SAFETY: columns of this worker's groups, or an own row.
                let out = unsafe { pass.scratch.gated.get_mut(start + columns.start..start + columns.end) };
                (pass.kernels.silu_mul)(&gates[at..at + columns.len()], &lanes[..columns.len()], out);
            });
        }
        self.own.states = gates;
    }

    fn store_keys_and_values(&mut self, i: usize, layer: &CpuLayer) {
        let n_heads = self.pass.spec.n_kv_heads;
        let heads = self.groups(n_heads);
        for row in self.rows.clone() {
            for kv_head in heads.clone() {
                self.store_key_and_value(i, layer, row, kv_head);
            }
        }
    }

    fn store_key_and_value(&mut self, i: usize, layer: &CpuLayer, row: usize, kv_head: usize) {
        let (spec, n) = (self.pass.spec, self.pass.spec.head_dim);
        let place = self.pass.places[row];
        let mut key = std::mem::take(&mut self.own.head);
        key.resize(n, 0.0);
        let norm = layer.qk_norm.as_ref().map(|norms| &norms[1][..]);
        self.rotated(row, spec.q_dim() + kv_head * n, norm, &mut key);
        let value = self.qkv_of(row, spec.q_dim() + spec.kv_dim() + kv_head * n);
        let position = place.position % model::BLOCK_LEN;
        // SAFETY: this worker alone stores this head of this row, and others read it after the next barrier.
        unsafe { self.pass.kv.store((i, place.block(), kv_head), position, &key, value) };
        self.own.head = key;
    }

    /// Split by rows: all segments of all heads of the own rows, merged at once.
    fn attend_rows(&mut self, i: usize, layer: &CpuLayer) {
        let (pass, spec) = (self.pass, self.pass.spec);
        let width = spec.group_size() * spec.head_dim;
        for row in self.rows.clone() {
            for kv_head in 0..spec.n_kv_heads {
                let len = spec.group_size() * state_len(spec.head_dim);
                let mut states = std::mem::take(&mut self.own.states);
                states.resize(len * pass.places[row].n_segments(), 0.0);
                self.take_queries(layer, row, kv_head);
                for (segment, states) in states.chunks_exact_mut(len).enumerate() {
                    self.attend_segment(i, row, kv_head, segment, states);
                }
                let start = row * spec.q_dim() + kv_head * width;
                // SAFETY: an own row.
                let out = unsafe { pass.scratch.attended.get_mut(start..start + width) };
                attention::merge(&states, spec.head_dim, out);
                self.own.states = states;
            }
        }
    }

    /// Split by groups: every segment of every head of every row is an item of its own; merged by whoever reads them.
    fn attend_segments(&mut self, i: usize, layer: &CpuLayer, store: bool) {
        let (pass, spec) = (self.pass, self.pass.spec);
        let n_items = pass.places.iter().map(|p| p.n_segments() * spec.n_kv_heads).sum();
        let part = self.worker.part(n_items);
        let len = spec.group_size() * state_len(spec.head_dim);
        let mut item = 0;
        for row in self.rows.clone() {
            for kv_head in 0..spec.n_kv_heads {
                let n_segments = pass.places[row].n_segments();
                for segment in 0..n_segments {
                    if part.contains(&item) {
                        // The last segment holds the row's own position, so that its owner alone needs the new key.
                        if store && segment + 1 == n_segments {
                            self.store_key_and_value(i, layer, row, kv_head);
                        }
                        self.take_queries(layer, row, kv_head);
                        // SAFETY: the item of this worker.
                        let states = unsafe { pass.scratch.states.get_mut(item * len..(item + 1) * len) };
                        self.attend_segment(i, row, kv_head, segment, states);
                    }
                    item += 1;
                }
            }
        }
    }

    fn attend_segment(&self, i: usize, row: usize, kv_head: usize, segment: usize, states: &mut [f32]) {
        let pass = self.pass;
        let out = (pass.spec.head_dim, states);
        // SAFETY: the keys and values of this segment were stored before the last barrier, or by this worker.
        unsafe {
            let place = pass.places[row];
            attention::segment(pass.kernels, pass.kv, (i, kv_head), place, segment, &self.own.queries, out);
        }
    }

    /// The query heads of one key-value head, normalised, rotated and scaled, into `own.queries`.
    fn take_queries(&mut self, layer: &CpuLayer, row: usize, kv_head: usize) {
        let (n, group) = (self.pass.spec.head_dim, self.pass.spec.group_size());
        let scale = self.pass.spec.attention_scale();
        let norm = layer.qk_norm.as_ref().map(|norms| &norms[0][..]);
        let mut queries = std::mem::take(&mut self.own.queries);
        queries.resize(group * n, 0.0);
        for (j, query) in queries.chunks_exact_mut(n).enumerate() {
            self.rotated(row, (kv_head * group + j) * n, norm, query);
            query.iter_mut().for_each(|q| *q *= scale);
        }
        self.own.queries = queries;
    }

    /// One head of Q or K, normalised and rotated.
    fn rotated(&self, row: usize, start: usize, norm: Option<&[f32]>, out: &mut [f32]) {
        let head = self.qkv_of(row, start);
        match norm {
            Some(norm) => (self.pass.kernels.rms_norm)(head, norm, self.pass.spec.rms_eps, out),
            None => out.copy_from_slice(head),
        }
        self.pass.rotation.apply(out, self.pass.places[row].position);
    }

    /// One head's worth of a row of Q, K and V.
    fn qkv_of(&self, row: usize, start: usize) -> &'a [f32] {
        let start = row * self.qkv_width() + start;
        // SAFETY: complete: written before the last barrier, or an own row.
        unsafe { self.pass.scratch.qkv.get(start..start + self.pass.spec.head_dim) }
    }

    fn qkv_width(&self) -> usize {
        self.pass.spec.q_dim() + 2 * self.pass.spec.kv_dim()
    }

    fn hidden(&self, row: usize) -> &'a [f32] {
        let n = self.pass.spec.n_embd;
        // SAFETY: complete: written before the last barrier, or an own row.
        unsafe { self.pass.scratch.hidden.get(row * n..(row + 1) * n) }
    }

    #[allow(
        clippy::mut_from_ref,
        reason = "the part of the buffer that is this worker's between two barriers"
    )]
    fn hidden_mut(&self, row: usize, columns: Range<usize>) -> &'a mut [f32] {
        let start = row * self.pass.spec.n_embd;
        // SAFETY: columns of this worker's groups, or an own row.
        unsafe { self.pass.scratch.hidden.get_mut(start + columns.start..start + columns.end) }
    }

    /// This worker's share of `n` weight groups.
    fn groups(&self, n: usize) -> Range<usize> {
        match self.pass.split {
            Split::Groups => self.worker.part(n),
            Split::Rows => 0..n,
        }
    }

    /// A barrier where others wrote what this worker reads next.
    fn sync(&self) {
        if self.pass.split == Split::Groups {
            self.worker.barrier();
        }
    }
}
