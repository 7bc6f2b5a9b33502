//! Keys and values to f16.

use super::load_part;
use crate::arch::{Kernel, LANES, Simd};

/// Rounds `x` to f16. `out` has room for whole vectors; what is past the end of `x` becomes zero.
#[derive(Debug)]
pub(crate) struct Narrow<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) out: &'a mut [[u16; LANES]],
}

impl Kernel for Narrow<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        for (i, out) in self.out.iter_mut().enumerate() {
            s.store_f16(load_part(s, self.x, i * LANES), out);
        }
    }
}
