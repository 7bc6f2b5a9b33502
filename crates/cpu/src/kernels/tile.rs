//! The matrix product, one group of 16 rows times up to four tokens: `out[t][lane] = sum over k of w[lane][k] * x[t][k]`.
//!
//! Block types: whole-number dot products of 32 weights with 32 quantised activations, exact in i32; then one fused
//! multiply-add into the sum, block after block. Float types: one fused multiply-add for each k. So every output is one
//! chain, in the order of k, whatever else is computed beside it.

use super::{LANES, Lanes, f16};
use crate::activations::Tile;
use crate::pack::{Group, bf16_to_f32};

/// Weights stored as unsigned 4-bit numbers, 8 more than their value.
#[inline(always)]
pub(crate) fn q4_0<const T: usize>(group: Group<'_>, x: &Tile, out: &mut [Lanes; T]) {
    let (scales, quants) = group.scales_and_quants(32);
    let (q, d, sums) = x.quantised::<T>();
    for (b, (scale, lines)) in scales.chunks_exact(LANES).zip(quants.chunks_exact(256)).enumerate() {
        for (t, out) in out.iter_mut().enumerate() {
            let i = b * T + t;
            let mut total = [-8 * sums[i]; LANES];
            for (line, a) in lines.chunks_exact(64).zip(q[i].chunks_exact(8)) {
                for (total, w) in total.iter_mut().zip(line.chunks_exact(4)) {
                    for k in 0..4 {
                        *total += i32::from(w[k] & 15) * i32::from(a[k]);
                        *total += i32::from(w[k] >> 4) * i32::from(a[k + 4]);
                    }
                }
            }
            accumulate(out, total, scale, d[i]);
        }
    }
}

/// Weights stored as unsigned bytes, 128 more than their value.
#[inline(always)]
pub(crate) fn q8_0<const T: usize>(group: Group<'_>, x: &Tile, out: &mut [Lanes; T]) {
    let (scales, quants) = group.scales_and_quants(32);
    let (q, d, sums) = x.quantised::<T>();
    for (b, (scale, lines)) in scales.chunks_exact(LANES).zip(quants.chunks_exact(512)).enumerate() {
        for (t, out) in out.iter_mut().enumerate() {
            let i = b * T + t;
            let mut total = [-128 * sums[i]; LANES];
            for (line, a) in lines.chunks_exact(64).zip(q[i].chunks_exact(4)) {
                for (total, w) in total.iter_mut().zip(line.chunks_exact(4)) {
                    for k in 0..4 {
                        *total += i32::from(w[k]) * i32::from(a[k]);
                    }
                }
            }
            accumulate(out, total, scale, d[i]);
        }
    }
}

/// One block of 32 into the sums of a token.
#[inline(always)]
fn accumulate(out: &mut Lanes, total: [i32; LANES], scale: &[u16], d: f32) {
    for ((out, total), scale) in out.iter_mut().zip(total).zip(scale) {
        *out = (total as f32).mul_add(f16::to_f32(*scale) * d, *out);
    }
}

/// Single precision.
#[inline(always)]
pub(crate) fn f32<const T: usize>(group: Group<'_>, x: &Tile, out: &mut [Lanes; T]) {
    float::<T, 4>(group, x, out, f32::from_ne_bytes);
}

/// Half precision.
#[inline(always)]
pub(crate) fn f16<const T: usize>(group: Group<'_>, x: &Tile, out: &mut [Lanes; T]) {
    float::<T, 2>(group, x, out, |w| f16::to_f32(u16::from_ne_bytes(w)));
}

/// The upper half of single precision.
#[inline(always)]
pub(crate) fn bf16<const T: usize>(group: Group<'_>, x: &Tile, out: &mut [Lanes; T]) {
    float::<T, 2>(group, x, out, |w| bf16_to_f32(u16::from_ne_bytes(w)));
}

#[inline(always)]
fn float<const T: usize, const N: usize>(
    group: Group<'_>,
    x: &Tile,
    out: &mut [Lanes; T],
    widen: impl Fn([u8; N]) -> f32,
) {
    let (columns, _) = group.bytes().as_chunks::<N>();
    for (weights, x) in columns.chunks_exact(LANES).zip(x.floats::<T>()) {
        let weights: Lanes = std::array::from_fn(|lane| widen(weights[lane]));
        for t in 0..T {
            for (out, w) in out[t].iter_mut().zip(weights) {
                *out = w.mul_add(x[t], *out);
            }
        }
    }
}
