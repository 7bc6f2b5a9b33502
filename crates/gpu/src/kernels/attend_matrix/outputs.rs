//! What becomes of a tile's sums: teams meet, and rows are written.

use super::{AttendMatrix, SUBGROUPS};
use crate::kernels::floats::Floats;
use std::fmt::Write;

impl AttendMatrix {
    /// Sums over totals, block by block; those of the second team are added by the first.
    pub(super) fn store(&self) -> String {
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

    /// What sums are to be multiplied with.
    pub(super) fn factors(&self) -> &'static str {
        if self.teams > 1 { FACTORS_OF_TEAMS } else { FACTORS }
    }

    /// How rows are written.
    pub(super) fn output(&self) -> &'static str {
        if self.out == Floats::F16 { OUT_F16 } else { OUT_F32 }
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
