//! Q3_K: 256 weights in 110 bytes; 3 bits a weight, a 6-bit scale for 16 weights.
//!
//! Weight i belongs to sub-block s = i / 16. With n = i / 128, j = i % 128 / 32 and l = i % 32:
//!
//! | byte | bits | field |
//! |---|---|---|
//! | l, l = 0..32 | 4 n + j | bit 2 of the `q` of weight i |
//! | 32 + 32 n + l | 2 j .. 2 j + 2 | bits 0..2 of the `q` of weight i |
//! | 96 + s % 8 | 0..4 for s < 8, else 4..8 | bits 0..4 of the `scale` of sub-block s |
//! | 104 + s % 4 | 2 (s / 4) .. 2 (s / 4) + 2 | bits 4..6 of the `scale` of sub-block s |
//! | 108..110 | | `d`, f16 |
//!
//! weight = (d * (scale - 32)) * (q - 4)

use super::f16;
use super::q2_k::low_bits;

/// Weights in a block.
pub const BLOCK_LEN: usize = 256;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 110;
/// First of the 32 bytes with the quants' upper bits.
pub const HMASK_AT: usize = 0;
/// First of the 64 bytes with the quants' lower bits.
pub const QS_AT: usize = 32;
/// First of the 12 bytes with the sub-blocks' scales.
pub const SCALES_AT: usize = 96;
/// First byte of the scale of scales `d`.
pub const D_AT: usize = 108;

/// Decodes one block.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::widen([block[D_AT], block[D_AT + 1]]);
    for (s, weights) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(scale(block, s));
        for (k, weight) in weights.iter_mut().enumerate() {
            *weight = scale * (f32::from(quant(block, 16 * s + k)) - 4.0);
        }
    }
}

/// The `q` of weight `i`, 0 to 7.
pub(super) fn quant(block: &[u8; BLOCK_BYTES], i: usize) -> u8 {
    let high = block[HMASK_AT + i % 32] >> (i / 32) & 1;
    low_bits(&block[QS_AT..SCALES_AT], i) | high << 2
}

/// The scale of sub-block `s`, 0 to 15, in units of `d`: `scale - 32`, from -32 to 31.
pub fn scale(block: &[u8; BLOCK_BYTES], s: usize) -> i8 {
    let low = block[SCALES_AT + s % 8] >> (s / 8 * 4) & 0xF;
    let high = block[SCALES_AT + 8 + s % 4] >> (s / 4 * 2) & 3;
    (low | high << 4).cast_signed() - 32
}
