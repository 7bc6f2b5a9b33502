//! Many rows: an item is one layer for a block of rows.
//!
//! Phase 0 makes Q, K and V of the first layer; phase i attends to the keys and values of layer i - 1, goes through the rest of it
//! and makes Q, K and V of layer i. In the last, only rows whose logits are wanted go on. Then come the logits, split by strips.
#![allow(unsafe_code, reason = "items of a phase write disjoint parts of shared buffers")]

use super::Pass;
use super::steps::Steps;
use crate::activations::Need;
use crate::kernels::attend::Merge;
use crate::kernels::product::Stream;
use crate::pool::{Task, part};
use crate::scratch::MOST_ITEM_ROWS;
use crate::shared::Columns;
use crate::weights::CpuLayer;
use std::ops::Range;

/// Queries that are to share each key and value that is read.
const QUERIES: usize = 12;
/// Fewest rows of an item: with fewer, reading the weights takes longer than multiplying them.
const FEWEST_ROWS: usize = 8;
/// Items for each worker, so that none is idle for long at the end of a phase.
const ITEMS_EACH: usize = 4;

/// Phases of a run for a model of `n_layers`, with logits of up to `n_rows` rows.
pub(crate) const fn most_phases(n_layers: usize, n_rows: usize) -> usize {
    n_layers + 1 + n_rows.div_ceil(MOST_ITEM_ROWS)
}

/// A pass of many rows.
pub(crate) struct Many<'a> {
    pass: &'a Pass<'a>,
    /// Rows of an item.
    item_rows: usize,
    n_items: usize,
}

impl<'a> Many<'a> {
    pub(crate) fn new(pass: &'a Pass<'a>) -> Self {
        let n_rows = pass.places.len();
        let share = n_rows.div_ceil(ITEMS_EACH * pass.n_workers).next_multiple_of(pass.kernels.tokens);
        let item_rows = share.clamp(FEWEST_ROWS, MOST_ITEM_ROWS);
        Self { pass, item_rows, n_items: n_rows.div_ceil(item_rows) }
    }

    /// Items of each phase of the run.
    pub(crate) fn items(&self) -> Vec<usize> {
        let mut items = vec![self.n_items; self.pass.spec.n_layers + 1];
        let n_heads = self.pass.wanted.len().div_ceil(MOST_ITEM_ROWS);
        items.extend(std::iter::repeat_n(self.pass.weights.output.n_strips(), n_heads));
        items
    }

    pub(crate) fn work(&self, task: &Task) {
        let n_layers = self.pass.spec.n_layers;
        let mut steps = Steps::new(self.pass, task.worker);
        if task.phase > n_layers {
            self.head(&mut steps, task, task.phase - n_layers - 1);
            return;
        }
        for item in task.items.clone() {
            let rows = self.rows(item);
            match task.phase {
                0 => {
                    steps.embed(rows.clone());
                    self.begin_layer(&mut steps, 0, rows);
                }
                i if i < n_layers => {
                    self.end_layer(&mut steps, i - 1, rows.clone());
                    self.begin_layer(&mut steps, i, rows);
                }
                i => {
                    for rows in runs(self.pass.wanted, rows) {
                        self.end_layer(&mut steps, i - 1, rows);
                    }
                }
            }
        }
    }

    /// The rows of an item. Later rows see more and take longer: items come from both ends in turn, so that all parts take about
    /// as long.
    fn rows(&self, item: usize) -> Range<usize> {
        let block = if item.is_multiple_of(2) { item / 2 } else { self.n_items - 1 - item / 2 };
        block * self.item_rows..((block + 1) * self.item_rows).min(self.pass.places.len())
    }

    /// Q, K and V of a layer; K and V into the cache.
    fn begin_layer(&self, steps: &mut Steps<'_>, i: usize, rows: Range<usize>) {
        let layer = &self.pass.weights.layers[i];
        steps.fill_normed(rows.clone(), &layer.attn_norm, Need::of(layer.qkv.each_ref().map(|m| m.format)));
        let strips = 0..layer.qkv.iter().map(|m| m.n_strips()).sum();
        steps.qkv(layer, &strips, rows.start, rows.len(), None);
        for row in rows {
            for kv_head in 0..self.pass.spec.n_kv_heads {
                steps.store_key_and_value(i, layer, row, kv_head);
            }
        }
    }

    /// Attention and feed-forward of a layer.
    fn end_layer(&self, steps: &mut Steps<'_>, i: usize, rows: Range<usize>) {
        let (pass, n) = (self.pass, rows.len());
        let layer = &pass.weights.layers[i];
        self.attend(steps, i, layer, rows.clone());
        let attended = std::mem::take(&mut steps.own.attended);
        fill_rows(steps, n, &attended, Need::of([layer.attn_output.format]));
        steps.own.attended = attended;
        steps.add_to_hidden(&layer.attn_output, 0..layer.attn_output.n_strips(), rows.start, n, None);

        let need = Need::of(layer.gate_up.each_ref().map(|m| m.format));
        steps.fill_normed(rows.clone(), &layer.ffn_norm, need);
        let mut gated = std::mem::take(&mut steps.own.gated);
        let n_ff = pass.spec.n_ff;
        gated.resize(n * n_ff, 0.0);
        let columns = Columns::of(&mut gated, 0, n_ff, n_ff);
        steps.gate_up(layer, 0..layer.gate_up[0].n_strips(), n, columns, None);
        fill_rows(steps, n, &gated, Need::of([layer.ffn_down.format]));
        steps.own.gated = gated;
        steps.add_to_hidden(&layer.ffn_down, 0..layer.ffn_down.n_strips(), rows.start, n, None);
    }

    /// All segments of all heads of the rows, merged at once, into `own.attended`.
    fn attend(&self, steps: &mut Steps<'_>, i: usize, layer: &CpuLayer, rows: Range<usize>) {
        let spec = self.pass.spec;
        let (q_dim, width) = (spec.q_dim(), spec.group_size() * spec.head_dim);
        let mut attended = std::mem::take(&mut steps.own.attended);
        let mut states = std::mem::take(&mut steps.own.states);
        let mut mixed = std::mem::take(&mut steps.own.head);
        attended.resize(rows.len() * q_dim, 0.0);
        for kv_head in 0..spec.n_kv_heads {
            let mut start = rows.start;
            while start < rows.end {
                let some = self.beside(start, rows.end);
                let len = steps.states_len(some.len());
                states.resize(len * self.pass.places[start].n_segments(), 0.0);
                steps.take_queries(layer, some.clone(), kv_head);
                for (segment, states) in states.chunks_exact_mut(len).enumerate() {
                    steps.attend(i, some.clone(), kv_head, segment, states);
                }
                mixed.resize(some.len() * width, 0.0);
                (self.pass.kernels.merge)(Merge {
                    states: &states,
                    head_dim: spec.head_dim,
                    out: &mut mixed,
                });
                let first = (start - rows.start) * q_dim + kv_head * width;
                for (mixed, out) in mixed.chunks_exact(width).zip(attended[first..].chunks_mut(q_dim)) {
                    out[..width].copy_from_slice(mixed);
                }
                start = some.end;
            }
        }
        steps.own.attended = attended;
        steps.own.states = states;
        steps.own.head = mixed;
    }

    /// Rows from `start` on that can share keys and values.
    fn beside(&self, start: usize, end: usize) -> Range<usize> {
        let places = self.pass.places;
        let most = QUERIES.div_ceil(self.pass.spec.group_size());
        let is_beside = |row: &usize| places[*row].is_beside(&places[start]);
        start..start + (start..end).take(most).take_while(is_beside).count()
    }

    fn head(&self, steps: &mut Steps<'_>, task: &Task, chunk: usize) {
        let pass = self.pass;
        let first = chunk * MOST_ITEM_ROWS;
        let n = MOST_ITEM_ROWS.min(pass.wanted.len() - first);
        if task.is_first {
            steps.fill_head(first, n);
        }
        let output = &pass.weights.output;
        let stream = task.is_own.then(|| {
            let end = part(task.worker, pass.n_workers, output.n_strips()).end;
            let end = output.start + end * output.stride;
            Stream { end, next: end, is_near: pass.is_near }
        });
        steps.logits(task.items.clone(), first, n, stream);
    }
}

/// Fills the tiles with rows of a buffer.
fn fill_rows(steps: &mut Steps<'_>, n: usize, buffer: &[f32], need: Need) {
    let len = buffer.len() / n;
    steps.fill(n, len, need, |_, i, _| Some(&buffer[i * len..(i + 1) * len]));
}

/// The wanted rows in `rows`, as runs without gaps.
fn runs(wanted: &[usize], rows: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let start = wanted.partition_point(|&row| row < rows.start);
    let end = wanted.partition_point(|&row| row < rows.end);
    wanted[start..end].chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[0] + run.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_rows_are_found_in_runs() {
        let all: Vec<_> = runs(&[1, 4, 5, 6, 9, 12], 4..12).collect();
        assert_eq!(all, [4..7, 9..10]);
        assert_eq!(runs(&[1, 2], 3..9).count(), 0);
    }
}
