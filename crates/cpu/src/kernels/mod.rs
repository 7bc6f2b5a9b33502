//! The kernels, in plain Rust over 16 lanes.
//!
//! Each is `inline(always)` so that [`crate::arch`] can compile it once for each instruction set. The order of operations in
//! a lane is the same everywhere, and every product that is added to a sum is fused with the addition, so that the
//! instruction set changes no bit of a result.

pub(crate) mod attend;
pub(crate) mod exp;
pub(crate) mod f16;
pub(crate) mod quantize;
pub(crate) mod rms_norm;
pub(crate) mod silu_mul;
pub(crate) mod tile;

/// Lanes of a kernel: rows of a weight group, positions of a key vector, elements of a value vector.
pub(crate) const LANES: usize = 16;

/// One value a lane.
pub(crate) type Lanes = [f32; LANES];

/// The sum of the lanes, always added in the same order.
#[inline(always)]
pub(crate) fn sum(mut lanes: Lanes) -> f32 {
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
    }
    lanes[0]
}

/// The elements of `x` from `start` on, and zeros where it ends.
#[inline(always)]
pub(crate) fn load(x: &[f32], start: usize) -> Lanes {
    match x.get(start..start + LANES).and_then(|s| s.first_chunk()) {
        Some(lanes) => *lanes,
        None => std::array::from_fn(|i| x.get(start + i).copied().unwrap_or(0.0)),
    }
}
