//! Q6_K: 256 weights in 210 bytes; 6 bits a weight, an 8-bit scale for 16 weights.
//!
//! Weight i belongs to sub-block s = i / 16. With n = i / 128, j = i % 128 / 32 and l = i % 32:
//!
//! | byte | bits | field |
//! |---|---|---|
//! | 64 n + 32 (j % 2) + l | 0..4 for j < 2, else 4..8 | bits 0..4 of the `q` of weight i |
//! | 128 + 32 n + l | 2 j .. 2 j + 2 | bits 4..6 of the `q` of weight i |
//! | 192 + s, s = 0..16 | | `scale` of sub-block s, i8 |
//! | 208..210 | | `d`, f16 |
//!
//! weight = (d * scale) * (q - 32)

use super::f16;

/// Weights in a block.
pub const BLOCK_LEN: usize = 256;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 210;
/// First of the 128 bytes with the quants' lower bits.
pub const QL_AT: usize = 0;
/// First of the 64 bytes with the quants' upper bits.
pub const QH_AT: usize = 128;
/// First of the 16 bytes with the sub-blocks' scales.
pub const SCALES_AT: usize = 192;
/// First byte of the scale of scales `d`.
pub const D_AT: usize = 208;

/// Decodes one block.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::widen([block[D_AT], block[D_AT + 1]]);
    for (s, weights) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(block[SCALES_AT + s].cast_signed());
        for (k, weight) in weights.iter_mut().enumerate() {
            *weight = scale * (f32::from(quant(block, 16 * s + k)) - 32.0);
        }
    }
}

/// The `q` of weight `i`, 0 to 63.
pub(super) fn quant(block: &[u8; BLOCK_BYTES], i: usize) -> u8 {
    let (n, j, l) = (i / 128, i % 128 / 32, i % 32);
    let low = block[QL_AT + 64 * n + 32 * (j % 2) + l] >> (j / 2 * 4) & 0xF;
    let high = block[QH_AT + 32 * n + l] >> (2 * j) & 3;
    low | high << 4
}
