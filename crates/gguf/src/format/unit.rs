//! One view of all quantised formats: 32 weights as whole numbers, with the scales and minimums that make them weights.
//!
//! A back end that lays weights out in its own way repacks units instead of ten kinds of block. Nothing is rounded: a
//! unit holds the very numbers of its block.

use super::{f16, q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0};
use crate::TensorType;

/// Weights in a unit.
pub const UNIT_LEN: usize = 32;

/// 32 weights of a quantised type. With h = i / 16:
///
/// weight i = (d * scale\[h\]) * (q\[i\] - offset) - (dmin * min\[h\])
///
/// Types with one scale have `scale` 1 and `min` 0; Q4_1 and Q5_1 have `min` -1, so that `dmin` is what their blocks call `m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unit {
    /// Quants, 0 and up, of [`bits`] bits.
    pub q: [u8; UNIT_LEN],
    /// Scale in units of `d`, of either half.
    pub scale: [i8; 2],
    /// Minimum in units of `dmin`, of either half.
    pub min: [i8; 2],
    /// The bits of an f16.
    pub d: u16,
    /// The bits of an f16.
    pub dmin: u16,
}

/// Bits of a quant, for quantised types that have a decoder.
#[must_use]
pub const fn bits(ty: TensorType) -> Option<u32> {
    match ty {
        TensorType::Q2_K => Some(2),
        TensorType::Q3_K => Some(3),
        TensorType::Q4_0 | TensorType::Q4_1 | TensorType::Q4_K => Some(4),
        TensorType::Q5_0 | TensorType::Q5_1 | TensorType::Q5_K => Some(5),
        TensorType::Q6_K => Some(6),
        TensorType::Q8_0 => Some(8),
        _ => None,
    }
}

/// What is taken off a quant before it is scaled.
#[must_use]
pub const fn offset(ty: TensorType) -> u8 {
    match ty {
        TensorType::Q3_K => 4,
        TensorType::Q4_0 => 8,
        TensorType::Q5_0 => 16,
        TensorType::Q6_K => 32,
        TensorType::Q8_0 => 128,
        _ => 0,
    }
}

/// Whether a type has minimums.
#[must_use]
pub const fn has_min(ty: TensorType) -> bool {
    use TensorType::{Q2_K, Q4_1, Q4_K, Q5_1, Q5_K};
    matches!(ty, Q4_1 | Q5_1 | Q2_K | Q4_K | Q5_K)
}

impl Unit {
    /// Unit `u` of a row of quantised type `ty`; `None` for other types and past the end of the row.
    #[must_use]
    pub fn of(ty: TensorType, row: &[u8], u: usize) -> Option<Self> {
        bits(ty)?;
        let per_block = ty.block_len() / UNIT_LEN;
        let block = row.chunks_exact(ty.block_bytes()).nth(u / per_block)?;
        let u = u % per_block;
        let q = |quant: &dyn Fn(usize) -> u8| std::array::from_fn(|i| quant(UNIT_LEN * u + i));
        let half = |at: usize| u16::from_le_bytes([block[at], block[at + 1]]);
        let nibble = |at: usize, i: usize| block[at + i % 16] >> (i / 16 * 4) & 0xF;
        let plain = Self { q: [0; UNIT_LEN], scale: [1; 2], min: [0; 2], d: half(0), dmin: 0 };
        Some(match ty {
            TensorType::Q4_0 => Self { q: q(&|i| nibble(q4_0::QS_AT, i)), ..plain },
            TensorType::Q4_1 => {
                let q = q(&|i| nibble(q4_1::QS_AT, i));
                Self { q, min: [-1; 2], dmin: half(q4_1::M_AT), ..plain }
            }
            TensorType::Q5_0 => {
                let qh = &block[q5_0::QH_AT..];
                Self { q: q(&|i| nibble(q5_0::QS_AT, i) | q5_0::high_bit(qh, i)), ..plain }
            }
            TensorType::Q5_1 => {
                let qh = &block[q5_1::QH_AT..];
                let q = q(&|i| nibble(q5_1::QS_AT, i) | q5_0::high_bit(qh, i));
                Self { q, min: [-1; 2], dmin: half(q5_1::M_AT), ..plain }
            }
            TensorType::Q8_0 => Self { q: q(&|i| block[q8_0::QS_AT + i] ^ 0x80), ..plain },
            TensorType::Q2_K => {
                let packed = [0, 1].map(|h| block[q2_k::SCALES_AT + 2 * u + h]);
                Self {
                    q: q(&|i| q2_k::low_bits(&block[q2_k::QS_AT..], i)),
                    scale: packed.map(|p| (p & 0xF).cast_signed()),
                    min: packed.map(|p| (p >> 4).cast_signed()),
                    d: half(q2_k::D_AT),
                    dmin: half(q2_k::DMIN_AT),
                }
            }
            TensorType::Q3_K => {
                let block = block.first_chunk()?;
                let scale = [0, 1].map(|h| q3_k::scale(block, 2 * u + h));
                Self { q: q(&|i| q3_k::quant(block, i)), scale, d: half(q3_k::D_AT), ..plain }
            }
            TensorType::Q4_K => {
                let (scale, min) = q4_k::scale_min(&block[q4_k::SCALES_AT..], u);
                Self {
                    q: std::array::from_fn(|l| q4_k::low_bits(&block[q4_k::QS_AT..], u, l)),
                    scale: [scale.cast_signed(); 2],
                    min: [min.cast_signed(); 2],
                    d: half(q4_k::D_AT),
                    dmin: half(q4_k::DMIN_AT),
                }
            }
            TensorType::Q5_K => {
                let (scale, min) = q4_k::scale_min(&block[q5_k::SCALES_AT..], u);
                let high = |l: usize| (block[q5_k::QH_AT + l] >> u & 1) << 4;
                Self {
                    q: std::array::from_fn(|l| q4_k::low_bits(&block[q5_k::QS_AT..], u, l) | high(l)),
                    scale: [scale.cast_signed(); 2],
                    min: [min.cast_signed(); 2],
                    d: half(q5_k::D_AT),
                    dmin: half(q5_k::DMIN_AT),
                }
            }
            TensorType::Q6_K => {
                let block = block.first_chunk()?;
                let scale = [0, 1].map(|h| block[q6_k::SCALES_AT + 2 * u + h].cast_signed());
                Self { q: q(&|i| q6_k::quant(block, i)), scale, d: half(q6_k::D_AT), ..plain }
            }
            _ => return None,
        })
    }

    /// The weights, bit for bit those of the block's decoder.
    #[must_use]
    pub fn decode(&self, ty: TensorType) -> [f32; UNIT_LEN] {
        let [d, dmin] = [self.d, self.dmin].map(|bits| f16::widen(bits.to_le_bytes()));
        std::array::from_fn(|i| {
            let (scale, min) = (f32::from(self.scale[i / 16]), f32::from(self.min[i / 16]));
            let q = f32::from(i16::from(self.q[i]) - i16::from(offset(ty)));
            if has_min(ty) { (d * scale) * q - (dmin * min) } else { (d * scale) * q }
        })
    }
}
