//! Few rows of X: every subgroup has all of the tile, and of its columns a slice. It waits for no other one before the end, where all
//! add up what they have.
//!
//! What a step takes is staging: weights are decoded for 16 or 32 rows of X only, a turn of 32 rows of W at a time. All words of a
//! step or some of them are asked for at once, into one set of variables while the other is used: a compiler has few means of telling
//! loads apart that are under way, and waits for the last one where one by one are renewed.
//!
//! Measured on an H200, Q4_0, 16 rows, beside tiles that subgroups share, each in a chain of its like: gates and ups of Llama-8B 39 us
//! (74), down in one part 27 (58), Q, K and V 16 (20), O 10.7 (10.7). Weights decoded in their order, which takes two instructions more
//! a pair, or X loaded from memory as it is multiplied: gates and ups 61 and 50. Multiplying costs nothing. A loop that is written out
//! eight times is 5 % faster in a chain, and 5 us of 27 slower in a prompt, where instructions come from far.
//!
//! Requires: `Caps::in_step`.

use super::steps::RUN;
use super::{BLOCK, GemmMatrix, LANES};
use crate::kernels::floats::Floats;
use crate::kernels::matvec::Epilogue;
use crate::layout::UNIT;
use std::fmt::Write;

/// Halves of an eighth of a quad's row: strides are whole ones, so that a compiler knows that 16 bytes can be stored at once.
const EIGHT: usize = 8;
/// The two sets of variables that words are loaded to.
const SETS: [char; 2] = ['a', 'b'];

impl GemmMatrix {
    /// Whether quads have their even numbers first, in W and in X: the sum over columns is the same.
    pub(super) fn even_first(&self) -> bool {
        self.tile.slices > 1 && self.nibbles()
    }

    /// Turns of 32 rows of W.
    fn turns(&self) -> usize {
        self.tile.rows / LANES
    }

    /// Quads of X that a thread stages for a step.
    fn quads_of_x(&self) -> usize {
        self.tile.tokens * UNIT / 4 / LANES
    }

    pub(super) fn main_of_slices(&self) -> String {
        debug_assert!(
            self.tile.depth == UNIT && self.tile.buffers == 1 && self.size.edge() == BLOCK,
            "{self:?}"
        );
        let (subgroup, builtins) = match self.size.emulated() {
            true => ("t / 32u", ""),
            false => ("own_subgroup", ", @builtin(subgroup_id) own_subgroup: u32"),
        };
        format!(
            "@compute @workgroup_size({})\n\
             fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32{builtins}) {{\n\
             \x20 let subgroup = {subgroup};\n\
             \x20 let lane = t % 32u;\n\
             \x20 let all_steps = p.n_units;\n{}\
             \x20 let n = (n_steps - first_step) / {}u;\n\
             \x20 let first = first_step + subgroup * n;\n\
             \x20 let last = first + n - 1u;\n{}{}{}}}\n",
            self.tile.threads(),
            self.own_steps(),
            self.tile.slices,
            self.places_in_slices(),
            self.steps_of_slices(),
            self.write_sums(),
        )
    }

    /// What a thread stages, and where: a row of W in each turn, and in X quads of rows that are 4 apart.
    fn places_in_slices(&self) -> String {
        let mut text = String::new();
        let (turns, eighths) = (self.turns(), self.tile.stride() / EIGHT);
        let sets = || SETS.into_iter().flat_map(|set| (0..self.tile.together).map(move |f| (set, f)));
        for i in 0..turns {
            let _ = writeln!(text, "  let turn{i} = wg.y * {turns}u + {i}u;");
            // Half of a group of gates, and the ups that belong to them.
            let (group, row) = match self.epilogue {
                Epilogue::SiluMul => {
                    (format!("turn{i} / 2u * 2u + lane / 16u"), format!("turn{i} % 2u * 16u + lane % 16u"))
                }
                _ => (format!("turn{i}"), "lane".to_owned()),
            };
            let _ =
                writeln!(text, "  let w_group{i} = min({group}, p.n_groups - 1u);\n  let w_row{i} = {row};");
            for (set, f) in sets() {
                let _ = writeln!(text, "  var w{set}_{i}_{f}: Raw;");
            }
        }
        let (quad, words) = match self.x {
            Floats::F32 => ("vec4<f32>", 4),
            Floats::F16 => ("vec4<f16>", 2),
        };
        for i in 0..self.quads_of_x() {
            let _ = writeln!(
                text,
                "  let x_token{i} = min(wg.x * TILE_TOKENS + {}u + lane / 8u, p.n_tokens - 1u);\n\
                 \x20 let x_row{i} = (p.x + x_token{i} * p.x_stride) / {words}u + lane % 8u;",
                4 * i
            );
            for (set, f) in sets() {
                let _ = writeln!(text, "  var x{set}_{i}_{f}: {quad};");
            }
        }
        let _ = writeln!(
            text,
            "  let own_w = subgroup * {}u * 2u;\n  let own_x = subgroup * {}u * 2u;\n\
             \x20 let w_place = own_w + lane * {eighths}u * 2u;\n  let x_place = own_x + lane / 8u * {eighths}u * 2u + lane % 8u;",
            LANES * eighths,
            self.tile.tokens * eighths
        );
        for (i, j) in self.matrices() {
            let _ = writeln!(text, "  var c{i}_{j}: {};", self.size.result());
        }
        text
    }

    /// A set is used while the other is loaded. In short runs: see [`Steps::Runs`](super::Steps::Runs).
    fn steps_of_slices(&self) -> String {
        let together = self.tile.together;
        let [a, b] = SETS;
        format!(
            "{}  let most = max({}u, p.n_units >> 28u);\n\
             \x20 for (var run = 0u; run < n; run += most) {{\n  let run_end = min(n, run + most);\n\
             \x20 for (var step = run; step < run_end; step += {}u) {{\n{}{}\
             \x20   if (step + {together}u >= run_end) {{ break; }}\n{}{}  }}\n  }}\n",
            self.load_set(a, "0u"),
            RUN * 2 * together,
            2 * together,
            self.load_set(b, &format!("step + {together}u")),
            self.use_set(a),
            self.load_set(a, &format!("step + {}u", 2 * together)),
            self.use_set(b),
        )
    }

    /// The words of step `step` of the slice, and of as many as are loaded together; behind the last step its own.
    fn load_set(&self, set: char, step: &str) -> String {
        let mut text = format!("    {{\n    let unit = first + {step};\n");
        let array = if self.x == Floats::F32 { "scratch" } else { "scratch_halves" };
        for f in 0..self.tile.together {
            let _ = writeln!(text, "    let unit{f} = min(unit + {f}u, last);");
            for i in 0..self.turns() {
                let _ = writeln!(text, "    w{set}_{i}_{f} = load_unit(w_group{i}, unit{f}, w_row{i});");
            }
            for i in 0..self.quads_of_x() {
                let _ = writeln!(text, "    x{set}_{i}_{f} = {array}[x_row{i} + unit{f} * 8u];");
            }
        }
        text + "    }\n"
    }

    /// The steps whose words are in a set.
    fn use_set(&self, set: char) -> String {
        // Where matrices are emulated, 32 threads need not be a subgroup.
        let barrier = if self.size.emulated() { "workgroupBarrier" } else { "subgroupBarrier" };
        let mut text = String::new();
        for f in 0..self.tile.together {
            for i in 0..self.turns() {
                let _ = writeln!(text, "    stage_unit(w{set}_{i}_{f}, w_place, true);");
                if i == 0 {
                    text.push_str(&self.stage_quads(set, f));
                }
                let _ = writeln!(text, "    {barrier}();\n{}    {barrier}();", self.multiply_turn(i));
            }
        }
        text
    }

    fn stage_quads(&self, set: char, f: usize) -> String {
        let (order, eighths) = (if self.even_first() { ".xzyw" } else { "" }, self.tile.stride() / EIGHT);
        (0..self.quads_of_x()).fold(String::new(), |mut text, i| {
            let _ = writeln!(text, "    stage_x(x_place + {}u, x{set}_{i}_{f}{order});", 4 * i * eighths * 2);
            text
        })
    }

    /// The staged 32 rows of W times all rows of X.
    fn multiply_turn(&self, turn: usize) -> String {
        let (edge, stride) = (self.size.edge(), self.tile.stride());
        let mut text = String::new();
        for k in 0..UNIT / edge {
            text.push_str("    {\n");
            for j in 0..LANES / edge {
                let at = format!("own_w + {}u", (j * edge * stride + k * edge) / 4);
                let _ = writeln!(text, "      let a{j} = {};", self.size.load("A", "staged_w", &at, stride));
            }
            for i in 0..self.tile.tokens / edge {
                let at = format!("own_x + {}u", (i * edge * stride + k * edge) / 4);
                let _ = writeln!(text, "      let b{i} = {};", self.size.load("B", "staged_x", &at, stride));
                for j in 0..LANES / edge {
                    let c = format!("c{i}_{}", turn * LANES / edge + j);
                    let sum = self.size.multiply_add("product", &format!("a{j}"), &format!("b{i}"), &c);
                    let _ = writeln!(text, "      {c} = {sum};");
                }
            }
            text.push_str("    }\n");
        }
        text
    }

    /// What all slices have, added up in their order, and the epilogue: of each block of results by another subgroup.
    fn write_sums(&self) -> String {
        let gated = self.epilogue == Epilogue::SiluMul;
        let parts = if gated { 2 } else { 1 };
        let mut text = "  let own_block = subgroup * 256u;\n".to_owned();
        for part in 0..parts {
            let _ = writeln!(text, "  var low{part} = vec4<f32>();\n  var high{part} = vec4<f32>();");
        }
        let blocks: Vec<_> = self.matrices().collect();
        for (number, block) in blocks.chunks(parts).enumerate() {
            let owner = number % self.tile.slices;
            for (part, (i, j)) in block.iter().enumerate() {
                let _ = writeln!(
                    text,
                    "  {}\n  workgroupBarrier();\n  if (subgroup == {owner}u) {{\n    low{part} = vec4<f32>();\n    high{part} = vec4<f32>();\n\
                     \x20   for (var i = lane * 8u; i < {}u; i += 256u) {{ low{part} += block_quad(i); high{part} += block_quad(i + 4u); }}\n\
                     \x20 }}\n  workgroupBarrier();",
                    self.size.store_block(&format!("c{i}_{j}"), "own_block"),
                    self.tile.slices * 256
                );
            }
            let (i, j) = block[0];
            text.push_str(&self.write_sum(owner, i, j));
        }
        text
    }

    /// The epilogue of the block of results `i` along the tokens and `j` along the rows; of gates with that of their ups, the next one.
    fn write_sum(&self, owner: usize, i: usize, j: usize) -> String {
        let turn = j / (LANES / BLOCK);
        let (row, group, values) = match self.epilogue {
            Epilogue::SiluMul => {
                (format!("turn{turn} * 16u"), format!("turn{turn} / 2u * 2u"), "low0, high0, low1, high1")
            }
            _ => (
                format!("turn{turn} * 32u + {}u", j % (LANES / BLOCK) * BLOCK),
                format!("turn{turn}"),
                "low0, high0",
            ),
        };
        let row_words = if self.y == Floats::F16 { "row / 2u" } else { "row" };
        let whose = if self.heads.is_some() { "token, " } else { "" };
        format!(
            "  if (subgroup == {owner}u) {{\n    let token = wg.x * TILE_TOKENS + {}u + lane / 2u;\n    let row = {row} + lane % 2u * 8u;\n\
             \x20   if (token < p.n_tokens && {group} < p.n_groups) {{ write_eight({whose}y + token * p.y_stride + {row_words}, row, {values}); }}\n  }}\n",
            i * BLOCK
        )
    }
}
