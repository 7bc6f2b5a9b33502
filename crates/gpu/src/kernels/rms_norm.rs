//! y = x / sqrt(mean(x^2) + eps) * w, row by row.
//!
//! Inputs: x `[n_rows, x_stride]` f32, w `[n_cols]` f32; partials `[n_partials, n_rows, x_stride]` f32, which are added to x first,
//! there too. Output: y `[n_rows, y_stride]` f32 or f16 in pairs, zeros behind n_cols
//! up to a multiple of 32; y in f32 may be x.
//! Requires: nothing of subgroups. Launch: a workgroup a row; everything is loaded before anything is done with it.
//! Numerics: f32; relative to f64 within 1e-6 an element, before it is rounded to f16.
//! Source: own.

use super::Kernel;
use super::floats::Floats;
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
    /// Of y.
    pub(crate) y: Floats,
    /// Sums that a product in parts has left beside x; y is not x then.
    pub(crate) n_partials: usize,
}

/// Offsets and strides in words, multiples of 4, but `norm` in quads.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) x: u32,
    pub(crate) x_stride: u32,
    pub(crate) y: u32,
    pub(crate) y_stride: u32,
    pub(crate) norm: u32,
    /// Where the first partials begin, and how far apart they are.
    pub(crate) partials: u32,
    pub(crate) partial_stride: u32,
}

impl RmsNorm {
    pub(crate) fn name(&self) -> String {
        let partials = if self.n_partials > 0 { format!("_plus{}", self.n_partials) } else { String::new() };
        match self.y {
            Floats::F32 => format!("rms_norm{partials}"),
            Floats::F16 => format!("rms_norm{partials}_f16"),
        }
    }

    pub(crate) fn grid(&self, n_rows: usize) -> [u32; 3] {
        [n_rows as u32, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::RmsNorm(self)
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        let n_quads = self.n_cols.div_ceil(UNIT) * UNIT / 4;
        let threads = (n_quads / self.quads_each()).next_multiple_of(32).min(256);
        Shader::default()
            .constant("N_COLS", self.n_cols)
            .constant("N_QUADS", n_quads)
            .float("EPS", f32::from_bits(self.eps_bits))
            .text(include_str!("rms_norm.wgsl"))
            .bindings()
            .reduce(caps, threads)
            .text(if self.y == Floats::F16 { HALVES } else { "" })
            .text(&self.run(n_quads, threads))
            .entry(caps)
            .finish()
    }

    /// Neighbouring quads of a thread: what makes a quad of the output.
    fn quads_each(&self) -> usize {
        match self.y {
            Floats::F32 => 1,
            Floats::F16 => 2,
        }
    }

    /// The body: a thread's outputs are `threads` apart.
    fn run(&self, n_quads: usize, threads: usize) -> String {
        let (each, n_out) = (self.quads_each(), n_quads / self.quads_each());
        let mut body = "fn run(wg: u32, t: u32) {\n  let x = (p.x + wg * p.x_stride) / 4u;\n".to_owned();
        for k in 0..self.n_partials {
            let _ = writeln!(
                body,
                "  let partial{k} = (p.partials + {k}u * p.partial_stride + wg * p.x_stride) / 4u;"
            );
        }
        let rounds = n_out.div_ceil(threads);
        let mut squares = Vec::new();
        for i in 0..rounds {
            for j in 0..each {
                let at = format!("{each}u * (t + {}u) + {j}u", i * threads);
                let more: String =
                    (0..self.n_partials).map(|k| format!(" + input(partial{k}, {at})")).collect();
                let _ =
                    writeln!(body, "  let x{i}_{j} = input(x, {at}){more};\n  let w{i}_{j} = weight({at});");
                squares.push(format!("dot(x{i}_{j}, x{i}_{j})"));
            }
        }
        let sum = squares.join(" + ");
        let _ = writeln!(body, "  let scale = inverseSqrt(group_sum({sum}) / f32(N_COLS) + EPS);");
        body.push_str("  let y = (p.y + wg * p.y_stride) / 4u;\n");
        for i in 0..rounds {
            let at = i * threads;
            let value = match self.y {
                Floats::F32 => format!("x{i}_0 * scale * w{i}_0"),
                Floats::F16 => format!("halves(x{i}_0 * scale * w{i}_0, x{i}_1 * scale * w{i}_1)"),
            };
            let mut store = format!("scratch[y + t + {at}u] = {value};");
            if self.n_partials > 0 {
                for j in 0..each {
                    let _ = write!(store, " scratch[x + {each}u * (t + {at}u) + {j}u] = x{i}_{j};");
                }
            }
            let _ = match at + threads <= n_out {
                true => writeln!(body, "  {store}"),
                false => writeln!(body, "  if (t + {at}u < {n_out}u) {{ {store} }}"),
            };
        }
        body + "}\n"
    }
}

// What is beyond the range of f16 becomes its largest number.
const HALVES: &str = "
fn half_range(v: vec4<f32>) -> vec4<f32> { return clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0)); }
fn halves(low: vec4<f32>, high: vec4<f32>) -> vec4<f32> {
  let a = half_range(low);
  let b = half_range(high);
  let words = vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
  return bitcast<vec4<f32>>(words);
}";
