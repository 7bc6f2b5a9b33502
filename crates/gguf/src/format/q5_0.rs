//! Q5_0: 32 weights in 22 bytes; 5 bits a weight and one scale.
//!
//! | byte | bits | field |
//! |---|---|---|
//! | 0..2 | | `d`, f16 |
//! | 2 + i / 8, i = 0..32 | i % 8 | bit 4 of the `q` of weight i |
//! | 6 + j, j = 0..16 | 0..4 | bits 0..4 of the `q` of weight j |
//! | | 4..8 | bits 0..4 of the `q` of weight j + 16 |
//!
//! weight = (q - 16) * d

use super::f16;

/// Weights in a block.
pub const BLOCK_LEN: usize = 32;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 22;
/// First byte of the scale `d`.
pub const D_AT: usize = 0;
/// First of the 4 bytes with the quants' upper bits.
pub const QH_AT: usize = 2;
/// First of the 16 bytes with the quants' lower bits.
pub const QS_AT: usize = 6;

/// Decodes one block.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::widen([block[D_AT], block[D_AT + 1]]);
    let qh = &block[QH_AT..QS_AT];
    for (j, qs) in block[QS_AT..].iter().enumerate() {
        out[j] = (f32::from(qs & 0xF | high_bit(qh, j)) - 16.0) * d;
        out[j + 16] = (f32::from(qs >> 4 | high_bit(qh, j + 16)) - 16.0) * d;
    }
}

/// Bit 4 of the `q` of weight `i`, in its place.
pub(super) fn high_bit(qh: &[u8], i: usize) -> u8 {
    (qh[i / 8] >> (i % 8) & 1) << 4
}
