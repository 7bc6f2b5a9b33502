//! Weights as the kernels read them: groups of 16 rows, repacked at load without loss.
//!
//! A group of block-quantised rows is `[n_blocks, 16]` f16 scales, padded to a cache line, then the quants in lines of 64
//! bytes, 4 a row ([`q4_0`], [`q8_0`]). A group of float rows is `[n_cols, 16]`. Rows past the end of a matrix are zeros.

mod float;
mod q4_0;
mod q8_0;

pub(crate) use float::bf16_to_f32;

use crate::arena::LINE;
use crate::kernels::LANES;
use gguf::TensorType;

/// How a packed matrix is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Q4_0,
    Q8_0,
    F32,
    F16,
    BF16,
}

impl Format {
    /// The packed form of a tensor type: its own, or F32, which holds every other type exactly.
    pub(crate) fn of(ty: TensorType) -> Self {
        match ty {
            TensorType::Q4_0 => Self::Q4_0,
            TensorType::Q8_0 => Self::Q8_0,
            TensorType::F16 => Self::F16,
            TensorType::BF16 => Self::BF16,
            _ => Self::F32,
        }
    }

    /// Whether a tensor of `ty` must be decoded to be packed.
    pub(crate) fn decodes(ty: TensorType) -> bool {
        Self::of(ty) == Self::F32 && ty != TensorType::F32
    }

    /// Whether its kernels read quantised activations.
    pub(crate) fn is_quantised(self) -> bool {
        matches!(self, Self::Q4_0 | Self::Q8_0)
    }

    /// Bytes of a group of 16 rows of `cols` elements.
    pub(crate) fn group_bytes(self, cols: usize) -> usize {
        let blocks = cols / 32;
        let bytes = match self {
            Self::Q4_0 => scale_bytes(blocks) + blocks * 16 * LANES,
            Self::Q8_0 => scale_bytes(blocks) + blocks * 32 * LANES,
            Self::F32 => cols * 4 * LANES,
            Self::F16 | Self::BF16 => cols * 2 * LANES,
        };
        bytes.next_multiple_of(LINE)
    }

    /// Packs up to 16 rows of `cols` elements, stored as the file has them (F32: as native floats), into a zeroed group.
    pub(crate) fn pack(self, rows: &[u8], cols: usize, group: &mut [u8]) {
        match self {
            Self::Q4_0 => q4_0::pack(rows, cols, group),
            Self::Q8_0 => q8_0::pack(rows, cols, group),
            Self::F32 => float::pack::<4>(rows, cols, group),
            Self::F16 | Self::BF16 => float::pack::<2>(rows, cols, group),
        }
    }

    /// Decodes row `row` of a group.
    pub(crate) fn unpack_row(self, group: Group<'_>, row: usize, out: &mut [f32]) {
        match self {
            Self::Q4_0 => q4_0::unpack_row(group, row, out),
            Self::Q8_0 => q8_0::unpack_row(group, row, out),
            Self::F32 => float::unpack_row::<4>(group, row, out, f32::from_ne_bytes),
            Self::F16 => float::unpack_row::<2>(group, row, out, |w| {
                crate::kernels::f16::to_f32(u16::from_ne_bytes(w))
            }),
            Self::BF16 => {
                float::unpack_row::<2>(group, row, out, |w| bf16_to_f32(u16::from_ne_bytes(w)));
            }
        }
    }
}

/// Bytes of the scales of a group, the padding to a cache line included.
fn scale_bytes(n_blocks: usize) -> usize {
    (n_blocks * 2 * LANES).next_multiple_of(LINE)
}

/// One packed group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    bytes: &'a [u8],
    cols: usize,
}

impl<'a> Group<'a> {
    pub(crate) fn new(bytes: &'a [u8], cols: usize) -> Self {
        Self { bytes, cols }
    }

    #[inline(always)]
    pub(crate) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Scales `[n_blocks, 16]` and quants of a group in blocks of `block_len` elements.
    #[inline(always)]
    pub(crate) fn scales_and_quants(self, block_len: usize) -> (&'a [u16], &'a [u8]) {
        let blocks = self.cols / block_len;
        let (scales, quants) = self.bytes.split_at(scale_bytes(blocks));
        (&bytemuck::cast_slice(scales)[..blocks * LANES], quants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use proptest::prelude::*;

    /// Every element of every row comes back as ggml's definition decodes it: nothing is lost, nothing moved.
    fn check(ty: TensorType, rows: usize, cols: usize, bytes: &[u8]) {
        let format = Format::of(ty);
        let mut arena = Arena::new(format.group_bytes(cols)).unwrap();
        format.pack(bytes, cols, arena.bytes_mut());
        let group = Group::new(arena.bytes(0..format.group_bytes(cols)), cols);
        let mut expected = vec![0f32; rows * cols];
        ty.decode(bytes, &mut expected).unwrap();
        for row in 0..LANES {
            let mut got = vec![f32::NAN; cols];
            format.unpack_row(group, row, &mut got);
            let want = expected.chunks_exact(cols).nth(row).map_or(vec![0.0; cols], <[f32]>::to_vec);
            for (k, (g, w)) in got.iter().zip(&want).enumerate() {
                assert!(
                    g == w || (g.is_nan() && w.is_nan()),
                    "{ty} row {row} of {rows}, column {k}: {g} instead of {w}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn packing_keeps_every_element(
            rows in 1usize..=16,
            blocks in 1usize..6,
            seed in prop::collection::vec(any::<u8>(), 64..128),
        ) {
            for ty in [TensorType::Q4_0, TensorType::Q8_0, TensorType::F16, TensorType::BF16, TensorType::F32] {
                let cols = if ty.block_len() == 1 { blocks * 7 } else { blocks * 32 };
                let n = rows * usize::try_from(ty.row_bytes(cols as u64).unwrap()).unwrap();
                let bytes: Vec<u8> = (0..n).map(|i| seed[i % seed.len()].wrapping_mul(31).wrapping_add((i / 7) as u8)).collect();
                check(ty, rows, cols, &bytes);
            }
        }
    }
}
