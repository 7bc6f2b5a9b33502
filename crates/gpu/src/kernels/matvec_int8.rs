//! Y = X W^T for up to 8 rows of X rounded to 8 bits: whole numbers are multiplied, four at a time.
//!
//! Inputs: W `[n_rows, n_cols]` quantised, in row groups (see `layout`); X `[n_tokens, n_cols]`: a row of f32, as in `matvec`,
//! several, or rows that `quantize` or attention has rounded. Output: Y `[n_tokens, n_rows]` f32, rows `y_stride` apart, by the
//! epilogue.
//! Requires: of subgroups as `matvec`. Launch: by [`Shape`], as `matvec`: weights are decoded once for all rows of X, which is
//! staged in workgroup memory, as much of it at a time as there is room for.
//! Numerics: X is rounded to 8 bits in units of 32 as the CPU engine does it; products of a unit are exact, their sums f32;
//! against f64 on the rounded numbers within `testkit::dot_bound`. A row's sums hang on `slices` alone, and on
//! some devices on how many of its units are in flight, which makes another loop.
//! Source: own.

use super::Kernel;
use super::gemm::suffix;
use super::matvec::{Epilogue, Prologue, across, input};
use super::matvec_shape::Shape;
use super::matvec_walk::{self, Walk};
use crate::device::Caps;
use crate::layout::{BLOCK, GROUP, UNIT, UnitWords, WeightsAt};
use crate::shader::{Shader, under_way};
use bytemuck::{Pod, Zeroable};
use gguf::TensorType;
use gguf::format::{bits, has_min};
use std::fmt::Write;

/// Most rows of X.
pub(crate) const MOST_TOKENS: usize = 8;
/// Bytes of X that are staged at a time, if not all of a single row: more would leave too few workgroups to hide latencies. A
/// multiprocessor of an H200 gives all of its workgroups together some 56 KB and takes one of each for itself; products of 8 rows
/// of Llama-8B take 12 % less time with 20 KB than with 36.
const MOST_STAGED_BYTES: usize = 20 << 10;
/// Columns from which on a row is multiplied in 8 bits, and several rows: a row of 576 takes as long in floats (H200), of which the
/// model then need not lose any; four and eight take 2 and 5 times as long.
const LEAST_COLS: usize = 2048;
const LEAST_COLS_OF_ROWS: usize = 512;
/// Quads that a thread loads of X before it stores them.
const STAGED_AT_ONCE: usize = 8;

/// Weights that it takes.
pub(crate) const QUANTISED: [TensorType; 10] = {
    use TensorType::{Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
    [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K]
};

/// Whether rows in 8 bits are faster than floats, where the device has instructions for them.
pub(crate) fn pays(n_cols: usize, n_tokens: usize) -> bool {
    n_cols >= if n_tokens == 1 { LEAST_COLS } else { LEAST_COLS_OF_ROWS }
}

/// Bytes of several rows of f32 up to which every workgroup rounds them by itself, where nobody else has: less than it takes to
/// have `quantize` do it once, which takes 2.5 to 2.8 us. Gains of SmolLM-135M per row on an H200, without and with: 4 rows 3.35 and
/// 3.59, 8 rows 4.98 and 5.46.
const MOST_OWN_BYTES: usize = 48 << 10;
/// Units of a row up to which its first weights are held on their way while x is made ready. Llama-1B, tokens a second by dispatches,
/// twice: none held 1,669 and 1,673, those of up to 64 units 1,790 and 1,788, all 1,783 and 1,771. Eight layers of Llama-8B, which has none
/// so short: none 2,126, all 1,962.
const MOST_HELD_UNITS: usize = 64;
/// Half units that a thread has in hand as it rounds a row, and several rows.
const HALVES_AT_ONCE: usize = 2;
const HALVES_OF_ROWS_AT_ONCE: usize = 4;

/// Whether several rows are better rounded by all who need them than by a step of its own.
pub(crate) fn rounds_rows(n_cols: usize, n_tokens: usize) -> bool {
    n_tokens * n_cols * size_of::<f32>() <= MOST_OWN_BYTES
}

/// Where X comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    /// A row of f32 that each workgroup rounds by itself, after the prologue; or several without one.
    Own(Prologue),
    /// Rows as `quantize` leaves them.
    Rounded,
}

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct MatvecInt8 {
    ty: TensorType,
    n_cols: usize,
    n_tokens: usize,
    input: Input,
    epilogue: Epilogue,
    shape: Shape,
    /// Steps that a staged part of X is enough for.
    steps: usize,
}

/// Offsets: weights as in `matvec`; `x`, `y`, `bias` and the strides in words, all but `bias` multiples of 4; `norm` in quads.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) weights: WeightsAt,
    pub(crate) x: u32,
    pub(crate) x_stride: u32,
    pub(crate) y: u32,
    pub(crate) y_stride: u32,
    pub(crate) norm: u32,
    pub(crate) bias: u32,
}

impl MatvecInt8 {
    /// For a tensor of `n_groups` row groups and `1..=MOST_TOKENS` rows of X; `None` where weights are not quantised or workgroup
    /// memory does not hold a row that is to be rounded.
    pub(crate) fn new(
        (ty, n_cols): (TensorType, usize),
        n_groups: usize,
        n_tokens: usize,
        input: Input,
        epilogue: Epilogue,
        caps: Caps,
    ) -> Option<Self> {
        let n_blocks = n_groups / epilogue.groups() * (GROUP / BLOCK);
        let unit = (n_cols.div_ceil(UNIT), UnitWords::of(ty).quads.max(1));
        let shape = Shape::int8(unit, n_blocks, (n_tokens, epilogue.groups()), caps);
        Self::with_shape((ty, n_cols), n_tokens, input, epilogue, shape, caps)
    }

    pub(crate) fn with_shape(
        (ty, n_cols): (TensorType, usize),
        n_tokens: usize,
        input: Input,
        epilogue: Epilogue,
        shape: Shape,
        caps: Caps,
    ) -> Option<Self> {
        debug_assert!((1..=MOST_TOKENS).contains(&n_tokens), "{n_tokens} tokens");
        debug_assert!(
            n_tokens == 1 || matches!(input, Input::Rounded | Input::Own(Prologue::Plain)),
            "{input:?} of {n_tokens} rows"
        );
        debug_assert!(shape.slices.is_multiple_of(4), "sums are of 4 slices");
        bits(ty)?;
        Self { ty, n_cols, n_tokens, input, epilogue, shape, steps: 1 }.fitted(caps)
    }

    /// With as much of X staged at a time as there is room for.
    fn fitted(mut self, caps: Caps) -> Option<Self> {
        let threads = self.shape.threads();
        if self.walk().outputs_of_a_workgroup() > threads || threads > caps.max_threads as usize {
            return None;
        }
        loop {
            self.steps = self.walk().batch().1;
            // All of X at once if it is a row that is rounded here, or there is room.
            while self.input == Input::Rounded && self.steps > 1 && !self.fits(caps) {
                self.steps -= 1;
            }
            if self.fits(caps) {
                return Some(self);
            }
            // Smaller steps.
            if self.input != Input::Rounded || self.walk().batch().0 == 1 {
                return None;
            }
            self.shape.flight /= 2;
        }
    }

    pub(crate) fn name(&self) -> String {
        let ty = self.ty.name().to_lowercase();
        let several = format!("_rows{}", self.n_tokens);
        let (prologue, rows) = match self.input {
            Input::Own(prologue) if self.n_tokens == 1 => (prologue.prefix(), String::new()),
            Input::Own(_) => ("quantize_".to_owned(), several),
            Input::Rounded => (String::new(), several),
        };
        format!("{prologue}matvec_int8{rows}_{ty}{}", suffix(self.epilogue))
    }

    /// Workgroups for a tensor of `n_groups` row groups.
    pub(crate) fn grid(&self, n_groups: usize) -> [u32; 3] {
        let blocks = n_groups / self.epilogue.groups() * (GROUP / BLOCK);
        debug_assert!(
            blocks.is_multiple_of(self.shape.out_blocks()),
            "{self:?} does not fit {n_groups} groups"
        );
        [(blocks / self.shape.out_blocks()) as u32, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::MatvecInt8(self)
    }

    /// Whether X is staged part by part.
    #[cfg(test)]
    pub(crate) fn in_parts(&self) -> bool {
        self.chunk() < self.n_units()
    }

    fn n_units(&self) -> usize {
        self.n_cols.div_ceil(UNIT)
    }

    fn holds(&self) -> bool {
        self.n_tokens == 1 && self.n_units() <= MOST_HELD_UNITS
    }

    fn walk(&self) -> Walk {
        let quads = UnitWords::of(self.ty).quads;
        let (n_units, n_tokens) = (self.n_units(), self.n_tokens);
        Walk { shape: self.shape, n_units, n_tokens, epilogue: self.epilogue, beside: false, quads }
    }

    /// Units of X that are staged at a time.
    fn chunk(&self) -> usize {
        let (batch, batches) = self.walk().batch();
        match self.steps == batches {
            true => self.n_units(),
            false => self.steps * batch * self.shape.slices,
        }
    }

    fn fits(&self, caps: Caps) -> bool {
        let staged = self.n_tokens * self.chunk() * (UNIT + 4 * self.words_of_scales());
        let sums = self.shape.out_blocks() * self.epilogue.groups() * self.n_tokens * self.shape.slices * 2;
        // The sums, two pools, the parts of squares, and what alignment may take.
        let others = 4 * (sums + 2 * self.shape.threads() + self.shape.threads() / 32) + 64;
        let most = if self.input == Input::Rounded { MOST_STAGED_BYTES } else { usize::MAX };
        staged <= most && staged + others <= caps.workgroup_memory as usize
    }

    /// Words that a kernel keeps of the scale and sums of a unit of X.
    fn words_of_scales(&self) -> usize {
        match self.ty {
            TensorType::Q2_K => 4,
            ty if has_min(ty) => 2,
            _ => 1,
        }
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        let shader = Shader::default()
            .constant("N_COLS", self.n_cols)
            .constant("N_UNITS", self.n_units())
            .constant("N_TOKENS", self.n_tokens)
            .constant("CHUNK", self.chunk())
            .constant("SLICES", self.shape.slices)
            .constant("GROUPS", self.epilogue.groups())
            .constant("SUMS", self.epilogue.groups() * self.n_tokens)
            .constant("THREADS", self.shape.threads())
            .constant("OUT_BLOCKS", self.shape.out_blocks())
            .text(include_str!("matvec_int8.wgsl"))
            .text(include_str!("../shared/slices.wgsl"))
            .text(matvec_walk::WEIGHT_BLOCK)
            .bindings();
        let shader = match self.holds() {
            true => shader.late_decoder(self.ty).keeper(self.ty),
            false => shader.decoder(self.ty),
        };
        let shader = shader.words_decoder(self.ty).text(across(caps));
        let shader = match self.input {
            Input::Rounded => shader,
            Input::Own(prologue) => {
                self.own_input(shader.text(&input(self.n_cols, false)).round_half(caps), prologue)
            }
        };
        shader.text(&self.main(caps)).finish()
    }

    fn own_input(&self, shader: Shader, prologue: Prologue) -> Shader {
        match prologue {
            Prologue::Plain => shader,
            Prologue::Norm { eps_bits } => {
                let parts = (self.n_units() * 2).min(self.shape.threads()).div_ceil(32);
                let shader = shader.constant("SQUARE_PARTS", parts).float("EPS", f32::from_bits(eps_bits));
                shader.text(include_str!("../shared/norm_quads.wgsl"))
            }
            Prologue::Merge { heads, splits } => heads
                .merge(heads.constants(shader))
                .constant("SPLITS", splits)
                .text("fn x_quad(i: u32) -> vec4<f32> { return merged_quad(p.x, SPLITS, i); }"),
        }
    }

    fn main(&self, caps: Caps) -> String {
        let size = if caps.subgroups { ", @builtin(subgroup_size) size: u32" } else { "" };
        let mut text = format!(
            "@compute @workgroup_size({})\n\
             fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32{size}) {{\n",
            self.shape.threads()
        );
        if !caps.subgroups {
            text.push_str("  let size = 1u;\n");
        }
        let walk = self.walk();
        walk.begin(&mut text);
        // The weights do not depend on x: their loads are under way while x is made ready.
        if self.holds() {
            let mut first = Vec::new();
            walk.each(walk.batch().0, |i, j, g| first.push(format!("raw{i}_{j}_{g}")));
            text.push_str(&under_way(&first));
        }
        if let Input::Own(prologue) = self.input {
            self.round(&mut text, prologue);
        } else if self.chunk() == self.n_units() {
            self.stage(&mut text, "0u");
            text.push_str("  workgroupBarrier();\n");
        }
        walk.steps(&mut text, &|text, step| self.next_chunk(text, step), &|text, from, i| {
            self.products(text, walk, from, i);
        });
        let normed = matches!(self.input, Input::Own(Prologue::Norm { .. }));
        walk.outputs(&mut text, if normed { "norm_scale() * " } else { "" });
        text
    }

    /// Unit `i` of a step times all rows of X.
    fn products(&self, text: &mut String, walk: Walk, from: &str, i: usize) {
        let chunk = self.chunk();
        let _ = writeln!(text, "      let at = u - chunk + {}u;", i * self.shape.slices);
        walk.each(1, |_, j, g| {
            let _ = writeln!(text, "      let w{j}_{g} = unit_words({from}{i}_{j}_{g});");
        });
        for token in 0..self.n_tokens {
            let _ = writeln!(
                text,
                "      let a{token} = staged_words[at * 2u + {}u];\n      let b{token} = staged_words[at * 2u + {}u];\n\
                 \x20     let by{token} = staged_by[at + {}u];",
                token * chunk * 2,
                token * chunk * 2 + 1,
                token * chunk
            );
            walk.each(1, |_, j, g| {
                let _ = writeln!(
                    text,
                    "      sum{token}_{j}_{g} += product(w{j}_{g}, a{token}, b{token}, by{token});"
                );
            });
        }
    }

    /// Before a step that is the first to need it, the next part of X is staged. `chunk` is its first unit.
    fn next_chunk(&self, text: &mut String, step: &str) {
        let (_, batches) = self.walk().batch();
        if self.steps == batches {
            text.push_str("  let chunk = 0u;\n");
            return;
        }
        let _ = writeln!(
            text,
            "  let chunk = {step} % {batches}u / {}u * CHUNK;\n  if ({step} % {batches}u % {}u == 0u) {{\n  workgroupBarrier();",
            self.steps, self.steps
        );
        self.stage(text, "chunk");
        text.push_str("  workgroupBarrier();\n  }\n");
    }

    /// CHUNK units of rounded rows from unit `from` on, those past the end as the last: loads before stores.
    fn stage(&self, text: &mut String, from: &str) {
        let (chunk, threads) = (self.chunk(), self.shape.threads());
        for (what, each) in [("words", 2), ("by", 1)] {
            let (per_row, n) = (chunk * each, chunk * each * self.n_tokens);
            let place = match what {
                "words" => format!("min({from} * 2u + at, N_UNITS * 2u - 1u)"),
                _ => format!("N_UNITS * 2u + min({from} + at, N_UNITS - 1u)"),
            };
            let rounds: Vec<usize> = (0..n.div_ceil(threads)).collect();
            for some in rounds.chunks(STAGED_AT_ONCE) {
                text.push_str("  {\n");
                for &k in some {
                    let _ = writeln!(
                        text,
                        "    var v{k} = vec4<f32>();\n    {{\n      let i = min(t + {}u, {}u);\n      let at = i % {per_row}u;\n\
                         \x20     v{k} = scratch[(p.x + i / {per_row}u * p.x_stride) / 4u + {place}];\n    }}",
                        k * threads,
                        n - 1
                    );
                }
                for &k in some {
                    let value = match what {
                        "words" => format!("bitcast<vec4<u32>>(v{k})"),
                        _ => format!("rounded_by(v{k})"),
                    };
                    let store = format!("staged_{what}[t + {}u] = {value};", k * threads);
                    let _ = match (k + 1) * threads <= n {
                        true => writeln!(text, "    {store}"),
                        false => writeln!(text, "    if (t + {}u < {n}u) {{ {store} }}", k * threads),
                    };
                }
                text.push_str("  }\n");
            }
        }
    }

    /// Rows of f32, staged as they are rounded: a thread has half a unit at a time.
    fn round(&self, text: &mut String, prologue: Prologue) {
        let (n_halves, threads) = (self.n_tokens * self.n_units() * 2, self.shape.threads());
        let at_once = if self.n_tokens == 1 { HALVES_AT_ONCE } else { HALVES_OF_ROWS_AT_ONCE };
        let normed = matches!(prologue, Prologue::Norm { .. });
        let of = if matches!(prologue, Prologue::Merge { .. }) { "x_quad" } else { "input" };
        if normed {
            text.push_str("  var squares = 0.0;\n");
        }
        let rounds: Vec<usize> = (0..n_halves.div_ceil(threads)).collect();
        for some in rounds.chunks(at_once) {
            for &k in some {
                let at = match self.n_tokens {
                    1 => format!("i{k} * 4u"),
                    _ => format!("i{k} / (N_UNITS * 2u) * (p.x_stride / 4u) + i{k} % (N_UNITS * 2u) * 4u"),
                };
                let _ = writeln!(
                    text,
                    "  let i{k} = min(t + {}u, {}u);\n  let at{k} = {at};",
                    k * threads,
                    n_halves - 1
                );
                for m in 0..4 {
                    let _ = writeln!(text, "  let x{k}_{m} = {of}(at{k} + {m}u);");
                    if normed {
                        let _ = writeln!(text, "  let n{k}_{m} = norm_quad(at{k} + {m}u);");
                    }
                }
            }
            for &k in some {
                let quads = (0..4).map(|m| match normed {
                    true => format!("x{k}_{m} * n{k}_{m}"),
                    false => format!("x{k}_{m}"),
                });
                let quads = quads.collect::<Vec<_>>().join(", ");
                let _ = writeln!(
                    text,
                    "  let half{k} = round_half(t, {quads});\n  let by{k} = unit_scales(t, half{k});\n\
                     \x20 if (t + {}u < {n_halves}u) {{\n    staged_words[i{k}] = half{k}.words;\n\
                     \x20   if (t % 2u == 0u) {{ staged_by[i{k} / 2u] = rounded_by(by{k}); }}",
                    k * threads
                );
                if normed {
                    let _ = writeln!(
                        text,
                        "    squares += dot(x{k}_0, x{k}_0) + dot(x{k}_1, x{k}_1) + dot(x{k}_2, x{k}_2) + dot(x{k}_3, x{k}_3);"
                    );
                }
                text.push_str("  }\n");
            }
        }
        text.push_str("  workgroupBarrier();\n");
        if normed {
            text.push_str("  sum_squares(t, size, squares);\n");
        }
    }
}
