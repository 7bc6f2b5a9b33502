//! The best few of each chunk of 1024 logits: the first of two steps that draw a token from the top k; `draw` is the second.
//!
//! Inputs: logits `[n_vocab]` f32; with penalties, the ids before. Output: best `[n_chunks, k, 4]` f32: numbers, their
//! indices, zeros, the best first; where a chunk has fewer logits than k, NaN with indices behind the vocabulary.
//! Requires: nothing of subgroups; k from 1 to 64. Launch: a workgroup of 256 for each 1024 logits.
//! Numerics: exact: NaN is below everything, -0 equals 0, the lowest index wins among equals. Penalties as in `argmax`.
//! Source: own; penalties as in `argmax`.

use super::Kernel;
use super::sampling::{CHUNK, MOST_K, MOST_VOCAB, PAIR_FLOATS, Penalties};
use crate::device::Caps;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use model::MOST_NEVER;

const THREADS: usize = 256;
/// Whether the GPU can draw from the `top_k` (0 or less: all) best of `n_vocab` tokens; the host does it from the logits
/// otherwise.
pub(crate) fn supports(top_k: i32, n_vocab: usize) -> bool {
    n_vocab <= MOST_VOCAB - CHUNK && usize::try_from(top_k).is_ok_and(|k| (1..=MOST_K).contains(&k))
}

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TopCandidates {
    pub(crate) n_vocab: usize,
    /// Whether ids that came before are penalised.
    pub(crate) penalties: bool,
}

/// Offsets: `logits` and `best` in floats, multiples of 4; `ids` in `tokens`. `position` is that of the row which the logits are
/// of.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) logits: u32,
    pub(crate) best: u32,
    pub(crate) k: u32,
    pub(crate) ids: u32,
    pub(crate) position: u32,
    pub(crate) penalties: Penalties,
    /// Ids that are not chosen while there are others.
    pub(crate) never: [u32; MOST_NEVER],
}

impl TopCandidates {
    pub(crate) fn name(&self) -> String {
        format!("top_candidates{}", if self.penalties { "_penalties" } else { "" })
    }

    pub(crate) fn n_chunks(&self) -> usize {
        self.n_vocab.div_ceil(CHUNK)
    }

    /// Floats of `best` for any k.
    pub(crate) fn len_best(&self) -> usize {
        self.n_chunks() * MOST_K * PAIR_FLOATS
    }

    pub(crate) fn grid(&self) -> [u32; 3] {
        [self.n_chunks() as u32, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::TopCandidates(self)
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        Shader::default()
            .constant("N_VOCAB", self.n_vocab)
            .text(include_str!("top_candidates.wgsl"))
            .bindings()
            .reduce(caps, THREADS)
            .best(caps)
            .text(include_str!("../shared/never.wgsl"))
            .select()
            .penalties(self.penalties, CHUNK)
            .entry(caps)
            .finish()
    }
}
