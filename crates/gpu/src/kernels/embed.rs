//! x = rows of the embedding W by token id, W in any format.
//!
//! Inputs: W `[n_vocab, n_embd]` in row groups (see `layout`); ids in `tokens`. Output: x `[n_rows, stride]` f32, zeros behind
//! n_embd up to a multiple of 32.
//! Requires: nothing of subgroups. Launch: a workgroup a row; a thread decodes every `threads`-th unit.
//! Numerics: bit-equal to `gguf::format`, but that a device may fuse the product and the subtraction of types with minimums into
//! one rounding: half an ulp of the product.
//! Source: own.
//!
//! An id outside the vocabulary reads the last row: the host refuses such ids, and what a kernel reads must not depend on that.

use super::Kernel;
use crate::layout::{UNIT, WeightsAt};
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use gguf::TensorType;

/// Where the ids are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ids {
    /// One row, `tokens[ids + position]`.
    At,
    /// That of each row of the batch, which are described in `tables` from `rows` on.
    OfRows,
}

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Embed {
    pub(crate) ty: TensorType,
    pub(crate) n_vocab: usize,
    pub(crate) n_embd: usize,
    pub(crate) ids: Ids,
}

/// Offsets: weights as [`matvec`](super::matvec::Params) has them; `x` and `stride` in floats, multiples of 4; `rows` in
/// `tables`, `ids` in `tokens`. A tensor that is split over bindings has the rows of the ids `first` to `first + n_rows` in this
/// one, and x of other ids is left alone; `n_rows` is the whole vocabulary otherwise.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) weights: WeightsAt,
    pub(crate) x: u32,
    pub(crate) stride: u32,
    pub(crate) rows: u32,
    pub(crate) ids: u32,
    pub(crate) position: u32,
    pub(crate) first: u32,
    pub(crate) n_rows: u32,
}

impl Embed {
    pub(crate) fn name(&self) -> String {
        let ids = match self.ids {
            Ids::At => "",
            Ids::OfRows => "_rows",
        };
        format!("embed_{}{ids}", self.ty.name().to_lowercase())
    }

    pub(crate) fn grid(&self, n_rows: usize) -> [u32; 3] {
        [n_rows as u32, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::Embed(self)
    }

    pub(crate) fn source(&self) -> String {
        let id_place = match self.ids {
            Ids::At => "fn id_place(row: u32) -> u32 { return p.ids + p.position; }",
            Ids::OfRows => {
                "fn id_place(row: u32) -> u32 { return tables[p.rows + 4u * row + 2u] + tables[p.rows + 4u * row]; }"
            }
        };
        Shader::default()
            .constant("N_VOCAB", self.n_vocab)
            .constant("GROUP_THREADS", self.n_embd.div_ceil(UNIT).next_multiple_of(32).min(256))
            .text(include_str!("embed.wgsl"))
            .bindings()
            .gather(self.ty)
            .text(id_place)
            .finish()
    }
}
