//! The text of the head, and of the embedding of what it chose.

use super::{Source, Unit, dot, name_of};
use crate::layout::{BLOCK, UNIT, UnitWords};
use std::fmt::Write;

impl Source {
    /// The head: a block of rows to a subgroup at a time, its units shared by the lanes; the next is loaded as soon as a register
    /// is free.
    pub(super) fn output(&self, text: &mut String) {
        let (place, lanes) = (self.shape.output, self.geometry.lanes);
        let n_units = place.n_cols.div_ceil(UNIT);
        let slices = lanes / BLOCK;
        let rounds = n_units.div_ceil(slices);
        let blocks = place.n_rows.div_ceil(BLOCK);
        let per_group = blocks.div_ceil(self.geometry.groups);
        let subgroups = self.geometry.threads / lanes;
        for k in 0..rounds {
            for j in 0..UnitWords::of(place.ty).quads {
                let _ = writeln!(text, "var<private> output_{k}_{j}: vec4<u32>;");
            }
            let _ = writeln!(text, "var<private> output_{k}_d: u32;");
        }
        let unit = Unit { place: &place, layer: "0u", block: "block" };
        let load = |k: usize| {
            format!(
                "      {{\n        let u = min(lane / 8u + {}u, {}u);\n{}      }}\n",
                k * slices,
                n_units - 1,
                unit.load(&format!("output_{k}"), n_units)
            )
        };
        let loads: String = (0..rounds).map(load).collect();
        let norms = self.each(self.shape.n_embd, |k, e| {
            format!("output_norm{k} = bitcast<f32>(words[{}u + {e}]);", place.norm)
        });
        let _ = writeln!(
            text,
            "fn load_output_norm() {{\n{norms}}}\n\
             // Block `i` of the subgroup.\n\
             fn output_block(i: u32) -> u32 {{ return wg * {per_group}u + i * {subgroups}u + subgroup; }}\n\
             fn load_output() {{\n  let block = min(output_block(0u), {}u);\n{loads}}}",
            blocks - 1
        );
        let steps = (0..rounds).fold(String::new(), |text, k| {
            let product = dot(place.ty, &format!("output_{k}"));
            let whole = (k + 1) * slices <= n_units;
            let guard = if whole { String::new() } else { format!("if (u < {n_units}u) ") };
            text + &format!(
                "    {{\n      let u = lane / 8u + {}u;\n      {guard}{{ sum += {product}; }}\n{}    }}\n",
                k * slices,
                load(k)
            )
        });
        let across = [8, 16]
            .into_iter()
            .filter(|&n| n < lanes)
            .fold(String::new(), |text, n| text + &format!("    sum += subgroupShuffleXor(sum, {n}u);\n"));
        let _ = writeln!(
            text,
            "// The best of the group's rows.\n\
             fn output_best() -> Best {{\n  let scale = norm_scale();\n  var best = NOTHING;\n\
             \x20 for (var i = 0u; i < {}u; i += 1u) {{\n    var sum = 0.0;\n    let block = min(output_block(i + 1u), {}u);\n{steps}{across}\
             \x20   let row = output_block(i) * 8u + r;\n\
             \x20   if (i * {subgroups}u + subgroup < {per_group}u && row < N_VOCAB) {{ best = better(best, Best(key(sum * scale), row)); }}\n  }}\n\
             \x20 return group_best(best);\n}}",
            per_group.div_ceil(subgroups),
            blocks - 1
        );
        let groups = self.geometry.groups;
        let n = groups.div_ceil(self.geometry.threads);
        let place = |i: usize| {
            format!(
                "AT_BEST + 2u * min(t + {}u, {}u) + {}u",
                i / 2 * self.geometry.threads,
                groups - 1,
                i % 2
            )
        };
        let taken = (0..n).fold(String::new(), |text, k| {
            text + &format!("  best = better(best, taken_best(word{}, word{}));\n", 2 * k, 2 * k + 1)
        });
        let _ = writeln!(
            text,
            "// The best of all rows.\nfn choose() -> u32 {{\n{}  var best = NOTHING;\n{taken}  return min(group_best(best).row, N_VOCAB - 1u);\n}}",
            self.wait(2 * n, "tag", place)
        );
    }

    /// A token's embedding, as `got`.
    pub(super) fn embedding(&self, text: &mut String) {
        let place = self.shape.embedding;
        let quads = UnitWords::of(place.ty).quads;
        let n_units = place.n_cols.div_ceil(UNIT);
        let name = name_of(place.ty);
        let _ = writeln!(
            text,
            "fn embedded(id: u32, e: u32) -> f32 {{\n\
             \x20 let u = e / 32u;\n\
             \x20 let d = unpack2x16float(words[{}u + (id / 8u * {}u + u / 2u) * 8u + id % 8u] >> (u % 2u * 16u)).x;\n\
             \x20 return d * quant_{name}({}u + ((id / 8u * {n_units}u + u) * {}u + id % 8u) * 4u, e % 32u);\n}}",
            place.pairs,
            n_units.div_ceil(2),
            place.quads,
            8 * quads,
        );
        let lines = self.each(self.shape.n_embd, |k, e| format!("got{k} = embedded(id, {e});"));
        let _ = writeln!(text, "fn embed(id: u32) {{\n{lines}}}");
    }
}
