//! The text of the head, and of the embedding of what it chose.

use super::Source;
use super::units::{self, Rows, Scale};
use crate::layout::{BLOCK, UNIT, UnitWords};
use gguf::TensorType;
use std::fmt::Write;

/// Registers that a thread has for weights of the head at most.
const MOST_REGISTERS: usize = 50;
/// The same where nothing else is in registers meanwhile: four units of Q8_0. In turns on one H200 Llama-1B made 2,640 tokens a second with
/// eight, and 2,710 with five.
const MOST_REGISTERS_ALONE: usize = 40;

impl Source {
    /// The head: a block of rows to a subgroup at a time, its units shared by the lanes; what is read next is loaded as soon as a
    /// register is free.
    pub(super) fn output(&self, text: &mut String) {
        let (place, lanes) = (self.shape.output, self.geometry.lanes);
        let n_units = place.n_cols.div_ceil(UNIT);
        let slices = lanes / BLOCK;
        let most = if self.geometry.holds_layer { MOST_REGISTERS } else { MOST_REGISTERS_ALONE };
        let most = (most / units::n_registers(place.ty)).max(1);
        let rounds = n_units.div_ceil(slices);
        // Each block begins with the first register: some units of the last round may be none.
        let sizes = (1..=most).filter(|window| 2 * window > most);
        let window =
            sizes.min_by_key(|&window| (rounds.next_multiple_of(window), most - window)).unwrap_or(1);
        let rounds = rounds.next_multiple_of(window);
        let blocks = place.n_rows.div_ceil(BLOCK);
        let per_group = self.shape.head_rows(&self.geometry) / BLOCK;
        let subgroups = self.geometry.threads / lanes;
        let fields = units::fields(place.ty);
        (0..window).for_each(|k| units::declare(text, &fields, &format!("output{k}")));
        // The unit of round `k`, which may be one of the next block.
        let load = |k: usize| {
            format!(
                "      {{\n        let block = {};\n        let at = lane / 8u;\n{}      }}\n",
                if k < rounds { "near" } else { "far" },
                self.of_weights(&place, "0u", |spot, quads, words| {
                    let rows = Rows { spot, quads, words, place: &place, n_units };
                    let unit = (k % rounds, slices, rounds * slices == n_units);
                    rows.load("0u", "at", unit, &format!("output{}", k % window))
                })
            )
        };
        let loads: String = (0..window).map(load).collect();
        let _ = writeln!(
            text,
            "// Block `i` of the subgroup.\n\
             fn output_block(i: u32) -> u32 {{ return wg * {per_group}u + i * {subgroups}u + subgroup; }}\n\
             fn load_output() {{\n  let near = min(output_block(0u), {}u);\n{loads}}}",
            blocks - 1
        );
        let steps = (0..rounds).fold(String::new(), |text, k| {
            let product =
                units::dot(place.ty, self.shape.rounds, &format!("output{}", k % window), Scale::Own);
            let whole = (k + 1) * slices <= n_units;
            let guard = if whole { String::new() } else { format!("if (u < {n_units}u) ") };
            text + &format!(
                "    {{\n      let u = lane / 8u + {}u;\n      {guard}{{ sum += {product}; }}\n{}    }}\n",
                k * slices,
                load(k + window)
            )
        });
        let across = [8, 16]
            .into_iter()
            .filter(|&n| n < lanes)
            .fold(String::new(), |text, n| text + &format!("    sum += subgroupShuffleXor(sum, {n}u);\n"));
        // Only draws know of rows that are never chosen: others would take longer for it.
        let (logit_key, keep) = match self.geometry.draws {
            true => (
                "permitted(key(sum * scale), row)",
                format!(
                    "    if (own < {per_group}u && lane < 8u) {{ partials[own * 8u + r] = sum * scale; }}\n"
                ),
            ),
            false => ("key(sum * scale)", String::new()),
        };
        let _ = writeln!(
            text,
            "// The best of the group's rows; a draw looks at all of them.\n\
             fn output_best() -> Best {{\n  let scale = norm_scale();\n  var best = NOTHING;\n\
             \x20 for (var i = 0u; i < {}u; i += 1u) {{\n    var sum = 0.0;\n    let near = min(output_block(i), {last}u);\n\
             \x20   let far = min(output_block(i + 1u), {last}u);\n{steps}{across}\
             \x20   let row = output_block(i) * 8u + r;\n\
             \x20   let own = i * {subgroups}u + subgroup;\n\
             \x20   if (own < {per_group}u && row < N_VOCAB) {{ best = better(best, Best({logit_key}, row)); }}\n\
             {keep}  }}\n\
             \x20 return group_best(best);\n}}",
            per_group.div_ceil(subgroups),
            last = blocks - 1
        );
    }

    /// An element of a token's embedding.
    pub(super) fn embedded(&self, text: &mut String) {
        let place = self.shape.embedding;
        let n_units = place.n_cols.div_ceil(UNIT);
        let n = UnitWords::of(place.ty);
        let lines = self.of_weights(&place, "0u", |spot, _, words| {
            // Word `k`, of `n` words of a unit or of several units, of row id.
            let word = |at: u32, unit: &str, units: usize, n: usize, k: &str| {
                let unit = format!("id / 8u * {}u + {unit}", n_units.div_ceil(units));
                format!("{words}[{at}u + (({unit}) * {n}u + {k}) * 8u + id % 8u]")
            };
            let quad = |k: &str, i: &str| {
                let at = format!("((id / 8u * {n_units}u + u) * {}u + {k}) * 8u + id % 8u", n.quads);
                format!("{words}[{}u + ({at}) * 4u + {i} / 4u]", 4 * spot.quads)
            };
            let pair = format!("({} >> (u % 2u * 16u))", word(spot.pairs, "u / 2u", 2, 1, "0u"));
            let nibble = format!("(({} >> (i % 4u * 8u + i / 16u * 4u)) & 15u)", quad("0u", "i % 16u"));
            let (scale, quant) = match place.ty {
                TensorType::Q4_0 => (format!("unpack2x16float({pair}).x"), format!("f32({nibble}) - 8.0")),
                TensorType::Q8_0 => (
                    format!("unpack2x16float({pair}).x"),
                    format!("f32(i32({} << (24u - i % 4u * 8u)) >> 24u)", quad("i / 16u", "i % 16u")),
                ),
                _ => (
                    format!(
                        "unpack2x16float({}).x * f32(i32({pair} << (24u - i / 16u * 8u)) >> 24u)",
                        word(spot.supers, "u / 8u", 8, 1, "0u")
                    ),
                    format!(
                        "f32({nibble} | ((({} >> (i % 16u * 2u)) & 3u) << 4u)) - 32.0",
                        word(spot.words, "u", 1, n.words, "i / 16u")
                    ),
                ),
            };
            format!("  return {scale} * ({quant});\n")
        });
        let _ = writeln!(
            text,
            "fn embedded(id: u32, e: u32) -> f32 {{\n  let u = e / 32u;\n  let i = e % 32u;\n{lines}}}"
        );
    }
}
