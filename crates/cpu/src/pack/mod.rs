//! Weights as the kernels read them: repacked at load, without loss.
//!
//! A matrix is strips of 32 rows, a strip two groups of 16. A group of quantised rows has its scales and quants apart
//! ([`layout`], [`planes`]); a group of float rows is `[n_cols, 16]` ([`float`]). Rows past the end of a matrix are zeros.

mod float;
mod layout;
mod planes;
mod quant;

pub(crate) use layout::{BLOCK, LAYOUTS, Layout, QUANTISED, QuantGroup, Scales};
pub(crate) use planes::{FIELDS, place};

use crate::arch::{LANES, LINE};
use crate::kernels::f16;
use gguf::TensorType;

/// Groups of a strip.
pub(crate) const GROUPS: usize = 2;
/// Rows of a strip.
pub(crate) const STRIP: usize = GROUPS * LANES;

/// How a packed matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A row of [`LAYOUTS`].
    Quantised(usize),
    F32,
    F16,
    BF16,
}

impl Format {
    /// The packed form of a tensor type that has a decoder.
    pub(crate) fn of(ty: TensorType) -> Self {
        match ty {
            TensorType::F16 => Self::F16,
            TensorType::BF16 => Self::BF16,
            _ => QUANTISED.iter().position(|&q| q == ty).map_or(Self::F32, Self::Quantised),
        }
    }

    /// Whether its kernels read quantised activations.
    pub(crate) fn is_quantised(self) -> bool {
        matches!(self, Self::Quantised(_))
    }

    /// Bytes of a group of 16 rows of `cols` elements.
    pub(crate) fn group_bytes(self, cols: usize) -> usize {
        match self {
            Self::Quantised(i) => LAYOUTS[i].regions(cols).len(),
            Self::F32 => (cols * 4 * LANES).next_multiple_of(LINE),
            Self::F16 | Self::BF16 => (cols * 2 * LANES).next_multiple_of(LINE),
        }
    }

    /// Packs up to 16 rows of `cols` elements, as the file has them, into a zeroed group.
    pub(crate) fn pack(self, rows: &[u8], cols: usize, group: &mut [u8]) {
        match self {
            Self::Quantised(i) => quant::pack(i, rows, cols, group),
            Self::F32 => float::pack::<4>(rows, cols, group),
            Self::F16 | Self::BF16 => float::pack::<2>(rows, cols, group),
        }
    }

    /// Decodes row `row` of a group.
    pub(crate) fn unpack_row(self, group: &[u8], row: usize, out: &mut [f32]) {
        let bf16_to_f32 = |bits| f32::from_bits(u32::from(u16::from_ne_bytes(bits)) << 16);
        match self {
            Self::Quantised(i) => quant::unpack_row(i, group, row, out),
            Self::F32 => float::unpack_row::<4>(group, row, out, f32::from_ne_bytes),
            Self::F16 => float::unpack_row(group, row, out, |w| f16::to_f32(u16::from_ne_bytes(w))),
            Self::BF16 => float::unpack_row(group, row, out, bf16_to_f32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use testkit::{Random, random_matrix};

    /// Every element of every row comes back as ggml's definition decodes it: nothing is lost, nothing moved.
    #[test]
    fn packing_keeps_every_element() {
        let mut random = Random::new(5);
        let floats = [TensorType::F32, TensorType::F16, TensorType::BF16];
        for ty in QUANTISED.into_iter().chain(floats) {
            for case in 0..12 {
                let rows = 1 + random.below(LANES);
                let cols = ty.block_len() * (1 + case % 5) * if ty.block_len() == 1 { 7 } else { 1 };
                let bytes = random_matrix(&mut random, ty, rows, cols, 1.0);
                check(ty, rows, cols, &bytes);
            }
        }
    }

    fn check(ty: TensorType, rows: usize, cols: usize, bytes: &[u8]) {
        let format = Format::of(ty);
        let mut arena = Arena::new(format.group_bytes(cols)).unwrap();
        format.pack(bytes, cols, arena.bytes_mut());
        let mut expected = vec![0f32; rows * cols];
        ty.decode(bytes, &mut expected).unwrap();
        for row in 0..LANES {
            let mut got = vec![f32::NAN; cols];
            format.unpack_row(arena.bytes(), row, &mut got);
            let want = expected.chunks_exact(cols).nth(row).map_or(vec![0.0; cols], <[f32]>::to_vec);
            for (k, (g, w)) in got.iter().zip(&want).enumerate() {
                assert!(
                    g == w || (g.is_nan() && w.is_nan()),
                    "{ty} row {row} of {rows}, column {k}: {g} instead of {w}"
                );
            }
        }
    }
}
