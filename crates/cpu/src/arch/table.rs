//! The kernels of one instruction set as function pointers.
#![allow(unsafe_code, reason = "a set that was detected is assumed in the kernels made for it")]

use super::simd::{Kernel, Simd};
use crate::kernels::argmax::Argmax;
use crate::kernels::attend::{Attend, Merge};
use crate::kernels::bring_near::BringNear;
use crate::kernels::narrow::Narrow;
use crate::kernels::product::{BF16, F16, F32, Product, Quantised, kernel_of};
use crate::kernels::quantize::Quantize;
use crate::kernels::rms_norm::RmsNorm;
use crate::kernels::rotate::Rotate;
use crate::pack::{Format, LAYOUTS};

/// Every kernel, for one instruction set.
pub(crate) struct Kernels {
    /// The instruction set, as the load line names it.
    pub(crate) name: &'static str,
    /// Tokens of a tile.
    pub(crate) tokens: usize,
    products: [fn(&Product<'_>); LAYOUTS.len() + 3],
    pub(crate) quantize: fn(Quantize<'_>),
    pub(crate) rms_norm: fn(RmsNorm<'_>),
    pub(crate) rotate: fn(Rotate<'_>),
    pub(crate) narrow: fn(Narrow<'_>),
    pub(crate) attend: fn(&mut Attend<'_>),
    pub(crate) merge: fn(Merge<'_>),
    pub(crate) bring_near: fn(BringNear<'_>),
    pub(crate) argmax: fn(Argmax<'_>) -> Option<(usize, f32)>,
}

impl Kernels {
    /// # Safety
    /// The processor has the instruction set `S`.
    pub(super) const unsafe fn of<S: Simd>() -> Self {
        Self {
            name: S::NAME,
            tokens: S::TOKENS,
            products: [
                |p| run::<S, _>(Quantised::<0>(p)),
                |p| run::<S, _>(Quantised::<1>(p)),
                |p| run::<S, _>(Quantised::<2>(p)),
                |p| run::<S, _>(Quantised::<3>(p)),
                |p| run::<S, _>(Quantised::<4>(p)),
                |p| run::<S, _>(Quantised::<5>(p)),
                |p| run::<S, _>(Quantised::<6>(p)),
                |p| run::<S, _>(Quantised::<7>(p)),
                |p| run::<S, _>(Quantised::<8>(p)),
                |p| run::<S, _>(Quantised::<9>(p)),
                |p| run::<S, _>(F32(p)),
                |p| run::<S, _>(F16(p)),
                |p| run::<S, _>(BF16(p)),
            ],
            quantize: |k| run::<S, _>(k),
            rms_norm: |k| run::<S, _>(k),
            rotate: |k| run::<S, _>(k),
            narrow: |k| run::<S, _>(k),
            attend: |k| run::<S, _>(k),
            merge: |k| run::<S, _>(k),
            bring_near: |k| run::<S, _>(k),
            argmax: |k| run::<S, _>(k),
        }
    }

    /// The kernel that multiplies weights of `format`.
    pub(crate) fn product(&self, format: Format) -> fn(&Product<'_>) {
        self.products[kernel_of(format)]
    }
}

/// Only tables made by [`Kernels::of`] lead here.
fn run<S: Simd, K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: whoever made the table promised that the processor has S.
    unsafe { S::assume() }.run(kernel)
}
