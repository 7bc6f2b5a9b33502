//! Sums over blocks: the chain of operations that each output of a quantised matrix is.
#![allow(clippy::needless_range_loop, reason = "registers by number, in loops that are unrolled")]

use super::Ahead;
use super::block::Block;
use crate::activations::QuantBlock;
use crate::arch::{LINE, Simd};
use crate::pack::{FIELDS, LAYOUTS};

/// Adds blocks of `R` groups of rows times `T` tokens to `sums`; `block(b)` has the weights that meet `blocks[b]`.
#[inline(always)]
pub(super) fn dots<S: Simd, B: Block<S>, const FORMAT: usize, const T: usize, const R: usize>(
    s: S,
    mut sums: [[S::Floats; T]; R],
    block: impl Fn(usize) -> [B; R],
    blocks: &[[QuantBlock; T]],
    mut ahead: Option<Ahead>,
) -> [[S::Floats; T]; R] {
    let layout = const { &LAYOUTS[FORMAT] };
    let lines = (LAYOUTS[FORMAT].block_bytes() * R).div_ceil(LINE);
    for (b, x) in blocks.iter().enumerate() {
        if let Some(ahead) = &mut ahead {
            ahead.prefetch(s, lines);
        }
        let block = block(b);
        for part in 0..layout.parts() {
            let ints = part_dots::<S, B, FORMAT, T, R>(s, &block, x, part);
            for r in 0..R {
                let scale = block[r].scale(s, part);
                for t in 0..T {
                    let factor = s.mul(scale, s.splat(x[t].scale));
                    sums[r][t] = s.mul_add(s.to_floats(ints[r][t]), factor, sums[r][t]);
                }
                if layout.has_min {
                    let min = block[r].min(s, part);
                    for t in 0..T {
                        let sum = if layout.parts() == 1 { x[t].minus_sum } else { x[t].minus_sums[part] };
                        sums[r][t] = s.mul_add(min, s.splat(sum as f32 * x[t].scale), sums[r][t]);
                    }
                }
            }
        }
    }
    sums
}

/// The whole-number part of one block, or of one half of it.
#[inline(always)]
fn part_dots<S: Simd, B: Block<S>, const FORMAT: usize, const T: usize, const R: usize>(
    s: S,
    block: &[B; R],
    x: &[QuantBlock; T],
    part: usize,
) -> [[S::Ints; T]; R] {
    let layout = const { &LAYOUTS[FORMAT] };
    let mut sums = [[s.start(s.splat_int(0)); T]; R];
    if let Some(bits) = layout.offset_bits {
        // Signed bytes have lost their offset.
        if !(layout.bits() == 8 && S::SIGNED_BYTES) {
            for t in 0..T {
                let sum = if layout.parts() == 1 { x[t].minus_sum } else { x[t].minus_sums[part] };
                let start = s.start(s.shift_left(s.splat_int(sum), bits));
                for r in 0..R {
                    sums[r][t] = start;
                }
            }
        }
    }
    if S::PAIRS && T == 2 {
        pairs::<S, B, FORMAT, T, R>(s, block, x, part, &mut sums);
    } else {
        fields::<S, B, FORMAT, T, R>(s, block, x, part, &mut sums);
    }
    let mut ints = [[s.splat_int(0); T]; R];
    for r in 0..R {
        for t in 0..T {
            ints[r][t] = s.total(sums[r][t]);
        }
    }
    ints
}

/// Adds the products of one part of a block, four weights of every row at a time.
#[inline(always)]
fn fields<S: Simd, B: Block<S>, const FORMAT: usize, const T: usize, const R: usize>(
    s: S,
    block: &[B; R],
    x: &[QuantBlock; T],
    part: usize,
    sums: &mut [[S::Sum; T]; R],
) {
    let layout = const { &LAYOUTS[FORMAT] };
    if layout.parts() == 1 || part == 0 {
        field::<S, B, FORMAT, T, R, 0>(s, block, x, sums);
        field::<S, B, FORMAT, T, R, 1>(s, block, x, sums);
        field::<S, B, FORMAT, T, R, 2>(s, block, x, sums);
        field::<S, B, FORMAT, T, R, 3>(s, block, x, sums);
    }
    if layout.parts() == 1 || part == 1 {
        field::<S, B, FORMAT, T, R, 4>(s, block, x, sums);
        field::<S, B, FORMAT, T, R, 5>(s, block, x, sums);
        field::<S, B, FORMAT, T, R, 6>(s, block, x, sums);
        field::<S, B, FORMAT, T, R, 7>(s, block, x, sums);
    }
}

/// Four weights of every row: `C` is a constant so that lines, shifts and masks are.
#[inline(always)]
fn field<S: Simd, B: Block<S>, const FORMAT: usize, const T: usize, const R: usize, const C: usize>(
    s: S,
    block: &[B; R],
    x: &[QuantBlock; T],
    sums: &mut [[S::Sum; T]; R],
) {
    let layout = const { &LAYOUTS[FORMAT] };
    let bits = layout.bits();
    let ends_part = C == FIELDS - 1 || C + 1 == FIELDS / layout.parts();
    let carries = bits < 8 && (ends_part || (C + 1).is_multiple_of(128 >> bits));
    for r in 0..R {
        let weights = block[r].weights::<C>(s);
        for t in 0..T {
            let x = x[t].q.as_chunks::<4>().0[C];
            let sum = &mut sums[r][t];
            *sum = if bits == 8 { s.dot_wide(*sum, weights, x) } else { s.dot(*sum, weights, x) };
            if carries {
                *sum = s.carry(*sum);
            }
        }
    }
}

/// What [`fields`] does, for two tokens at once and eight weights at a time.
#[inline(always)]
fn pairs<S: Simd, B: Block<S>, const FORMAT: usize, const T: usize, const R: usize>(
    s: S,
    block: &[B; R],
    x: &[QuantBlock; T],
    part: usize,
    sums: &mut [[S::Sum; T]; R],
) {
    let layout = const { &LAYOUTS[FORMAT] };
    for r in 0..R {
        let mut both = s.join([sums[r][0], sums[r][1]]);
        if layout.parts() == 1 || part == 0 {
            both = pair::<S, B, T, 0, 1>(s, &block[r], x, both);
            both = pair::<S, B, T, 2, 3>(s, &block[r], x, both);
        }
        if layout.parts() == 1 || part == 1 {
            both = pair::<S, B, T, 4, 5>(s, &block[r], x, both);
            both = pair::<S, B, T, 6, 7>(s, &block[r], x, both);
        }
        [sums[r][0], sums[r][1]] = s.part(both);
    }
}

/// Eight weights of every row: fields `C` and `D`, which follow one another.
#[inline(always)]
fn pair<S: Simd, B: Block<S>, const T: usize, const C: usize, const D: usize>(
    s: S,
    block: &B,
    x: &[QuantBlock; T],
    sums: [S::Sum; 2],
) -> [S::Sum; 2] {
    let bytes = [block.weights::<C>(s), block.weights::<D>(s)];
    let eight = [&x[0].q.as_chunks::<8>().0[C / 2], &x[1].q.as_chunks::<8>().0[C / 2]];
    s.dot_pair(sums, bytes, eight)
}
