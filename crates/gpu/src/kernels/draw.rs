//! The next token: one of the top k by its probability, after top-p and min-p, and its embedding.
//!
//! Inputs: best `[n_chunks, k, 4]` f32 as `top_candidates` leaves it; W, the embedding, in row groups (see `layout`). Outputs:
//! `tokens[ids + position + 1]`, and x `[n_embd]` f32, zeros behind n_embd up to a multiple of 32.
//! Requires: nothing of subgroups. Launch: one workgroup of 256.
//! Numerics: the candidates exact, as in `top_candidates`; sums of probabilities f32, from the likeliest on. A token is left on
//! the wrong side of `top_p` if that is within 1e-6 of a sum.
//! Source: the steps and their order (top-k, top-p, min-p, temperature) as llama.cpp commit de3ff815ea7d, `common/common.h` and
//! `src/llama-sampler.cpp`; Philox4x32-10 as its snippet says.
//!
//! The random number at position `t` is word 0 of Philox with counter `(0, t, 1, 0)` and the seed as its key. NaN and negative
//! infinity are never chosen while there is anything else; then the lowest id with negative infinity, and 0 if all are NaN. If
//! there are positive infinities, it is one of them.

use super::Kernel;
use super::sampling::{CHUNK, DrawOptions, PHILOX_ROUNDS};
use crate::device::Caps;
use crate::layout::WeightsAt;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use gguf::TensorType;

const THREADS: usize = 256;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Draw {
    pub(crate) n_vocab: usize,
    /// The embedding's format; none where x is not written: after the last token, or where another step does it.
    pub(crate) embedding: Option<TensorType>,
}

/// Offsets: weights as [`matvec`](super::matvec::Params) has them; `best` and `x` in floats, multiples of 4; `ids` in `tokens`.
/// `position` is that of the last token so far, `k` of the options that of `top_candidates`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) weights: WeightsAt,
    pub(crate) best: u32,
    pub(crate) x: u32,
    pub(crate) ids: u32,
    pub(crate) position: u32,
    pub(crate) options: DrawOptions,
}

impl Draw {
    pub(crate) fn name(&self) -> String {
        match self.embedding {
            Some(ty) => format!("draw_{}", ty.name().to_lowercase()),
            None => "draw".to_owned(),
        }
    }

    pub(crate) fn grid(&self) -> [u32; 3] {
        [1, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::Draw(self)
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        Shader::default()
            .constant("N_VOCAB", self.n_vocab)
            .constant("N_CHUNKS", self.n_vocab.div_ceil(CHUNK))
            .text(include_str!("draw.wgsl"))
            .bindings()
            .reduce(caps, THREADS)
            .best(caps)
            .select()
            .text(include_str!("../shared/draw_one.wgsl"))
            .constant("PHILOX_ROUNDS", PHILOX_ROUNDS)
            .text(include_str!("../shared/philox.wgsl"))
            .embed_chosen(self.embedding)
            .entry(caps)
            .finish()
    }
}
