//! The largest of some logits.

use super::load_part;
use crate::arch::{Kernel, LANES, Simd};

/// Index and value of the largest number that is greater than `floor`: the first among equals, NaN never.
#[derive(Debug)]
pub(crate) struct Argmax<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) floor: f32,
}

impl Kernel for Argmax<'_> {
    type Output = Option<(usize, f32)>;

    #[inline(always)]
    fn call<S: Simd>(self, s: S) -> Option<(usize, f32)> {
        argmax(s, self.values, self.floor)
    }
}

#[inline(always)]
fn argmax<S: Simd>(s: S, values: &[f32], floor: f32) -> Option<(usize, f32)> {
    let mut best = None;
    let mut top = floor;
    for start in (0..values.len()).step_by(LANES) {
        let len = LANES.min(values.len() - start);
        // Zeros that stand for missing elements are looked at again below, where there are none.
        if s.any_greater(load_part(s, values, start), s.splat(top)) {
            for (i, &value) in values[start..start + len].iter().enumerate() {
                if value > top {
                    (best, top) = (Some((start + i, value)), value);
                }
            }
        }
    }
    best
}
