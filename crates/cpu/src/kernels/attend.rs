//! Attention of the query heads that share one key-value head over one block of 32 positions, by the online softmax
//! (Milakov and Gimelshein, arXiv 1805.02867): the running maximum, sum and mixture of values of each head.

use super::exp::exp;
use super::{LANES, Lanes, f16, sum};

const BLOCK_LEN: usize = 32;

/// Numbers in the state of one head: maximum, sum, and `head_dim` of the mixture.
pub(crate) const fn state_len(head_dim: usize) -> usize {
    2 + head_dim
}

/// The state before the first position.
pub(crate) fn reset(states: &mut [f32], head_dim: usize) {
    for state in states.chunks_exact_mut(state_len(head_dim)) {
        state.fill(0.0);
        state[0] = f32::NEG_INFINITY;
    }
}

/// Takes the first `n_valid` (1 to 32) positions of `block` into the state of each query head.
///
/// `queries`: `[n_heads, head_dim]`, scaled by 1 / sqrt(head_dim) already. `block`: keys `[2, head_dim, 16]`, values
/// `[32, head_dim]`. `states`: `[n_heads, 2 + head_dim]`.
#[inline(always)]
pub(crate) fn attend(queries: &[f32], head_dim: usize, block: &[u16], n_valid: usize, states: &mut [f32]) {
    let (keys, values) = block.split_at(BLOCK_LEN * head_dim);
    for (query, state) in queries.chunks_exact(head_dim).zip(states.chunks_exact_mut(state_len(head_dim))) {
        let mut weights = [[f32::NEG_INFINITY; LANES]; 2];
        for (h, keys) in keys.chunks_exact(LANES * head_dim).enumerate() {
            if h * LANES < n_valid {
                weights[h] = scores(query, keys);
            }
        }
        let weights = weights.as_flattened_mut();
        weights[n_valid..].fill(f32::NEG_INFINITY);

        let (head, mixture) = state.split_at_mut(2);
        let top = weights.iter().fold(head[0], |m, &s| if s > m { s } else { m });
        // Scores of NaN or minus infinity alone leave no maximum to subtract.
        let shift = if top == f32::NEG_INFINITY { 0.0 } else { top };
        let keep = exp(head[0] - shift);
        let mut total = [0f32; LANES];
        for half in weights.chunks_exact_mut(LANES) {
            for (w, t) in half.iter_mut().zip(&mut total) {
                *w = exp(*w - shift);
                *t += *w;
            }
        }
        head[0] = top;
        head[1] = head[1].mul_add(keep, sum(total));
        for m in mixture.iter_mut() {
            *m *= keep;
        }
        for (weight, value) in weights[..n_valid].iter().zip(values.chunks_exact(head_dim)) {
            for (m, v) in mixture.iter_mut().zip(value) {
                *m = f16::to_f32(*v).mul_add(*weight, *m);
            }
        }
    }
}

/// Query times 16 keys, `[head_dim, 16]`.
#[inline(always)]
fn scores(query: &[f32], keys: &[u16]) -> Lanes {
    let mut scores = [0f32; LANES];
    for (q, key) in query.iter().zip(keys.chunks_exact(LANES)) {
        for (s, k) in scores.iter_mut().zip(key) {
            *s = f16::to_f32(*k).mul_add(*q, *s);
        }
    }
    scores
}

/// One head's mixture from its states over consecutive segments, `[n_segments, 2 + head_dim]`, in order.
#[inline(always)]
pub(crate) fn merge<'a>(states: impl Iterator<Item = &'a [f32]> + Clone, out: &mut [f32]) {
    let top = states.clone().fold(f32::NEG_INFINITY, |m, s| if s[0] > m { s[0] } else { m });
    let shift = if top == f32::NEG_INFINITY { 0.0 } else { top };
    out.fill(0.0);
    let mut total = 0.0;
    for state in states {
        let weight = exp(state[0] - shift);
        total = state[1].mul_add(weight, total);
        for (out, v) in out.iter_mut().zip(&state[2..]) {
            *out = v.mul_add(weight, *out);
        }
    }
    for out in out {
        *out /= total;
    }
}
