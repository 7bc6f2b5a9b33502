//! y = x / sqrt(mean(x^2) + eps) * w, for one vector.

use super::{LANES, load, sum};

/// `x`, `weight` and `y` have one length.
#[inline(always)]
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, y: &mut [f32]) {
    let mut squares = [0f32; LANES];
    for start in (0..x.len()).step_by(LANES) {
        let lanes = load(x, start);
        for (s, v) in squares.iter_mut().zip(lanes) {
            *s = v.mul_add(v, *s);
        }
    }
    let scale = 1.0 / (sum(squares) / x.len() as f32 + eps).sqrt();
    for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
        *y = x * scale * w;
    }
}
