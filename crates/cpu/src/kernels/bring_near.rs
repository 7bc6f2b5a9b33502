//! Bytes on their way into the second-level cache, for whoever reads them soon.

use crate::arch::{Kernel, LINE, Simd};

/// All of these.
pub(crate) struct BringNear<'a>(pub(crate) &'a [u8]);

impl Kernel for BringNear<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        for line in self.0.chunks(LINE) {
            s.prefetch(line.as_ptr());
        }
    }
}
