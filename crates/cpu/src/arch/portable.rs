//! The kernels as any compiler target has them.

use super::{Kernels, by_tokens};
use crate::kernels::{attend, quantize, rms_norm, silu_mul, tile};

pub(super) static KERNELS: Kernels = Kernels {
    name: "portable",
    q4_0: |w, x, out| by_tokens!(tile::q4_0, w, x, out),
    q8_0: |w, x, out| by_tokens!(tile::q8_0, w, x, out),
    f32: |w, x, out| by_tokens!(tile::f32, w, x, out),
    f16: |w, x, out| by_tokens!(tile::f16, w, x, out),
    bf16: |w, x, out| by_tokens!(tile::bf16, w, x, out),
    quantize: |x, q| quantize::quantize(x, q),
    rms_norm: |x, w, eps, y| rms_norm::rms_norm(x, w, eps, y),
    silu_mul: |gate, up, y| silu_mul::silu_mul(gate, up, y),
    attend: |q, n, block, valid, states| attend::attend(q, n, block, valid, states),
};
