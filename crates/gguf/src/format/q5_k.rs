//! Q5_K: 256 weights in 176 bytes; 5 bits a weight, a 6-bit scale and minimum for 32 weights.
//!
//! Weight i belongs to sub-block s = i / 32. With g = i / 64 and l = i % 32:
//!
//! | byte | bits | field |
//! |---|---|---|
//! | 0..2 | | `d`, f16 |
//! | 2..4 | | `dmin`, f16 |
//! | 4..16 | | `scale` and `min` of each sub-block, as in [Q4_K](super::q4_k) |
//! | 16 + l, l = 0..32 | s | bit 4 of the `q` of weight i |
//! | 48 + 32 g + l | 0..4 for even s, 4..8 for odd s | bits 0..4 of the `q` of weight i |
//!
//! weight = (d * scale) * q - (dmin * min)

use super::f16;
use super::q4_k::{low_bits, scale_min};

/// Weights in a block.
pub const BLOCK_LEN: usize = 256;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 176;
/// First byte of the scale of scales `d`.
pub const D_AT: usize = 0;
/// First byte of the scale of minimums `dmin`.
pub const DMIN_AT: usize = 2;
/// First of the 12 bytes with the sub-blocks' scales and minimums.
pub const SCALES_AT: usize = 4;
/// First of the 32 bytes with the quants' upper bits.
pub const QH_AT: usize = 16;
/// First of the 128 bytes with the quants' lower bits.
pub const QS_AT: usize = 48;

/// Decodes one block.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::widen([block[D_AT], block[D_AT + 1]]);
    let dmin = f16::widen([block[DMIN_AT], block[DMIN_AT + 1]]);
    for (s, weights) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_min(&block[SCALES_AT..QH_AT], s);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        for (l, weight) in weights.iter_mut().enumerate() {
            let high = block[QH_AT + l] >> s & 1;
            let q = low_bits(&block[QS_AT..], s, l) | high << 4;
            *weight = scale * f32::from(q) - min;
        }
    }
}
