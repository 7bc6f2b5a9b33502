//! y = silu(gate) * up, where silu(g) = g / (1 + e^-g).

use super::exp::exp;

/// All three have one length.
#[inline(always)]
pub(crate) fn silu_mul(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for ((y, g), u) in y.iter_mut().zip(gate).zip(up) {
        *y = g / (1.0 + exp(-g)) * u;
    }
}
