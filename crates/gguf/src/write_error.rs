//! What can be wrong with a model that is to be written.

use crate::{TensorType, Value};

/// A model that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A key without a letter.
    #[error("a metadata key is empty")]
    EmptyKey,

    /// The key is there already.
    #[error("metadata key `{key}` is set twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },

    /// Arrays within arrays beyond [`Array::MAX_DEPTH`](crate::Array::MAX_DEPTH).
    #[error("metadata key `{key}` nests arrays deeper than {}", crate::Array::MAX_DEPTH)]
    NestedTooDeep {
        /// The key.
        key: String,
    },

    /// `general.alignment` is not a `u32` that is a power of two.
    #[error("general.alignment must be a u32 that is a power of two, not {value:?}")]
    BadAlignment {
        /// The value given.
        value: Value,
    },

    /// A tensor without a name.
    #[error("a tensor's name is empty")]
    EmptyTensorName,

    /// The tensor is there already.
    #[error("tensor `{tensor}` is added twice")]
    DuplicateTensor {
        /// The tensor.
        tensor: String,
    },

    /// A shape without, or with more than four dimensions, with an empty one, or too large.
    #[error("tensor `{tensor}` has the impossible shape {shape:?}")]
    BadShape {
        /// The tensor.
        tensor: String,
        /// The shape, slowest first.
        shape: Vec<u64>,
    },

    /// A row that is not whole blocks.
    #[error(
        "tensor `{tensor}` has rows of {row_len} weights, not a multiple of {}, the block length of {ty}",
        ty.block_len()
    )]
    PartialBlock {
        /// The tensor.
        tensor: String,
        /// Its type.
        ty: TensorType,
        /// Length of a row.
        row_len: u64,
    },

    /// The bytes are more or fewer than the shape and type take.
    #[error("tensor `{tensor}` takes {expected} bytes by its shape and type, but {got} were given")]
    WrongSize {
        /// The tensor.
        tensor: String,
        /// Bytes that shape and type take.
        expected: u64,
        /// Bytes given.
        got: u64,
    },
}
