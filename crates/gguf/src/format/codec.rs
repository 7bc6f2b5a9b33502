//! Decodes and encodes rows of a type that is known only at run time.

use super::{
    FormatError, bf16, f16, f32 as binary32, q2_k, q3_k, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0,
};
use crate::TensorType;

impl TensorType {
    /// Decodes whole blocks into as many weights.
    ///
    /// # Errors
    /// There is no decoder, or `bytes` are not the blocks of `out.len()` weights.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) -> Result<(), FormatError> {
        if self.is_supported() && self.row_bytes(out.len() as u64) != Some(bytes.len() as u64) {
            return Err(FormatError::WrongLength { ty: self, len_bytes: bytes.len(), n_weights: out.len() });
        }
        match self {
            Self::F32 => each_block(bytes, out, binary32::decode),
            Self::F16 => each_block(bytes, out, f16::decode),
            Self::BF16 => each_block(bytes, out, bf16::decode),
            Self::Q4_0 => each_block(bytes, out, q4_0::decode),
            Self::Q4_1 => each_block(bytes, out, q4_1::decode),
            Self::Q5_0 => each_block(bytes, out, q5_0::decode),
            Self::Q5_1 => each_block(bytes, out, q5_1::decode),
            Self::Q8_0 => each_block(bytes, out, q8_0::decode),
            Self::Q2_K => each_block(bytes, out, q2_k::decode),
            Self::Q3_K => each_block(bytes, out, q3_k::decode),
            Self::Q4_K => each_block(bytes, out, q4_k::decode),
            Self::Q5_K => each_block(bytes, out, q5_k::decode),
            Self::Q6_K => each_block(bytes, out, q6_k::decode),
            _ => return Err(FormatError::NoDecoder { ty: self }),
        }
        Ok(())
    }

    /// Encodes weights as whole blocks.
    ///
    /// # Errors
    /// There is no encoder, the weights are not whole blocks, or a block with a scale holds a weight that is not
    /// finite or too large.
    pub fn encode(self, values: &[f32]) -> Result<Vec<u8>, FormatError> {
        match self {
            Self::F32 => Ok(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            Self::F16 => Ok(values.iter().flat_map(|&value| f16::encode(&[value])).collect()),
            Self::BF16 => Ok(values.iter().flat_map(|&value| bf16::encode(&[value])).collect()),
            Self::Q4_0 => self.encode_blocks(values, q4_0::encode, q4_0::D_AT),
            Self::Q8_0 => self.encode_blocks(values, q8_0::encode, q8_0::D_AT),
            _ => Err(FormatError::NoEncoder { ty: self }),
        }
    }

    fn encode_blocks<const N: usize, const L: usize>(
        self,
        values: &[f32],
        encode: fn(&[f32; L]) -> [u8; N],
        scale_at: usize,
    ) -> Result<Vec<u8>, FormatError> {
        let (blocks, []) = values.as_chunks::<L>() else {
            return Err(FormatError::PartialBlock { ty: self, n_weights: values.len() });
        };
        let mut bytes = Vec::with_capacity(blocks.len() * N);
        for (index, values) in blocks.iter().enumerate() {
            let block = encode(values);
            let scale = f16::widen([block[scale_at], block[scale_at + 1]]);
            if !values.iter().all(|value| value.is_finite()) || !scale.is_finite() {
                return Err(FormatError::NotEncodable { ty: self, first: index * L });
            }
            bytes.extend_from_slice(&block);
        }
        Ok(bytes)
    }
}

/// Decodes block by block; the lengths have been checked.
fn each_block<const N: usize, const L: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: fn(&[u8; N], &mut [f32; L]),
) {
    let (blocks, weights) = (bytes.as_chunks().0, out.as_chunks_mut().0);
    blocks.iter().zip(weights).for_each(|(block, weights)| decode(block, weights));
}
