//! Attention of queries over one segment of the positions of a sequence: scores, their exponentials, and the mixture of values.
//!
//! A segment is summed up by three numbers' worth of state for each query: the largest score, the sum of the weights, and the
//! mixture that the weights make of the values; [`Merge`] puts the states of consecutive segments together (as in the online
//! softmax of Milakov and Gimelshein, arXiv 1805.02867).
#![allow(clippy::needless_range_loop, reason = "registers by number, in loops that are unrolled")]

use super::exp::{exp, exp_one};
use crate::arch::{Kernel, LANES, LINE, Simd};
use model::BLOCK_LEN;

/// Positions of a segment.
pub(crate) const SEGMENT: usize = 512;
/// Blocks between keys or values that are read and those that are prefetched: other blocks, and other heads, lie between them
/// in memory.
const AHEAD: usize = 2;
/// Half-blocks of keys.
const HALVES: usize = BLOCK_LEN / LANES;

/// Numbers in the state of one query: maximum and sum (and what fills their vector), then the mixture in whole vectors.
pub(crate) const fn state_len(head_dim: usize) -> usize {
    LANES + head_dim.next_multiple_of(LANES)
}

/// Elements of one block of one head: keys `[2, head_dim, 16]`, values `[32, head_dim in whole vectors]`.
pub(crate) const fn block_len(head_dim: usize) -> usize {
    BLOCK_LEN * (head_dim + head_dim.next_multiple_of(LANES))
}

/// What is computed: a state for each query.
#[derive(Debug)]
pub(crate) struct Attend<'a> {
    pub(crate) head_dim: usize,
    /// `[n_queries, head_dim]`, rotated, and scaled by 1 / sqrt(head_dim).
    pub(crate) queries: &'a [f32],
    /// How many positions of the segment each query sees: 1 to 512.
    pub(crate) seen: &'a [usize],
    /// The segment's blocks of keys and values, in order, [`block_len`] elements each.
    pub(crate) blocks: &'a [&'a [u16]],
    /// `[n_queries, state_len]`
    pub(crate) states: &'a mut [f32],
}

/// The scores of up to 6 queries, then their weights.
type Scores = [[f32; SEGMENT]; 6];

impl Kernel for &mut Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        attend(s, self);
    }
}

/// The states `[n_segments, n_queries, state_len]` of queries over consecutive segments to their mixtures.
#[derive(Debug)]
pub(crate) struct Merge<'a> {
    pub(crate) states: &'a [f32],
    pub(crate) head_dim: usize,
    /// `[n_queries, head_dim]`
    pub(crate) out: &'a mut [f32],
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let n_queries = self.out.len() / self.head_dim;
        let states = self.states.chunks_exact(state_len(self.head_dim));
        for (i, out) in self.out.chunks_exact_mut(self.head_dim).enumerate() {
            merge(s, states.clone().skip(i).step_by(n_queries), out);
        }
    }
}

#[inline(always)]
fn attend<S: Simd>(s: S, a: &mut Attend<'_>) {
    let mut scores: Scores = [[0.0; SEGMENT]; 6];
    let mut first = 0;
    while first < a.seen.len() {
        let left = a.seen.len() - first;
        // As many at once as share a key or value in registers.
        first += match left {
            6.. => some::<S, 6>(s, a, first, &mut scores),
            4.. => some::<S, 4>(s, a, first, &mut scores),
            3 => some::<S, 3>(s, a, first, &mut scores),
            2 => some::<S, 2>(s, a, first, &mut scores),
            _ => some::<S, 1>(s, a, first, &mut scores),
        };
    }
}

/// Queries `first..first + N`; gives `N`.
#[inline(always)]
fn some<S: Simd, const N: usize>(s: S, a: &mut Attend<'_>, first: usize, scores: &mut Scores) -> usize {
    let n = a.head_dim;
    let mut queries = [&a.queries[..0]; N];
    let mut most = 0;
    for i in 0..N {
        queries[i] = &a.queries[(first + i) * n..][..n];
        most = most.max(a.seen[first + i]);
    }
    for (i, (block, at)) in a.blocks.iter().zip((0..most).step_by(BLOCK_LEN)).enumerate() {
        let next = a.blocks.get(i + AHEAD).map(|block| &block[..BLOCK_LEN * n]);
        score_block::<S, N>(s, queries, &block[..BLOCK_LEN * n], next, at, scores);
    }
    let len = state_len(n);
    for i in 0..N {
        let state = &mut a.states[(first + i) * len..][..len];
        let padded = most.next_multiple_of(BLOCK_LEN);
        let seen = a.seen[first + i];
        scores[i][seen..padded].fill(f32::NEG_INFINITY);
        (state[0], state[1]) = weigh(s, &mut scores[i][..padded]);
    }
    let states = &mut a.states[first * len..][..N * len];
    // As many sums at once as there are registers for.
    match N {
        1 => mix_all::<S, N, 4>(s, a.blocks, n, most, scores, states),
        2 | 3 if !S::IS_WIDE => mix_all::<S, N, 2>(s, a.blocks, n, most, scores, states),
        _ if !S::IS_WIDE => mix_all::<S, N, 1>(s, a.blocks, n, most, scores, states),
        _ => mix_all::<S, N, 4>(s, a.blocks, n, most, scores, states),
    }
    N
}

/// Scores of one block of 32 keys, `[2, head_dim, 16]`.
#[inline(always)]
fn score_block<S: Simd, const N: usize>(
    s: S,
    queries: [&[f32]; N],
    keys: &[u16],
    next: Option<&[u16]>,
    at: usize,
    scores: &mut Scores,
) {
    let n = queries[0].len();
    let keys = keys.as_chunks::<LANES>().0;
    let (left, right) = keys.split_at(n);
    if S::IS_WIDE || N == 1 {
        score_keys::<S, N, HALVES>(s, queries, [left, right], next, at, scores);
    } else {
        let (first, second) = next.map_or((None, None), |next| {
            let (first, second) = next.split_at(LANES * n);
            (Some(first), Some(second))
        });
        score_keys::<S, N, 1>(s, queries, [left], first, at, scores);
        score_keys::<S, N, 1>(s, queries, [right], second, at + LANES, scores);
    }
}

/// Scores of `H` half-blocks of keys, `[head_dim, 16]` each; `next` is as many that are needed soon.
#[inline(always)]
fn score_keys<S: Simd, const N: usize, const H: usize>(
    s: S,
    queries: [&[f32]; N],
    halves: [&[[u16; LANES]]; H],
    next: Option<&[u16]>,
    at: usize,
    scores: &mut Scores,
) {
    // Of one length, so that no bounds are checked in the loop.
    let n = queries[0].len();
    let (mut queries, mut halves) = (queries, halves);
    for i in 0..N {
        queries[i] = &queries[i][..n];
    }
    for h in 0..H {
        halves[h] = &halves[h][..n];
    }
    let mut sums = [[s.splat(0.0); H]; N];
    for d in 0..n {
        if let Some(next) = next
            && (H == HALVES || d % 2 == 0)
        {
            // Line by line: a half-block has 32 bytes for each element.
            s.prefetch(next.as_ptr().wrapping_add(H * LANES * d).cast());
        }
        let mut keys = [s.splat(0.0); H];
        for h in 0..H {
            keys[h] = s.load_f16(&halves[h][d]);
        }
        for i in 0..N {
            let q = s.splat(queries[i][d]);
            for h in 0..H {
                sums[i][h] = s.mul_add(keys[h], q, sums[i][h]);
            }
        }
    }
    for i in 0..N {
        let out = scores[i][at..at + H * LANES].as_chunks_mut::<LANES>().0;
        for h in 0..H {
            s.store(sums[i][h], &mut out[h]);
        }
    }
}

/// Scores to weights; gives the largest score and the sum of the weights.
#[inline(always)]
fn weigh<S: Simd>(s: S, scores: &mut [f32]) -> (f32, f32) {
    let (vectors, _) = scores.as_chunks_mut::<LANES>();
    let mut top = s.splat(f32::NEG_INFINITY);
    for vector in vectors.iter() {
        top = s.max(s.load(vector), top);
    }
    let top = s.largest(top);
    // Scores of NaN or minus infinity alone leave no maximum to subtract.
    let shift = s.splat(if top == f32::NEG_INFINITY { 0.0 } else { top });
    let mut total = s.splat(0.0);
    for vector in vectors {
        let weights = exp(s, s.sub(s.load(vector), shift));
        total = s.add(total, weights);
        s.store(weights, vector);
    }
    (top, s.sum(total))
}

/// The mixtures of `N` queries, `V` vectors of them at a time.
#[inline(always)]
fn mix_all<S: Simd, const N: usize, const V: usize>(
    s: S,
    blocks: &[&[u16]],
    head_dim: usize,
    n_positions: usize,
    weights: &Scores,
    states: &mut [f32],
) {
    let n_vectors = head_dim.div_ceil(LANES);
    let mut v = 0;
    while v < n_vectors {
        if v + V <= n_vectors {
            mix::<S, N, V>(s, blocks, head_dim, n_positions, v, weights, states);
            v += V;
        } else {
            mix::<S, N, 1>(s, blocks, head_dim, n_positions, v, weights, states);
            v += 1;
        }
    }
}

/// Vectors `v..v + V` of the mixtures of `N` queries.
#[inline(always)]
fn mix<S: Simd, const N: usize, const V: usize>(
    s: S,
    blocks: &[&[u16]],
    head_dim: usize,
    n_positions: usize,
    v: usize,
    weights: &Scores,
    states: &mut [f32],
) {
    let n_vectors = head_dim.div_ceil(LANES);
    let mut sums = [[s.splat(0.0); V]; N];
    for (i, (block, start)) in blocks.iter().zip((0..n_positions).step_by(BLOCK_LEN)).enumerate() {
        let next = blocks.get(i + AHEAD).map(|block| block[BLOCK_LEN * head_dim..].as_ptr());
        let values = block[BLOCK_LEN * head_dim..].as_chunks::<LANES>().0;
        let n_valid = (n_positions - start).min(BLOCK_LEN);
        let mut seen = [&weights[0][..0]; N];
        for i in 0..N {
            seen[i] = &weights[i][start..start + n_valid];
        }
        for (p, value) in values.chunks_exact(n_vectors).take(n_valid).enumerate() {
            let value = &value[v..v + V];
            if let Some(next) = next {
                let next = next.wrapping_add((p * n_vectors + v) * LANES);
                for line in 0..(V * LANES * size_of::<u16>()).div_ceil(LINE) {
                    s.prefetch(next.cast::<u8>().wrapping_add(line * LINE));
                }
            }
            let mut vectors = [s.splat(0.0); V];
            for j in 0..V {
                vectors[j] = s.load_f16(&value[j]);
            }
            for i in 0..N {
                let weight = s.splat(seen[i][p]);
                for j in 0..V {
                    sums[i][j] = s.mul_add(vectors[j], weight, sums[i][j]);
                }
            }
        }
    }
    for (state, sums) in states.chunks_exact_mut(state_len(head_dim)).zip(sums) {
        let mixture = state[LANES..].as_chunks_mut::<LANES>().0;
        for j in 0..V {
            s.store(sums[j], &mut mixture[v + j]);
        }
    }
}

/// One query's mixture from its states over consecutive segments, in order.
#[inline(always)]
fn merge<'a, S: Simd>(s: S, states: impl Iterator<Item = &'a [f32]> + Clone, out: &mut [f32]) {
    let mut top = f32::NEG_INFINITY;
    for state in states.clone() {
        top = if state[0] > top { state[0] } else { top };
    }
    let shift = if top == f32::NEG_INFINITY { 0.0 } else { top };
    let mut total = 0.0;
    for (i, state) in states.enumerate() {
        let weight = exp_one(s, state[0] - shift);
        total = state[1].mul_add(weight, total);
        let mixture = state[LANES..].as_chunks::<LANES>().0;
        for (out, v) in out.chunks_mut(LANES).zip(mixture) {
            let there = if i == 0 { s.splat(0.0) } else { super::load_part(s, out, 0) };
            super::store_part(s, s.mul_add(s.load(v), s.splat(weight), there), out);
        }
    }
    for out in out.chunks_mut(LANES) {
        let mixed = super::load_part(s, out, 0);
        super::store_part(s, s.div(mixed, s.splat(total)), out);
    }
}
