//! F32: one weight in 4 bytes, an IEEE binary32.

/// Weights in a block.
pub const BLOCK_LEN: usize = 1;
/// Bytes of a block.
pub const BLOCK_BYTES: usize = 4;

/// Decodes one weight.
pub fn decode(block: &[u8; BLOCK_BYTES], out: &mut [f32; BLOCK_LEN]) {
    out[0] = f32::from_le_bytes(*block);
}

/// Encodes one weight.
pub fn encode(values: &[f32; BLOCK_LEN]) -> [u8; BLOCK_BYTES] {
    values[0].to_le_bytes()
}
