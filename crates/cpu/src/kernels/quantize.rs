//! Activations to 8 bits, in blocks of 32: q = round(x * 127 / amax), x = q * amax / 127.

use crate::activations::QuantBlock;
use crate::arch::{Kernel, LANES, Simd};
use crate::pack::BLOCK;

/// Smaller than any activation that matters, and large enough that 127 divided by it is finite.
const NOTHING: f32 = 1e-36;

/// A vector of whole blocks; block `b` goes to `blocks[b * stride]`.
#[derive(Debug)]
pub(crate) struct Quantize<'a> {
    pub(crate) x: &'a [f32],
    pub(crate) blocks: &'a mut [QuantBlock],
    pub(crate) stride: usize,
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        let blocks = self.blocks.iter_mut().step_by(self.stride);
        for (x, block) in self.x.as_chunks::<BLOCK>().0.iter().zip(blocks) {
            *block = quantize_block(s, x);
        }
    }
}

#[inline(always)]
fn quantize_block<S: Simd>(s: S, x: &[f32; BLOCK]) -> QuantBlock {
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest whole number, ties to even.
    let round = s.splat(12_582_912.0);
    let mut block = QuantBlock::default();
    let (halves, _) = x.as_chunks::<LANES>();
    let values = [s.load(&halves[0]), s.load(&halves[1])];
    let largest = s.largest(s.max(s.abs(values[1]), s.max(s.abs(values[0]), s.splat(0.0))));
    if largest < NOTHING {
        return block;
    }
    let inverse = s.splat(127.0 / largest);
    let (quants, _) = block.q.as_chunks_mut::<LANES>();
    for (half, quants) in quants.iter_mut().enumerate() {
        let rounded = s.sub(s.add(s.mul(values[half], inverse), round), round);
        block.minus_sums[half] = -s.store_i8(rounded, quants);
    }
    block.scale = largest / 127.0;
    block.minus_sum = block.minus_sums[0] + block.minus_sums[1];
    block
}
