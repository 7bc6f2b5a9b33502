//! Y = X W^T for many rows of X, W in any format.
//!
//! Inputs: W `[n_rows, n_cols]` in row groups (see `layout`); X `[n_tokens, n_cols]` f32, rows `x_stride` apart.
//! Output: Y `[n_tokens, n_rows]` f32, rows `y_stride` apart, by the epilogue; rows of W past `n_rows` come out as zeros up to
//! a multiple of 32 (with `Add`: leave what is there).
//! Requires: nothing of subgroups; 32 KiB of workgroup memory for the large tile, 16 KiB otherwise. Launch: a workgroup a tile,
//! tiles of the same weights next to one another; a thread computes 8 x 8 outputs (4 x 8 in the narrow tile).
//! Numerics: f32; against f64 on the same weights within `testkit::dot_bound`.
//! Source: own.

use super::Kernel;
use super::matvec::Epilogue;
use crate::device::Caps;
use crate::layout::{GROUP, UNIT, WeightsAt};
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use gguf::TensorType;
use std::fmt::Write;

/// Outputs of a thread along the rows of W: two quads, half a tile apart.
const ROWS_EACH: usize = 8;
/// Workgroups that keep a large GPU busy: with fewer, smaller tiles are faster though they read more.
const BUSY: usize = 120;

/// Outputs of a workgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Tile {
    /// 32 tokens, 64 rows, 64 threads.
    Narrow,
    /// 64 tokens, 64 rows, 64 threads.
    Small,
    /// 128 tokens, 128 rows, 256 threads.
    Large,
}

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Gemm {
    pub(crate) ty: TensorType,
    pub(crate) epilogue: Epilogue,
    pub(crate) tile: Tile,
    /// Rows end within a unit, so that what lies behind them in X has to be masked.
    ragged: bool,
}

/// Offsets: weights as in `matvec`; `x`, `y`, `bias` and the strides in floats, all but `bias` multiples of 4.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) weights: WeightsAt,
    pub(crate) n_cols: u32,
    /// Row groups of W, gate and up together: even with `SiluMul`.
    pub(crate) n_groups: u32,
    pub(crate) n_tokens: u32,
    pub(crate) x: u32,
    pub(crate) x_stride: u32,
    pub(crate) y: u32,
    pub(crate) y_stride: u32,
    pub(crate) bias: u32,
    /// Where the sums of the second part of the columns begin, and behind them those of the others, all with rows as Y's; only on
    /// matrix units.
    pub(crate) partials: u32,
    /// As in `rope_kv`, where Y is Q, K and V and heads are rotated; only on matrix units.
    pub(crate) kv: u32,
    pub(crate) rope: u32,
    pub(crate) rows: u32,
}

impl Tile {
    /// The fastest for `n_tokens` rows of X and `n_groups` row groups of W: the largest that leaves enough workgroups and does
    /// not add more than a quarter of the tokens as padding over the next smaller one.
    pub(crate) fn pick(n_tokens: usize, n_groups: usize, caps: Caps) -> Self {
        let fits = |tile: Self, smaller: Self| {
            let padded = |tile: Self| n_tokens.next_multiple_of(tile.tokens());
            let workgroups = padded(tile) / tile.tokens() * n_groups.div_ceil(tile.groups());
            workgroups >= BUSY
                && 4 * padded(tile) <= 5 * padded(smaller)
                && tile.memory() <= caps.workgroup_memory as usize
        };
        match (fits(Self::Small, Self::Narrow), fits(Self::Large, Self::Small)) {
            (true, true) => Self::Large,
            (true, false) => Self::Small,
            (false, _) => Self::Narrow,
        }
    }

    fn tokens(self) -> usize {
        match self {
            Self::Narrow => 32,
            Self::Small => 64,
            Self::Large => 128,
        }
    }

    fn rows(self) -> usize {
        match self {
            Self::Narrow | Self::Small => 64,
            Self::Large => 128,
        }
    }

    /// Row groups.
    fn groups(self) -> usize {
        self.rows() / GROUP
    }

    /// Outputs of a thread along the tokens.
    fn tokens_each(self) -> usize {
        match self {
            Self::Narrow => 4,
            Self::Small | Self::Large => 8,
        }
    }

    fn threads(self) -> usize {
        self.token_lanes() * self.row_lanes()
    }

    fn token_lanes(self) -> usize {
        self.tokens() / self.tokens_each()
    }

    fn row_lanes(self) -> usize {
        self.rows() / ROWS_EACH
    }

    /// Threads that stage X: those that do not stage weights, or all where every thread has a row of weights to stage.
    fn x_threads(self) -> usize {
        match self.threads() - self.rows() {
            0 => self.threads(),
            others => others,
        }
    }

    /// Bytes of workgroup memory.
    fn memory(self) -> usize {
        (self.tokens() + self.rows()) * UNIT * size_of::<f32>()
    }
}

impl Gemm {
    pub(crate) fn new(ty: TensorType, n_cols: usize, epilogue: Epilogue, tile: Tile) -> Self {
        Self { ty, epilogue, tile, ragged: !n_cols.is_multiple_of(UNIT) }
    }

    pub(crate) fn name(&self) -> String {
        let tile = match self.tile {
            Tile::Narrow => "_narrow",
            Tile::Small => "",
            Tile::Large => "_large",
        };
        let ragged = if self.ragged { "_ragged" } else { "" };
        format!("gemm_{}{}{tile}{ragged}", self.ty.name().to_lowercase(), suffix(self.epilogue))
    }

    /// Workgroups for `n_tokens` rows of X and a tensor of `n_groups` row groups.
    pub(crate) fn grid(&self, n_tokens: usize, n_groups: usize) -> [u32; 3] {
        [n_tokens.div_ceil(self.tile.tokens()) as u32, n_groups.div_ceil(self.tile.groups()) as u32, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::Gemm(self)
    }

    pub(crate) fn source(&self) -> String {
        let tile = self.tile;
        Shader::default()
            .constant("TILE_TOKENS", tile.tokens())
            .constant("TILE_ROWS", tile.rows())
            .constant("TILE_GROUPS", tile.groups())
            .constant("ROW_LANES", tile.row_lanes())
            .constant("X_THREADS", tile.x_threads())
            .text(include_str!("gemm.wgsl"))
            .bindings()
            .decoder(self.ty)
            .text(if self.ragged { X_RAGGED } else { X_WHOLE })
            .text(match self.epilogue {
                Epilogue::SiluMul => GROUPS_IN_TURNS,
                _ => GROUPS_IN_ORDER,
            })
            .text(quad_writer(self.epilogue))
            .text(&self.main())
            .finish()
    }

    fn main(&self) -> String {
        let mut body = String::new();
        for i in 0..self.tile.tokens_each() {
            let _ = writeln!(body, "  var sum{i}_0 = vec4<f32>();\n  var sum{i}_1 = vec4<f32>();");
        }
        format!(
            "@compute @workgroup_size({})\n\
             fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32) {{\n\
             \x20 let row_lane = t % ROW_LANES;\n\
             \x20 let token_lane = t / ROW_LANES;\n\
             {body}{}\
             \x20 var raw = load_unit(group, 0u, t % 32u);\n\
             \x20 for (var u = 0u; u < p.n_units; u += 1u) {{\n\
             {}\
             \x20   workgroupBarrier();\n\
             {}\
             \x20   workgroupBarrier();\n\
             \x20 }}\n{}}}\n",
            self.tile.threads(),
            self.places(),
            self.stage(),
            self.multiply(),
            self.write()
        )
    }

    /// What a thread stages, and where: past the end of W or X it stages the last group or row again.
    fn places(&self) -> String {
        let mut text = "  let group = min(tile_group(wg.y, t % TILE_ROWS / 32u), p.n_groups - 1u);\n\
                        \x20 let w_place = row_place(t % TILE_ROWS);\n\
                        \x20 let quad = t % 8u;\n\
                        \x20 let x_token = t % X_THREADS / 8u;\n\
                        \x20 let x_place = quad * TILE_TOKENS + (x_token ^ quad);\n"
            .to_owned();
        for i in 0..self.x_passes() {
            let token = format!("wg.x * TILE_TOKENS + x_token + {}u", i * self.x_step());
            let _ = writeln!(
                text,
                "  let x_at{i} = (p.x + min({token}, p.n_tokens - 1u) * p.x_stride) / 4u + quad;"
            );
        }
        for e in 0..4 {
            let _ = writeln!(text, "  let place{e} = row_place(row_lane * 4u + {e}u);");
        }
        text
    }

    /// Quads of X that a thread stages, and the tokens between them.
    fn x_passes(&self) -> usize {
        self.tile.tokens() / self.x_step()
    }

    fn x_step(&self) -> usize {
        self.tile.x_threads() / 8
    }

    /// Unit `u` into workgroup memory. Its words of weights were loaded a step before, those of X are under way while the
    /// weights are decoded.
    fn stage(&self) -> String {
        let (mut loads, mut stores) = (String::new(), String::new());
        for i in 0..self.x_passes() {
            let _ = writeln!(loads, "    let x{i} = load_x(x_at{i}, u, quad);");
            let _ = writeln!(stores, "    staged_x[x_place + {}u] = x{i};", i * self.x_step());
        }
        let weights = "    stage_weights(raw, w_place);\n";
        match self.splits() {
            true => format!("    if (t < TILE_ROWS) {{\n{weights}    }} else {{\n{loads}{stores}    }}\n"),
            false => format!("{loads}{weights}{stores}"),
        }
    }

    /// Whether some threads stage weights and the others X.
    fn splits(&self) -> bool {
        self.tile.threads() > self.tile.rows()
    }

    /// The staged unit's products, added to the sums; the words of the next unit are loaded meanwhile.
    fn multiply(&self) -> String {
        let load = "raw = load_unit(group, min(u + 1u, p.n_units - 1u), t % 32u);";
        let mut text = match self.splits() {
            true => format!("    if (t < TILE_ROWS) {{ {load} }}\n"),
            false => format!("    {load}\n"),
        };
        text.push_str(
            "    for (var k = 0u; k < 8u; k += 1u) {\n\
             \x20     let tokens = k * TILE_TOKENS + (token_lane ^ k);\n\
             \x20     let rows = k * TILE_ROWS;\n",
        );
        for j in 0..2 {
            for e in 0..4 {
                let half = j * self.tile.row_lanes();
                let _ = writeln!(text, "      let w{j}{e} = staged_w[rows + place{e} + {half}u];");
            }
            for c in ["x", "y", "z", "w"] {
                let _ = writeln!(
                    text,
                    "      let w{j}{c} = vec4<f32>(w{j}0.{c}, w{j}1.{c}, w{j}2.{c}, w{j}3.{c});"
                );
            }
        }
        for i in 0..self.tile.tokens_each() {
            let _ = writeln!(text, "      let x{i} = staged_x[tokens + {}u];", i * self.tile.token_lanes());
            for c in ["x", "y", "z", "w"] {
                for j in 0..2 {
                    let _ =
                        writeln!(text, "      sum{i}_{j} = fma(vec4<f32>(x{i}.{c}), w{j}{c}, sum{i}_{j});");
                }
            }
        }
        text.push_str("    }\n");
        text
    }

    /// The epilogue, for what lies within Y.
    fn write(&self) -> String {
        let mut text = "  let group0 = tile_group(wg.y, row_lane / 8u);\n".to_owned();
        let quads: &[usize] = match self.epilogue {
            Epilogue::SiluMul => {
                text.push_str("  let row0 = group0 / 2u * 32u + row_lane % 8u * 4u;\n");
                &[0]
            }
            _ => {
                text.push_str(
                    "  let group1 = group0 + TILE_GROUPS / 2u;\n\
                     \x20 let row0 = group0 * 32u + row_lane % 8u * 4u;\n\
                     \x20 let row1 = row0 + TILE_ROWS / 2u;\n",
                );
                &[0, 1]
            }
        };
        for i in 0..self.tile.tokens_each() {
            let step = i * self.tile.token_lanes();
            let _ = writeln!(
                text,
                "  {{\n    let token = wg.x * TILE_TOKENS + token_lane + {step}u;\n    if (token < p.n_tokens) {{\n      let y = p.y + token * p.y_stride;"
            );
            for j in quads {
                let values = match self.epilogue {
                    Epilogue::SiluMul => format!("sum{i}_0, sum{i}_1"),
                    _ => format!("sum{i}_{j}"),
                };
                let _ = writeln!(
                    text,
                    "      if (group{j} < p.n_groups) {{ write((y + row{j}) / 4u, row{j}, {values}); }}"
                );
            }
            text.push_str("    }\n  }\n");
        }
        text
    }
}

/// The epilogue's part of a kernel's name.
pub(super) fn suffix(epilogue: Epilogue) -> &'static str {
    match epilogue {
        Epilogue::Store => "",
        Epilogue::StoreBiased => "_bias",
        Epilogue::Add => "_add",
        Epilogue::SiluMul => "_silu_mul",
    }
}

/// `write(at, row, v)`: what is done with outputs `row` to `row + 3`, whose quad in `scratch` is `at`. With `SiluMul` there
/// are two quads, `gate` and `up`.
pub(super) fn quad_writer(epilogue: Epilogue) -> &'static str {
    match epilogue {
        Epilogue::Store => "fn write(at: u32, row: u32, v: vec4<f32>) { scratch[at] = v; }",
        Epilogue::StoreBiased => {
            "fn write(at: u32, row: u32, v: vec4<f32>) {
  let b = p.bias + row;
  scratch[at] = v + bitcast<vec4<f32>>(vec4<u32>(words[b], words[b + 1u], words[b + 2u], words[b + 3u]));
}"
        }
        Epilogue::Add => "fn write(at: u32, row: u32, v: vec4<f32>) { scratch[at] += v; }",
        // The bound keeps the exponential finite; the result is zero to any precision there.
        Epilogue::SiluMul => {
            "fn write(at: u32, row: u32, gate: vec4<f32>, up: vec4<f32>) {
  scratch[at] = gate / (1.0 + exp(-max(gate, vec4<f32>(-80.0)))) * up;
}"
        }
    }
}

// Quad `quad` of unit `u` of the row of X whose first such quad is `at`.
const X_WHOLE: &str = "fn load_x(at: u32, u: u32, quad: u32) -> vec4<f32> { return x_quad(at + u * 8u); }";
// Zero past the end: what lies behind belongs to others.
const X_RAGGED: &str = "
fn load_x(at: u32, u: u32, quad: u32) -> vec4<f32> {
  let k = vec4<u32>((u * 8u + quad) * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(), x_quad(at + u * 8u), k < vec4<u32>(p.n_cols));
}";

const GROUPS_IN_ORDER: &str = "fn tile_group(tile: u32, i: u32) -> u32 { return tile * TILE_GROUPS + i; }";
// The first half of a tile's rows are gates, the second the ups that belong to them.
const GROUPS_IN_TURNS: &str = "
fn tile_group(tile: u32, i: u32) -> u32 {
  return (tile * (TILE_GROUPS / 2u) + i % (TILE_GROUPS / 2u)) * 2u + i / (TILE_GROUPS / 2u);
}";
