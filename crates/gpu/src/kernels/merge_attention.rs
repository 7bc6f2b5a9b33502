//! Attention over parts of the keys becomes attention over all of them.
//!
//! Inputs: states `[n_rows, n_heads, splits, state_quads]` quads, as `attend` leaves them. Output: `[n_rows, n_heads * head_dim]`
//! f32, zeros behind each row up to a multiple of 32.
//! Requires: nothing of subgroups. Launch: `grid(n_rows)`, a thread a quad of the output.
//! Numerics: f32; a part without keys adds nothing.
//! Source: own.

use super::Kernel;
use super::heads::Heads;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};

const THREADS: usize = 64;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MergeAttention {
    heads: Heads,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    /// Where the states of row 0 begin in `scratch`, in floats, a multiple of 4.
    pub(crate) states: u32,
    /// Parts, 1 or more.
    pub(crate) splits: u32,
    /// Where row 0 of the output begins in `scratch`, in floats, a multiple of 4.
    pub(crate) out: u32,
    /// Floats from row to row of the output, a multiple of 4.
    pub(crate) out_stride: u32,
}

impl MergeAttention {
    pub(crate) fn new(heads: Heads) -> Self {
        Self { heads }
    }

    pub(crate) fn name(&self) -> String {
        format!("merge_attention_{}", self.heads.head_dim)
    }

    pub(crate) fn grid(&self, n_rows: usize) -> [u32; 3] {
        let quads = self.heads.width().next_multiple_of(32) / 4;
        [quads.div_ceil(THREADS) as u32, n_rows as u32, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::MergeAttention(self)
    }

    pub(crate) fn source(&self) -> String {
        let shader = self
            .heads
            .constants(Shader::default())
            .constant("THREADS", THREADS)
            .text(include_str!("merge_attention.wgsl"))
            .bindings();
        self.heads.merge(shader).finish()
    }
}
