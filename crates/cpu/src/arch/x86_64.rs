//! The portable kernels compiled for newer x86-64 processors. Kernels written for one of them go beside these.
#![allow(unsafe_code, reason = "a function with target features is called where they were detected")]

use super::{Kernels, by_tokens};
use crate::activations::Tile;
use crate::kernels::{Lanes, attend, quantize, rms_norm, silu_mul, tile};
use crate::pack::Group;
use std::arch::is_x86_feature_detected as has;

/// The sets that this processor can run, the best last.
pub(super) fn available() -> Vec<&'static Kernels> {
    let avx2 = has!("avx2") && has!("fma");
    let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq");
    let mut sets = Vec::new();
    if avx2 {
        sets.push(&avx2::KERNELS);
    }
    if avx512 {
        sets.push(&avx512::KERNELS);
    }
    sets
}

/// A module with every kernel compiled with `$features`, and a table of them that may be used where those are detected.
macro_rules! kernels {
    ($module:ident, $name:literal, $features:literal) => {
        mod $module {
            use super::*;

            pub(super) static KERNELS: Kernels = Kernels {
                name: $name,
                // SAFETY: `available` hands this table out only where the features were detected.
                q4_0: |w, x, out| unsafe { q4_0(w, x, out) },
                // SAFETY: as above.
                q8_0: |w, x, out| unsafe { q8_0(w, x, out) },
                // SAFETY: as above.
                f32: |w, x, out| unsafe { f32(w, x, out) },
                // SAFETY: as above.
                f16: |w, x, out| unsafe { f16(w, x, out) },
                // SAFETY: as above.
                bf16: |w, x, out| unsafe { bf16(w, x, out) },
                // SAFETY: as above.
                quantize: |x, q| unsafe { quantize(x, q) },
                // SAFETY: as above.
                rms_norm: |x, w, eps, y| unsafe { rms_norm(x, w, eps, y) },
                // SAFETY: as above.
                silu_mul: |gate, up, y| unsafe { silu_mul(gate, up, y) },
                // SAFETY: as above.
                attend: |q, n, block, valid, states| unsafe { attend(q, n, block, valid, states) },
            };

            #[target_feature(enable = $features)]
            fn q4_0(w: Group<'_>, x: &Tile, out: &mut [Lanes]) {
                by_tokens!(tile::q4_0, w, x, out)
            }
            #[target_feature(enable = $features)]
            fn q8_0(w: Group<'_>, x: &Tile, out: &mut [Lanes]) {
                by_tokens!(tile::q8_0, w, x, out)
            }
            #[target_feature(enable = $features)]
            fn f32(w: Group<'_>, x: &Tile, out: &mut [Lanes]) {
                by_tokens!(tile::f32, w, x, out)
            }
            #[target_feature(enable = $features)]
            fn f16(w: Group<'_>, x: &Tile, out: &mut [Lanes]) {
                by_tokens!(tile::f16, w, x, out)
            }
            #[target_feature(enable = $features)]
            fn bf16(w: Group<'_>, x: &Tile, out: &mut [Lanes]) {
                by_tokens!(tile::bf16, w, x, out)
            }
            #[target_feature(enable = $features)]
            fn quantize(x: &[f32; 32], q: &mut [i8; 32]) -> (f32, i32) {
                quantize::quantize(x, q)
            }
            #[target_feature(enable = $features)]
            fn rms_norm(x: &[f32], w: &[f32], eps: f32, y: &mut [f32]) {
                rms_norm::rms_norm(x, w, eps, y);
            }
            #[target_feature(enable = $features)]
            fn silu_mul(gate: &[f32], up: &[f32], y: &mut [f32]) {
                silu_mul::silu_mul(gate, up, y);
            }
            #[target_feature(enable = $features)]
            fn attend(q: &[f32], n: usize, block: &[u16], valid: usize, states: &mut [f32]) {
                attend::attend(q, n, block, valid, states);
            }
        }
    };
}

kernels!(avx2, "AVX2", "avx2,fma");
kernels!(avx512, "AVX-512", "avx2,fma,avx512f,avx512bw,avx512vl,avx512dq");
