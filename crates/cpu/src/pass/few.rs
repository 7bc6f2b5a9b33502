//! Few rows: every matrix is split by strips, and every worker has all rows.
//!
//! | phase | items | what each worker does before its first |
//! |---|---|---|
//! | Q, K, V | strips | normalises and quantises all rows |
//! | attention | segments of heads of rows | |
//! | output | strips | merges segments, quantises |
//! | gate, up | strips of both | normalises and quantises |
//! | down | strips | quantises |
//!
//! and the head once, as the first. With more than one row, keys and values are stored in a phase of their own, since a row may
//! see another.
#![allow(unsafe_code, reason = "items of a phase write disjoint parts of shared buffers")]

use super::Pass;
use super::steps::Steps;
use crate::activations::Need;
use crate::kernels::attend::Merge;
use crate::kernels::bring_near::BringNear;
use crate::kernels::product::Stream;
use crate::matrix::Matrix;
use crate::pool::{Task, part};
use crate::shared::Columns;
use crate::weights::CpuLayer;

/// A phase of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Qkv,
    Store,
    Attend,
    Output,
    GateUp,
    Down,
}

/// Bytes that are brought near at once, at most: half of a small second-level cache.
const MOST_NEAR: usize = 128 << 10;
const ONE_ROW: &[Phase] = &[Phase::Qkv, Phase::Attend, Phase::Output, Phase::GateUp, Phase::Down];
const SOME_ROWS: &[Phase] =
    &[Phase::Qkv, Phase::Store, Phase::Attend, Phase::Output, Phase::GateUp, Phase::Down];

/// Phases of a run for a model of `n_layers`, at most.
pub(crate) const fn most_phases(n_layers: usize) -> usize {
    SOME_ROWS.len() * n_layers + 1
}

/// A pass of few rows.
pub(crate) struct Few<'a> {
    pass: &'a Pass<'a>,
    phases: &'static [Phase],
}

impl<'a> Few<'a> {
    pub(crate) fn new(pass: &'a Pass<'a>) -> Self {
        let phases = if pass.places.len() == 1 { ONE_ROW } else { SOME_ROWS };
        Self { pass, phases }
    }

    /// Items of each phase of the run.
    pub(crate) fn items(&self) -> Vec<usize> {
        let (spec, places) = (self.pass.spec, self.pass.places);
        let mut items = Vec::with_capacity(most_phases(spec.n_layers));
        for layer in &self.pass.weights.layers {
            items.extend(self.phases.iter().map(|phase| match phase {
                Phase::Qkv => strips(&layer.qkv),
                Phase::Store => places.len() * spec.n_kv_heads,
                Phase::Attend => places.iter().map(|p| p.n_segments() * spec.n_kv_heads).sum(),
                Phase::Output => layer.attn_output.n_strips(),
                Phase::GateUp => layer.gate_up[0].n_strips(),
                Phase::Down => layer.ffn_down.n_strips(),
            }));
        }
        items.push(if self.pass.wanted.is_empty() { 0 } else { self.pass.weights.output.n_strips() });
        items
    }

    /// Writes the hidden states that the first phase reads; to be called before the run.
    pub(crate) fn embed(&self) {
        Steps::new(self.pass, 0).embed(0..self.pass.places.len());
    }

    pub(crate) fn work(&self, task: &Task) {
        let pass = self.pass;
        let mut steps = Steps::new(pass, task.worker);
        let n = pass.places.len();
        let i = task.phase / self.phases.len();
        let Some(layer) = pass.weights.layers.get(i) else {
            if task.is_first {
                steps.fill_head(0, pass.wanted.len());
            }
            steps.logits(task.items.clone(), 0, pass.wanted.len(), self.stream(task));
            return;
        };
        match self.phases[task.phase % self.phases.len()] {
            Phase::Qkv => {
                if task.is_first {
                    let need = Need::of(layer.qkv.each_ref().map(|m| m.format));
                    steps.fill_normed(0..n, &layer.attn_norm, need);
                }
                steps.qkv(layer, &task.items, 0, n, self.stream(task));
            }
            Phase::Store => {
                for item in task.items.clone() {
                    let n_heads = pass.spec.n_kv_heads;
                    steps.store_key_and_value(i, layer, item / n_heads, item % n_heads);
                }
            }
            Phase::Attend => {
                self.attend(&mut steps, i, layer, task);
                self.bring_near(&layer.attn_output, task);
            }
            Phase::Output => {
                if task.is_first {
                    fill_attended(&mut steps, Need::of([layer.attn_output.format]));
                }
                steps.add_to_hidden(&layer.attn_output, task.items.clone(), 0, n, self.stream(task));
            }
            Phase::GateUp => {
                if task.is_first {
                    let need = Need::of(layer.gate_up.each_ref().map(|m| m.format));
                    steps.fill_normed(0..n, &layer.ffn_norm, need);
                }
                self.gate_up(&steps, layer, task);
            }
            Phase::Down => {
                if task.is_first {
                    fill_gated(&mut steps, Need::of([layer.ffn_down.format]));
                }
                steps.add_to_hidden(&layer.ffn_down, task.items.clone(), 0, n, self.stream(task));
            }
        }
    }

    fn gate_up(&self, steps: &Steps<'_>, layer: &CpuLayer, task: &Task) {
        let (pass, n_ff) = (self.pass, self.pass.spec.n_ff);
        let stream = self.stream(task);
        // SAFETY: columns of these items' strips.
        let columns = unsafe { Columns::new(&pass.scratch.gated, 0, n_ff, n_ff) };
        steps.gate_up(layer, task.items.clone(), pass.places.len(), columns, stream);
    }

    /// Every segment of every key-value head of every row is an item of its own; merged by whoever reads them.
    fn attend(&self, steps: &mut Steps<'_>, i: usize, layer: &CpuLayer, task: &Task) {
        let pass = self.pass;
        let len = steps.states_len(1);
        let mut item = 0;
        for (row, place) in pass.places.iter().enumerate() {
            for kv_head in 0..pass.spec.n_kv_heads {
                for segment in 0..place.n_segments() {
                    if task.items.contains(&item) {
                        // The last segment holds the row's own position, so that its item alone needs the new key.
                        if self.phases == ONE_ROW && segment + 1 == place.n_segments() {
                            steps.store_key_and_value(i, layer, row, kv_head);
                        }
                        steps.take_queries(layer, row..row + 1, kv_head);
                        // SAFETY: the states of this item.
                        let states = unsafe { pass.scratch.states.get_mut(item * len..(item + 1) * len) };
                        steps.attend(i, row..row + 1, kv_head, segment, states);
                    }
                    item += 1;
                }
            }
        }
    }

    /// A worker that is done with its own part of a phase without weights has those of the next on their way: memory has nothing to do
    /// else until all others are done.
    fn bring_near(&self, next: &Matrix, task: &Task) {
        let pass = self.pass;
        let n_items: usize = pass.places.iter().map(|p| p.n_segments() * pass.spec.n_kv_heads).sum();
        if task.is_own && task.items.end == part(task.worker, pass.n_workers, n_items).end {
            let own = part(task.worker, pass.n_workers, next.n_strips());
            let [start, end] = [own.start, own.end].map(|strip| next.start + strip * next.stride);
            if let Some(bytes) = pass.weights.arena.bytes().get(start..end.min(start + MOST_NEAR)) {
                (pass.kernels.bring_near)(BringNear(bytes));
            }
        }
    }

    /// Where a worker's own part of the weights ends, and where it goes on in the next phase that has weights.
    fn stream(&self, task: &Task) -> Option<Stream> {
        let part_of = |matrices: &[Matrix]| {
            let part = part(task.worker, self.pass.n_workers, strips(matrices));
            [part.start, part.end].map(|strip| offset(matrices, strip))
        };
        if !task.is_own {
            return None;
        }
        let [_, end] = part_of(self.weights(task.phase)?);
        let next = (task.phase + 1..).find_map(|phase| self.weights(phase)).unwrap_or(&[]);
        Some(Stream { end, next: part_of(next)[0], is_near: self.pass.is_near })
    }

    /// The matrices whose strips are the items of a phase, one after another; after the head comes the first layer again.
    fn weights(&self, phase: usize) -> Option<&[Matrix]> {
        let weights = self.pass.weights;
        let (i, phase) = (phase / self.phases.len(), phase % self.phases.len());
        let Some(layer) = weights.layers.get(i) else {
            return Some(match (phase, weights.layers.first()) {
                (1.., Some(layer)) => &layer.qkv,
                _ => std::slice::from_ref(&weights.output),
            });
        };
        match self.phases[phase] {
            Phase::Store | Phase::Attend => None,
            Phase::Qkv => Some(&layer.qkv),
            Phase::Output => Some(std::slice::from_ref(&layer.attn_output)),
            // The strips of the other lie between.
            Phase::GateUp => Some(&layer.gate_up[..1]),
            Phase::Down => Some(std::slice::from_ref(&layer.ffn_down)),
        }
    }
}

fn fill_attended(steps: &mut Steps<'_>, need: Need) {
    let pass = steps.pass;
    let (q_dim, head_dim) = (pass.spec.q_dim(), pass.spec.head_dim);
    let states_len = steps.states_len(1);
    // In the order in which `Few::attend` numbers them.
    let mut at = 0;
    steps.fill(pass.places.len(), q_dim, need, |_, row, out| {
        let len = pass.places[row].n_segments() * states_len;
        for group in out.chunks_exact_mut(pass.spec.group_size() * head_dim) {
            // SAFETY: complete: written in the last phase.
            let states = unsafe { pass.scratch.states.get(at..at + len) };
            (pass.kernels.merge)(Merge { states, head_dim, out: group });
            at += len;
        }
        None
    });
}

fn fill_gated(steps: &mut Steps<'_>, need: Need) {
    let (pass, n_ff) = (steps.pass, steps.pass.spec.n_ff);
    steps.fill(pass.places.len(), n_ff, need, |_, row, _| {
        // SAFETY: complete: written in the last phase.
        Some(unsafe { pass.scratch.gated.get(row * n_ff..(row + 1) * n_ff) })
    });
}

fn strips(matrices: &[Matrix]) -> usize {
    matrices.iter().map(Matrix::n_strips).sum()
}

/// Where a strip of joined matrices begins in the arena.
fn offset(matrices: &[Matrix], mut strip: usize) -> usize {
    let mut end = 0;
    for matrix in matrices {
        if strip < matrix.n_strips() {
            return matrix.start + strip * matrix.stride;
        }
        strip -= matrix.n_strips();
        end = matrix.start + matrix.n_strips() * matrix.stride;
    }
    end
}
