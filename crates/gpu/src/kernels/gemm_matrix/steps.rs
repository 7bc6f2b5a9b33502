//! The entry point: how a workgroup goes from step to step.

use super::{GemmMatrix, LANES, MatrixTile};
use crate::device::MatrixSize;
use std::fmt::Write;

/// How often a step is written in a loop over them.
///
/// NVIDIA's compiler writes the body of a loop with matrices out eight times, and once more for what is left over. A product of nine
/// steps runs through all of that once, in 30 to 60 KB of instructions which have to come from far each time, for the kernels between
/// have taken their place: 512 rows of SmolLM-135M took 8 % longer so, though not in a chain of their like. A body that is written
/// once and left so is slower where there are many steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Steps {
    /// Once, or as many as are loaded together.
    Once,
    /// [`COPIES`] times, with a way out before each: that is left as it is.
    Several,
    /// Once, in runs of at most [`RUN`] steps: what is left over of eight, which is written once.
    Runs,
}

pub(crate) const COPIES: usize = 3;
pub(crate) const RUN: usize = 7;
/// Products of matrices in a subgroup's step below which [`COPIES`] are still written out eight times.
const SHORT: usize = 16;
/// Steps of a workgroup from which on what was written out eight times runs more than once, and does no harm.
const MANY: usize = 16;

impl Steps {
    /// What is fastest for a product of `n_cols` columns in so many parts.
    pub(super) fn of(tile: MatrixTile, n_cols: usize, parts: usize, size: MatrixSize) -> Self {
        // Neither two buffers nor Metal's compiler were measured; slices have loops of their own.
        if tile.together > 1 || tile.buffers > 1 || tile.slices > 1 || size == MatrixSize::Eight {
            return Self::Once;
        }
        let subgroups = tile.threads() / LANES;
        let products = tile.tokens * tile.rows * tile.depth / subgroups / size.edge().pow(3);
        match n_cols.div_ceil(tile.depth).div_ceil(parts) {
            _ if products >= SHORT => Self::Several,
            n_steps if n_steps < MANY => Self::Runs,
            _ => Self::Once,
        }
    }
}

impl GemmMatrix {
    pub(super) fn main(&self) -> String {
        let (subgroup, builtins) = match self.size.emulated() {
            true => ("t / 32u", ""),
            false => ("own_subgroup", ", @builtin(subgroup_id) own_subgroup: u32"),
        };
        let steps = match self.tile.buffers {
            2 => self.steps_in_turns(),
            _ => self.steps(),
        };
        format!(
            "@compute @workgroup_size({})\n\
             fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) t: u32{builtins}) {{\n\
             \x20 let subgroup = {subgroup};\n\
             \x20 let lane = t % 32u;\n\
             \x20 let all_steps = (p.n_units + UNITS - 1u) / UNITS;\n\
             {}{}{}{}{steps}{}}}\n",
            self.tile.threads(),
            self.own_steps(),
            self.places(),
            self.load_first(),
            self.zero(),
            self.write(),
        )
    }

    /// Steps that take turns in two buffers: one barrier a step.
    fn steps_in_turns(&self) -> String {
        format!(
            "{}  workgroupBarrier();\n\
             \x20 for (var step = first_step; step < n_steps; step += 1u) {{\n\
             \x20   let now = (step - first_step) % 2u;\n    let other = 1u - now;\n{}{}{}    workgroupBarrier();\n  }}\n",
            self.stage("0u", "first_step", 0),
            self.load_together("    ", "step + 1u"),
            self.multiply("now"),
            self.stage("other", "min(step + 1u, n_steps - 1u)", 0),
        )
    }

    /// Steps in one buffer.
    fn steps(&self) -> String {
        debug_assert!(self.steps == Steps::Once || self.tile.together == 1, "{self:?}");
        let times = if self.steps == Steps::Several { COPIES } else { self.tile.together };
        let each: String = (0..times).map(|j| self.step(j)).collect();
        let walk = |from: &str, to: &str| {
            format!("  for (var step = {from}; step < {to}; step += {times}u) {{\n{each}  }}\n")
        };
        match self.steps {
            Steps::Once | Steps::Several => walk("first_step", "n_steps"),
            // No constant, or the compiler would know how many there are.
            Steps::Runs => format!(
                "  let most = max({RUN}u, p.n_units >> 28u);\n\
                 \x20 for (var run = first_step; run < n_steps; run += most) {{\n\
                 \x20 let run_end = min(n_steps, run + most);\n{}  }}\n",
                walk("run", "run_end")
            ),
        }
    }

    /// The step `j` behind `step`, and where it is the last of those that are loaded together, the loads of as many others.
    fn step(&self, j: usize) -> String {
        let together = self.tile.together;
        let mut text = String::new();
        if j > 0 {
            // Not around the step: matrices want flow that is shown to be uniform, which a variable's is not.
            let _ = writeln!(text, "    if (step + {j}u >= n_steps) {{ break; }}");
        }
        let _ = writeln!(
            text,
            "{}    workgroupBarrier();",
            self.stage("0u", &format!("step + {j}u"), j % together)
        );
        if (j + 1).is_multiple_of(together) {
            text.push_str(&self.load_together("    ", &format!("step + {}u", j + 1)));
        }
        text + &self.multiply("0u") + "    workgroupBarrier();\n"
    }
}
