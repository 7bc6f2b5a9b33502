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

mod outputs;
mod rounds;

use super::Kernel;
use super::floats::Floats;
use super::heads::Heads;
use crate::device::{Caps, MatrixSize};
use crate::shader::Shader;
use std::fmt::Write;

/// Rows of a tile, and of one of long heads where there are many rows: what a round waits for is waited for half as often then. 512 rows of
/// Llama-8B take 30.1 us on an H200 in place of 38.4, in a chain of their like; heads of 64 take longer so (Llama-1B with 512 rows, all in all, 4 %).
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
        let scores = 4 * rows * (KEYS + 8);
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

    fn keeps_queries(&self) -> bool {
        self.heads.head_dim <= LONGEST_KEPT
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
            .replace("// <factors>", self.factors())
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
        let shader = shader.text(self.output());
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
}

const AHEAD: &str = "if (wg.x >= N_HEADS) {
    let tiles = (p.n_rows + ROWS - 1u) / ROWS;
    bring_near((wg.x - N_HEADS) * tiles + wg.y, p.columns * tiles, thread, THREADS);
    return;
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
