//! Q4_1: 32 weights in 20 bytes; 4 bits a weight, one scale and one minimum.
//!
//! | byte | bits | field |
//! |---|---|---|
//! | 0..2 | | `d`, f16 |
//! | 2..4 | | `m`, f16 |
//! | 4 + j, j = 0..16 | 0..4 | `q` of weight j |
//! | | 4..8 | `q` of weight j + 16 |
//!
//! weight = q * d + m

use super::f16;

/// Weights in a block.
pub const BLOCK_LEN: usize = 32;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 20;
/// First byte of the scale `d`.
pub const D_AT: usize = 0;
/// First byte of the minimum `m`.
pub const M_AT: usize = 2;
/// First of the 16 bytes with the quants.
pub const QS_AT: usize = 4;

/// Decodes one block.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::widen([block[D_AT], block[D_AT + 1]]);
    let m = f16::widen([block[M_AT], block[M_AT + 1]]);
    for (j, qs) in block[QS_AT..].iter().enumerate() {
        out[j] = f32::from(qs & 0xF) * d + m;
        out[j + 16] = f32::from(qs >> 4) * d + m;
    }
}
