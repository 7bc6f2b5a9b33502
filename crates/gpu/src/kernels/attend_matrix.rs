//! Attention of many rows of one sequence on matrix units; what comes in and out is as in `attend_prompt`.
//!
//! Requires: `Caps::matrices`; heads of 32 or of a multiple of 64, which four subgroups can share. Launch: a workgroup for a head
//! and a tile of 32 rows, of one team of four subgroups or of two, or a tile of 64 rows of one team for long heads of many rows.
//!
//! A tile goes through blocks of 32 keys; two teams take turns, and their sums meet in the end. Scores leave the matrices through
//! workgroup memory, where they become shares in f16. Sums stay in the matrices, which cannot be scaled there: shares are relative
//! to a top score that is kept until another is 2^10 times its weight, and only then all sums go through workgroup memory once.
//! Numerics: queries, keys, values and shares in f16, products and sums in f32: scores are within 2^-10 of the sum of their
//! products' magnitudes, and outputs within 2^-10 of theirs beside.
//! Source: own; the softmax over tiles follows arXiv 2205.14135.

use super::Kernel;
use super::floats::Floats;
use super::heads::Heads;
use crate::device::{Caps, MatrixSize};
use crate::shader::Shader;
use std::fmt::Write;

/// Rows of a tile, and of one of long heads where there are many rows: what a round waits for is waited for half as often then. 512 rows of
/// Llama-8B take 30.1 us on an H200 in place of 38.4; heads of 64 take longer so (Llama-1B with 512 rows, all in all, 4 %).
const ROWS: usize = 32;
const MANY_ROWS: usize = 64;
const LONG_HEAD: usize = 128;
/// Keys of a block, as many as one of the cache has: with 64 a multiprocessor has room for fewer workgroups.
const KEYS: usize = 32;
/// Threads and subgroups of a team.
const THREADS: usize = 128;
const SUBGROUPS: usize = 4;
/// Rows that a subgroup has when scores are made, if there are so many.
const SCORE_ROWS: usize = 16;
/// Workgroups that leave room on the multiprocessors of the device that this was measured on (H200, 132).
const FEW_WORKGROUPS: usize = 264;
/// Workgroups with which that device is busy.
const MANY_WORKGROUPS: usize = 198;
/// Rounds whose keys and values are loaded together where there are two teams: with a load for each round there is a wait in each.
const DEPTH_OF_TEAMS: usize = 2;
/// Longest heads whose queries stay in matrices.
const LONGEST_KEPT: usize = 128;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AttendMatrix {
    heads: Heads,
    /// Rows of a tile.
    rows: usize,
    teams: usize,
    /// Rounds whose keys and values are loaded together.
    depth: usize,
    size: MatrixSize,
    /// Of the output.
    out: Floats,
    /// Whether some workgroups bring weights near.
    ahead: bool,
}

impl AttendMatrix {
    /// The fastest variant for `n_rows` rows that fits the workgroup memory, if these heads have one.
    pub(crate) fn new(heads: Heads, n_rows: usize, caps: Caps) -> Option<Self> {
        let shared = heads.head_dim == 32 || heads.head_dim.is_multiple_of(64);
        // Its matrices begin as zeros by themselves, which Metal's specification does not promise of those of 8.
        let size = caps.matrices.filter(|&size| shared && size != MatrixSize::Eight)?;
        let fits = |this: &Self| this.workgroup_bytes() <= caps.workgroup_memory as usize;
        let of = |(rows, teams)| {
            let depth = if teams > 1 { DEPTH_OF_TEAMS } else { 1 };
            Self { heads, rows, teams, depth, size, out: Floats::F32, ahead: false }
        };
        let tiles = |rows| heads.n_heads * n_rows.div_ceil(rows);
        // A second team halves what there is to wait for, where multiprocessors have nothing else to do meanwhile.
        let first = match tiles(ROWS) {
            0..=FEW_WORKGROUPS => (ROWS, 2),
            _ if heads.head_dim == LONG_HEAD && tiles(MANY_ROWS) >= MANY_WORKGROUPS => (MANY_ROWS, 1),
            _ => (ROWS, 1),
        };
        [first, (ROWS, 1)].map(of).into_iter().find(fits)
    }

    #[cfg(test)]
    pub(super) fn wide(self) -> Self {
        Self { rows: MANY_ROWS, teams: 1, depth: 1, ..self }
    }

    /// Rows of a tile.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    fn workgroup_bytes(&self) -> usize {
        let rows = self.rows;
        let heads = 8 * self.tile_quads();
        let shares = 2 * (KEYS + 8) * rows;
        let scores = 4 * rows * (KEYS + 16);
        // Factors, and tops and totals where there are two teams.
        heads + self.teams * (shares + scores + 12 * rows) + 16
    }

    /// Quads from row to row of keys, values and queries, as the shader has them.
    fn stride_quads(&self) -> usize {
        self.heads.head_dim / 4 + 2
    }

    /// Quads of keys, of values, and of queries if they are not beneath those.
    fn tile_quads(&self) -> usize {
        let keys_values = 2 * self.teams * KEYS;
        self.stride_quads()
            * if self.queries_beneath() { keys_values.max(self.rows) } else { keys_values + self.rows }
    }

    /// Whether keys and values come where the queries were, for want of memory: those that stay in matrices are done with before. What
    /// stands in for matrix units keeps none.
    fn queries_beneath(&self) -> bool {
        self.rows > ROWS && self.keeps_queries() && !self.size.emulated()
    }

    /// With an output as matrix units take it.
    pub(super) fn with_out(self, out: Floats) -> Self {
        Self { out, ..self }
    }

    /// With workgroups that bring weights near.
    pub(super) fn with_ahead(self) -> Self {
        Self { ahead: true, ..self }
    }

    pub(crate) fn name(&self) -> String {
        let ahead = if self.ahead { "_ahead" } else { "" };
        let out = if self.out == Floats::F16 { "_f16" } else { "" };
        let teams = if self.teams > 1 { "_teams" } else { "" };
        format!("attend_matrix_{}x{}{teams}{out}{ahead}", self.rows, self.heads.head_dim)
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::AttendMatrix(self)
    }

    pub(crate) fn source(&self) -> String {
        let (make_room, queries) = match self.queries_beneath() {
            true => (format!("workgroupBarrier();\n{}  workgroupBarrier();", self.queries()), String::new()),
            false => (String::new(), self.queries()),
        };
        let queries_at = if self.queries_beneath() { 0 } else { 2 * self.teams * KEYS * self.stride_quads() };
        let skeleton = include_str!("attend_matrix.wgsl")
            .replace(
                "// <subgroup>",
                if self.size.emulated() { "" } else { "@builtin(subgroup_id) own_subgroup: u32" },
            )
            .replace("// <ahead>", if self.ahead { AHEAD } else { "" })
            .replace("// <own subgroup>", if self.size.emulated() { "thread / 32u" } else { "own_subgroup" })
            .replace("// <variables>", &self.variables())
            .replace("// <load first keys>", &self.load('k', 0, "0u"))
            .replace("// <stage first keys>", &self.stage_keys(0))
            .replace("// <load later rounds>", &self.load_rounds("0u"))
            .replace("// <rounds>", &(0..self.depth).map(|j| self.round(j)).collect::<String>())
            .replace("// <queries that make room>", &make_room)
            .replace("// <queries>", &queries)
            .replace("// <scores>", &self.scores())
            .replace("// <factors>", if self.teams > 1 { FACTORS_OF_TEAMS } else { FACTORS })
            .replace("// <store>", &self.store());
        let shader = Shader::default().text(self.size.enables());
        let shader = self
            .heads
            .constants(shader)
            .constant("ROWS", self.rows)
            .constant("PARTS", self.parts())
            .constant("KEYS", KEYS)
            .constant("TEAMS", self.teams)
            .constant("DEPTH", self.depth)
            .constant("TILE_QUADS", self.tile_quads())
            .constant("QUERIES", queries_at)
            .text(&skeleton)
            .bindings()
            .text("const LOWEST: f32 = -3.0e38;")
            .text(include_str!("../shared/kv_cache.wgsl"));
        let shader = if self.size.emulated() { shader.text(EMULATED) } else { shader };
        let shader = match self.ahead {
            false => shader,
            true => shader.text(include_str!("../shared/ahead.wgsl")),
        };
        let shader = shader.text(if self.out == Floats::F16 { OUT_F16 } else { OUT_F32 });
        let shader = if self.teams > 1 { shader.text(TEAMS_MEET) } else { shader };
        self.heads.access(shader).finish()
    }

    /// Threads that have a row of scores.
    fn parts(&self) -> usize {
        THREADS / self.rows
    }

    /// Subgroups along the rows and along the keys when scores are made.
    fn score_grid(&self) -> (usize, usize) {
        let rows = self.rows / SCORE_ROWS;
        (rows, SUBGROUPS / rows)
    }

    /// Quads of a block's keys, or values, that a thread brings in.
    fn loads(&self) -> usize {
        KEYS * self.heads.head_dim / 4 / THREADS
    }

    /// The matrices of sums of a subgroup: along the rows, and along the head.
    fn sums(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let edge = self.size.edge();
        let along = self.heads.head_dim / SUBGROUPS / edge;
        // Heads of 32 have less than a matrix for each of four subgroups.
        let (rows, along) = if along == 0 { (self.rows / edge / 2, 1) } else { (self.rows / edge, along) };
        (0..rows).flat_map(move |i| (0..along).map(move |j| (i, j)))
    }

    /// The first row and the first element of the head of a subgroup's sums.
    fn sums_at(&self) -> (String, String) {
        let edge = self.size.edge();
        match self.heads.head_dim / SUBGROUPS / edge {
            0 => (format!("subgroup / 2u * {}u", self.rows / 2), format!("subgroup % 2u * {edge}u")),
            along => ("0u".into(), format!("subgroup * {}u", along * edge)),
        }
    }

    fn variables(&self) -> String {
        let mut text = String::new();
        for (j, i) in (0..self.depth).flat_map(|j| (0..self.loads()).map(move |i| (j, i))) {
            let _ = writeln!(text, "  var k{j}_{i}: vec4<f16>;\n  var v{j}_{i}: vec4<f16>;");
        }
        for (i, j) in self.sums() {
            let _ = writeln!(text, "  var o{i}_{j}: {};", self.size.result());
        }
        let (row, element) = self.sums_at();
        let (rows, keys) = self.score_grid();
        let _ = writeln!(
            text,
            "  let own_keys = team * KEYS * HEAD_STRIDE;\n  let own_rows = team * ROWS;\n\
             \x20 let own_row = {row};\n  let own_element = {element};\n\
             \x20 let score_row = subgroup / {}u * {}u;\n  let score_key = subgroup % {}u * {}u;",
            keys,
            self.rows / rows,
            keys,
            KEYS / keys
        );
        text
    }

    /// Round `j` of those whose keys and values are loaded together.
    fn round(&self, j: usize) -> String {
        let more = if j + 1 < self.depth { String::new() } else { self.load_rounds("round + 1u") };
        let (before, behind) = if self.teams > 1 { (more, String::new()) } else { (String::new(), more) };
        include_str!("../shared/attend_matrix_round.wgsl")
            .replace("// <round>", &format!("first_round + {j}u"))
            .replace("// <stage values>", &self.stage_values(j))
            .replace("// <stage keys>", &self.stage_keys(j))
            .replace("// <softmax>", &self.softmax())
            .replace("// <rescale>", &self.rescale())
            .replace("// <load before the barrier>", &before)
            .replace("// <load behind it>", &behind)
            .replace("// <mix>", &self.mix())
            .replace("// <scores>", &self.scores())
    }

    /// The values of as many rounds as are loaded together, from `round` on, and the keys of those behind each.
    fn load_rounds(&self, round: &str) -> String {
        let values = |j| self.load('v', j, &format!("{round} + {j}u"));
        let keys = |j| self.load('k', j, &format!("{round} + {}u", j + 1));
        (0..self.depth).map(|j| values(j) + &keys(j)).collect()
    }

    /// The quads of a round's keys (`k`) or values (`v`) into the variables of number `j`.
    fn load(&self, what: char, j: usize, round: &str) -> String {
        let values = if what == 'v' { " + 2u * VALUES" } else { "" };
        let mut text = format!(
            "  {{\n  let at = block_at(kv_head, ({round}) * TEAMS + team, last_block){values} + t;\n"
        );
        for i in 0..self.loads() {
            let _ = writeln!(text, "  {what}{j}_{i} = kv_halves[at + {}u];", i * THREADS);
        }
        text + "  }\n"
    }

    fn stage_keys(&self, j: usize) -> String {
        (0..self.loads()).fold(String::new(), |mut text, i| {
            let item = format!("(t + {}u)", i * THREADS);
            let _ = writeln!(
                text,
                "  tile[own_keys + {item} / QUADS * HEAD_STRIDE + {item} % QUADS] = k{j}_{i};"
            );
            text
        })
    }

    /// What is behind the last key may be anything, and is zeroed: a share of 0 does not make up for it.
    fn stage_values(&self, j: usize) -> String {
        let stage = |value: &dyn Fn(usize) -> String| {
            (0..self.loads()).fold(String::new(), |mut text, i| {
                let item = format!("(t + {}u)", i * THREADS);
                let place = format!("TILE_VALUES + own_keys + {item} / QUADS * HEAD_STRIDE + {item} % QUADS");
                let _ = writeln!(text, "  tile[{place}] = {};", value(i));
                text
            })
        };
        let known = |i| format!("first_key + (t + {}u) / QUADS <= last", i * THREADS);
        format!(
            "  if (first_key + KEYS - 1u <= last) {{\n{}  }} else {{\n{}  }}\n",
            stage(&|i| format!("v{j}_{i}")),
            stage(&|i| format!("select(vec4<f16>(), v{j}_{i}, {})", known(i)))
        )
    }

    /// The queries of a subgroup's scores, matrix by matrix along the rows, where they are kept.
    fn queries(&self) -> String {
        let edge = self.size.edge();
        let dims = if self.keeps_queries() { self.heads.head_dim } else { 0 };
        let rows = self.rows / self.score_grid().0 / edge;
        let all = (0..dims).step_by(edge).flat_map(|d| (0..rows).map(move |i| (d, i)));
        all.fold(String::new(), |text, (d, i)| text + &self.load_query(d, i))
    }

    fn keeps_queries(&self) -> bool {
        self.heads.head_dim <= LONGEST_KEPT
    }

    fn load_query(&self, d: usize, i: usize) -> String {
        let at = format!("QUERIES + (score_row + {}u) * HEAD_STRIDE + {}u", i * self.size.edge(), d / 4);
        let load = self.size.load("B", "tile", &at, self.heads.head_dim + 8);
        format!("  let q{i}_{d} = {load};\n")
    }

    fn scores(&self) -> String {
        let edge = self.size.edge();
        let (grid_rows, grid_keys) = self.score_grid();
        let (rows, keys) = (self.rows / grid_rows / edge, KEYS / grid_keys / edge);
        let (dim, stride) = (self.heads.head_dim, self.heads.head_dim + 8);
        let mut text = String::from("  {\n");
        for (i, j) in (0..rows).flat_map(|i| (0..keys).map(move |j| (i, j))) {
            let _ = writeln!(text, "  var s{i}_{j}: {};", self.size.result());
        }
        for d in (0..dim).step_by(edge) {
            text.push_str("  {\n");
            if !self.keeps_queries() {
                (0..rows).for_each(|i| text.push_str(&self.load_query(d, i)));
            }
            for j in 0..keys {
                let at = format!("own_keys + (score_key + {}u) * HEAD_STRIDE + {}u", j * edge, d / 4);
                let _ = writeln!(text, "  let b{j} = {};", self.size.load("A", "tile", &at, stride));
                for i in 0..rows {
                    let sum = format!("s{i}_{j}");
                    let product =
                        self.size.multiply_add("score", &format!("b{j}"), &format!("q{i}_{d}"), &sum);
                    let _ = writeln!(text, "  {sum} = {product};");
                }
            }
            text.push_str("  }\n");
        }
        for (i, j) in (0..rows).flat_map(|i| (0..keys).map(move |j| (i, j))) {
            let at = format!(
                "(own_rows + score_row + {}u) * SCORE_STRIDE + (score_key + {}u) / 4u",
                i * edge,
                j * edge
            );
            let _ = writeln!(text, "  {}", self.size.store_scores(&format!("s{i}_{j}"), &at, "SCORE_STRIDE"));
        }
        text + "  }\n"
    }

    /// Shares of a round's keys; only a round with keys that some row must not see looks which these are.
    fn softmax(&self) -> String {
        let parts = self.parts();
        let quads = KEYS / 4 / parts;
        let across = |what: &dyn Fn(usize) -> String| {
            (0..parts.ilog2()).fold(String::new(), |text, i| text + &what(1 << i))
        };
        let mut text = String::from(
            "  {\n  let open = first_key + KEYS - 1u <= p.first + first_row;\n  var high = LOWEST;\n",
        );
        for i in 0..quads {
            let _ = writeln!(
                text,
                "  let on{i} = vec4<u32>(first_key + (part + {0}u) * 4u) + vec4<u32>(0u, 1u, 2u, 3u) <= vec4<u32>(position);\n\
                 \x20 var s{i} = scores[(own_rows + row) * SCORE_STRIDE + part + {0}u];\n\
                 \x20 if (!open) {{ s{i} = select(vec4<f32>(LOWEST), s{i}, on{i}); }}\n\
                 \x20 high = max(high, max(max(s{i}.x, s{i}.y), max(s{i}.z, s{i}.w)));",
                parts * i
            );
        }
        text += &across(&|n| format!("  high = max(high, subgroupShuffleXor(high, {n}u));\n"));
        text.push_str(
            "  let grown = high > top + HEADROOM;\n\
             \x20 let fade = select(1.0, power(top - high), grown);\n\
             \x20 top = select(top, high, grown);\n\
             \x20 if (part == 0u) { factors[own_rows + row] = fade; }\n\
             \x20 if (grown && round > 0u) { rescaled = 1u; }\n\
             \x20 var sum = 0.0;\n",
        );
        for i in 0..quads {
            let _ = writeln!(
                text,
                "  var w{i} = powers(s{i} - top);\n\
                 \x20 if (!open) {{ w{i} = select(vec4<f32>(), w{i}, on{i}); }}\n\
                 \x20 sum += (w{i}.x + w{i}.y) + (w{i}.z + w{i}.w);\n\
                 \x20 shares[(own_rows + row) * SHARE_STRIDE + part + {}u] = vec4<f16>(w{i});",
                parts * i
            );
        }
        text += &across(&|n| format!("  sum += subgroupShuffleXor(sum, {n}u);\n"));
        text + "  total = total * fade + sum;\n  }\n"
    }

    /// All sums through workgroup memory, times their rows' factors.
    fn rescale(&self) -> String {
        let edge = self.size.edge();
        let mut text = format!("  let own_block = subgroup_of_all * {}u;\n", edge * edge / 4);
        for (i, j) in self.sums() {
            let _ = writeln!(
                text,
                "  {}\n  workgroupBarrier();\n\
                 \x20 for (var i = lane; i < {}u; i += 32u) {{\n\
                 \x20   scores[own_block + i] *= factors[own_rows + own_row + {}u + i / {}u];\n\
                 \x20 }}\n  workgroupBarrier();\n\
                 \x20 {}\n  workgroupBarrier();",
                (self.size.store_scores(&format!("o{i}_{j}"), "own_block", &format!("{}u", edge / 4))),
                edge * edge / 4,
                i * edge,
                edge / 4,
                (self.size.load_scores(&format!("o{i}_{j}"), "own_block", &format!("{}u", edge / 4))),
            );
        }
        text
    }

    fn mix(&self) -> String {
        let edge = self.size.edge();
        let (stride, shares) = (self.heads.head_dim + 8, KEYS + 8);
        let sums: Vec<_> = self.sums().collect();
        let rows = sums.iter().map(|s| s.0).max().unwrap_or(0) + 1;
        let along = sums.iter().map(|s| s.1).max().unwrap_or(0) + 1;
        let mut text = String::new();
        for k in (0..KEYS).step_by(edge) {
            text.push_str("  {\n");
            for i in 0..rows {
                let at = format!("(own_rows + own_row + {}u) * SHARE_STRIDE + {}u", i * edge, k / 4);
                let _ = writeln!(text, "  let a{i} = {};", self.size.load("B", "shares", &at, shares));
            }
            for j in 0..along {
                let at = format!(
                    "TILE_VALUES + own_keys + {k}u * HEAD_STRIDE + own_element / 4u + {}u",
                    j * edge / 4
                );
                let load = self.size.load_columns("tile", &at, stride);
                let _ = writeln!(text, "  let b{j} = {load};");
                for i in 0..rows {
                    let sum = format!("o{i}_{j}");
                    let product = self.size.multiply_add("mixture", &format!("b{j}"), &format!("a{i}"), &sum);
                    let _ = writeln!(text, "  {sum} = {product};");
                }
            }
            text.push_str("  }\n");
        }
        text
    }

    /// Sums over totals, block by block; those of the second team are added by the first.
    fn store(&self) -> String {
        let edge = self.size.edge();
        let mut text = format!("  let own_block = subgroup_of_all * {}u;\n", edge * edge / 4);
        let other = match self.teams {
            1 => String::new(),
            _ => format!(" + factors[ROWS + r] * scores[own_block + {}u + i]", SUBGROUPS * edge * edge / 4),
        };
        for (i, j) in self.sums() {
            let _ = writeln!(
                text,
                "  {}\n  workgroupBarrier();\n\
                 \x20 for (var i = lane; i < {}u && team == 0u; i += 32u) {{\n\
                 \x20   let r = own_row + {}u + i / {quads}u;\n\
                 \x20   if (first_row + r <= last_row) {{\n\
                 \x20     let to = p.out + (first_row + r) * p.out_stride;\n\
                 \x20     let v = factors[r] * scores[own_block + i]{other};\n\
                 \x20     put_mixed(to, head, own_element / 4u + {}u + i % {quads}u, v);\n\
                 \x20   }}\n  }}\n  workgroupBarrier();",
                (self.size.store_scores(
                    &format!("o{i}_{j}"),
                    "own_block",
                    &format!("{quads}u", quads = edge / 4)
                )),
                edge * edge / 4,
                i * edge,
                j * edge / 4,
                quads = edge / 4,
            );
        }
        text
    }
}

const OUT_F32: &str = "
fn put_mixed(row: u32, head: u32, i: u32, v: vec4<f32>) { store_head_quad(row + head * HEAD_DIM, i, v); }
fn zero_rest(row: u32, t: u32, n: u32) { zero_tail(row, t, n); }";
const OUT_F16: &str = "
@group(2) @binding(3) var<storage, read_write> scratch_halves: array<vec4<f16>>;
fn put_mixed(row: u32, head: u32, i: u32, v: vec4<f32>) {
  scratch_halves[row / 2u + head * QUADS + i] = vec4<f16>(clamped(v));
}
fn zero_rest(row: u32, t: u32, n: u32) {
  for (var i = t; i < TAIL / 4u; i += n) { scratch_halves[row / 2u + WIDTH / 4u + i] = vec4<f16>(); }
}";

const AHEAD: &str = "if (wg.x >= N_HEADS) {
    let tiles = (p.n_rows + ROWS - 1u) / ROWS;
    bring_near((wg.x - N_HEADS) * tiles + wg.y, p.columns * tiles, thread, THREADS);
    return;
  }";

const FACTORS: &str = "if (part == 0u) { factors[row] = 1.0 / total; }";
// A team without a key of a row has the lowest top, and no weight.
const FACTORS_OF_TEAMS: &str = "if (part == 0u) {
    tops[own_rows + row] = top;
    totals[own_rows + row] = total;
  }
  workgroupBarrier();
  if (part == 0u) {
    let other = ROWS - own_rows + row;
    let highest = max(top, tops[other]);
    let own = power(top - highest);
    factors[own_rows + row] = own / (own * total + power(tops[other] - highest) * totals[other]);
  }";
const TEAMS_MEET: &str = "
var<workgroup> tops: array<f32, TEAMS * ROWS>;
var<workgroup> totals: array<f32, TEAMS * ROWS>;";

// What the tests put in place of matrix units; see `gemm_matrix`.
const EMULATED: &str = "
struct Eighth { low: vec4<f32>, high: vec4<f32> }
fn score(lane: u32, a: u32, b: u32, c: Eighth) -> Eighth {
  var sum = c;
  for (var k = 0u; k < 4u; k += 1u) {
    let query = vec4<f32>(tile[b + lane / 2u * HEAD_STRIDE + k]);
    for (var i = 0u; i < 4u; i += 1u) {
      let key = lane % 2u * 8u + i;
      sum.low[i] += dot(vec4<f32>(tile[a + key * HEAD_STRIDE + k]), query);
      sum.high[i] += dot(vec4<f32>(tile[a + (key + 4u) * HEAD_STRIDE + k]), query);
    }
  }
  return sum;
}
fn mixture(lane: u32, a: u32, b: u32, c: Eighth) -> Eighth {
  var sum = c;
  for (var k = 0u; k < 16u; k += 1u) {
    let share = f32(shares[b + lane / 2u * SHARE_STRIDE + k / 4u][k % 4u]);
    sum.low += share * vec4<f32>(tile[a + k * HEAD_STRIDE + lane % 2u * 2u]);
    sum.high += share * vec4<f32>(tile[a + k * HEAD_STRIDE + lane % 2u * 2u + 1u]);
  }
  return sum;
}";
