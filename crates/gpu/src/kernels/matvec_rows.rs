//! Y = X W^T for up to 8 rows of X: `matvec`, with each weight decoded once for all of them.
//!
//! Inputs: W `[n_rows, n_cols]` in row groups (see `layout`); X `[n_tokens, n_cols]` f32, rows `x_stride` apart.
//! Output: Y `[n_tokens, n_rows]` f32, rows `y_stride` apart, by the epilogue; rows of W past `n_rows` come out as zeros up to
//! a multiple of 32 (with `Add`: leave what is there).
//! Requires: nothing of subgroups. Launch: a workgroup of 32 * slices for each row group (two with `SiluMul`); a thread
//! computes one row of W for all tokens over every `slices`-th unit, and the slices are added up in order.
//! Numerics: f32; against f64 on the same weights within `testkit::dot_bound`. A token's sums do not depend on how many others
//! there are.
//! Source: own.

use super::Kernel;
use super::gemm::{quad_writer, suffix};
use super::matvec::Epilogue;
use crate::device::Caps;
use crate::layout::{UNIT, UnitWords, WeightsAt};
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use gguf::TensorType;
use std::fmt::Write;

/// Most rows of X.
pub(crate) const MOST_TOKENS: usize = 8;
/// Most threads that share a row of W: more would leave too few registers for the sums of 8 tokens.
const MOST_SLICES: usize = 8;
/// X up to this many bytes is staged in workgroup memory; more is read where it is.
const MOST_STAGED_BYTES: usize = 16 << 10;
/// Quads of weights that a thread has in flight at a time.
const MOST_QUADS: usize = 16;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MatvecRows {
    pub(crate) ty: TensorType,
    pub(crate) n_cols: usize,
    /// Rows of X.
    pub(crate) n_tokens: usize,
    pub(crate) epilogue: Epilogue,
    slices: usize,
    staged: bool,
}

/// Offsets: weights as in `matvec`; `x`, `y`, `bias` and the strides in floats, all but `bias` multiples of 4.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) weights: WeightsAt,
    pub(crate) x: u32,
    pub(crate) x_stride: u32,
    pub(crate) y: u32,
    pub(crate) y_stride: u32,
    pub(crate) bias: u32,
}

impl MatvecRows {
    /// For `1..=MOST_TOKENS` rows of X.
    pub(crate) fn new(
        ty: TensorType,
        n_cols: usize,
        n_tokens: usize,
        epilogue: Epilogue,
        caps: Caps,
    ) -> Self {
        debug_assert!((1..=MOST_TOKENS).contains(&n_tokens), "{n_tokens} tokens");
        let n_units = n_cols.div_ceil(UNIT);
        // As in `matvec`, and the same for every number of tokens: the sums' order hangs on it.
        let slices = n_units.div_ceil(3).clamp(1, MOST_SLICES.min(caps.max_threads as usize / 32).max(1));
        let mut this = Self { ty, n_cols, n_tokens, epilogue, slices, staged: false };
        let x_bytes = n_tokens * n_units * UNIT * size_of::<f32>();
        let sum_bytes = n_tokens * this.groups() * this.threads() * size_of::<f32>();
        this.staged = x_bytes <= MOST_STAGED_BYTES && x_bytes + sum_bytes <= caps.workgroup_memory as usize;
        this
    }

    pub(crate) fn name(&self) -> String {
        format!("matvec_rows{}_{}{}", self.n_tokens, self.ty.name().to_lowercase(), suffix(self.epilogue))
    }

    /// Row groups of a workgroup.
    pub(crate) fn groups(&self) -> usize {
        if self.epilogue == Epilogue::SiluMul { 2 } else { 1 }
    }

    /// Workgroups for a tensor of `n_groups` row groups.
    pub(crate) fn grid(&self, n_groups: usize) -> [u32; 3] {
        [(n_groups / self.groups()) as u32, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::MatvecRows(self)
    }

    /// Whether X is staged.
    #[cfg(test)]
    pub(crate) fn staged(&self) -> bool {
        self.staged
    }

    fn threads(&self) -> usize {
        32 * self.slices
    }

    fn n_units(&self) -> usize {
        self.n_cols.div_ceil(UNIT)
    }

    pub(crate) fn source(&self) -> String {
        Shader::default()
            .constant("N_COLS", self.n_cols)
            .constant("N_UNITS", self.n_units())
            .constant("N_TOKENS", self.n_tokens)
            .constant("SLICES", self.slices)
            .constant("GROUPS", self.groups())
            .text(include_str!("matvec_rows.wgsl"))
            .bindings()
            .decoder(self.ty)
            .text(if self.n_cols.is_multiple_of(UNIT) { X_WHOLE } else { X_RAGGED })
            .text(if self.staged { STAGED } else { IN_PLACE })
            .text(quad_writer(self.epilogue))
            .text(&self.main())
            .finish()
    }

    fn main(&self) -> String {
        let mut text = format!(
            "@compute @workgroup_size({})\n\
             fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32) {{\n\
             \x20 let r = t % 32u;\n  let slice = t / 32u;\n  let group = wg.x * GROUPS;\n",
            self.threads()
        );
        for i in 0..self.n_tokens {
            let _ = match self.staged {
                true => writeln!(text, "  let x{i} = {}u;", i * self.n_units() * 8),
                false => writeln!(text, "  let x{i} = (p.x + {i}u * p.x_stride) / 4u;"),
            };
            for g in 0..self.groups() {
                let _ = writeln!(text, "  var sum{i}_{g} = vec4<f32>();");
            }
        }
        self.rounds(&mut text);
        for i in 0..self.n_tokens {
            for g in 0..self.groups() {
                let at = i * self.groups() + g;
                let _ =
                    writeln!(text, "  slice_sums[({at}u * SLICES + slice) * 32u + r] = across(sum{i}_{g});");
            }
        }
        let values = match self.epilogue {
            Epilogue::SiluMul => "total(token, 0u, q), total(token, 1u, q)",
            _ => "total(token, 0u, q)",
        };
        let _ = write!(
            text,
            "  workgroupBarrier();\n\
             \x20 for (var i = t; i < N_TOKENS * 8u; i += {}u) {{\n\
             \x20   let token = i / 8u;\n    let q = i % 8u;\n    let row = wg.x * 32u + q * 4u;\n\
             \x20   write((p.y + token * p.y_stride + row) / 4u, row, {values});\n  }}\n}}\n",
            self.threads()
        );
        text
    }

    /// Units whose words a thread has in flight.
    fn batch(&self) -> usize {
        // The more is done with a unit, the fewer hide the latency of the next.
        let units = if self.n_tokens > 4 { 3 } else { 4 };
        let quads = self.groups() * UnitWords::of(self.ty).quads.max(1);
        let most = (MOST_QUADS / quads).clamp(1, units);
        let rounds = self.n_units().div_ceil(self.slices);
        // The one that leaves least to mask at the end, if it is not much smaller.
        let masked = |batch: &usize| rounds.next_multiple_of(*batch) - rounds;
        (most.div_ceil(2)..=most).rev().min_by_key(masked).unwrap_or(most)
    }

    /// All units of a thread, in order. The words of a batch are loaded before X is staged and anything is done with them, and
    /// those of the next as soon as each is decoded.
    fn rounds(&self, text: &mut String) {
        let batch = self.batch();
        let step = batch * self.slices;
        let whole = self.n_units().is_multiple_of(step);
        let unit = |i: usize, from: &str| match whole {
            true => format!("{from} + {}u", i * self.slices),
            false => format!("min({from} + {}u, N_UNITS - 1u)", i * self.slices),
        };
        for i in 0..batch {
            for g in 0..self.groups() {
                let _ =
                    writeln!(text, "  var raw{i}_{g} = load_unit(group + {g}u, {}, r);", unit(i, "slice"));
            }
        }
        if self.staged {
            text.push_str("  stage_x(t);\n");
        }
        let _ = writeln!(text, "  for (var first = slice; first < N_UNITS; first += {step}u) {{");
        for i in 0..batch {
            let _ = writeln!(text, "    let u{i} = first + {}u;", i * self.slices);
            text.push_str(if whole { "    {\n" } else { "" });
            if !whole {
                let _ = writeln!(text, "    if (u{i} < N_UNITS) {{");
            }
            for g in 0..self.groups() {
                let _ = writeln!(text, "      let w{g} = unit_weights(raw{i}_{g});");
            }
            if step < self.n_units() {
                for g in 0..self.groups() {
                    let next = format!("min(u{i} + {step}u, N_UNITS - 1u)");
                    let _ = writeln!(text, "      raw{i}_{g} = load_unit(group + {g}u, {next}, r);");
                }
            }
            self.products(text, i);
            text.push_str("    }\n");
        }
        text.push_str("  }\n");
    }

    /// Unit `i` of a batch times X, added to the sums.
    fn products(&self, text: &mut String, i: usize) {
        for k in 0..8 {
            for token in 0..self.n_tokens {
                let _ = writeln!(text, "      let x{token}_{k} = x_of(x{token}, u{i} * 8u + {k}u);");
                for g in 0..self.groups() {
                    let _ = writeln!(
                        text,
                        "      sum{token}_{g} = fma(w{g}[{k}], x{token}_{k}, sum{token}_{g});"
                    );
                }
            }
        }
    }
}

// Quad `i` of the row of X that begins with quad `row` of scratch.
const X_WHOLE: &str = "fn load_x(row: u32, i: u32) -> vec4<f32> { return scratch[row + i]; }";
// Zero past the end: what lies behind belongs to others.
const X_RAGGED: &str = "
fn load_x(row: u32, i: u32) -> vec4<f32> {
  let k = vec4<u32>(i * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(), scratch[row + i], k < vec4<u32>(N_COLS));
}";

// Quad `i` of the row of X that `row` stands for.
const IN_PLACE: &str = "
fn x_quad(i: u32) -> vec4<f32> { return scratch[i]; }
fn x_of(row: u32, i: u32) -> vec4<f32> { return load_x(row, i); }";
const STAGED: &str = "
var<workgroup> staged: array<vec4<f32>, N_TOKENS * N_UNITS * 8u>;
fn x_quad(i: u32) -> vec4<f32> { return staged[i]; }
fn x_of(row: u32, i: u32) -> vec4<f32> { return x_quad(row + i); }
fn stage_x(t: u32) {
  for (var i = t; i < N_TOKENS * N_UNITS * 8u; i += 32u * SLICES) {
    let token = i / (N_UNITS * 8u);
    staged[i] = load_x((p.x + token * p.x_stride) / 4u, i % (N_UNITS * 8u));
  }
  workgroupBarrier();
}";
