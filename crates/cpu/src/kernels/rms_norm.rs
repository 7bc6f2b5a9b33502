//! y = x / sqrt(mean(x^2) + eps) * w, for one vector.

use super::{load_part, store_part};
use crate::arch::{Kernel, LANES, Simd};

/// `x`, `weight` and `y` have one length.
#[derive(Debug)]
pub(crate) struct RmsNorm<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) weight: &'a [f32],
    pub(crate) eps: f32,
    pub(crate) y: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let Self { x, weight, eps, y } = self;
        rms_norm(s, x, weight, eps, y);
    }
}

#[inline(always)]
fn rms_norm<S: Simd>(s: S, x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let mut squares = s.splat(0.0);
    for start in (0..x.len()).step_by(LANES) {
        let lanes = load_part(s, x, start);
        squares = s.mul_add(lanes, lanes, squares);
    }
    let scale = s.splat(1.0 / (s.sum(squares) / x.len() as f32 + eps).sqrt());
    for (i, y) in y.chunks_mut(LANES).enumerate() {
        let start = i * LANES;
        let scaled = s.mul(load_part(s, x, start), scale);
        store_part(s, s.mul(scaled, load_part(s, weight, start)), y);
    }
}
