//! y = W x for one row, W in any format, with what comes before and after it fused in.
//!
//! Inputs: W `[n_rows, n_cols]` in row groups (see `layout`); x `[n_cols]` f32. Output: by the epilogue.
//! Requires: nothing of subgroups. Launch: a workgroup of 16 * slices for 16 rows (of each of two row groups, for gate and up); a
//! thread computes one row over every `slices`-th unit of it, and the slices are added up in order. Outputs are written as whole
//! quads by one thread: writes to one component of a vector may touch the others (gpuweb issue 2112).
//! Numerics: f32; against f64 on the same weights within `testkit::dot_bound`.
//! Source: own.

use super::Kernel;
use crate::device::Caps;
use crate::layout::{GROUP, UNIT};
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use gguf::TensorType;
use std::fmt::Write;

/// Vectors up to this many elements are staged in workgroup memory (16 KiB); longer ones are read where they are.
const MOST_STAGED: usize = 4096;
/// Units whose words a thread has in flight at a time.
const BATCH: usize = 4;
/// Rows of a workgroup.
const ROWS: usize = 16;
/// Threads of a workgroup.
const MOST_THREADS: usize = 512;

/// What is done to x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Prologue {
    /// Nothing.
    Plain,
    /// RMSNorm with the weights at `p.norm`: x is multiplied by them, its squares are summed beside, and each output is scaled once.
    Norm { eps_bits: u32 },
}

/// What is done with an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Epilogue {
    /// `y[row] = v`
    Store,
    /// `y[row] = v + bias[row]`
    StoreBiased,
    /// `y[row] += v`
    Add,
    /// Row groups alternate between gate and up: `y[row] = silu(gate) * up`.
    SiluMul,
}

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Matvec {
    pub(crate) ty: TensorType,
    pub(crate) n_cols: usize,
    pub(crate) prologue: Prologue,
    pub(crate) epilogue: Epilogue,
    slices: usize,
}

/// Offsets: weights as [`Params::areas`] gives them; `x`, `y` and `bias` in floats, `norm` in quads.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) quads: u32,
    pub(crate) words: u32,
    pub(crate) pairs: u32,
    pub(crate) supers: u32,
    pub(crate) n_units: u32,
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) norm: u32,
    pub(crate) bias: u32,
}

impl Matvec {
    pub(crate) fn new(
        ty: TensorType,
        n_cols: usize,
        prologue: Prologue,
        epilogue: Epilogue,
        caps: Caps,
    ) -> Self {
        let n_units = n_cols.div_ceil(UNIT);
        let most = (caps.max_threads as usize).min(MOST_THREADS) / ROWS;
        // One unit a thread while there are threads for it: a chain of small products waits for its slowest thread.
        let slices = n_units.clamp(1, most);
        // As few as do the same number of rounds.
        let slices = n_units.div_ceil(n_units.div_ceil(slices));
        Self { ty, n_cols, prologue, epilogue, slices }
    }

    pub(crate) fn name(&self) -> String {
        let prologue = match self.prologue {
            Prologue::Plain => "",
            Prologue::Norm { .. } => "norm_",
        };
        let epilogue = match self.epilogue {
            Epilogue::Store => "",
            Epilogue::StoreBiased => "_bias",
            Epilogue::Add => "_add",
            Epilogue::SiluMul => "_silu_mul",
        };
        format!("{prologue}matvec_{}{epilogue}", self.ty.name().to_lowercase())
    }

    /// Row groups that one workgroup reads from.
    pub(crate) fn groups(&self) -> usize {
        if self.epilogue == Epilogue::SiluMul { 2 } else { 1 }
    }

    /// Workgroups for a tensor of `n_groups` row groups.
    pub(crate) fn grid(&self, n_groups: usize) -> [u32; 3] {
        [(n_groups / self.groups() * (GROUP / ROWS)) as u32, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::Matvec(self)
    }

    fn staged(&self) -> bool {
        self.n_cols <= MOST_STAGED
            || self.n_cols % UNIT != 0
            || matches!(self.prologue, Prologue::Norm { .. })
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        let n_units = self.n_cols.div_ceil(UNIT);
        let mut shader = Shader::default()
            .constant("N_COLS", self.n_cols)
            .constant("N_UNITS", n_units)
            .constant("ROWS", ROWS)
            .constant("SLICES", self.slices)
            .constant("GROUPS", self.groups())
            .text(include_str!("matvec.wgsl"))
            .bindings()
            .decoder(self.ty);
        shader = match self.staged() {
            true => shader.text(STAGED),
            false => shader.text("fn x_quad(i: u32) -> vec4<f32> { return scratch[p.x / 4u + i]; }"),
        };
        shader = match self.prologue {
            Prologue::Plain if self.staged() => shader.text(STAGE_PLAIN),
            Prologue::Plain => shader.text("fn prologue(t: u32) -> f32 { return 1.0; }"),
            Prologue::Norm { eps_bits } => shader
                .reduce(caps, ROWS * self.slices)
                .float("EPS", f32::from_bits(eps_bits))
                .text(STAGE_NORM),
        };
        let write = match self.epilogue {
            Epilogue::Store => "scratch[y] = v0;",
            Epilogue::StoreBiased => {
                "let b = p.bias + row;\n    \
                 scratch[y] = v0 + bitcast<vec4<f32>>(vec4<u32>(words[b], words[b + 1u], words[b + 2u], words[b + 3u]));"
            }
            Epilogue::Add => "scratch[y] = old + v0;",
            Epilogue::SiluMul => "scratch[y] = v0 / (1.0 + exp(min(-v0, vec4<f32>(80.0)))) * v1;",
        };
        shader.text(&self.main(caps, write)).finish()
    }

    /// The entry point, its loop over units written out: every address is a constant apart, and the loads of a batch come
    /// before anything is done with them.
    fn main(&self, caps: Caps, write: &str) -> String {
        let n_units = self.n_cols.div_ceil(UNIT);
        let rounds = n_units.div_ceil(self.slices);
        let mut body = String::new();
        for g in 0..self.groups() {
            let _ = writeln!(body, "  var sum{g} = 0.0;");
        }
        for first in (0..rounds).step_by(BATCH) {
            let batch: Vec<usize> = (first..rounds.min(first + BATCH)).collect();
            for &i in &batch {
                let _ = writeln!(body, "  let u{i} = min(slice + {}u, N_UNITS - 1u);", i * self.slices);
                for g in 0..self.groups() {
                    let _ =
                        writeln!(body, "  let w{i}_{g} = load_unit(group * GROUPS + {g}u, u{i}, in_group);");
                }
            }
            if first == 0 {
                if self.epilogue == Epilogue::Add {
                    body.push_str(
                        "  var old = vec4<f32>(0.0);\n  if (t < ROWS / 4u) { old = scratch[y]; }\n",
                    );
                }
                // The weights do not depend on x: their loads are under way while x is made ready.
                body.push_str("  let scale = prologue(t);\n");
            }
            for &i in &batch {
                let whole = (i + 1) * self.slices <= n_units;
                for g in 0..self.groups() {
                    let dot = format!("dot_unit(w{i}_{g}, u{i} * 8u)");
                    let _ = match whole {
                        true => writeln!(body, "  sum{g} += {dot};"),
                        false => writeln!(
                            body,
                            "  if (slice + {}u < N_UNITS) {{ sum{g} += {dot}; }}",
                            i * self.slices
                        ),
                    };
                }
            }
        }
        for g in 0..self.groups() {
            let _ = writeln!(body, "  slice_sums[({g}u * SLICES + slice) * ROWS + r] = sum{g};");
        }
        let mut values = String::new();
        for g in 0..self.groups() {
            let _ = writeln!(values, "    let v{g} = scale * row_sums({g}u, t);");
        }
        let (builtins, start) = match (self.prologue, caps.subgroups) {
            (Prologue::Plain, _) => ("", ""),
            (Prologue::Norm { .. }, true) => (
                ", @builtin(subgroup_invocation_id) lane_id: u32, @builtin(subgroup_size) size: u32",
                "  start(t, lane_id, size);\n",
            ),
            (Prologue::Norm { .. }, false) => ("", "  start(t, 0u, 1u);\n"),
        };
        format!(
            "@compute @workgroup_size({})\n\
             fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32{builtins}) {{\n\
             \x20 let r = t % ROWS;\n  let slice = t / ROWS;\n\
             \x20 let group = wg.x * ROWS / 32u;\n  let in_group = wg.x * ROWS % 32u + r;\n\
             \x20 // The quad of outputs that this thread writes, if it is one of the first.\n\
             \x20 let row = wg.x * ROWS + 4u * t;\n  let y = (p.y + row) / 4u;\n{start}{body}\
             \x20 workgroupBarrier();\n  add_slices(t);\n  workgroupBarrier();\n\
             \x20 if (t < ROWS / 4u) {{\n{values}    {write}\n  }}\n}}\n",
            ROWS * self.slices
        )
    }
}

const STAGED: &str = "
var<workgroup> staged: array<vec4<f32>, N_UNITS * 8u>;
fn x_quad(i: u32) -> vec4<f32> { return staged[i]; }
// Quad i of x, zero past the end of x: what lies behind it in the buffer belongs to others.
fn input(i: u32) -> vec4<f32> {
  let v = scratch[p.x / 4u + i];
  let k = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(0.0), v, k < vec4<u32>(N_COLS));
}";

const STAGE_PLAIN: &str = "
fn prologue(t: u32) -> f32 {
  for (var i = t; i < N_UNITS * 8u; i += ROWS * SLICES) { staged[i] = input(i); }
  workgroupBarrier();
  return 1.0;
}";

const STAGE_NORM: &str = "
fn prologue(t: u32) -> f32 {
  var squares = 0.0;
  for (var i = t; i < N_UNITS * 8u; i += ROWS * SLICES) {
    let v = input(i);
    squares += dot(v, v);
    staged[i] = v * bitcast<vec4<f32>>(quads[p.norm + i]);
  }
  // The barriers inside make the staged vector visible, too.
  return inverseSqrt(group_sum(squares) / f32(N_COLS) + EPS);
}";
