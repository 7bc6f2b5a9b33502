//! Attention over parts of the keys becomes attention over all of them.
//!
//! Inputs: states `[n_rows, n_heads, splits, state_quads]` quads, as `attend` leaves them. Output: `[n_rows, n_heads * head_dim]`
//! f32, zeros behind each row up to a multiple of 32; or rows as `quantize` would leave these, for heads of whole units.
//! Requires: nothing of subgroups. Launch: `grid(n_rows)`, a thread a quad of the output.
//! Numerics: f32; a part without keys adds nothing.
//! Source: own.

use super::Kernel;
use super::heads::Heads;
use crate::device::Caps;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};

const THREADS: usize = 64;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MergeAttention {
    heads: Heads,
    /// Whether rows are rounded to 8 bits.
    rounds: bool,
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
    /// Words from row to row of the output, a multiple of 4.
    pub(crate) out_stride: u32,
}

impl MergeAttention {
    pub(crate) fn new(heads: Heads) -> Self {
        Self { heads, rounds: false }
    }

    /// With rows rounded to 8 bits, or not.
    pub(crate) fn in_8_bits(self, rounds: bool) -> Self {
        debug_assert!(!rounds || self.heads.whole_units(), "{self:?}");
        Self { rounds, ..self }
    }

    pub(crate) fn name(&self) -> String {
        let rounding = if self.rounds { "_rounding" } else { "" };
        format!("merge_attention_{}{rounding}", self.heads.head_dim)
    }

    pub(crate) fn grid(&self, n_rows: usize) -> [u32; 3] {
        let quads = self.heads.width().next_multiple_of(32) / 4;
        [quads.div_ceil(THREADS) as u32, n_rows as u32, 1]
    }

    /// Whether what it leaves is rounded to 8 bits.
    pub(crate) fn rounds(&self) -> bool {
        self.rounds
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::MergeAttention(self)
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        let shader = self
            .heads
            .constants(Shader::default())
            .constant("THREADS", THREADS)
            .text(include_str!("merge_attention.wgsl"))
            .bindings();
        let shader = match self.rounds {
            true => shader.round_half(caps).round_made(THREADS).text(STORE_ROUNDED),
            false => shader.text(STORE_FLOATS),
        };
        self.heads.merge(shader).finish()
    }
}

const STORE_FLOATS: &str = "
fn store_quad(row: u32, t: u32, i: u32, v: vec4<f32>) { scratch[row + i] = v; }
fn store_group(row: u32, group: u32, t: u32) {}";

const STORE_ROUNDED: &str = "
fn store_quad(row: u32, t: u32, i: u32, v: vec4<f32>) { made[t] = v; }
fn store_group(row: u32, group: u32, t: u32) {
  let half = round_made(t);
  let by = unit_scales(t, half);
  let i = group * (MADE / 4u) + t;
  if (t < MADE / 4u && i < WIDTH / 16u) { store_half(row, row + WIDTH / 16u, i, half, by); }
}";
