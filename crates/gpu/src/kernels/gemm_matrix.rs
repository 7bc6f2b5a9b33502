//! Y = X W^T for many rows of X on matrix units (cooperative matrices; simdgroup matrices on Metal).
//!
//! Inputs: W `[n_rows, n_cols]` in row groups (see `layout`), any format; X `[n_tokens, n_cols]` f32 or f16 in pairs, rows
//! `x_stride` words apart. Output: Y `[n_tokens, n_rows]` f32, or f16 in pairs, rows `y_stride` words apart, by the epilogue; rows
//! of W past `n_rows` come out as zeros up to a multiple of 32 (with `Add`: leave what is there).
//! Requires: `Caps::matrices`, that is f16 in shaders and subgroups of 32 throughout. Launch: a workgroup a tile, tiles of the
//! same weights next to one another; its subgroups are a grid over the tile. Where tiles are few, `Add` can be made in parts of the
//! columns: the first part is added to Y, the sums of the others are left in `partials`, `[parts - 1, n_tokens, y_stride]`, for
//! whoever reads Y next (see `rms_norm`). Where Y is Q, K and V, and heads can be rotated by eights, its queries are rotated, and
//! its keys, rotated, and values go to the cache instead, as `rope_kv` does it.
//!
//! Steps of `depth` columns are decoded to f16 in workgroup memory; the words of the next step are on their way while this one is
//! multiplied. W is the left factor, so that a result is stored by columns: the outputs of a token side by side. Where rows of X are
//! few, each subgroup can have columns of its own instead (see `slices`).
//! Numerics: both factors are rounded to f16, beyond its range to its largest number; products and sums are f32. Against f64 on
//! the same weights within 2^-10 times the sum of the products' magnitudes, and 2^-24 times that of X's for weights below 2^-14;
//! outputs in f16 are rounded once more.
//! Source: own.

mod outputs;
mod slices;
mod staging;
pub(crate) mod steps;

use steps::Steps;

use super::Kernel;
use super::floats::Floats;
use super::gemm::suffix;
use super::heads::{Heads, Rotation};
use super::matvec::Epilogue;
use crate::device::MatrixSize;
use crate::layout::{GROUP, UNIT};
use crate::shader::Shader;
use gguf::TensorType;
use gguf::format::{bits, has_min};
use std::fmt::Write;

/// Halves from row to row in workgroup memory are this many more than a step has, so that rows begin in different banks.
const PAD: usize = 8;
/// Edge of the blocks in which results leave the matrices through workgroup memory; a lane has half a column of one.
const BLOCK: usize = 16;
const LANES: usize = 32;

/// Outputs of a workgroup, and how it goes about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MatrixTile {
    pub(crate) tokens: usize,
    pub(crate) rows: usize,
    /// Columns of a step, a multiple of 32.
    pub(crate) depth: usize,
    /// Subgroups along the tokens, and along the rows.
    pub(crate) subgroups: [usize; 2],
    /// 2 where a step is staged while the one before is multiplied.
    pub(crate) buffers: usize,
    /// Steps whose words are loaded together, with one buffer: barriers wait for loads that are under way, so that a load for each
    /// step is a wait in each.
    pub(crate) together: usize,
    /// Subgroups that have the whole tile, each a slice of its columns; or 1, and the subgroups share the tile.
    pub(crate) slices: usize,
    /// Only for shapes of whole tiles, and outputs that leave the matrices as they are.
    pub(crate) whole: bool,
}

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct GemmMatrix {
    pub(crate) ty: TensorType,
    pub(crate) epilogue: Epilogue,
    pub(crate) x: Floats,
    pub(crate) y: Floats,
    pub(crate) tile: MatrixTile,
    /// Parts of the columns, 1 or more; more with `Add` only.
    pub(crate) parts: usize,
    /// Of Q, K and V, whose heads are rotated; with `Store` only.
    heads: Option<(Heads, Rotation)>,
    size: MatrixSize,
    /// Whether weights are bound as if they were written: see `Kernel::orders_loads`.
    pub(crate) ordered: bool,
    /// The last step is not whole, so that what lies behind it in X and W has to be masked.
    ragged: bool,
    steps: Steps,
}

impl MatrixTile {
    /// Whether each subgroup has gates together with their ups.
    pub(crate) fn pairs_rows(self, size: MatrixSize) -> bool {
        !self.whole && (self.rows / self.subgroups[1]).is_multiple_of(2 * BLOCK.max(size.edge()))
    }

    pub(crate) fn threads(self) -> usize {
        LANES * self.subgroups[0] * self.subgroups[1] * self.slices
    }

    /// Whether it is for products of `n_cols` columns in so many parts: slices are whole, and equally long.
    pub(crate) fn slices_fit(self, n_cols: usize, parts: usize) -> bool {
        self.slices == 1 || n_cols.is_multiple_of(parts * self.slices * self.together * self.depth)
    }

    /// Rows of W that are staged at a time.
    fn staged_rows(self) -> usize {
        if self.slices > 1 { LANES } else { self.rows }
    }

    /// Steps that are staged at a time.
    fn staged_steps(self) -> usize {
        self.buffers * self.slices
    }

    fn stride(self) -> usize {
        self.depth + PAD
    }

    /// Bytes of workgroup memory.
    pub(crate) fn memory(self) -> usize {
        let halves = self.staged_steps() * (self.tokens + self.staged_rows()) * self.stride();
        let blocks = if self.whole { 0 } else { self.threads() / LANES * BLOCK * BLOCK };
        2 * halves + 4 * blocks
    }
}

impl GemmMatrix {
    pub(crate) fn new(
        ty: TensorType,
        n_cols: usize,
        epilogue: Epilogue,
        [x, y]: [Floats; 2],
        tile: MatrixTile,
        size: MatrixSize,
    ) -> Self {
        Self {
            ty,
            epilogue,
            x,
            y,
            tile,
            parts: 1,
            heads: None,
            size,
            ordered: false,
            ragged: !n_cols.is_multiple_of(tile.depth),
            steps: Steps::of(tile, n_cols, 1, size),
        }
    }

    /// In so many parts of the `n_cols` columns, each of a step at least.
    pub(crate) fn in_parts(self, parts: usize, n_cols: usize) -> Self {
        debug_assert!(parts == 1 || self.epilogue == Epilogue::Add && self.size.vectors(), "{self:?}");
        Self { parts, steps: Steps::of(self.tile, n_cols, parts, self.size), ..self }
    }

    #[cfg(test)]
    pub(crate) fn with_steps(self, steps: Steps) -> Self {
        Self { steps, ..self }
    }

    /// With weights bound as if they were written, or not.
    pub(crate) fn with_ordered(self, ordered: bool) -> Self {
        Self { ordered, ..self }
    }

    /// For Q, K and V, whose heads are rotated by eights: `None` where outputs do not pass through workgroup memory anyway, which is
    /// worth more.
    pub(crate) fn of_heads(self, heads: Heads, rotation: Rotation) -> Option<Self> {
        let whole_groups =
            [heads.n_heads, heads.n_kv_heads].iter().all(|n| (n * heads.head_dim).is_multiple_of(GROUP));
        let can = self.epilogue == Epilogue::Store && self.y == Floats::F32 && !self.tile.whole;
        (can && whole_groups && rotation.by_eights(heads))
            .then_some(Self { heads: Some((heads, rotation)), ..self })
    }

    pub(crate) fn name(&self) -> String {
        let MatrixTile { tokens, rows, depth, together, slices, .. } = self.tile;
        let together = if together > 1 { format!("x{together}") } else { String::new() };
        let slices = if slices > 1 { format!("_slices{slices}") } else { String::new() };
        let ragged = if self.ragged { "_ragged" } else { "" };
        let epilogue = suffix(self.epilogue);
        let epilogue = if self.heads.is_some() { "_rope_kv" } else { epilogue };
        let parts = if self.parts > 1 { format!("_parts{}", self.parts) } else { String::new() };
        format!(
            "gemm_matrix_{}{epilogue}_{tokens}x{rows}x{depth}{together}{slices}{ragged}{parts}",
            self.ty.name().to_lowercase()
        )
    }

    /// Workgroups for `n_tokens` rows of X and a tensor of `n_groups` row groups.
    pub(crate) fn grid(&self, n_tokens: usize, n_groups: usize) -> [u32; 3] {
        let tiles = [n_tokens.div_ceil(self.tile.tokens), (n_groups * GROUP).div_ceil(self.tile.rows)];
        [tiles[0] as u32, tiles[1] as u32, self.parts as u32]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::GemmMatrix(self)
    }

    pub(crate) fn source(&self) -> String {
        let tile = self.tile;
        let shader = Shader::default()
            .text(self.size.enables())
            .constant("TILE_TOKENS", tile.tokens)
            .constant("TILE_ROWS", tile.staged_rows())
            .constant("UNITS", tile.depth / UNIT)
            .constant("STRIDE", tile.stride())
            .constant("BUFFERS", tile.staged_steps())
            .constant("SUBGROUPS", tile.threads() / LANES)
            .text(include_str!("gemm_matrix.wgsl"))
            .bindings_ordered(self.ordered)
            .late_decoder(self.ty)
            .text(X_QUAD)
            .text(match (self.nibbles(), self.even_first()) {
                (false, _) => "",
                (true, false) => IN_ORDER,
                (true, true) => EVEN_FIRST,
            })
            .text(match self.nibbles() {
                true => include_str!("../shared/halves_4.wgsl"),
                false => include_str!("../shared/halves.wgsl"),
            })
            .text(match self.size.vectors() {
                true => include_str!("../shared/staged_vectors.wgsl"),
                false => include_str!("../shared/staged_scalars.wgsl"),
            })
            .text(match self.x {
                Floats::F32 => include_str!("../shared/stage_x_f32.wgsl"),
                Floats::F16 => include_str!("../shared/stage_x_f16.wgsl"),
            });
        let shader = match self.size.emulated() {
            true => shader.text(EMULATED),
            false => shader,
        };
        let shader = if tile.whole { shader } else { self.writers(shader) };
        let main = if tile.slices > 1 { self.main_of_slices() } else { self.main() };
        shader.text(&main).finish()
    }

    /// Whether weights are whole numbers of four bits.
    fn nibbles(&self) -> bool {
        (bits(self.ty), has_min(self.ty)) == (Some(4), false)
    }

    /// From which step to which this workgroup goes, and where its results go.
    fn own_steps(&self) -> String {
        match self.parts {
            1 => "  let first_step = 0u;\n  let n_steps = all_steps;\n  let y = p.y;\n".to_owned(),
            parts => format!(
                "  let each = (all_steps + {}u) / {parts}u;\n  let first_step = wg.z * each;\n\
                 \x20 let n_steps = min(all_steps, first_step + each);\n\
                 \x20 let y = select(p.partials + (wg.z - 1u) * p.n_tokens * p.y_stride, p.y, wg.z == 0u);\n{}",
                parts - 1,
                if self.tile.whole { "" } else { "  adds = wg.z == 0u;\n" }
            ),
        }
    }

    /// Where row `row` of the tile stands: gates and the ups that belong to them side by side, an edge of a matrix each.
    fn tile_row(&self, row: &str) -> String {
        let edge = self.size.edge();
        match self.epilogue {
            Epilogue::SiluMul => format!(
                "({row} / 64u * 64u + {row} % 32u / {edge}u * {}u + {row} / 32u % 2u * {edge}u + {row} % {edge}u)",
                2 * edge
            ),
            _ => row.to_owned(),
        }
    }

    /// The matrices of results that a subgroup has: its number along the tokens, and along the rows.
    fn matrices(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let [across, down] = self.tile.subgroups;
        let edge = self.size.edge();
        let (n_tokens, n_rows) = (self.tile.tokens / across / edge, self.tile.rows / down / edge);
        (0..n_tokens).flat_map(move |i| (0..n_rows).map(move |j| (i, j)))
    }

    /// Results begin as zeros by themselves, but for Metal's, of which its specification does not say so.
    fn zero(&self) -> String {
        if self.size.vectors() {
            return String::new();
        }
        let mut text = "  for (var i = t; i < SUBGROUPS * 256u; i += SUBGROUPS * 32u) { blocks[i] = 0.0; }\n  workgroupBarrier();\n".to_owned();
        for (i, j) in self.matrices() {
            let _ = writeln!(text, "  c{i}_{j} = coopLoad<{}>(&blocks[0], 16u);", self.size.result());
        }
        text
    }

    /// The staged step's products, added to the results.
    fn multiply(&self, buffer: &str) -> String {
        let edge = self.size.edge();
        let (stride, [across, down]) = (self.tile.stride(), self.tile.subgroups);
        let (n_tokens, n_rows) = (self.tile.tokens / across / edge, self.tile.rows / down / edge);
        let mut text = format!(
            "    {{\n    let w_base = {buffer} * {}u + own_w;\n    let x_base = {buffer} * {}u + own_x;\n",
            self.tile.rows * stride / 4,
            self.tile.tokens * stride / 4
        );
        // Written out, for a loop costs a fifth; but not for the emulation, which takes long to compile.
        let (rounds, head) = match self.size.emulated() {
            true => {
                (1, format!("    for (var k = 0u; k < {}u; k += {}u) {{\n", self.tile.depth / 4, edge / 4))
            }
            false => (self.tile.depth / edge, String::new()),
        };
        for k in 0..rounds {
            let head = if head.is_empty() {
                format!("    {{\n    let k = {}u;\n", k * edge / 4)
            } else {
                head.clone()
            };
            text.push_str(&head);
            for j in 0..n_rows {
                let at = format!("w_base + k + {}u", j * edge * stride / 4);
                let _ = writeln!(text, "      let a{j} = {};", self.size.load("A", "staged_w", &at, stride));
            }
            for i in 0..n_tokens {
                let at = format!("x_base + k + {}u", i * edge * stride / 4);
                let _ = writeln!(text, "      let b{i} = {};", self.size.load("B", "staged_x", &at, stride));
                for j in 0..n_rows {
                    let sum = self.size.multiply_add(
                        "product",
                        &format!("a{j}"),
                        &format!("b{i}"),
                        &format!("c{i}_{j}"),
                    );
                    let _ = writeln!(text, "      c{i}_{j} = {sum};");
                }
            }
            text.push_str("    }\n");
        }
        text + "    }\n"
    }
}

const X_QUAD: &str = "// The decoder's dot products, which are not used here, are about some x.\nfn x_quad(i: u32) -> vec4<f32> { return vec4<f32>(); }";

// Of a quad of weights of 4 bits those with even numbers come out of a word together, and so do the others.
const IN_ORDER: &str = "
fn quad_of(even: vec2<f16>, odd: vec2<f16>) -> vec4<f16> { return vec4<f16>(even.x, odd.x, even.y, odd.y); }";
const EVEN_FIRST: &str =
    "fn quad_of(even: vec2<f16>, odd: vec2<f16>) -> vec4<f16> { return vec4<f16>(even, odd); }";

// What the tests put in place of matrix units: a left or right factor is where it begins, and of a result each of 32 threads has
// half a column.
const EMULATED: &str = "
struct Eighth { low: vec4<f32>, high: vec4<f32> }
fn product(lane: u32, a: u32, b: u32, c: Eighth) -> Eighth {
  var sum = c;
  for (var k = 0u; k < 4u; k += 1u) {
    let x = vec4<f32>(staged_x[b + lane / 2u * (STRIDE / 4u) + k]);
    for (var i = 0u; i < 4u; i += 1u) {
      let row = lane % 2u * 8u + i;
      sum.low[i] += dot(vec4<f32>(staged_w[a + row * (STRIDE / 4u) + k]), x);
      sum.high[i] += dot(vec4<f32>(staged_w[a + (row + 4u) * (STRIDE / 4u) + k]), x);
    }
  }
  return sum;
}";
