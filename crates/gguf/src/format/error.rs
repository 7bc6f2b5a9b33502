//! What can be wrong with blocks to decode or weights to encode.

use crate::TensorType;

/// Weights that cannot be decoded or encoded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// There is no decoder for the type.
    #[error("tensor type {ty} is not supported; supported are {}", supported())]
    NoDecoder {
        /// The type.
        ty: TensorType,
    },

    /// There is no encoder for the type.
    #[error("weights cannot be encoded as {ty}; F32, F16, BF16, Q8_0 and Q4_0 can be written")]
    NoEncoder {
        /// The type.
        ty: TensorType,
    },

    /// The bytes are not whole blocks, or not those of the weights wanted.
    #[error("{n_weights} weights of type {ty} are not {len_bytes} bytes")]
    WrongLength {
        /// The type.
        ty: TensorType,
        /// Bytes given.
        len_bytes: usize,
        /// Weights wanted.
        n_weights: usize,
    },

    /// The weights are not whole blocks.
    #[error("{n_weights} weights are not whole blocks of {ty}, which holds {} in one", ty.block_len())]
    PartialBlock {
        /// The type.
        ty: TensorType,
        /// Weights given.
        n_weights: usize,
    },

    /// A block of weights of which one is not finite, or too large for the block's scale.
    #[error("the {} weights from number {first} cannot be encoded as {ty}: one is infinite, NaN or too large", ty.block_len())]
    NotEncodable {
        /// The type.
        ty: TensorType,
        /// Position of the block's first weight.
        first: usize,
    },
}

/// The names of the types with a decoder.
fn supported() -> String {
    let names = TensorType::ALL.iter().filter(|ty| ty.is_supported()).map(|ty| ty.name());
    names.collect::<Vec<_>>().join(", ")
}
