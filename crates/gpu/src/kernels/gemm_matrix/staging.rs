//! A step's words on their way from memory to registers, and from there to workgroup memory: who has which.

use super::GemmMatrix;
use crate::kernels::floats::Floats;
use crate::layout::UNIT;
use std::fmt::Write;

impl GemmMatrix {
    /// Units of weights of a step.
    fn w_items(&self) -> usize {
        self.tile.rows * self.tile.depth / UNIT
    }

    /// Quads of X of a step.
    fn x_items(&self) -> usize {
        self.tile.tokens * self.tile.depth / 4
    }

    /// Threads that stage X: all, or those whose hands are free where a half of them can stage the weights.
    fn x_threads(&self) -> (usize, usize) {
        let threads = self.tile.threads();
        match 2 * self.w_items() <= threads {
            true => (self.w_items(), threads - self.w_items()),
            false => (0, threads),
        }
    }

    /// Lines for each share of `items` among `n` threads from thread `first` on; where not all of them have one, the last lines
    /// are for some.
    fn shares(items: usize, (first, n): (usize, usize), line: impl Fn(usize) -> String) -> String {
        (0..items.div_ceil(n)).fold(String::new(), |mut text, i| {
            let left = items - i * n;
            let line = line(i);
            let _ = match (first > 0, left < n) {
                (false, false) => writeln!(text, "{line}"),
                (true, false) => writeln!(text, "  if (t >= {first}u) {{ {line} }}"),
                (_, true) => writeln!(text, "  if (t >= {first}u && t < {}u) {{ {line} }}", first + left),
            };
            text
        })
    }

    /// Threads that stage weights: all.
    fn w_share(&self) -> (usize, usize) {
        (0, self.tile.threads())
    }

    /// What a thread stages, and where: past the end of W or X it stages the last group or row again.
    pub(super) fn places(&self) -> String {
        let mut text = String::new();
        let threads = self.tile.threads();
        for i in 0..self.w_items().div_ceil(threads) {
            let item = format!("(t + {}u)", i * threads);
            let _ = writeln!(
                text,
                "  let w_row{i} = {item} / (8u * UNITS) * 8u + {item} % 8u;\n\
                 \x20 let w_unit{i} = {item} / 8u % UNITS;\n\
                 \x20 let w_group{i} = min((wg.y * TILE_ROWS + w_row{i}) / 32u, p.n_groups - 1u);\n\
                 \x20 let w_place{i} = ({} * STRIDE + w_unit{i} * 32u) / 4u;",
                self.tile_row(&format!("w_row{i}")),
            );
            for j in 0..self.tile.together {
                let _ = writeln!(text, "  var w{i}_{j}: Raw;");
            }
        }
        let (first, n) = self.x_threads();
        let quads = self.tile.depth / 4;
        let (quad, words) = match self.x {
            Floats::F32 => ("vec4<f32>", 4),
            Floats::F16 => ("vec4<f16>", 2),
        };
        for i in 0..self.x_items().div_ceil(n) {
            let _ = writeln!(
                text,
                "  let x_item{i} = t - {first}u + {}u;\n\
                 \x20 let x_token{i} = min(wg.x * TILE_TOKENS + x_item{i} / {quads}u, p.n_tokens - 1u);\n\
                 \x20 let x_row{i} = (p.x + x_token{i} * p.x_stride) / {words}u;\n\
                 \x20 let x_quad{i} = x_item{i} % {quads}u;\n\
                 \x20 let x_place{i} = x_item{i} / {quads}u * STRIDE / 4u + x_quad{i};",
                i * n
            );
            for j in 0..self.tile.together {
                let _ = writeln!(text, "  var x{i}_{j}: {quad};");
            }
        }
        let [across, down] = self.tile.subgroups;
        let _ = writeln!(
            text,
            "  let x_last = p.n_units * {}u - 1u;\n  let own_token = subgroup / {down}u * {}u;\n  let own_row = subgroup % {down}u * {}u;\n\
             \x20 let own_w = own_row * STRIDE / 4u;\n  let own_x = own_token * STRIDE / 4u;",
            UNIT / 4,
            self.tile.tokens / across,
            self.tile.rows / down
        );
        for (i, j) in self.matrices() {
            let _ = writeln!(text, "  var c{i}_{j}: {};", self.size.result());
        }
        text
    }

    /// The words of the first steps.
    pub(super) fn load_first(&self) -> String {
        self.load_together("  ", "first_step")
    }

    /// The words of as many steps as are loaded together, from `step` on; behind the last step those of the last.
    pub(super) fn load_together(&self, indent: &str, step: &str) -> String {
        let load = |j| self.load(indent, &format!("min({step} + {j}u, n_steps - 1u)"), j);
        (0..self.tile.together).map(load).collect()
    }

    /// The words of step `step` into the variables of number `j`.
    fn load(&self, indent: &str, step: &str, j: usize) -> String {
        let mut text = format!("{indent}{{\n{indent}let ahead = {step};\n");
        text += &Self::shares(self.w_items(), self.w_share(), |i| {
            let unit = format!("ahead * UNITS + w_unit{i}");
            let unit = if self.ragged { format!("min({unit}, p.n_units - 1u)") } else { unit };
            format!("{indent}w{i}_{j} = load_unit(w_group{i}, {unit}, w_row{i} % 32u);")
        });
        text += &Self::shares(self.x_items(), self.x_threads(), |i| {
            let quad = format!("x_quad{i} + ahead * {}u", self.tile.depth / 4);
            let quad = if self.ragged { format!("min({quad}, x_last)") } else { quad };
            let array = if self.x == Floats::F32 { "scratch" } else { "scratch_halves" };
            format!("{indent}x{i}_{j} = {array}[x_row{i} + {quad}];")
        });
        text + indent + "}\n"
    }

    /// The words that were loaded into variables of number `j` to workgroup memory, where they are step `step`.
    pub(super) fn stage(&self, buffer: &str, step: &str, j: usize) -> String {
        let ragged = self.ragged;
        let mut text = format!(
            "    {{\n    let w_base = {buffer} * {}u;\n    let x_base = {buffer} * {}u;\n",
            self.tile.rows * self.tile.stride() / 4,
            self.tile.tokens * self.tile.stride() / 4
        );
        if ragged {
            let _ = writeln!(text, "    let staged_step = {step};");
        }
        text += &Self::shares(self.w_items(), self.w_share(), |i| {
            let known = match ragged {
                true => format!("staged_step * UNITS + w_unit{i} < p.n_units"),
                false => "true".into(),
            };
            format!("    stage_unit(w{i}_{j}, w_base + w_place{i}, {known});")
        });
        text += &Self::shares(self.x_items(), self.x_threads(), |i| match ragged {
            true => format!(
                "    stage_x(x_base + x_place{i}, masked(x{i}_{j}, (staged_step * {}u + x_quad{i}) * 4u));",
                self.tile.depth / 4
            ),
            false => format!("    stage_x(x_base + x_place{i}, x{i}_{j});"),
        });
        text + "    }\n"
    }
}
