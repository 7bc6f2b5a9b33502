//! One entry of the tensor table.

use std::ops::Range;

use crate::TensorType;

/// A tensor's name, type, shape and place. Everything in it has been checked: the bytes are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    pub(crate) name: String,
    pub(crate) ty: TensorType,
    pub(crate) shape: Vec<u64>,
    pub(crate) n_elements: u64,
    /// Where its bytes are in the file.
    pub(crate) range: Range<usize>,
    pub(crate) shard: usize,
}

impl TensorInfo {
    /// The name, such as `blk.0.attn_q.weight`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How the weights are stored.
    pub fn ty(&self) -> TensorType {
        self.ty
    }

    /// The shape, slowest dimension first: `[n_out, n_in]` for a matrix. One to four dimensions, none of them 0;
    /// the last is a multiple of the type's block length.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The product of the shape.
    pub fn n_elements(&self) -> u64 {
        self.n_elements
    }

    /// Size in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.range.len() as u64
    }

    /// Where the tensor's bytes begin in its file.
    pub fn offset(&self) -> u64 {
        self.range.start as u64
    }

    /// Which of the model's files holds it; 0 for a model in one file.
    pub fn shard(&self) -> usize {
        self.shard
    }
}

/// A tensor with its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Name, type and shape.
    pub info: &'a TensorInfo,
    /// The bytes, `info.len_bytes()` of them: rows of whole blocks, one after another. Their address is aligned to
    /// nothing in particular.
    pub data: &'a [u8],
}
