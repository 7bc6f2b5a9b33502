//! Q4_0: 32 weights in 18 bytes; 4 bits a weight and one scale.
//!
//! | byte | bits | field |
//! |---|---|---|
//! | 0..2 | | `d`, f16 |
//! | 2 + j, j = 0..16 | 0..4 | `q` of weight j |
//! | | 4..8 | `q` of weight j + 16 |
//!
//! weight = (q - 8) * d

use super::f16;

/// Weights in a block.
pub const BLOCK_LEN: usize = 32;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 18;
/// First byte of the scale `d`.
pub const D_AT: usize = 0;
/// First of the 16 bytes with the quants.
pub const QS_AT: usize = 2;

/// Decodes one block.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    let d = f16::widen([block[D_AT], block[D_AT + 1]]);
    for (j, qs) in block[QS_AT..].iter().enumerate() {
        out[j] = (f32::from(qs & 0xF) - 8.0) * d;
        out[j + 16] = (f32::from(qs >> 4) - 8.0) * d;
    }
}

/// Encodes one block of finite weights. The weight that is largest in magnitude, the first of several, becomes
/// `q = 0`, so that `d` has the opposite sign.
pub fn encode(values: &[f32; BLOCK_LEN]) -> [u8; BLOCK_BYTES] {
    let largest = values.iter().fold(0.0f32, |max, &value| if max.abs() < value.abs() { value } else { max });
    let d = largest / -8.0;
    // Where it overflows, as for d = 0, the f16 scale is 0 and the quants mean nothing.
    let inverse = Some(1.0 / d).filter(|inverse| inverse.is_finite()).unwrap_or(0.0);

    let mut block = [0; BLOCK_BYTES];
    block[D_AT..QS_AT].copy_from_slice(&f16::narrow(d));
    for (j, qs) in block[QS_AT..].iter_mut().enumerate() {
        *qs = quant(values[j] * inverse) | quant(values[j + 16] * inverse) << 4;
    }
    block
}

/// Rounds a weight in units of `d`, -8 to 8, half up, to `q`.
fn quant(scaled: f32) -> u8 {
    #[expect(clippy::cast_possible_truncation, reason = "cuts off the fraction of 0.5 to 16.5")]
    #[expect(clippy::cast_sign_loss, reason = "the sum is positive")]
    let q = (scaled + 8.5) as u8;
    q.min(15)
}
