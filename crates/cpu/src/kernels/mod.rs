//! The kernels, each written once over [`Simd`](crate::arch::Simd).
//!
//! Every output of a matrix product, every norm and every sum of softmax weights is one chain of operations in an order that
//! depends on its place in the model alone: not on the instruction set, not on what is computed beside it. Products are fused
//! with the additions that follow them where the code says `mul_add`, and nowhere else.

pub(crate) mod argmax;
pub(crate) mod attend;
pub(crate) mod bring_near;
pub(crate) mod exp;
pub(crate) mod f16;
pub(crate) mod narrow;
pub(crate) mod product;
pub(crate) mod quantize;
pub(crate) mod rms_norm;
pub(crate) mod rotate;
pub(crate) mod silu_mul;

use crate::arch::{LANES, Simd};

/// The elements of `x` from `start` on, and zeros where it ends.
#[inline(always)]
fn load_part<S: Simd>(s: S, x: &[f32], start: usize) -> S::Floats {
    match x[start..].first_chunk() {
        Some(lanes) => s.load(lanes),
        None => {
            let mut lanes = [0.0; LANES];
            lanes[..x.len() - start].copy_from_slice(&x[start..]);
            s.load(&lanes)
        }
    }
}

/// Writes up to 16 elements.
#[inline(always)]
fn store_part<S: Simd>(s: S, value: S::Floats, to: &mut [f32]) {
    match to.first_chunk_mut() {
        Some(lanes) => s.store(value, lanes),
        None => {
            let mut lanes = [0.0; LANES];
            s.store(value, &mut lanes);
            to.copy_from_slice(&lanes[..to.len()]);
        }
    }
}
