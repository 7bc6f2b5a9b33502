//! y = x / sqrt(mean(x^2) + eps) * w, row by row.
//!
//! Inputs: x `[n_rows, x_stride]` f32, w `[n_cols]` f32. Output: y `[n_rows, y_stride]` f32, zeros behind n_cols up to a multiple
//! of 32; y may be x.
//! Requires: nothing of subgroups. Launch: a workgroup a row; everything is loaded before anything is done with it.
//! Numerics: f32; relative to f64 within 1e-6 an element.
//! Source: own.

use super::Kernel;
use crate::device::Caps;
use crate::layout::UNIT;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use std::fmt::Write;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RmsNorm {
    pub(crate) n_cols: usize,
    pub(crate) eps_bits: u32,
}

/// Offsets and strides in floats, multiples of 4, but `norm` in quads.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) x: u32,
    pub(crate) x_stride: u32,
    pub(crate) y: u32,
    pub(crate) y_stride: u32,
    pub(crate) norm: u32,
}

impl RmsNorm {
    pub(crate) fn name(&self) -> String {
        "rms_norm".to_owned()
    }

    pub(crate) fn grid(&self, n_rows: usize) -> [u32; 3] {
        [n_rows as u32, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::RmsNorm(self)
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        let n_quads = self.n_cols.div_ceil(UNIT) * UNIT / 4;
        let threads = n_quads.next_multiple_of(32).min(256);
        Shader::default()
            .constant("N_COLS", self.n_cols)
            .constant("N_QUADS", n_quads)
            .float("EPS", f32::from_bits(self.eps_bits))
            .text(include_str!("rms_norm.wgsl"))
            .bindings()
            .reduce(caps, threads)
            .text(&run(n_quads, threads))
            .entry(caps)
            .finish()
    }
}

/// The body: a thread's quads are `threads` apart.
fn run(n_quads: usize, threads: usize) -> String {
    let mut body = "fn run(wg: u32, t: u32) {\n  let x = (p.x + wg * p.x_stride) / 4u;\n".to_owned();
    let rounds = n_quads.div_ceil(threads);
    for i in 0..rounds {
        let at = i * threads;
        let _ = writeln!(body, "  let x{i} = input(x, t + {at}u);\n  let w{i} = weight(t + {at}u);");
    }
    let squares: Vec<String> = (0..rounds).map(|i| format!("dot(x{i}, x{i})")).collect();
    let _ =
        writeln!(body, "  let scale = inverseSqrt(group_sum({}) / f32(N_COLS) + EPS);", squares.join(" + "));
    body.push_str("  let y = (p.y + wg * p.y_stride) / 4u;\n");
    for i in 0..rounds {
        let at = i * threads;
        let store = format!("scratch[y + t + {at}u] = x{i} * scale * w{i};");
        let _ = match at + threads <= n_quads {
            true => writeln!(body, "  {store}"),
            false => writeln!(body, "  if (t + {at}u < N_QUADS) {{ {store} }}"),
        };
    }
    body + "}\n"
}
