//! How a thread of `matvec` and `matvec_int8` goes through its units, and what becomes of its sums: the text of both.
//!
//! A thread has a row of each of a few blocks, and of those every `slices`-th unit. Of two lots of words one is on its way while
//! the other is used. Sums are called `sum{token}_{block}_{group}`.

use super::matvec::Epilogue;
use super::matvec_shape::Shape;
use std::fmt::Write;

/// A product's way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub(super) shape: Shape,
    pub(super) n_units: usize,
    /// Rows of x.
    pub(super) n_tokens: usize,
    pub(super) epilogue: Epilogue,
    /// Whether what is added to has sums beside it.
    pub(super) beside: bool,
    /// Quads of weights of a unit.
    pub(super) quads: usize,
}

impl Walk {
    /// Row groups that one output row group is made of.
    pub(super) fn groups(&self) -> usize {
        self.epilogue.groups()
    }

    /// Units of each block that a thread has in flight, and how many times it loads so many to complete a row.
    pub(super) fn batch(&self) -> (usize, usize) {
        let rounds = self.n_units.div_ceil(self.shape.slices);
        let quads = self.shape.blocks * self.groups() * self.quads.max(1);
        let batches = rounds.div_ceil((self.shape.flight / quads).clamp(1, rounds));
        (rounds.div_ceil(batches), batches)
    }

    /// Where a thread is, the output that it writes, and its first loads, which do not depend on x.
    pub(super) fn begin(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "  let r = t % 8u;\n  let slice = t / 8u % SLICES;\n  let team = t / (8u * SLICES);\n\
             \x20 let first = wg.x * OUT_BLOCKS + team * {}u;\n\
             \x20 // The quad of outputs that this thread writes, if it is one of the first.",
            self.shape.blocks
        );
        text.push_str(match self.n_tokens {
            1 => "  let quad = t;\n  let row = wg.x * OUT_BLOCKS * 8u + 4u * quad;\n  let y = (p.y + row) / 4u;\n",
            _ => {
                "  let token = t / (OUT_BLOCKS * 2u);\n  let quad = t % (OUT_BLOCKS * 2u);\n\
                 \x20 let row = wg.x * OUT_BLOCKS * 8u + 4u * quad;\n  let y = (p.y + token * p.y_stride + row) / 4u;\n"
            }
        });
        let (batch, batches) = self.batch();
        self.each(batch, |i, j, g| {
            let _ = writeln!(text, "  var raw{i}_{j}_{g} = {};", self.load(i, j, g, "first", "slice"));
            if batches * self.shape.sets > 1 {
                let _ = writeln!(text, "  var spare{i}_{j}_{g}: Raw;");
            }
        });
        if self.epilogue == Epilogue::Add {
            let beside = if self.beside { " + beside(row / 4u)" } else { "" };
            let _ = writeln!(
                text,
                "  var old = vec4<f32>(0.0);\n  if (t < {}u) {{ old = scratch[y]{beside}; }}",
                self.outputs_of_a_workgroup()
            );
        }
    }

    /// Calls `f` for unit `i` of `batch`, block `j` and row group `g`.
    pub(super) fn each(&self, batch: usize, mut f: impl FnMut(usize, usize, usize)) {
        for i in 0..batch {
            for j in 0..self.shape.blocks {
                (0..self.groups()).for_each(|g| f(i, j, g));
            }
        }
    }

    /// All products of a thread: batch after batch, and set after set. `before` writes what comes before a step's products,
    /// `unit` what is done with unit `i` of a step, of which `from` holds the words; `u` is the step's first unit.
    pub(super) fn steps(
        &self,
        text: &mut String,
        before: &dyn Fn(&mut String, &str),
        unit: &dyn Fn(&mut String, &str, usize),
    ) {
        let (_, batches) = self.batch();
        let steps = batches * self.shape.sets;
        self.each_sum(|token, j, g| {
            let _ = writeln!(text, "  var sum{token}_{j}_{g} = 0.0;");
        });
        let step = |text: &mut String, from: &str, step: &str| {
            before(text, step);
            self.step(text, from, step, unit);
        };
        if steps == 1 {
            step(text, "raw", "0u");
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
        step(text, "raw", "step");
        text.push_str(&guard("step + 2u", false));
        self.loads(text, "raw", "(step + 2u)");
        text.push_str("  }\n");
        text.push_str(&guard("other", steps.is_multiple_of(2)));
        step(text, "spare", "other");
        text.push_str("  }\n  }\n");
    }

    /// What is made of the sums, times `scale`, and written: the end of the kernel.
    pub(super) fn outputs(&self, text: &mut String, scale: &str) {
        let _ = writeln!(text, "  workgroupBarrier();\n  if (t < {}u) {{", self.outputs_of_a_workgroup());
        let token = if self.n_tokens == 1 { "0u" } else { "token" };
        for g in 0..self.groups() {
            let which = format!("{}u + {token}", g * self.n_tokens);
            let _ = writeln!(text, "    let v{g} = {scale}row_sums(quad / 2u, {which}, quad % 2u);");
        }
        let value = match self.epilogue {
            Epilogue::Store => "v0",
            Epilogue::StoreBiased => {
                "v0 + bitcast<vec4<f32>>(vec4<u32>(\
                 words[p.bias + row], words[p.bias + row + 1u], words[p.bias + row + 2u], words[p.bias + row + 3u]))"
            }
            Epilogue::Add => "old + v0",
            Epilogue::SiluMul => "v0 / (1.0 + exp(min(-v0, vec4<f32>(80.0)))) * v1",
        };
        let _ = writeln!(text, "    scratch[y] = {value};\n  }}\n}}");
    }

    /// Quads that a workgroup writes, one a thread.
    pub(super) fn outputs_of_a_workgroup(&self) -> usize {
        self.shape.out_blocks() * 2 * self.n_tokens
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

    fn each_sum(&self, mut f: impl FnMut(usize, usize, usize)) {
        for token in 0..self.n_tokens {
            self.each(1, |_, j, g| f(token, j, g));
        }
    }

    fn load(&self, i: usize, j: usize, g: usize, block: &str, unit: &str) -> String {
        format!(
            "load_block_unit(weight_block({block} + {j}u, {g}u), min({unit} + {}u, N_UNITS - 1u), r)",
            i * self.shape.slices
        )
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
    fn step(&self, text: &mut String, from: &str, step: &str, products: &dyn Fn(&mut String, &str, usize)) {
        let (batch, batches) = self.batch();
        let (unit, set) = self.place(step);
        let slices = self.shape.slices;
        let _ = writeln!(text, "  {{\n    let u = {unit};");
        for i in 0..batch {
            let whole = ((batches - 1) * batch + i + 1) * slices <= self.n_units;
            let _ = match whole {
                true => writeln!(text, "    {{"),
                false => writeln!(text, "    if (u + {}u < N_UNITS) {{", i * slices),
            };
            products(text, from, i);
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
        self.each_sum(|token, j, g| {
            let which = g * self.n_tokens + token;
            let _ = writeln!(
                text,
                "    {{\n      let sum = four_slices(t, size, sum{token}_{j}_{g});\n\
                 \x20     if (t % 32u < 8u) {{ partials[(((slot + {j}u) * SUMS + {which}u) * (SLICES / 4u) + slice / 4u) * 8u + r] = sum; }}\n\
                 \x20     sum{token}_{j}_{g} = 0.0;\n    }}"
            );
        });
        text.push_str(if batches > 1 { "    }\n" } else { "" });
        text.push_str("  }\n");
    }
}

/// What a kernel with a walk says of its weights.
pub(super) const WEIGHT_BLOCK: &str = "
// The block of weights of output block `out`, in the tensor's group `g` of those that take turns.
fn weight_block(out: u32, g: u32) -> u32 { return (out / 4u * GROUPS + g) * 4u + out % 4u; }";
