//! Q4_K: 256 weights in 144 bytes; 4 bits a weight, a 6-bit scale and minimum for 32 weights.
//!
//! Weight i belongs to sub-block s = i / 32. With g = i / 64 and l = i % 32:
//!
//! | byte | bits | field |
//! |---|---|---|
//! | 0..2 | | `d`, f16 |
//! | 2..4 | | `dmin`, f16 |
//! | 4..16 | | `scale` and `min` of each sub-block, see below |
//! | 16 + 32 g + l | 0..4 for even s, 4..8 for odd s | `q` of weight i |
//!
//! The 12 bytes of scales, counted from byte 4:
//!
//! | byte | bits 0..4 | bits 4..6 | bits 6..8 |
//! |---|---|---|---|
//! | s, s = 0..4 | `scale` of s, bits 0..4 | `scale` of s, bits 4..6 | `scale` of s + 4, bits 4..6 |
//! | s + 4, s = 0..4 | `min` of s, bits 0..4 | `min` of s, bits 4..6 | `min` of s + 4, bits 4..6 |
//! | s + 4, s = 4..8 | `scale` of s, bits 0..4 | `min` of s, bits 0..2 | `min` of s, bits 2..4 |
//!
//! weight = (d * scale) * q - (dmin * min)

use super::f16;

/// Weights in a block.
pub const BLOCK_LEN: usize = 256;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 144;
/// First byte of the scale of scales `d`.
pub const D_AT: usize = 0;
/// First byte of the scale of minimums `dmin`.
pub const DMIN_AT: usize = 2;
/// First of the 12 bytes with the sub-blocks' scales and minimums.
pub const SCALES_AT: usize = 4;
/// Number of bytes with the sub-blocks' scales and minimums.
pub const SCALES_BYTES: usize = 12;
/// First of the 128 bytes with the quants.
pub const QS_AT: usize = 16;

/// Decodes one block.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::widen([block[D_AT], block[D_AT + 1]]);
    let dmin = f16::widen([block[DMIN_AT], block[DMIN_AT + 1]]);
    for (s, weights) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (scale, min) = scale_min(&block[SCALES_AT..QS_AT], s);
        let (scale, min) = (d * f32::from(scale), dmin * f32::from(min));
        for (l, weight) in weights.iter_mut().enumerate() {
            let q = low_bits(&block[QS_AT..], s, l);
            *weight = scale * f32::from(q) - min;
        }
    }
}

/// `scale` and `min` of sub-block `s`, 0 to 7, from the 12 bytes of scales; both 0 to 63. Q5_K has the same.
///
/// # Panics
/// `scales` is shorter than 12 bytes, or `s` is above 7.
pub fn scale_min(scales: &[u8], s: usize) -> (u8, u8) {
    if s < 4 {
        (scales[s] & 0x3F, scales[s + 4] & 0x3F)
    } else {
        let low = scales[s + 4];
        (low & 0xF | scales[s - 4] >> 6 << 4, low >> 4 | scales[s] >> 6 << 4)
    }
}

/// The 4 bits of weight `l` of sub-block `s` in the 128 bytes that hold them, here and in Q5_K.
pub(super) fn low_bits(qs: &[u8], s: usize, l: usize) -> u8 {
    qs[s / 2 * 32 + l] >> (s % 2 * 4) & 0xF
}
