//! BF16: one weight in 2 bytes, the upper half of an IEEE binary32.

use half::bf16;

/// Weights in a block.
pub const BLOCK_LEN: usize = 1;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 2;

/// Decodes one weight, exactly: the bits become the upper 16 of the result.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    out[0] = f32::from_bits(u32::from(u16::from_le_bytes(*block)) << 16);
}

/// Encodes one weight, rounded to nearest, ties to even.
pub fn encode(values: &[f32; BLOCK_LEN]) -> [u8; BLOCK_BYTES] {
    bf16::from_f32(values[0]).to_le_bytes()
}
