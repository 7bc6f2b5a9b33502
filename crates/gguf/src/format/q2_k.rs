//! Q2_K: 256 weights in 84 bytes; 2 bits a weight, a 4-bit scale and minimum for 16 weights.
//!
//! Weight i belongs to sub-block s = i / 16. With n = i / 128, j = i % 128 / 32 and l = i % 32:
//!
//! | byte | bits | field |
//! |---|---|---|
//! | s, s = 0..16 | 0..4 | `scale` of sub-block s |
//! | | 4..8 | `min` of sub-block s |
//! | 16 + 32 n + l | 2 j .. 2 j + 2 | `q` of weight i |
//! | 80..82 | | `d`, f16 |
//! | 82..84 | | `dmin`, f16 |
//!
//! weight = (d * scale) * q - (dmin * min)

use super::f16;

/// Weights in a block.
pub const BLOCK_LEN: usize = 256;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 84;
/// First of the 16 bytes with the sub-blocks' scales and minimums.
pub const SCALES_AT: usize = 0;
/// First of the 64 bytes with the quants.
pub const QS_AT: usize = 16;
/// First byte of the scale of scales `d`.
pub const D_AT: usize = 80;
/// First byte of the scale of minimums `dmin`.
pub const DMIN_AT: usize = 82;

/// Decodes one block.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::widen([block[D_AT], block[D_AT + 1]]);
    let dmin = f16::widen([block[DMIN_AT], block[DMIN_AT + 1]]);
    for (s, weights) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let packed = block[SCALES_AT + s];
        let scale = d * f32::from(packed & 0xF);
        let min = dmin * f32::from(packed >> 4);
        for (k, weight) in weights.iter_mut().enumerate() {
            let q = low_bits(&block[QS_AT..D_AT], 16 * s + k);
            *weight = scale * f32::from(q) - min;
        }
    }
}

/// The 2 bits of weight `i` in the 64 bytes that hold them, here and in Q3_K.
pub(super) fn low_bits(qs: &[u8], i: usize) -> u8 {
    qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3
}
