//! The text of a unit of weights: its registers, its loads, and its product with x.

use super::name_of;
use crate::layout::UnitWords;
use crate::persistent::shape::{Place, Spot};
use gguf::TensorType;
use std::fmt::Write;

/// The registers that a unit takes: what is behind its name, and a type. Scales of two units are in one word, those of K types in
/// bytes, whose scale eight units share.
pub(super) fn fields(ty: TensorType) -> Vec<(String, &'static str)> {
    let words = UnitWords::of(ty);
    let quads = (0..words.quads).map(|j| (format!("_{j}"), "vec4<u32>"));
    let mut fields: Vec<_> = quads.chain((0..words.words).map(|j| (format!("_w{j}"), "u32"))).collect();
    fields.push(("_d".to_owned(), "u32"));
    if words.supers {
        fields.push(("_s".to_owned(), "u32"));
    }
    fields
}

/// How many registers that is.
pub(super) fn n_registers(ty: TensorType) -> usize {
    fields(ty).iter().map(|(_, ty)| if *ty == "u32" { 1 } else { 4 }).sum()
}

pub(super) fn declare(text: &mut String, fields: &[(String, &'static str)], name: &str) {
    for (field, ty) in fields {
        let _ = writeln!(text, "var<private> {name}{field}: {ty};");
    }
}

/// The registers called `name` times unit `u` of x, as WGSL; `scale` is the word that the unit's scale is in.
pub(super) fn dot(ty: TensorType, rounds: bool, name: &str, scale: Scale) -> String {
    let words = UnitWords::of(ty);
    let mut values: Vec<String> = (0..words.quads).map(|j| format!("{name}_{j}")).collect();
    values.extend((0..words.words).map(|j| format!("{name}_w{j}")));
    let function = format!("dot_{}{}", if rounds { "rounded_" } else { "" }, name_of(ty));
    let own = format!("{name}_d >> (u % 2u * 16u)");
    match (words.supers, scale) {
        (true, _) => format!("{function}({}, {own}, {name}_s, u)", values.join(", ")),
        (false, Scale::Own) => format!("unpack2x16float({own}).x * {function}({}, u)", values.join(", ")),
        (false, Scale::OfRun(word, part)) => {
            format!("unpack2x16float({word}){part} * {function}({}, u)", values.join(", "))
        }
    }
}

/// Where a unit's scale is: in its own register by whether it is an even one, or in one of a run's halves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scale<'a> {
    Own,
    OfRun(&'a str, &'static str),
}

/// Rows of a tensor in one buffer, as WGSL.
pub(super) struct Rows<'a> {
    pub(super) spot: &'a Spot,
    pub(super) quads: &'a str,
    pub(super) words: &'a str,
    pub(super) place: &'a Place,
    pub(super) n_units: usize,
}

impl Rows<'_> {
    /// Of row `r` of block `block` of layer `layer` the unit `k` times `step` behind `at`, on its way to the registers called `name`;
    /// the last unit instead of one past the end, unless there is none.
    pub(super) fn load(
        &self,
        layer: &str,
        at: &str,
        (k, step, exact): (usize, usize, bool),
        name: &str,
    ) -> String {
        let Self { spot, quads, words, place, n_units } = self;
        let n = UnitWords::of(place.ty);
        let u = match exact {
            true => format!("({at} + {}u)", k * step),
            false => format!("min({at} + {}u, {}u)", k * step, n_units - 1),
        };
        // Units that are an even number apart are half as many pairs apart.
        let pair = match exact && (k * step).is_multiple_of(2) {
            true => format!("({at} / 2u + {}u)", k * step / 2),
            false => format!("{u} / 2u"),
        };
        let mut text = String::new();
        for j in 0..n.quads {
            let _ = writeln!(
                text,
                "      {name}_{j} = {quads}[{}u + {layer} * (LAYER_WORDS / 4u) + ((block * {n_units}u + {u}) * {}u + {j}u) * 8u + r];",
                spot.quads, n.quads
            );
        }
        // Element `i` of the area of words that begins at `at`, with the row's place in a block behind it.
        let mut word = |field: &str, at: u32, i: &str| {
            let _ = writeln!(
                text,
                "      {name}{field} = {words}[{at}u + {layer} * LAYER_WORDS + ({i}) * 8u + r];"
            );
        };
        for j in 0..n.words {
            word(&format!("_w{j}"), spot.words, &format!("(block * {n_units}u + {u}) * {}u + {j}u", n.words));
        }
        word("_d", spot.pairs, &format!("block * {}u + {pair}", n_units.div_ceil(2)));
        if n.supers {
            word("_s", spot.supers, &format!("block * {}u + {u} / 8u", n_units.div_ceil(8)));
        }
        text
    }

    /// Of row `r` of that block the run of two units `k` times `step` behind `at`, likewise, to the registers called `names`; both
    /// scales to those of the first.
    pub(super) fn load_run(
        &self,
        layer: &str,
        at: &str,
        (k, step, exact): (usize, usize, bool),
        names: [&str; 2],
    ) -> String {
        let Self { spot, quads, words, place, n_units } = self;
        let n = UnitWords::of(place.ty).quads;
        let run = match exact {
            true => format!("({at} + {}u)", k * step),
            false => format!("min({at} + {}u, {}u)", k * step, n_units / 2 - 1),
        };
        let mut text = String::new();
        for (i, name) in names.into_iter().enumerate() {
            for j in 0..n {
                let _ = writeln!(
                    text,
                    "      {name}_{j} = {quads}[{}u + {layer} * (LAYER_WORDS / 4u) + ((block * {}u + {run}) * {}u + {}u) * 8u + r];",
                    spot.quads,
                    n_units / 2,
                    2 * n,
                    i * n + j
                );
            }
        }
        let _ = writeln!(
            text,
            "      {}_d = {words}[{}u + {layer} * LAYER_WORDS + (block * {}u + {run}) * 8u + r];",
            names[0],
            spot.pairs,
            n_units / 2
        );
        text
    }
}
