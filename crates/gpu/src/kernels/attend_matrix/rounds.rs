//! A round of a tile: what is loaded and staged, scores, shares, and what they mix.

use super::{AttendMatrix, KEYS, ROWS, THREADS};
use std::fmt::Write;

const LEAVE: &str = "if (round + 1u >= n_rounds) { break; }";

impl AttendMatrix {
    /// Round `j` of those whose keys and values are loaded together.
    pub(super) fn round(&self, j: usize) -> String {
        let more = if j + 1 < self.depth { String::new() } else { self.load_rounds("round + 1u") };
        let (before, behind) = if self.teams > 1 { (more, String::new()) } else { (String::new(), more) };
        include_str!("round.wgsl")
            .replace("// <round>", &format!("first_round + {j}u"))
            .replace("// <stage values>", &self.stage_values(j))
            .replace("// <stage keys>", &self.stage_keys(j))
            .replace("// <softmax>", &self.softmax())
            .replace("// <rescale>", &self.rescale())
            .replace("// <load before the barrier>", &before)
            .replace("// <load behind it>", &behind)
            .replace("// <mix>", &self.mix())
            .replace("// <leave>", if self.leaves_within() { LEAVE } else { "" })
            .replace("// <scores>", &self.scores())
    }

    /// Whether the last round ends before scores that nobody needs. A loop with its way out there is left as it is by NVIDIA's compiler,
    /// which writes others out eight times (see [`crate::kernels::gemm_matrix::Steps`]): 150 KB of instructions for tiles of 64 rows.
    /// Attention to 512 rows of Llama-8B took 54 us right behind a product and takes 34 so, and 61 and 53 in a whole prompt; as long in a
    /// chain of its like. With tiles of 32 rows Llama-1B is faster by 5 % so, and SmolLM-135M slower by 4 % with 2048 rows.
    fn leaves_within(&self) -> bool {
        self.rows > ROWS
    }

    /// The values of as many rounds as are loaded together, from `round` on, and the keys of those behind each.
    pub(super) fn load_rounds(&self, round: &str) -> String {
        let values = |j| self.load('v', j, &format!("{round} + {j}u"));
        let keys = |j| self.load('k', j, &format!("{round} + {}u", j + 1));
        (0..self.depth).map(|j| values(j) + &keys(j)).collect()
    }

    /// The quads of a round's keys (`k`) or values (`v`) into the variables of number `j`.
    pub(super) fn load(&self, what: char, j: usize, round: &str) -> String {
        let values = if what == 'v' { " + 2u * VALUES" } else { "" };
        let mut text = format!(
            "  {{\n  let at = block_at(kv_head, ({round}) * TEAMS + team, last_block){values} + t;\n"
        );
        for i in 0..self.loads() {
            let _ = writeln!(text, "  {what}{j}_{i} = kv_halves[at + {}u];", i * THREADS);
        }
        text + "  }\n"
    }

    pub(super) fn stage_keys(&self, j: usize) -> String {
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
    pub(super) fn queries(&self) -> String {
        let edge = self.size.edge();
        let dims = if self.keeps_queries() { self.heads.head_dim } else { 0 };
        let rows = self.rows / self.score_grid().0 / edge;
        let all = (0..dims).step_by(edge).flat_map(|d| (0..rows).map(move |i| (d, i)));
        all.fold(String::new(), |text, (d, i)| text + &self.load_query(d, i))
    }

    fn load_query(&self, d: usize, i: usize) -> String {
        let at = format!("QUERIES + (score_row + {}u) * HEAD_STRIDE + {}u", i * self.size.edge(), d / 4);
        let load = self.size.load("B", "tile", &at, self.heads.head_dim + 8);
        format!("  let q{i}_{d} = {load};\n")
    }

    pub(super) fn scores(&self) -> String {
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
}
