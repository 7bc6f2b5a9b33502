//! Attention of one row: rotation, the cache, and the sum over segments of positions.
//!
//! The positions of a sequence are cut into segments of 512, whatever the number of workers or rows; each is summed up on its
//! own, and the sums are merged in order. So the work on a long context can be split without changing a bit.

use crate::arch::Kernels;
use crate::kernels::attend::{self, state_len};
use crate::kv::KvStore;
use model::{BLOCK_LEN, ModelSpec, RopePairing, RopeTable};
use std::ops::Range;

/// Positions of a segment.
pub(crate) const SEGMENT: usize = 512;

/// Where one row stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) position: usize,
    /// Block table of its sequence.
    pub(crate) blocks: &'a [u32],
}

impl Place<'_> {
    pub(crate) fn n_segments(&self) -> usize {
        self.position / SEGMENT + 1
    }

    pub(crate) fn block(&self) -> u32 {
        self.blocks[self.position / BLOCK_LEN]
    }

    /// The positions of a segment that this row sees.
    fn seen(&self, segment: usize) -> Range<usize> {
        segment * SEGMENT..((segment + 1) * SEGMENT).min(self.position + 1)
    }
}

/// Sums up one segment for the query heads of one key-value head. `queries`: `[group_size, head_dim]`, rotated and scaled.
///
/// # Safety
/// No thread writes keys or values of this head at positions that the row sees during the call.
#[allow(unsafe_code, reason = "the promise of the KV store, passed on")]
pub(crate) unsafe fn segment(
    kernels: &Kernels,
    kv: &KvStore,
    (layer, kv_head): (usize, usize),
    place: Place<'_>,
    segment: usize,
    queries: &[f32],
    (head_dim, states): (usize, &mut [f32]),
) {
    attend::reset(states, head_dim);
    let seen = place.seen(segment);
    for start in seen.clone().step_by(BLOCK_LEN) {
        let n_valid = (seen.end - start).min(BLOCK_LEN);
        // SAFETY: passed on to the caller.
        let block = unsafe { kv.block(layer, place.blocks[start / BLOCK_LEN], kv_head) };
        (kernels.attend)(queries, head_dim, block, n_valid, states);
    }
}

/// Merges the segments of all query heads of one key-value head. `states`: `[n_segments, group_size, 2 + head_dim]`;
/// `out`: `[group_size, head_dim]`.
pub(crate) fn merge(states: &[f32], head_dim: usize, out: &mut [f32]) {
    let len = state_len(head_dim);
    let group_size = out.len() / head_dim;
    for (i, out) in out.chunks_exact_mut(head_dim).enumerate() {
        attend::merge(states.chunks_exact(len).skip(i).step_by(group_size), out);
    }
}

/// Rotation and scaling of heads.
#[derive(Debug)]
pub(crate) struct Rotation {
    table: RopeTable,
    /// Cosines and sines, `[n_positions, n_rot / 2]`.
    cos_sin: Vec<(f32, f32)>,
}

impl Rotation {
    pub(crate) fn new(spec: &ModelSpec) -> Self {
        Self { table: spec.rope.clone(), cos_sin: Vec::new() }
    }

    /// Makes sure that positions before `n_positions` are in the table.
    pub(crate) fn reserve(&mut self, n_positions: usize) {
        let pairs = self.table.frequencies.len();
        let have = self.cos_sin.len() / pairs;
        for position in have..n_positions.next_multiple_of(BLOCK_LEN).max(have) {
            for i in 0..pairs {
                let (cos, sin) = self.table.cos_sin(position as u32, i);
                self.cos_sin.push((cos as f32, sin as f32));
            }
        }
    }

    pub(crate) fn apply(&self, head: &mut [f32], position: usize) {
        let pairs = self.table.frequencies.len();
        let turns = &self.cos_sin[position * pairs..][..pairs];
        let turn = |a: f32, b: f32, (cos, sin): (f32, f32)| (a * cos - b * sin, a * sin + b * cos);
        match self.table.pairing {
            RopePairing::Adjacent => {
                for ([a, b], &t) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                    (*a, *b) = turn(*a, *b, t);
                }
            }
            RopePairing::Halves => {
                let (first, rest) = head.split_at_mut(pairs);
                for ((a, b), &t) in first.iter_mut().zip(rest).zip(turns) {
                    (*a, *b) = turn(*a, *b, t);
                }
            }
        }
    }
}
