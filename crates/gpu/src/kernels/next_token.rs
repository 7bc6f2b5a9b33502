//! The next token: the best of the pairs that `argmax` left, and its embedding.
//!
//! Inputs: best `[n_pairs, 4]` f32 as `argmax` leaves it; W, the embedding, in row groups (see `layout`). Outputs:
//! `tokens[ids + position + 1]`, and x `[n_embd]` f32, zeros behind n_embd up to a multiple of 32.
//! Requires: nothing of subgroups. Launch: one workgroup of 256.
//! Numerics: exact: NaN is below everything, -0 equals 0, the lowest index wins among equals; 0 where everything is NaN. The
//! embedding as in `embed`.
//! Source: own.

use super::Kernel;
use crate::device::Caps;
use crate::layout::WeightsAt;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use gguf::TensorType;

const THREADS: usize = 256;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NextToken {
    pub(crate) n_vocab: usize,
    pub(crate) n_pairs: usize,
    /// The embedding's format; none where x is not written: after the last token, or where another step does it.
    pub(crate) embedding: Option<TensorType>,
}

/// Offsets: weights as [`matvec`](super::matvec::Params) has them; `best` and `x` in floats, multiples of 4; `ids` in `tokens`.
/// `position` is that of the last token so far.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) weights: WeightsAt,
    pub(crate) best: u32,
    pub(crate) x: u32,
    pub(crate) ids: u32,
    pub(crate) position: u32,
}

impl NextToken {
    pub(crate) fn name(&self) -> String {
        match self.embedding {
            Some(ty) => format!("next_token_{}", ty.name().to_lowercase()),
            None => "next_token".to_owned(),
        }
    }

    pub(crate) fn grid(&self) -> [u32; 3] {
        [1, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::NextToken(self)
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        Shader::default()
            .constant("N_VOCAB", self.n_vocab)
            .constant("N_PAIRS", self.n_pairs)
            .text(include_str!("next_token.wgsl"))
            .bindings()
            .reduce(caps, THREADS)
            .best(caps)
            .embed_chosen(self.embedding)
            .entry(caps)
            .finish()
    }
}
