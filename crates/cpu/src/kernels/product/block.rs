//! Quantised weights of 16 rows in one block, as they are packed or unpacked beforehand.

use crate::arch::Simd;
use crate::pack::{FIELDS, LAYOUTS, Layout, QuantGroup, Scales, place};

/// One block of a group of rows in `LAYOUTS[FORMAT]`.
pub(super) trait Block<S: Simd> {
    /// Four weights of every row, field `C` of the block.
    fn weights<const C: usize>(&self, s: S) -> S::Bytes;
    fn scale(&self, s: S, part: usize) -> S::Floats;
    /// Of formats that have one.
    fn min(&self, s: S, part: usize) -> S::Floats;
}

/// As packed.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a, const FORMAT: usize>(QuantGroup<'a>);

impl<'a, const FORMAT: usize> Packed<'a, FORMAT> {
    const LAYOUT: &'static Layout = &LAYOUTS[FORMAT];

    /// Block `b` of a group.
    #[inline(always)]
    pub(super) fn new(group: &QuantGroup<'a>, b: usize) -> Self {
        Self(group.block(Self::LAYOUT, b))
    }
}

impl<S: Simd, const FORMAT: usize> Block<S> for Packed<'_, FORMAT> {
    #[inline(always)]
    fn weights<const C: usize>(&self, s: S) -> S::Bytes {
        let layout = const { Self::LAYOUT };
        let mut weights = plane::<S, C>(s, layout.planes[0], 0, self.0.planes[0]);
        if layout.planes[1] > 0 {
            let high = plane::<S, C>(s, layout.planes[1], layout.planes[0], self.0.planes[1]);
            weights = s.or(weights, high);
        }
        if layout.bits() == 8 && S::SIGNED_BYTES {
            weights = s.flip(weights, 0x80);
        }
        weights
    }

    #[inline(always)]
    fn scale(&self, s: S, part: usize) -> S::Floats {
        let scale = s.load_f16(&self.0.scales[0]);
        match const { Self::LAYOUT.scales } {
            Scales::Block => scale,
            _ => s.mul(scale, s.load_i8(&self.0.nested_scales[part])),
        }
    }

    #[inline(always)]
    fn min(&self, s: S, part: usize) -> S::Floats {
        let min = s.load_f16(&self.0.mins[0]);
        match const { Self::LAYOUT.scales } {
            Scales::Block => min,
            _ => s.mul(min, s.load_i8(&self.0.nested_mins[part])),
        }
    }
}

/// Field `C` of a block's plane of `bits` bits, each moved up to bit `to`.
#[inline(always)]
fn plane<S: Simd, const C: usize>(
    s: S,
    bits: usize,
    to: usize,
    plane: &[[u8; crate::arch::LINE]],
) -> S::Bytes {
    let (line, from) = place(bits, C);
    let bytes = s.load_bytes(&plane[line]);
    if bits == 8 {
        return bytes;
    }
    let mask = ((1 << bits) - 1) << to;
    s.shift_mask(bytes, from as i32 - to as i32, mask as u8)
}

/// What a product needs of a block, ready to be loaded.
#[derive(Clone, Copy)]
pub(super) struct Unpacked<S: Simd> {
    weights: [S::Bytes; FIELDS],
    scales: [S::Floats; 2],
    mins: [S::Floats; 2],
}

impl<S: Simd> Unpacked<S> {
    #[inline(always)]
    pub(super) fn zero(s: S) -> Self {
        let zero = s.splat(0.0);
        Self { weights: [s.load_bytes(&[0; crate::arch::LINE]); FIELDS], scales: [zero; 2], mins: [zero; 2] }
    }

    #[inline(always)]
    pub(super) fn take<const FORMAT: usize>(&mut self, s: S, block: &Packed<'_, FORMAT>) {
        let layout = const { &LAYOUTS[FORMAT] };
        self.weights = [
            block.weights::<0>(s),
            block.weights::<1>(s),
            block.weights::<2>(s),
            block.weights::<3>(s),
            block.weights::<4>(s),
            block.weights::<5>(s),
            block.weights::<6>(s),
            block.weights::<7>(s),
        ];
        for part in 0..layout.parts() {
            self.scales[part] = block.scale(s, part);
            if layout.has_min {
                self.mins[part] = block.min(s, part);
            }
        }
    }
}

impl<S: Simd> Block<S> for &Unpacked<S> {
    #[inline(always)]
    fn weights<const C: usize>(&self, _: S) -> S::Bytes {
        self.weights[C]
    }

    #[inline(always)]
    fn scale(&self, _: S, part: usize) -> S::Floats {
        self.scales[part]
    }

    #[inline(always)]
    fn min(&self, _: S, part: usize) -> S::Floats {
        self.mins[part]
    }
}
