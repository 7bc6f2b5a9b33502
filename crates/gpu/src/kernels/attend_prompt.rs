//! Attention of many rows of one sequence, row `r` at position `first + r`, each over all keys up to its own.
//!
//! Inputs: q `[n_rows, n_heads * head_dim]` f32, rotated; keys and values of every row and of all before them, in the cache.
//! Output: `[n_rows, n_heads * head_dim]` f32, or f16 in pairs where it is on matrix units, with zeros behind each row up to a multiple of 32.
//! Requires: nothing of subgroups; workgroup memory for a tile of 8 rows at least. Launch: `grid(n_rows)`, a workgroup for a
//! head and a tile of 32 rows, or 16 or 8 where memory is short, with four threads a row.
//!
//! A tile goes through the blocks of 32 keys that its last row sees. Scores are products of small tiles, four rows by two keys
//! a thread, and so is what they mix, four rows by some quads, so that whatever is read from workgroup memory is used several
//! times. Two barriers a block; the next block's keys and values are on their way while this one's are used.
//! Numerics: f32; the same as `attend` but for the order of sums.
//! Source: own; the softmax over tiles follows arXiv 2205.14135.

use super::Kernel;
use super::ahead::Ahead;
use super::attend_matrix::AttendMatrix;
use super::floats::Floats;
use super::heads::Heads;
use crate::device::Caps;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use std::fmt::Write;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AttendPrompt {
    heads: Heads,
    /// Rows of a tile.
    rows: usize,
    matrix: Option<AttendMatrix>,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    /// Where row 0's q begins in `scratch`, in floats, a multiple of 4.
    pub(crate) q: u32,
    /// Floats from row to row of q, a multiple of 4.
    pub(crate) stride: u32,
    /// Where row 0 of the output begins in `scratch`, in floats, a multiple of 4.
    pub(crate) out: u32,
    /// Floats from row to row of the output, a multiple of 4.
    pub(crate) out_stride: u32,
    /// Where the layer begins in `kv`, in quads.
    pub(crate) kv: u32,
    /// Position of row 0.
    pub(crate) first: u32,
    /// Where the sequence's block table begins in `tables`.
    pub(crate) table: u32,
    pub(crate) n_rows: u32,
    pub(crate) ahead: Ahead,
}

impl AttendPrompt {
    /// For runs of about `n_rows` rows: on matrix units where there are any for these heads, else the largest tile that fits the workgroup memory; none where heads
    /// are too long for any, or not of whole quads: then `attend` has to do.
    pub(crate) fn new(heads: Heads, n_rows: usize, caps: Caps) -> Option<Self> {
        let matrix = AttendMatrix::new(heads, n_rows, caps);
        if let Some(tile) = matrix {
            return Some(Self { heads, rows: tile.rows(), matrix });
        }
        let tiles = [32, 16, 8].map(|rows| Self { heads, rows, matrix });
        let fits = |tile: &Self| tile.workgroup_bytes() <= caps.workgroup_memory as usize;
        tiles.into_iter().find(fits).filter(|_| heads.whole_quads())
    }

    /// In tiles of 64 rows, on matrix units.
    #[cfg(test)]
    pub(crate) fn in_wide_tiles(self) -> Self {
        let matrix = self.matrix.map(AttendMatrix::wide);
        Self { rows: matrix.map_or(self.rows, |tile| tile.rows()), matrix, ..self }
    }

    /// Quads of a head in f32.
    fn quads(&self) -> usize {
        2 * self.heads.lanes()
    }

    /// What the arrays of the shader take.
    fn workgroup_bytes(&self) -> usize {
        let queries = 16 * self.rows * (self.quads() + 1);
        let keys_values = 8 * 32 * (2 * self.quads() + 1);
        let shares = 16 * 32 * (self.rows / 4 + 1);
        queries + keys_values + shares + 16 * self.threads()
    }

    fn threads(&self) -> usize {
        4 * self.rows
    }

    pub(crate) fn name(&self) -> String {
        if let Some(matrix) = self.matrix {
            return matrix.name();
        }
        format!("attend_prompt_{}x{}", self.rows, self.heads.head_dim)
    }

    /// With `ahead` columns of workgroups that bring weights near.
    pub(crate) fn grid(&self, n_rows: usize, ahead: Ahead) -> [u32; 3] {
        [self.heads.n_heads as u32 + ahead.columns, self.tiles(n_rows) as u32, 1]
    }

    /// Whether it can write what matrix units take.
    pub(crate) fn writes_halves(&self) -> bool {
        self.matrix.is_some()
    }

    /// With rows of the output in this format; f16 where it can.
    pub(crate) fn with_out(self, out: Floats) -> Self {
        Self { matrix: self.matrix.map(|matrix| matrix.with_out(out)), ..self }
    }

    pub(crate) fn tiles(&self, n_rows: usize) -> usize {
        n_rows.div_ceil(self.rows)
    }

    /// With workgroups that bring weights near; `None` where it is not on matrix units, since products take longer then than
    /// weights do.
    pub(crate) fn with_ahead(self) -> Option<Self> {
        Some(Self { matrix: Some(self.matrix?.with_ahead()), ..self })
    }

    pub(crate) fn kernel(self) -> Kernel {
        match self.matrix {
            Some(matrix) => matrix.kernel(),
            None => Kernel::AttendPrompt(self),
        }
    }

    pub(crate) fn source(&self) -> String {
        let skeleton = include_str!("attend_prompt.wgsl")
            .replace("// <variables>", &self.variables())
            .replace("// <load keys>", &self.each_load(|j, i| format!("k{j} = kv[place + {i}];")))
            .replace("// <load values>", &self.each_load(|j, i| format!("v{j} = kv[place + VALUES + {i}];")))
            .replace("// <stage keys>", &self.each_load(|j, i| format!("stage_key({i}, k{j});")))
            .replace("// <stage values>", &self.each_load(|j, i| format!("stage_value({i}, v{j}, n_known);")))
            .replace("// <fade mixtures>", &self.each_mixture(|k, r, c| format!("o{k}_{r} *= fade.{c};")))
            .replace("// <mix values>", &self.mix())
            .replace("// <store mixtures>", &self.store());
        let shader = self
            .heads
            .constants(Shader::default())
            .constant("ROWS", self.rows)
            .text(&skeleton)
            .bindings()
            .text(include_str!("../shared/softmax.wgsl"))
            .text(include_str!("../shared/kv_cache.wgsl"));
        self.heads.access(shader).finish()
    }

    /// A line for each quad of a block's keys, or values, that a thread brings in; `line` takes the variable's number and the
    /// quad's.
    fn each_load(&self, line: impl Fn(usize, &str) -> String) -> String {
        let (quads, threads) = (32 * self.heads.lanes(), self.threads());
        (0..quads.div_ceil(threads)).fold(String::new(), |mut text, j| {
            let i = format!("t + {}u", j * threads);
            let line = line(j, &i);
            let _ = match (j + 1) * threads <= quads {
                true => writeln!(text, "  {line}"),
                false => writeln!(text, "  if ({i} < {quads}u) {{ {line} }}"),
            };
            text
        })
    }

    /// Quads of the output of a row that a thread has.
    fn rounds(&self) -> usize {
        self.quads().div_ceil(16)
    }

    /// A line for each quad of the output that a thread has; `line` takes its number, its row's and that row's component.
    fn each_mixture(&self, line: impl Fn(usize, usize, &str) -> String) -> String {
        let mut text = String::new();
        for k in 0..self.rounds() {
            for (r, c) in ["x", "y", "z", "w"].into_iter().enumerate() {
                let _ = writeln!(text, "  {}", line(k, r, c));
            }
        }
        text
    }

    fn variables(&self) -> String {
        let loads = (32 * self.heads.lanes()).div_ceil(self.threads());
        let mut text = self.each_mixture(|k, r, _| format!("var o{k}_{r} = vec4<f32>(0.0);"));
        for j in 0..loads {
            let _ = writeln!(text, "  var k{j}: vec4<u32>; var v{j}: vec4<u32>;");
        }
        text
    }

    fn mix(&self) -> String {
        let mut text = String::new();
        for k in 0..self.rounds() {
            let quad = match 16 * (k + 1) <= self.quads() {
                true => format!("c + {}u", 16 * k),
                // Threads past the end take part with any quad, and drop the result.
                false => format!("min(c + {}u, QUADS - 1u)", 16 * k),
            };
            let _ = writeln!(text, "  let x{k} = four(values[key * QUADS + {quad}]);");
        }
        text + &self.each_mixture(|k, r, c| format!("o{k}_{r} += w.{c} * x{k};"))
    }

    fn store(&self) -> String {
        self.each_mixture(|k, r, c| {
            let at = format!("at + {r}u * p.out_stride");
            format!(
                "if (own_row + {r}u < p.n_rows) {{ store_head_quad({at}, c + {}u, o{k}_{r} / sum.{c}); }}",
                16 * k
            )
        })
    }
}
