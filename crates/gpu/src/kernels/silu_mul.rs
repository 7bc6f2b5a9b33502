//! gate = silu(gate) * up, for the tensors that one product cannot read together.
//!
//! Inputs: gate and up `[n_rows, n_cols]` f32. Output: gate, in place; zeros behind n_cols up to a multiple of 32.
//! Requires: nothing of subgroups. Launch: `grid(n_rows)`, a thread a quad.
//! Numerics: f32; relative to f64 within 1e-6 + 2e-7 |gate| an element: the exponential's own.
//! Source: own.

use super::Kernel;
use crate::layout::UNIT;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};

const THREADS: usize = 64;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SiluMul {
    pub(crate) n_cols: usize,
}

/// In floats, multiples of 4.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) gate: u32,
    pub(crate) up: u32,
    /// From row to row, of both.
    pub(crate) stride: u32,
}

impl SiluMul {
    pub(crate) fn name(&self) -> String {
        "silu_mul".to_owned()
    }

    pub(crate) fn grid(&self, n_rows: usize) -> [u32; 3] {
        [(self.n_cols.next_multiple_of(UNIT) / 4).div_ceil(THREADS) as u32, n_rows as u32, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::SiluMul(self)
    }

    pub(crate) fn source(&self) -> String {
        Shader::default()
            .constant("N_COLS", self.n_cols)
            .constant("N_QUADS", self.n_cols.next_multiple_of(UNIT) / 4)
            .constant("THREADS", THREADS)
            .text(include_str!("silu_mul.wgsl"))
            .bindings()
            .finish()
    }
}
