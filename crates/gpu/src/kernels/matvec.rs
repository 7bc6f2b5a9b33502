//! y = W x for one row, W in any format, with what comes before and after it fused in.
//!
//! Inputs: W `[n_rows, n_cols]` in row groups (see `layout`); x `[n_cols]` f32. Output: by the epilogue.
//! Requires: nothing of subgroups; those of 32 and more save a round through workgroup memory. Launch: by [`Shape`]: a thread
//! computes a row of each of a few blocks of 8, over every `slices`-th unit. Neighbouring threads have the rows of a block, the
//! next 8 the next unit: that is the order in which the words lie. Sums of 4 slices are made across lanes, the rest through
//! workgroup memory.
//!
//! A chain of small products is a chain of latencies: weights are loaded before x, and x is staged with one barrier; the scale
//! of a norm is found while the products are made, and applied to their sums. A second barrier, and the outputs are written, as
//! whole quads by one thread: writes to one component of a vector may touch the others (gpuweb issue 2112).
//! Numerics: f32; against f64 on the same weights within `testkit::dot_bound`.
//! Source: own.

use super::Kernel;
use super::gemm::suffix;
use super::heads::Heads;
use super::matvec_shape::Shape;
use super::matvec_walk::{self, Walk};
use crate::device::Caps;
use crate::layout::{BLOCK, GROUP, UNIT, UnitWords, WeightsAt};
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use gguf::TensorType;
use std::fmt::Write;

/// Workgroup memory beside x.
const OTHER_BYTES: usize = 6 << 10;

/// What is done to x.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Prologue {
    /// Nothing.
    Plain,
    /// RMSNorm with the weights at `p.norm`: x is multiplied by them, its squares are summed beside, and each output is scaled once.
    Norm { eps_bits: u32 },
    /// At `p.x` are the states that attention over `splits` parts of the keys left; x is what becomes of them together.
    Merge { heads: Heads, splits: usize },
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

impl Prologue {
    /// How kernels with it are called.
    pub(super) fn prefix(self) -> String {
        match self {
            Self::Plain => String::new(),
            Self::Norm { .. } => "norm_".to_owned(),
            Self::Merge { splits, .. } => format!("merge{splits}_"),
        }
    }
}

impl Epilogue {
    /// Row groups of weights that a row group of outputs is made of.
    pub(crate) fn groups(self) -> usize {
        if self == Self::SiluMul { 2 } else { 1 }
    }
}

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Matvec {
    pub(crate) ty: TensorType,
    pub(crate) n_cols: usize,
    pub(crate) prologue: Prologue,
    pub(crate) epilogue: Epilogue,
    /// Rows of sums beside the hidden state, to be added wherever it is read: by a norm, and by `Add`.
    pub(crate) n_partials: usize,
    shape: Shape,
}

/// Offsets: weights as [`WeightsAt`] has them; `x`, `y` and `bias` in floats, `norm` in quads.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) weights: WeightsAt,
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) norm: u32,
    pub(crate) bias: u32,
    /// Where the sums beside the hidden state begin in `scratch`, in floats, and the floats from row to row.
    pub(crate) partials: u32,
    pub(crate) partial_stride: u32,
}

impl Matvec {
    /// For a tensor of `n_groups` row groups.
    pub(crate) fn new(
        ty: TensorType,
        n_cols: usize,
        n_groups: usize,
        prologue: Prologue,
        epilogue: Epilogue,
        caps: Caps,
    ) -> Self {
        let n_blocks = n_groups / epilogue.groups() * (GROUP / BLOCK);
        Self::with_shape(ty, n_cols, prologue, epilogue, Shape::of(n_cols.div_ceil(UNIT), n_blocks, caps))
    }

    pub(crate) fn with_shape(
        ty: TensorType,
        n_cols: usize,
        prologue: Prologue,
        epilogue: Epilogue,
        shape: Shape,
    ) -> Self {
        debug_assert!(shape.slices.is_multiple_of(4), "sums are of 4 slices");
        Self { ty, n_cols, prologue, epilogue, n_partials: 0, shape }
    }

    /// With rows of sums beside the hidden state.
    pub(crate) fn beside(self, n_partials: usize) -> Self {
        debug_assert!(
            n_partials == 0
                || matches!(self.prologue, Prologue::Norm { .. })
                || self.epilogue == Epilogue::Add,
            "{self:?} does not read the hidden state"
        );
        Self { n_partials, ..self }
    }

    pub(crate) fn name(&self) -> String {
        let ty = self.ty.name().to_lowercase();
        let sums = if self.n_partials > 0 { "sums_" } else { "" };
        format!("{sums}{}matvec_{ty}{}", self.prologue.prefix(), suffix(self.epilogue))
    }

    /// Row groups that one output row group is made of.
    pub(crate) fn groups(&self) -> usize {
        self.epilogue.groups()
    }

    /// Workgroups for a tensor of `n_groups` row groups.
    pub(crate) fn grid(&self, n_groups: usize) -> [u32; 3] {
        let blocks = n_groups / self.groups() * (GROUP / BLOCK);
        debug_assert!(
            blocks.is_multiple_of(self.shape.out_blocks()),
            "{self:?} does not fit {n_groups} groups"
        );
        [(blocks / self.shape.out_blocks()) as u32, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::Matvec(self)
    }

    fn n_units(&self) -> usize {
        self.n_cols.div_ceil(UNIT)
    }

    fn staged(&self, caps: Caps) -> bool {
        self.n_units() * UNIT * 4 + OTHER_BYTES <= caps.workgroup_memory as usize
    }

    fn walk(&self) -> Walk {
        let quads = UnitWords::of(self.ty).quads;
        let beside = self.n_partials > 0;
        Walk {
            shape: self.shape,
            n_units: self.n_units(),
            n_tokens: 1,
            epilogue: self.epilogue,
            beside,
            quads,
        }
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        let shader = Shader::default()
            .constant("N_COLS", self.n_cols)
            .constant("N_UNITS", self.n_units())
            .constant("SLICES", self.shape.slices)
            .constant("GROUPS", self.groups())
            .constant("SUMS", self.groups())
            .constant("THREADS", self.shape.threads())
            .constant("OUT_BLOCKS", self.shape.out_blocks())
            .text(include_str!("matvec.wgsl"))
            .text(include_str!("../shared/slices.wgsl"))
            .text(matvec_walk::WEIGHT_BLOCK)
            .bindings()
            .decoder(self.ty)
            .text(across(caps));
        let normed = matches!(self.prologue, Prologue::Norm { .. });
        let shader = shader.text(&input(self.n_cols, normed && self.n_partials > 0));
        let shader = if self.n_partials > 0 { shader.text(&beside(self.n_partials)) } else { shader };
        let shader = match self.prologue {
            Prologue::Plain => shader.text("fn x_quad(i: u32) -> vec4<f32> { return input(i); }"),
            Prologue::Norm { eps_bits } => {
                let parts = (self.n_units() * 8).min(self.shape.threads()).div_ceil(32);
                shader
                    .constant("SQUARE_PARTS", parts)
                    .float("EPS", f32::from_bits(eps_bits))
                    .text(include_str!("../shared/norm_quads.wgsl"))
            }
            Prologue::Merge { heads, splits } => heads
                .merge(heads.constants(shader))
                .constant("SPLITS", splits)
                .text("fn x_quad(i: u32) -> vec4<f32> { return merged_quad(p.x, SPLITS, i); }"),
        };
        let shader = shader.text(if self.staged(caps) { STAGED } else { IN_PLACE });
        shader.text(&self.main(caps)).finish()
    }

    fn main(&self, caps: Caps) -> String {
        let mut text = String::new();
        let size = if caps.subgroups { ", @builtin(subgroup_size) size: u32" } else { "" };
        let _ = writeln!(
            text,
            "@compute @workgroup_size({})\n\
             fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32{size}) {{",
            self.shape.threads()
        );
        if !caps.subgroups {
            text.push_str("  let size = 1u;\n");
        }
        let walk = self.walk();
        walk.begin(&mut text);
        // Slices begin in other banks of workgroup memory.
        text.push_str("  let turn = vec4<u32>(0u, 1u, 2u, 3u) ^ vec4<u32>(slice % 4u);\n");
        // The weights do not depend on x: their loads are under way while x is made ready.
        let normed = matches!(self.prologue, Prologue::Norm { .. });
        stage(&mut text, (self.n_units(), self.shape.threads()), normed, self.staged(caps));
        walk.steps(&mut text, &|_, _| (), &|text, from, i| {
            let _ = writeln!(text, "      let x = x_unit(u + {}u, turn);", i * self.shape.slices);
            walk.each(1, |_, j, g| {
                let _ = writeln!(text, "      sum0_{j}_{g} += dot_unit({from}{i}_{j}_{g}, x);");
            });
        });
        let scale = match self.prologue {
            Prologue::Norm { .. } => "norm_scale() * ",
            _ => "",
        };
        walk.outputs(&mut text, scale);
        text
    }
}

/// Text that stages x of `n_units` units, a thread's loads before its stores, and sums its squares for a norm.
pub(super) fn stage(text: &mut String, (n_units, threads): (usize, usize), normed: bool, staged: bool) {
    let n_quads = n_units * 8;
    if normed {
        text.push_str("  var squares = 0.0;\n");
    }
    if staged || normed {
        let rounds: Vec<usize> = (0..n_quads.div_ceil(threads)).collect();
        for some in rounds.chunks(4) {
            for &k in some {
                let _ = writeln!(
                    text,
                    "  let place{k} = min(t + {}u, N_UNITS * 8u - 1u);\n  let x{k} = {}(place{k});",
                    k * threads,
                    if normed { "input" } else { "x_quad" }
                );
                if normed && staged {
                    let _ = writeln!(text, "  let norm{k} = norm_quad(place{k});");
                }
            }
            for &k in some {
                let whole = (k + 1) * threads <= n_quads;
                let _ = match whole {
                    true => writeln!(text, "  {{"),
                    false => writeln!(text, "  if (t + {}u < N_UNITS * 8u) {{", k * threads),
                };
                if normed {
                    let _ = writeln!(text, "    squares += dot(x{k}, x{k});");
                }
                if staged {
                    let norm = if normed { format!(" * norm{k}") } else { String::new() };
                    let _ = writeln!(text, "    stage(place{k}, x{k}{norm});");
                }
                text.push_str("  }\n");
            }
        }
        if staged {
            text.push_str("  workgroupBarrier();\n");
        }
    }
    if normed {
        text.push_str("  sum_squares(t, size, squares);\n");
    }
}

/// `four_slices` and `lanes_sum`, after `shared/slices.wgsl`.
pub(super) fn across(caps: Caps) -> &'static str {
    match caps.subgroups {
        true => include_str!("../shared/slices_subgroup.wgsl"),
        false => include_str!("../shared/slices_shared.wgsl"),
    }
}

/// `beside`: quad `i` of the hidden state's change since it was written, in `n_partials` rows of sums.
fn beside(n_partials: usize) -> String {
    let quads: Vec<_> = (0..n_partials).map(|k| format!("scratch[at + {k}u * row]")).collect();
    format!(
        "fn beside(i: u32) -> vec4<f32> {{\n  let at = p.partials / 4u + i;\n  let row = p.partial_stride / 4u;\n  \
         return {};\n}}",
        quads.join(" + ")
    )
}

/// `input`: quad `i` of what is at `p.x`, with what is `beside` it or without.
pub(super) fn input(n_cols: usize, beside: bool) -> String {
    let quad = if beside { "scratch[p.x / 4u + i] + beside(i)" } else { "scratch[p.x / 4u + i]" };
    match n_cols.is_multiple_of(UNIT) {
        true => format!("fn input(i: u32) -> vec4<f32> {{ return {quad}; }}"),
        // Zero past the end: what lies behind it in the buffer belongs to others.
        false => format!(
            "fn input(i: u32) -> vec4<f32> {{\n  let k = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);\n  \
             return select(vec4<f32>(0.0), {quad}, k < vec4<u32>(N_COLS));\n}}"
        ),
    }
}

pub(super) const STAGED: &str = "
var<workgroup> staged: array<vec4<f32>, N_UNITS * 8u>;
fn stage(i: u32, v: vec4<f32>) { staged[i ^ (i / 8u % 4u)] = v * x_factor(i); }
fn x_unit(u: u32, turn: vec4<u32>) -> array<vec4<f32>, 8> {
  let a = u * 8u;
  let b = a + 4u;
  return array<vec4<f32>, 8>(
    staged[a + turn.x], staged[a + turn.y], staged[a + turn.z], staged[a + turn.w],
    staged[b + turn.x], staged[b + turn.y], staged[b + turn.z], staged[b + turn.w]);
}";

const IN_PLACE: &str = "
fn x_unit(u: u32, turn: vec4<u32>) -> array<vec4<f32>, 8> {
  let i = u * 8u;
  return array<vec4<f32>, 8>(
    x_quad(i) / X_LOW, x_quad(i + 1u) / X_LOW, x_quad(i + 2u) / X_LOW, x_quad(i + 3u) / X_LOW,
    x_quad(i + 4u) / X_HIGH, x_quad(i + 5u) / X_HIGH, x_quad(i + 6u) / X_HIGH, x_quad(i + 7u) / X_HIGH);
}";
