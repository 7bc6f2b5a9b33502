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
use super::heads::Heads;
use super::matvec_shape::Shape;
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

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Matvec {
    pub(crate) ty: TensorType,
    pub(crate) n_cols: usize,
    pub(crate) prologue: Prologue,
    pub(crate) epilogue: Epilogue,
    shape: Shape,
}

/// Offsets: weights as [`Params::areas`] gives them; `x`, `y` and `bias` in floats, `norm` in quads.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) weights: WeightsAt,
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) norm: u32,
    pub(crate) bias: u32,
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
        let groups = if epilogue == Epilogue::SiluMul { 2 } else { 1 };
        let n_blocks = n_groups / groups * (GROUP / BLOCK);
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
        Self { ty, n_cols, prologue, epilogue, shape }
    }

    pub(crate) fn name(&self) -> String {
        let prologue = match self.prologue {
            Prologue::Plain => String::new(),
            Prologue::Norm { .. } => "norm_".to_owned(),
            Prologue::Merge { splits, .. } => format!("merge{splits}_"),
        };
        let epilogue = match self.epilogue {
            Epilogue::Store => "",
            Epilogue::StoreBiased => "_bias",
            Epilogue::Add => "_add",
            Epilogue::SiluMul => "_silu_mul",
        };
        format!("{prologue}matvec_{}{epilogue}", self.ty.name().to_lowercase())
    }

    /// Row groups that one output row group is made of.
    pub(crate) fn groups(&self) -> usize {
        if self.epilogue == Epilogue::SiluMul { 2 } else { 1 }
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

    /// Units of each block that a thread has in flight, and how many times it loads so many to complete a row.
    fn batch(&self) -> (usize, usize) {
        let rounds = self.n_units().div_ceil(self.shape.slices);
        let quads = self.shape.blocks * self.groups() * UnitWords::of(self.ty).quads.max(1);
        let batches = rounds.div_ceil((self.shape.flight / quads).clamp(1, rounds));
        (rounds.div_ceil(batches), batches)
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        let shader = Shader::default()
            .constant("N_COLS", self.n_cols)
            .constant("N_UNITS", self.n_units())
            .constant("SLICES", self.shape.slices)
            .constant("GROUPS", self.groups())
            .constant("THREADS", self.shape.threads())
            .constant("OUT_BLOCKS", self.shape.out_blocks())
            .text(include_str!("matvec.wgsl"))
            .bindings()
            .decoder(self.ty)
            .text(if self.n_cols.is_multiple_of(UNIT) { INPUT_WHOLE } else { INPUT_RAGGED })
            .text(if caps.subgroups { ACROSS_LANES } else { ACROSS_MEMORY });
        let shader = match self.prologue {
            Prologue::Plain => shader.text("fn x_quad(i: u32) -> vec4<f32> { return input(i); }"),
            Prologue::Norm { eps_bits } => {
                let parts = (self.n_units() * 8).min(self.shape.threads()).div_ceil(32);
                shader.constant("SQUARE_PARTS", parts).float("EPS", f32::from_bits(eps_bits)).text(NORM)
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
        let _ = writeln!(
            text,
            "  let r = t % 8u;\n  let slice = t / 8u % SLICES;\n  let team = t / (8u * SLICES);\n\
             \x20 let first = wg.x * OUT_BLOCKS + team * {}u;\n\
             \x20 // Slices begin in other banks of workgroup memory.\n\
             \x20 let turn = vec4<u32>(0u, 1u, 2u, 3u) ^ vec4<u32>(slice % 4u);\n\
             \x20 // The quad of outputs that this thread writes, if it is one of the first.\n\
             \x20 let row = wg.x * OUT_BLOCKS * 8u + 4u * t;\n  let y = (p.y + row) / 4u;",
            self.shape.blocks
        );
        let (batch, batches) = self.batch();
        self.each(batch, |i, j, g| {
            let _ = writeln!(text, "  var raw{i}_{j}_{g} = {};", self.load(i, j, g, "first", "slice"));
            if batches * self.shape.sets > 1 {
                let _ = writeln!(text, "  var spare{i}_{j}_{g}: Raw;");
            }
        });
        if self.epilogue == Epilogue::Add {
            text.push_str("  var old = vec4<f32>(0.0);\n  if (t < OUT_BLOCKS * 2u) { old = scratch[y]; }\n");
        }
        // The weights do not depend on x: their loads are under way while x is made ready.
        self.prologue(&mut text, self.staged(caps));
        self.steps(&mut text);
        self.outputs(&mut text);
        text
    }

    /// Calls `f` for unit `i` of `batch`, block `j` and row group `g`.
    fn each(&self, batch: usize, mut f: impl FnMut(usize, usize, usize)) {
        for i in 0..batch {
            for j in 0..self.shape.blocks {
                (0..self.groups()).for_each(|g| f(i, j, g));
            }
        }
    }

    fn load(&self, i: usize, j: usize, g: usize, block: &str, unit: &str) -> String {
        format!(
            "load_block_unit(weight_block({block} + {j}u, {g}u), min({unit} + {}u, N_UNITS - 1u), r)",
            i * self.shape.slices
        )
    }

    /// x is staged, a thread's loads before its stores.
    fn prologue(&self, text: &mut String, staged: bool) {
        let (n_quads, threads) = (self.n_units() * 8, self.shape.threads());
        let normed = matches!(self.prologue, Prologue::Norm { .. });
        if normed {
            text.push_str("  var squares = 0.0;\n");
        }
        if staged || normed {
            let rounds: Vec<usize> = (0..n_quads.div_ceil(threads)).collect();
            for some in rounds.chunks(4) {
                for &k in some {
                    let _ = writeln!(
                        text,
                        "  let i{k} = min(t + {}u, N_UNITS * 8u - 1u);\n  let q{k} = {}(i{k});",
                        k * threads,
                        if normed { "input" } else { "x_quad" }
                    );
                    if normed && staged {
                        let _ = writeln!(text, "  let n{k} = norm_quad(i{k});");
                    }
                }
                for &k in some {
                    let whole = (k + 1) * threads <= n_quads;
                    let _ = match whole {
                        true => writeln!(text, "  {{"),
                        false => writeln!(text, "  if (t + {}u < N_UNITS * 8u) {{", k * threads),
                    };
                    if normed {
                        let _ = writeln!(text, "    squares += dot(q{k}, q{k});");
                    }
                    if staged {
                        let norm = if normed { format!(" * n{k}") } else { String::new() };
                        let _ = writeln!(text, "    stage(i{k}, q{k}{norm});");
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

    /// All products of a thread: batch after batch, and set after set. Of two lots of words one is on its way while the other is
    /// used.
    fn steps(&self, text: &mut String) {
        let (_, batches) = self.batch();
        let steps = batches * self.shape.sets;
        self.each(1, |_, j, g| {
            let _ = writeln!(text, "  var sum{j}_{g} = 0.0;");
        });
        if steps == 1 {
            self.step(text, "raw", "0u");
            return;
        }
        let _ =
            writeln!(text, "  for (var step = 0u; step < {steps}u; step += 2u) {{\n  let other = step + 1u;");
        let guard = |step: &str, always: bool| match always {
            true => "  {\n".to_owned(),
            false => format!("  if ({step} < {steps}u) {{\n"),
        };
        text.push_str(&guard("other", steps.is_multiple_of(2)));
        self.loads(text, "spare", "other");
        text.push_str("  }\n");
        self.step(text, "raw", "step");
        text.push_str(&guard("step + 2u", false));
        self.loads(text, "raw", "(step + 2u)");
        text.push_str("  }\n");
        text.push_str(&guard("other", steps.is_multiple_of(2)));
        self.step(text, "spare", "other");
        text.push_str("  }\n  }\n");
    }

    /// Where step `step` begins: a unit, and a set.
    fn place(&self, step: &str) -> (String, String) {
        let (batch, batches) = self.batch();
        let unit = match batches {
            1 => "slice".to_owned(),
            _ => format!("slice + {step} % {batches}u * {}u", batch * self.shape.slices),
        };
        let set = match batches {
            1 => step.to_owned(),
            _ => format!("{step} / {batches}u"),
        };
        (unit, set)
    }

    /// The words of a step.
    fn loads(&self, text: &mut String, to: &str, step: &str) {
        let (unit, set) = self.place(step);
        let per_set = self.shape.teams * self.shape.blocks;
        let _ = writeln!(text, "    let at_u = {unit};\n    let at_block = first + {set} * {per_set}u;");
        self.each(self.batch().0, |i, j, g| {
            let _ = writeln!(text, "    {to}{i}_{j}_{g} = {};", self.load(i, j, g, "at_block", "at_u"));
        });
    }

    /// The products of a step, and if it completes the rows of a set, what they come to.
    fn step(&self, text: &mut String, from: &str, step: &str) {
        let (batch, batches) = self.batch();
        let (unit, set) = self.place(step);
        let slices = self.shape.slices;
        let _ = writeln!(text, "  {{\n    let u = {unit};");
        for i in 0..batch {
            let whole = ((batches - 1) * batch + i + 1) * slices <= self.n_units();
            let at = i * slices;
            let _ = match whole {
                true => writeln!(text, "    {{"),
                false => writeln!(text, "    if (u + {at}u < N_UNITS) {{"),
            };
            let _ = writeln!(text, "      let x = x_unit(u + {at}u, turn);");
            self.each(1, |_, j, g| {
                let _ = writeln!(text, "      sum{j}_{g} += dot_unit({from}{i}_{j}_{g}, x);");
            });
            text.push_str("    }\n");
        }
        if batches > 1 {
            let _ = writeln!(text, "    if (({step} + 1u) % {batches}u == 0u) {{");
        }
        let _ = writeln!(
            text,
            "    let slot = {set} * {}u + team * {}u;",
            self.shape.teams * self.shape.blocks,
            self.shape.blocks
        );
        self.each(1, |_, j, g| {
            let _ = writeln!(
                text,
                "    {{\n      let sum = four_slices(t, size, sum{j}_{g});\n\
                 \x20     if (t % 32u < 8u) {{ partials[(((slot + {j}u) * GROUPS + {g}u) * (SLICES / 4u) + slice / 4u) * 8u + r] = sum; }}\n\
                 \x20     sum{j}_{g} = 0.0;\n    }}"
            );
        });
        text.push_str(if batches > 1 { "    }\n" } else { "" });
        text.push_str("  }\n");
    }

    fn outputs(&self, text: &mut String) {
        text.push_str("  workgroupBarrier();\n  if (t < OUT_BLOCKS * 2u) {\n");
        let scale = match self.prologue {
            Prologue::Norm { .. } => "norm_scale() * ",
            _ => "",
        };
        for g in 0..self.groups() {
            let _ = writeln!(text, "    let v{g} = {scale}row_sums(t / 2u, {g}u, t % 2u);");
        }
        let write = match self.epilogue {
            Epilogue::Store => "scratch[y] = v0;",
            Epilogue::StoreBiased => {
                "let b = p.bias + row;\n    \
                 scratch[y] = v0 + bitcast<vec4<f32>>(vec4<u32>(words[b], words[b + 1u], words[b + 2u], words[b + 3u]));"
            }
            Epilogue::Add => "scratch[y] = old + v0;",
            Epilogue::SiluMul => "scratch[y] = v0 / (1.0 + exp(min(-v0, vec4<f32>(80.0)))) * v1;",
        };
        let _ = writeln!(text, "    {write}\n  }}\n}}");
    }
}

// Quad `i` of what is at `p.x`.
const INPUT_WHOLE: &str = "fn input(i: u32) -> vec4<f32> { return scratch[p.x / 4u + i]; }";
// Zero past the end: what lies behind it in the buffer belongs to others.
const INPUT_RAGGED: &str = "
fn input(i: u32) -> vec4<f32> {
  let k = vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(0.0), scratch[p.x / 4u + i], k < vec4<u32>(N_COLS));
}";

const ACROSS_LANES: &str = "
fn four_slices(t: u32, size: u32, v: f32) -> f32 {
  if (size >= 32u) {
    let a = v + subgroupShuffleXor(v, 8u);
    return a + subgroupShuffleXor(a, 16u);
  }
  return pooled_slices(t, v);
}
fn lanes_sum(t: u32, size: u32, v: f32) -> f32 {
  if (size >= 32u) {
    let a = v + subgroupShuffleXor(v, 16u);
    let b = a + subgroupShuffleXor(a, 8u);
    let c = b + subgroupShuffleXor(b, 4u);
    let d = c + subgroupShuffleXor(c, 2u);
    return d + subgroupShuffleXor(d, 1u);
  }
  return pooled(t, v);
}";

const ACROSS_MEMORY: &str = "
fn four_slices(t: u32, size: u32, v: f32) -> f32 { return pooled_slices(t, v); }
fn lanes_sum(t: u32, size: u32, v: f32) -> f32 { return pooled(t, v); }";

const NORM: &str = "
var<workgroup> square_parts: array<f32, THREADS / 32u>;
fn norm_quad(i: u32) -> vec4<f32> { return bitcast<vec4<f32>>(quads[p.norm + i]); }
fn x_quad(i: u32) -> vec4<f32> { return input(i) * norm_quad(i); }
fn sum_squares(t: u32, size: u32, v: f32) {
  let sum = lanes_sum(t, size, v);
  if (t % 32u == 0u) { square_parts[t / 32u] = sum; }
}
fn norm_scale() -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < SQUARE_PARTS; i += 1u) { sum += square_parts[i]; }
  return inverseSqrt(sum / f32(N_COLS) + EPS);
}";

const STAGED: &str = "
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
