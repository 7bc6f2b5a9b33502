//! The text of a layer's products, up to the sums that each slice of a row leaves.

use super::Source;
use super::units::{self, Rows, Scale};
use crate::persistent::shape::{MOST_BUFFERS, Place, Spot};
use crate::persistent::share::{Share, Work};
use gguf::TensorType;
use std::fmt::Write;

/// How long the groups of a small model wait before they look at the hidden state after attention, and at the gated vector, in words
/// from memory one behind the other. SmolLM-135M took 288 us a token without, 283.5 with one before the first, 282.8 with two, 279 with
/// one before the second as well; Llama-1B the same with and without.
const PAUSES: [usize; 2] = [2, 1];

impl Source {
    /// The registers that units are loaded into, by batches: every product has its own, or all have the same.
    pub(super) fn registers(&self, text: &mut String) {
        for first in 0..self.geometry.register_sets() {
            let works = Work::ALL.into_iter().filter(|work| self.registers_of(*work) == first);
            let of = |work: Work| (self.share(work).units(), work.place(&self.shape).ty);
            let sizes: Vec<(usize, TensorType)> = works.map(of).collect();
            let batch = sizes.iter().map(|(batch, _)| *batch).max().unwrap_or(0);
            let mut fields: Vec<_> = sizes.iter().flat_map(|(_, ty)| units::fields(*ty)).collect();
            fields.sort_unstable();
            fields.dedup();
            (0..batch).for_each(|i| units::declare(text, &fields, &format!("unit{first}_{i}")));
        }
    }

    fn registers_of(&self, work: Work) -> usize {
        work.index() % self.geometry.register_sets()
    }

    /// What is read before the first layer: weights and vectors, where a thread has registers for all of a layer, and norms.
    pub(super) fn load_first(&self, text: &mut String) {
        let ahead = match self.geometry.holds_layer {
            true => Work::ALL.iter().fold(self.load_bias("0u"), |text, work| {
                text + &format!("  load_{}(0u);\n", work.name()) + &self.load_own_norm(*work, "0u")
            }),
            false => String::new(),
        };
        let norms = [
            ("attn_norm", self.shape.qkv),
            ("ffn_norm", self.shape.gate_up),
            ("output_norm", self.shape.output),
        ];
        let norms: String = norms.iter().map(|(name, place)| self.load_norm(place, name, "0u")).collect();
        let _ = writeln!(text, "fn load_first() {{\n{ahead}{norms}}}");
    }

    /// A phase of every layer: a product, and what it takes and leaves. Weights of a layer that registers hold are loaded again as soon
    /// as they have been used. Those of a large model are on their way from memory for long, and the words of a vector would come
    /// behind them: they are loaded when it has come.
    pub(super) fn phase(&self, text: &mut String, work: Work) {
        let share = self.share(work);
        self.load(text, work, &share);
        self.multiply(text, work, &share);
        self.finish(text, work, &share);
        let name = work.name();
        let pause = match (work, self.geometry.holds_layer) {
            (Work::GateUp, true) => format!("  pause({}u);\n", PAUSES[0]),
            (Work::FfnDown, true) => format!("  pause({}u);\n", PAUSES[1]),
            _ => String::new(),
        };
        let loads = |layer: &str| {
            let bias = if work == Work::Qkv { self.load_bias(layer) } else { String::new() };
            format!("  load_{name}({layer});\n{bias}") + &self.load_own_norm(work, layer)
        };
        let (before, behind) = match self.geometry.holds_layer {
            true => (String::new(), loads("next")),
            false => (loads("layer"), String::new()),
        };
        let (norm, squares) = match work {
            Work::Qkv => ("attn_norm", "  finish_squares();\n"),
            Work::GateUp => ("ffn_norm", "  finish_squares();\n"),
            Work::AttnOutput | Work::FfnDown => ("", ""),
        };
        let vectors = match norm {
            "" => String::new(),
            _ => self.load_norm(&work.place(&self.shape), norm, "next"),
        };
        let stages = self.stages(work, &share, &before, squares);
        let _ =
            writeln!(text, "fn phase_{name}(layer: u32, next: u32) {{\n{pause}{stages}{behind}{vectors}}}");
    }

    /// A phase from its vector to its rows: each part of the one is taken as late as it can be, and each of the others told as early.
    /// `before` is what is loaded before the first is staged, and `squares` what follows the last.
    fn stages(&self, work: Work, share: &Share, before: &str, squares: &str) -> String {
        let (name, ends) = (work.name(), share.stages());
        let first_told = ends.len() - share.tells();
        (0..ends.len()).fold(String::new(), |mut text, k| {
            if k < share.takes {
                let [take, stage] = self.takes(work, k);
                let before = if k == 0 { before } else { "" };
                let _ = writeln!(text, "  {take}\n{before}  {stage}\n  workgroupBarrier();");
            }
            if k + 1 == share.takes {
                text += squares;
            }
            let begin = if k == 0 { 0 } else { ends[k - 1] };
            let _ = writeln!(text, "  multiply_{name}(layer, {begin}u, {}u);", ends[k]);
            if k >= first_told {
                let _ = writeln!(text, "  workgroupBarrier();\n  finish_{name}({}u);", k - first_told);
            }
            text
        })
    }

    /// Taking part `part` of a product's vector, and staging it.
    fn takes(&self, work: Work, part: usize) -> [String; 2] {
        let (vector, expected) = match work {
            Work::Qkv => ("hidden", "tag ^ 1u"),
            Work::AttnOutput => ("attended", "tag"),
            Work::GateUp => ("middle", "tag"),
            Work::FfnDown => ("gated", "tag"),
        };
        let take = format!("take_{vector}({expected}, {part}u);");
        let stage = format!("stage_{vector}({part}u);");
        let not_first = |text: String| format!("if (layer != 0u) {{ {text} }}");
        match work {
            // The first layer's is staged by the embedding.
            Work::Qkv if self.shape.rounds => [not_first(take), not_first(stage)],
            Work::Qkv => [not_first(take), stage],
            _ => [take, stage],
        }
    }

    /// Loads of a batch.
    fn load(&self, text: &mut String, work: Work, share: &Share) {
        let (name, place, registers) = (work.name(), work.place(&self.shape), self.registers_of(work));
        let block = match share.parts {
            1 => "out",
            _ => "(out / 4u * 2u + slot % 2u) * 4u + out % 4u",
        };
        let unit = |i: usize| format!("unit{registers}_{i}");
        let loads = self.of_weights(&place, "layer", |spot, quads, words| {
            let rows = Rows { spot, quads, words, place: &place, n_units: share.n_units };
            let exact = share.slices * share.batch * share.batches == share.n_runs();
            let load = |k: usize| match share.run {
                1 => rows.load("layer", "at", (k, share.slices, exact), &unit(k)),
                _ => {
                    let names = [unit(2 * k), unit(2 * k + 1)];
                    rows.load_run("layer", "at", (k, share.slices, exact), [&names[0], &names[1]])
                }
            };
            (0..share.batch).map(load).collect()
        });
        let guard = match share.is_whole(&self.geometry) {
            true => String::new(),
            false => format!("if ({}) ", self.is_on(share)),
        };
        let _ = writeln!(
            text,
            "fn load_{name}(layer: u32) {{ load_batch_of_{name}(layer, 0u); }}\n\
             fn load_batch_of_{name}(layer: u32, step: u32) {{\n{}    {guard}{{\n    let block = {block};\n\
             \x20   let at = {first};\n{loads}  }}\n}}",
            Self::slot(share),
            first = match share.takes {
                1 => Self::first(share),
                _ => format!("step / {}u * {}u + {}", share.steps(), share.n_runs(), Self::first(share)),
            },
        );
    }

    /// The thread's slice, slot and output block in a step.
    fn slot(share: &Share) -> String {
        let Share { slices, teams, batches, parts, .. } = *share;
        format!(
            "    let slice = octet % {slices}u;\n    let slot = octet / {slices}u + {} / {batches}u * {teams}u;\n\
             \x20   let out = wg + slot / {parts}u * N_GROUPS;\n",
            Self::step(share)
        )
    }

    /// Which step it is of those for a part of the vector.
    fn step(share: &Share) -> String {
        match share.takes {
            1 => "step".to_owned(),
            _ => format!("step % {}u", share.steps()),
        }
    }

    /// The first of a batch's runs in its part of the vector.
    fn first(share: &Share) -> String {
        format!("slice + {} % {}u * {}u", Self::step(share), share.batches, share.batch * share.slices)
    }

    /// Whether a thread has a block in a set.
    fn is_on(&self, share: &Share) -> String {
        format!(
            "octet < {}u && slot < {}u && out < {}u",
            share.teams * share.slices,
            share.slots * share.parts,
            share.blocks
        )
    }

    /// Products of all batches, and the sums that are left of each block.
    fn multiply(&self, text: &mut String, work: Work, share: &Share) {
        let name = work.name();
        let Share { slices, batches, .. } = *share;
        // Others have no weights.
        let guard = match share.is_whole(&self.geometry) {
            true => String::new(),
            false => format!("if (octet < {}u) ", share.teams * slices),
        };
        let products: String = (0..share.batch).map(|k| self.multiply_run(work, share, k)).collect();
        let at = format!("partials[(slot * {slices}u + slice) * 8u + r]");
        let keep = match share.takes {
            1 => format!("{at} = sum;"),
            // What the first part has left is the thread's own.
            _ => format!("if (step >= {}u) {{ sum += {at}; }} {at} = sum;", share.steps()),
        };
        let _ = writeln!(
            text,
            "fn multiply_{name}(layer: u32, begin: u32, end: u32) {{\n  var sum = 0.0;\n\
             \x20 for (var step = begin; step < end; step += 1u) {{\n{}    let first = {};\n\
             \x20   {guard}{{\n{products}    }}\n    if (step + 1u < {all}u) {{ load_batch_of_{name}(layer, step + 1u); }}\n\
             \x20   if ((step + 1u) % {batches}u == 0u) {{\n\
             \x20     if ({}) {{ {keep} }}\n      sum = 0.0;\n    }}\n  }}\n}}",
            Self::slot(share),
            Self::first(share),
            self.is_on(share),
            all = share.takes * share.steps(),
        );
    }

    /// Run `k` of a batch times x.
    fn multiply_run(&self, work: Work, share: &Share, k: usize) -> String {
        let (ty, rounds) = (work.place(&self.shape).ty, self.shape.rounds);
        let Share { slices, batch, batches, run, .. } = *share;
        // Where the part of the vector begins, in runs.
        let part = match share.takes {
            1 => String::new(),
            _ => format!("step / {}u * {}u + ", share.steps(), share.n_runs()),
        };
        let unit = |i: usize| format!("unit{}_{}", self.registers_of(work), k * run + i);
        let word = format!("{}_d", unit(0));
        let products = (0..run).fold(String::new(), |text, i| {
            let scale = match run {
                1 => Scale::Own,
                _ => Scale::OfRun(&word, [".x", ".y"][i]),
            };
            let product = units::dot(ty, rounds, &unit(i), scale);
            text + &format!("        {{\n          let u = ({part}run) * {run}u + {i}u;\n          sum += {product};\n        }}\n")
        });
        let whole = ((batches - 1) * batch + k + 1) * slices <= share.n_runs();
        let guard = if whole { String::new() } else { format!("if (run < {}u) ", share.n_runs()) };
        format!(
            "      {{\n        let run = first + {}u;\n        {guard}{{\n{products}        }}\n      }}\n",
            k * slices
        )
    }

    /// What is read of a tensor of layer `layer`, from the buffer where it is: quads and words are called as given.
    pub(super) fn of_weights(
        &self,
        place: &Place,
        layer: &str,
        read: impl Fn(&Spot, &str, &str) -> String,
    ) -> String {
        let n_layers = self.shape.n_layers;
        let end = |buffer: usize| place.first.get(buffer + 1).copied().unwrap_or(n_layers);
        let used: Vec<_> = (0..MOST_BUFFERS).filter(|&buffer| place.first[buffer] < end(buffer)).collect();
        let branch = |&buffer: &usize| {
            let (quads, words) = match buffer {
                0 => ("quads".to_owned(), "words".to_owned()),
                n => (format!("quads{n}"), format!("words{n}")),
            };
            let text = read(&place.spots[buffer], &quads, &words);
            match (used.len(), used.last() == Some(&buffer)) {
                (1, _) => text,
                (_, true) => format!("{{\n{text}      }}\n"),
                (_, false) => format!("if ({layer} < {}u) {{\n{text}      }} else ", end(buffer)),
            }
        };
        used.iter().map(branch).collect()
    }

    pub(super) fn share(&self, work: Work) -> Share {
        Share::of(&self.shape, &self.geometry, work)
    }
}
