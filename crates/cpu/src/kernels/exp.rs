//! The exponential function to about one unit in the last place, without a table or a branch.

use crate::arch::Simd;

/// e^x, with a relative error under 2e-7; 0 below -87, infinite above 88.72. NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::Floats) -> S::Floats {
    // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let shifted = s.mul_add(x, s.splat(std::f32::consts::LOG2_E), s.splat(ROUND));
    let n = s.sub(shifted, s.splat(ROUND));
    let r = s.mul_add(n, s.splat(-LN2_LOW), s.mul_add(n, s.splat(-LN2_HIGH), x));
    // Minimax polynomial of Cephes' expf (S. Moshier) on [-ln 2 / 2, ln 2 / 2].
    let mut p = s.splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = s.mul_add(p, r, s.splat(c));
    }
    let p = s.add(s.mul_add(p, s.mul(r, r), r), s.splat(1.0));
    let scaled = s.scale_by_low_bits(p, shifted);
    let scaled = s.select_less(s.splat(88.72), x, s.splat(f32::INFINITY), scaled);
    s.select_less(x, s.splat(-87.0), s.splat(0.0), scaled)
}

/// e^x of one number, to the same bits.
#[inline(always)]
pub(crate) fn exp_one<S: Simd>(s: S, x: f32) -> f32 {
    let mut lanes = [0.0; crate::arch::LANES];
    s.store(exp(s, s.splat(x)), &mut lanes);
    lanes[0]
}
