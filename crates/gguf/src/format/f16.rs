//! F16: one weight in 2 bytes, an IEEE binary16.

use half::f16;

/// Weights in a block.
pub const BLOCK_LEN: usize = 1;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 2;

/// Decodes one weight, exactly.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    out[0] = widen(*block);
}

/// Encodes one weight, rounded to nearest, ties to even; beyond 65504 to infinity.
pub fn encode(values: &[f32; BLOCK_LEN]) -> [u8; BLOCK_BYTES] {
    narrow(values[0])
}

/// The value of a little-endian binary16: how every format here stores its scales.
pub fn widen(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

/// The little-endian binary16 nearest to a value.
pub(super) fn narrow(value: f32) -> [u8; 2] {
    // ggml has one NaN of either sign, `half` keeps upper payload bits.
    let nearest = if value.is_nan() { f16::NAN.copysign(f16::from_f32(value)) } else { f16::from_f32(value) };
    nearest.to_le_bytes()
}
