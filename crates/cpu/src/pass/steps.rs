//! The steps of a layer, as one worker does them.
#![allow(unsafe_code, reason = "items of a phase write disjoint parts of shared buffers")]

use super::Pass;
use crate::activations::Need;
use crate::attention::Place;
use crate::kernels::argmax::Argmax;
use crate::kernels::attend::{Attend, SEGMENT, state_len};
use crate::kernels::product::{Sink, Stream};
use crate::kernels::rms_norm::RmsNorm;
use crate::matrix::Matrix;
use crate::pack::STRIP;
use crate::scratch::{MOST_ITEM_ROWS, WorkerScratch};
use crate::shared::Columns;
use crate::weights::CpuLayer;
use model::BLOCK_LEN;
use std::ops::Range;

/// A pass, and one worker's own buffers.
pub(super) struct Steps<'a> {
    pub(super) pass: &'a Pass<'a>,
    pub(super) own: &'a mut WorkerScratch,
}

impl<'a> Steps<'a> {
    pub(super) fn new(pass: &'a Pass<'a>, worker: usize) -> Self {
        // SAFETY: the entry of this worker, which does one task at a time.
        let own = unsafe { &mut pass.scratch.workers.get_mut(worker..worker + 1)[0] };
        Self { pass, own }
    }

    /// Puts `n` vectors of `len` elements into this worker's tiles; `vector(steps, i, room)` gives the i-th, or writes it to
    /// `room`.
    pub(super) fn fill<'v>(
        &mut self,
        n: usize,
        len: usize,
        need: Need,
        mut vector: impl FnMut(&Self, usize, &mut [f32]) -> Option<&'v [f32]>,
    ) {
        let mut tiles = std::mem::take(&mut self.own.tiles);
        let mut staging = std::mem::take(&mut self.own.staging);
        let tokens = self.pass.kernels.tokens;
        for (start, tile) in (0..n).step_by(tokens).zip(&mut tiles) {
            tile.fill(self.pass.kernels, tokens.min(n - start), len, need, &mut staging, |t, out| {
                vector(self, start + t, out)
            });
        }
        self.own.tiles = tiles;
        self.own.staging = staging;
    }

    /// Fills the tiles with the normalised hidden states of rows.
    pub(super) fn fill_normed(&mut self, rows: Range<usize>, norm: &[f32], need: Need) {
        let pass = self.pass;
        self.fill(rows.len(), pass.spec.n_embd, need, |step, i, out| {
            step.rms_norm(step.hidden(rows.start + i), norm, out);
            None
        });
    }

    /// Multiplies strips of a matrix with the `n` vectors in the tiles.
    pub(super) fn times(
        &self,
        matrix: &Matrix,
        strips: Range<usize>,
        n: usize,
        sink: Sink<'_>,
        stream: Option<Stream>,
    ) {
        let tiles = &self.own.tiles[..n.div_ceil(self.pass.kernels.tokens)];
        matrix.times(self.pass.kernels, self.pass.weights.arena.bytes(), strips, tiles, sink, stream);
    }

    /// Strips of the joined matrices of Q, K and V times the tiles, for rows from `row` on.
    pub(super) fn qkv(
        &self,
        layer: &CpuLayer,
        strips: &Range<usize>,
        row: usize,
        n: usize,
        stream: Option<Stream>,
    ) {
        let (mut first_strip, mut first_column) = (0, 0);
        let width = self.qkv_width();
        for (i, matrix) in layer.qkv.iter().enumerate() {
            let end = first_strip + matrix.n_strips();
            let here = strips.start.clamp(first_strip, end) - first_strip
                ..strips.end.clamp(first_strip, end) - first_strip;
            if !here.is_empty() {
                // SAFETY: columns of the item's strips, or rows of the item.
                let columns = unsafe {
                    Columns::new(&self.pass.scratch.qkv, row * width + first_column, width, matrix.rows)
                };
                let sink = match &layer.qkv_bias {
                    Some(biases) => Sink::StoreBiased(columns, &biases[i]),
                    None => Sink::Store(columns),
                };
                self.times(matrix, here, n, sink, stream);
            }
            first_strip = end;
            first_column += matrix.rows;
        }
    }

    /// Strips of gate and up times the tiles: silu(gate) * up, to the columns of these strips.
    pub(super) fn gate_up(
        &self,
        layer: &CpuLayer,
        strips: Range<usize>,
        n: usize,
        columns: Columns<'_>,
        stream: Option<Stream>,
    ) {
        if let Some(both) = Matrix::alternating(&layer.gate_up) {
            self.times(&both, 2 * strips.start..2 * strips.end, n, Sink::Gated(columns), stream);
            return;
        }
        let [gate, up] = &layer.gate_up;
        self.times(gate, strips.clone(), n, Sink::Store(columns), stream);
        self.times(up, strips, n, Sink::Gate(columns), stream);
    }

    /// Adds strips of a matrix times the tiles to the hidden states of rows from `row` on.
    pub(super) fn add_to_hidden(
        &self,
        matrix: &Matrix,
        strips: Range<usize>,
        row: usize,
        n: usize,
        stream: Option<Stream>,
    ) {
        let n_embd = self.pass.spec.n_embd;
        // SAFETY: columns of the item's strips, or rows of the item.
        let columns = unsafe { Columns::new(&self.pass.scratch.hidden, row * n_embd, n_embd, n_embd) };
        self.times(matrix, strips, n, Sink::Add(columns), stream);
    }

    /// Logits of the wanted rows `first..first + n`, which are in the tiles.
    pub(super) fn logits(&mut self, strips: Range<usize>, first: usize, n: usize, stream: Option<Stream>) {
        let (pass, n_vocab) = (self.pass, self.pass.spec.n_vocab);
        let start = (pass.first_logits + first) * n_vocab;
        // SAFETY: columns of the item's strips.
        let columns = unsafe { Columns::new(&pass.scratch.logits, start, n_vocab, n_vocab) };
        self.times(&pass.weights.output, strips.clone(), n, Sink::Store(columns), stream);
        if pass.greedy {
            let seen = strips.start * STRIP..(strips.end * STRIP).min(n_vocab);
            // SAFETY: these columns are this item's.
            let logits = unsafe { pass.scratch.logits.get(start + seen.start..start + seen.end) };
            self.note_best(seen.start, logits);
        }
    }

    /// Remembers the likeliest token; items come in any order, so that of equals the lowest is kept by hand.
    fn note_best(&mut self, first: usize, logits: &[f32]) {
        let (best, floor) = match self.own.best {
            // As likely is good enough for a lower token.
            Some((token, top)) if token as usize > first => (Some((token, top)), top.next_down()),
            Some((token, top)) => (Some((token, top)), top),
            None => (None, f32::NEG_INFINITY),
        };
        let found = (self.pass.kernels.argmax)(Argmax { values: logits, floor });
        let found = found.map(|(i, top)| ((first + i) as u32, top));
        self.own.best = found.or(best);
    }

    /// Fills the tiles with the normalised last hidden states of the wanted rows `first..first + n`.
    pub(super) fn fill_head(&mut self, first: usize, n: usize) {
        let pass = self.pass;
        let need = Need::of([pass.weights.output.format]);
        self.fill(n, pass.spec.n_embd, need, |step, i, out| {
            let hidden = step.hidden(pass.wanted[first + i]);
            step.rms_norm(hidden, &pass.weights.output_norm, out);
            None
        });
    }

    pub(super) fn store_key_and_value(&mut self, i: usize, layer: &CpuLayer, row: usize, kv_head: usize) {
        let (spec, n) = (self.pass.spec, self.pass.spec.head_dim);
        let place = self.pass.places[row];
        let mut key = std::mem::take(&mut self.own.head);
        key.resize(n, 0.0);
        let norm = layer.qk_norm.as_ref().map(|norms| &norms[1][..]);
        self.rotated(row, spec.q_dim() + kv_head * n, norm, &mut key);
        let value = self.qkv_of(row, spec.q_dim() + spec.kv_dim() + kv_head * n);
        let at = (i, place.block(), kv_head);
        let position = place.position % BLOCK_LEN;
        // SAFETY: this item alone stores this head of this row, and others read it in later phases.
        unsafe {
            self.pass.kv.store(self.pass.kernels, at, position, [&key, value], &mut self.own.narrow);
        }
        self.own.head = key;
    }

    /// The query heads of one key-value head for some rows, normalised, rotated and scaled, into `own.queries`.
    pub(super) fn take_queries(&mut self, layer: &CpuLayer, rows: Range<usize>, kv_head: usize) {
        let (n, group) = (self.pass.spec.head_dim, self.pass.spec.group_size());
        let scale = self.pass.spec.attention_scale();
        let norm = layer.qk_norm.as_ref().map(|norms| &norms[0][..]);
        let mut queries = std::mem::take(&mut self.own.queries);
        queries.resize(rows.len() * group * n, 0.0);
        for (i, query) in queries.chunks_exact_mut(n).enumerate() {
            self.rotated(rows.start + i / group, (kv_head * group + i % group) * n, norm, query);
            query.iter_mut().for_each(|q| *q *= scale);
        }
        self.own.queries = queries;
    }

    /// One segment for the queries in `own.queries`, which are those of `rows`: rows of one sequence that all see the segment.
    pub(super) fn attend(
        &self,
        i: usize,
        rows: Range<usize>,
        kv_head: usize,
        segment: usize,
        states: &mut [f32],
    ) {
        let (pass, group) = (self.pass, self.pass.spec.group_size());
        let mut seen = [0; MOST_ITEM_ROWS];
        let n_queries = rows.len() * group;
        let places: &[Place<'_>] = &pass.places[rows];
        let mut all_seen = Vec::new();
        let seen = match seen.get_mut(..n_queries) {
            Some(seen) => seen,
            None => {
                all_seen.resize(n_queries, 0);
                &mut all_seen[..]
            }
        };
        for (seen, place) in seen.chunks_exact_mut(group).zip(places) {
            seen.fill(place.seen(segment));
        }
        let Some(last) = places.last() else { return };
        let numbers = last.segment(segment);
        let mut blocks: [&[u16]; SEGMENT / BLOCK_LEN] = [&[]; SEGMENT / BLOCK_LEN];
        for (block, &number) in blocks.iter_mut().zip(numbers) {
            // SAFETY: what these rows see was stored in earlier phases, or by this item.
            *block = unsafe { pass.kv.block(i, number, kv_head) };
        }
        (pass.kernels.attend)(&mut Attend {
            head_dim: pass.spec.head_dim,
            queries: &self.own.queries,
            seen,
            blocks: &blocks[..numbers.len()],
            states,
        });
    }

    /// Numbers in the states of `n` rows' queries of one key-value head, for one segment.
    pub(super) fn states_len(&self, n: usize) -> usize {
        n * self.pass.spec.group_size() * state_len(self.pass.spec.head_dim)
    }

    fn rms_norm(&self, x: &[f32], weight: &[f32], y: &mut [f32]) {
        (self.pass.kernels.rms_norm)(RmsNorm { x, weight, eps: self.pass.spec.rms_eps, y });
    }

    /// One head of Q or K, normalised and rotated.
    fn rotated(&self, row: usize, start: usize, norm: Option<&[f32]>, out: &mut [f32]) {
        let head = self.qkv_of(row, start);
        match norm {
            Some(norm) => self.rms_norm(head, norm, out),
            None => out.copy_from_slice(head),
        }
        self.pass.rotation.apply(self.pass.kernels, out, self.pass.places[row].position);
    }

    /// One head's worth of a row of Q, K and V.
    fn qkv_of(&self, row: usize, start: usize) -> &'a [f32] {
        let start = row * self.qkv_width() + start;
        // SAFETY: complete: written in an earlier phase, or by this item.
        unsafe { self.pass.scratch.qkv.get(start..start + self.pass.spec.head_dim) }
    }

    fn qkv_width(&self) -> usize {
        self.pass.spec.q_dim() + 2 * self.pass.spec.kv_dim()
    }

    pub(super) fn hidden(&self, row: usize) -> &'a [f32] {
        let n = self.pass.spec.n_embd;
        // SAFETY: complete: written in an earlier phase, or by this item.
        unsafe { self.pass.scratch.hidden.get(row * n..(row + 1) * n) }
    }

    /// Looks up the embeddings of rows.
    pub(super) fn embed(&self, rows: Range<usize>) {
        let n = self.pass.spec.n_embd;
        for row in rows {
            // SAFETY: rows of the item.
            let out = unsafe { self.pass.scratch.hidden.get_mut(row * n..(row + 1) * n) };
            self.pass.weights.embed(self.pass.tokens[row], out);
        }
    }
}
