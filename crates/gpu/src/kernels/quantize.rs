//! Rows rounded to 8 bits, as `matvec_int8` takes them; with a norm before, if that is wanted.
//!
//! Inputs: x `[n_rows, x_stride]` f32; w `[n_cols]` f32, of a norm. Output: y `[n_rows, y_stride]`: for each unit of 32 two quads of
//! words, four signed bytes in each; then for each unit a quad: its scale, what the numbers of its halves sum to, 0.
//! Requires: n_cols a multiple of 32; nothing of subgroups. Launch: a workgroup a row with a norm, else of 64 threads, each with
//! 16 elements.
//! Numerics: as the CPU engine rounds: q = round(x * 127 / largest of a unit), x = q * largest / 127. A norm's scale changes no q.
//! Source: own.

use super::Kernel;
use crate::device::Caps;
use crate::layout::UNIT;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use std::fmt::Write;

/// Threads of a workgroup that has no norm to make.
const THREADS: usize = 64;
/// Most threads of one that has.
const MOST_THREADS: usize = 256;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Quantize {
    pub(crate) n_cols: usize,
    /// RMSNorm with this epsilon before.
    pub(crate) eps_bits: Option<u32>,
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
}

impl Quantize {
    /// Words of a row of `n_cols` numbers.
    pub(crate) fn row_words(n_cols: usize) -> usize {
        n_cols.div_ceil(UNIT) * 12
    }

    /// The numbers of a row of `n_cols`.
    pub(crate) fn numbers(row: &[u32], n_cols: usize) -> Vec<f32> {
        let (words, scales) = row.split_at(n_cols.div_ceil(UNIT) * 8);
        let units = words.chunks(8).zip(scales.chunks(4));
        let numbers = units.flat_map(|(words, by)| {
            let bytes = words.iter().flat_map(|word| word.to_le_bytes());
            bytes.map(|q| f32::from(q.cast_signed()) * f32::from_bits(by[0]))
        });
        numbers.take(n_cols).collect()
    }

    pub(crate) fn name(&self) -> String {
        if self.eps_bits.is_some() { "norm_quantize" } else { "quantize" }.to_owned()
    }

    pub(crate) fn grid(&self, n_rows: usize) -> [u32; 3] {
        let parts = if self.eps_bits.is_some() { 1 } else { self.n_halves().div_ceil(THREADS) };
        [(n_rows * parts) as u32, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::Quantize(self)
    }

    fn n_halves(&self) -> usize {
        self.n_cols / UNIT * 2
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        debug_assert!(self.n_cols.is_multiple_of(UNIT), "{self:?}");
        let threads = match self.eps_bits {
            Some(_) => self.n_halves().next_multiple_of(32).min(MOST_THREADS),
            None => THREADS,
        };
        let shader = Shader::default()
            .constant("N_COLS", self.n_cols)
            .constant("N_UNITS", self.n_cols / UNIT)
            .constant("THREADS", threads)
            .bindings()
            .reduce(caps, threads)
            .round_half(caps)
            .text(include_str!("../shared/store_half.wgsl"))
            .text(include_str!("quantize.wgsl"));
        match self.eps_bits {
            Some(eps) => shader.float("EPS", f32::from_bits(eps)).text(&self.normed(threads)),
            None => {
                let parts = self.n_halves().div_ceil(THREADS);
                shader.constant("PARTS", parts).text(PLAIN)
            }
        }
        .entry(caps)
        .finish()
    }

    fn normed(&self, threads: usize) -> String {
        let mut text = NORM_QUAD.to_owned();
        text.push_str(
            "fn run(wg: u32, t: u32) {\n  let x = (p.x + wg * p.x_stride) / 4u;\n  var squares = 0.0;\n",
        );
        let rounds = self.n_halves().div_ceil(threads);
        for k in 0..rounds {
            let _ = writeln!(
                text,
                "  let i{k} = t + {}u;\n  let at{k} = min(i{k}, N_UNITS * 2u - 1u) * 4u;",
                k * threads
            );
            for m in 0..4 {
                let _ = writeln!(
                    text,
                    "  let x{k}_{m} = scratch[x + at{k} + {m}u];\n  let n{k}_{m} = norm_quad(at{k} + {m}u);"
                );
            }
            let _ = writeln!(
                text,
                "  if (i{k} < N_UNITS * 2u) {{\n\
                 \x20   squares += dot(x{k}_0, x{k}_0) + dot(x{k}_1, x{k}_1) + dot(x{k}_2, x{k}_2) + dot(x{k}_3, x{k}_3);\n  }}\n\
                 \x20 let half{k} = round_half(t, x{k}_0 * n{k}_0, x{k}_1 * n{k}_1, x{k}_2 * n{k}_2, x{k}_3 * n{k}_3);\n\
                 \x20 let by{k} = unit_scales(t, half{k});"
            );
        }
        text.push_str("  let scale = inverseSqrt(group_sum(squares) / f32(N_COLS) + EPS);\n");
        for k in 0..rounds {
            let _ = writeln!(text, "  store(wg, i{k}, half{k}, by{k}, scale);");
        }
        text + "}\n"
    }
}

const NORM_QUAD: &str =
    "fn norm_quad(i: u32) -> vec4<f32> { return bitcast<vec4<f32>>(quads[p.norm + i]); }\n";

const PLAIN: &str = "
fn run(wg: u32, t: u32) {
  let row = wg / PARTS;
  let i = wg % PARTS * THREADS + t;
  let at = (p.x + row * p.x_stride) / 4u + min(i, N_UNITS * 2u - 1u) * 4u;
  let half = round_half(t, scratch[at], scratch[at + 1u], scratch[at + 2u], scratch[at + 3u]);
  let by = unit_scales(t, half);
  store(row, i, half, by, 1.0);
}";
