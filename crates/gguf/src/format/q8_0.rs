//! Q8_0: 32 weights in 34 bytes; 8 bits a weight and one scale.
//!
//! | byte | field |
//! |---|---|
//! | 0..2 | `d`, f16 |
//! | 2 + j, j = 0..32 | `q` of weight j, i8 |
//!
//! weight = q * d

use super::f16;

/// Weights in a block.
pub const BLOCK_LEN: usize = 32;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 34;
/// First byte of the scale `d`.
pub const D_AT: usize = 0;
/// First of the 32 bytes with the quants.
pub const QS_AT: usize = 2;

/// Decodes one block.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::widen([block[D_AT], block[D_AT + 1]]);
    for (weight, qs) in out.iter_mut().zip(&block[QS_AT..]) {
        *weight = f32::from(qs.cast_signed()) * d;
    }
}

/// Encodes one block of finite weights. The largest in magnitude becomes `q` = 127 or -127; halves round away from 0.
pub fn encode(values: &[f32; BLOCK_LEN]) -> [u8; BLOCK_BYTES] {
    let largest = values.iter().fold(0.0f32, |max, value| max.max(value.abs()));
    let d = largest / 127.0;
    // Where it overflows, as for d = 0, the f16 scale is 0 and the quants mean nothing.
    let inverse = Some(1.0 / d).filter(|inverse| inverse.is_finite()).unwrap_or(0.0);

    let mut block = [0; BLOCK_BYTES];
    block[D_AT..QS_AT].copy_from_slice(&f16::narrow(d));
    for (qs, value) in block[QS_AT..].iter_mut().zip(values) {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within -127 to 127")]
        let q = (value * inverse).round() as i8;
        *qs = q.cast_unsigned();
    }
    block
}
