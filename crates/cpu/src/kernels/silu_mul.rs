//! silu(gate) * up, where silu(g) = g / (1 + e^-g).

use super::exp::exp;
use crate::arch::Simd;

#[inline(always)]
pub(crate) fn silu_mul<S: Simd>(s: S, gate: S::Floats, up: S::Floats) -> S::Floats {
    let e = exp(s, s.sub(s.splat(0.0), gate));
    s.mul(s.div(gate, s.add(s.splat(1.0), e)), up)
}
