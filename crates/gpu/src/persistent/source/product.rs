//! The text of a layer's products: loads of weights ahead of their use, sums, and their publication.

use super::Source;
use super::units::{self, Rows};
use crate::layout::BLOCK;
use crate::persistent::shape::{MOST_BUFFERS, Place, Spot};
use crate::persistent::share::{Share, Work};
use gguf::TensorType;
use std::fmt::Write;

/// Units that are loaded together while others of their batch are used.
const HANDFUL: usize = 2;

impl Source {
    /// The registers that units are loaded into, by batches: every product has one, which it shares with the product `depth` before.
    pub(super) fn registers(&self, text: &mut String) {
        for first in 0..self.geometry.depth {
            let works = Work::ALL.into_iter().filter(|work| self.registers_of(*work) == first);
            let of = |work: Work| (self.share(work).batch, work.place(&self.shape).ty);
            let sizes: Vec<(usize, TensorType)> = works.map(of).collect();
            let batch = sizes.iter().map(|(batch, _)| *batch).max().unwrap_or(0);
            let mut fields: Vec<_> = sizes.iter().flat_map(|(_, ty)| units::fields(*ty)).collect();
            fields.sort_unstable();
            fields.dedup();
            (0..batch).for_each(|i| units::declare(text, &fields, &format!("unit{first}_{i}")));
        }
    }

    fn registers_of(&self, work: Work) -> usize {
        work.index() % self.geometry.depth
    }

    /// What is read before the first layer: of the first token, and of every other if the head takes the registers.
    pub(super) fn load_first(&self, text: &mut String) {
        let works = Work::ALL[..self.geometry.depth].iter();
        let loads =
            works.fold(String::new(), |text, work| text + &format!("  load_{}(0u, 0u);\n", work.name()));
        let again = if self.geometry.has_all() { "" } else { loads.as_str() };
        let _ = writeln!(text, "fn load_first_again() {{\n{again}}}\nfn load_first() {{\n{loads}");
        let norms = [
            ("attn_norm", self.shape.qkv),
            ("ffn_norm", self.shape.gate_up),
            ("output_norm", self.shape.output),
        ];
        let norms: String = norms.iter().map(|(name, place)| self.load_norm(place, name, "0u")).collect();
        let _ = writeln!(text, "{norms}{}}}", self.load_bias("0u"));
        if self.shape.biased {
            for s in 0..self.finish_sets(&self.share(Work::Qkv)) {
                let _ = writeln!(text, "var<private> bias{s}: f32;");
            }
        }
    }

    /// The bias of the rows of Q, K and V that a thread adds up.
    fn load_bias(&self, layer: &str) -> String {
        let share = self.share(Work::Qkv);
        let sets = if self.shape.biased { self.finish_sets(&share) } else { 0 };
        (0..sets).fold(String::new(), |text, s| {
            let read = self.of_weights(&self.shape.qkv, layer, |spot, _, words| {
                let row = format!("min(out, {}u) * 8u + r", share.blocks - 1);
                format!(
                    "    bias{s} = bitcast<f32>({words}[{}u + {layer} * LAYER_WORDS + {row}]);\n",
                    spot.bias
                )
            });
            text + &format!("  {{\n{}{read}  }}\n", self.finish_slot(s))
        })
    }

    /// A phase of every layer: a product, and what it takes and leaves. What is read next by its registers is loaded as soon as they
    /// have been used; or, if that has time, when others need not wait for it.
    pub(super) fn phase(&self, text: &mut String, work: Work) {
        let share = self.share(work);
        self.load(text, work, &share);
        self.multiply(text, work, &share);
        self.finish(text, work, &share);
        let name = work.name();
        let (stage, norm) = match work {
            Work::Qkv => ("if (layer != 0u) { take_hidden(tag ^ 1u); }\n  stage_hidden();", "attn_norm"),
            Work::AttnOutput => ("stage_attended(tag);", ""),
            Work::GateUp => ("take_middle(tag);\n  stage_middle();", "ffn_norm"),
            Work::FfnDown => ("stage_gated(tag);", ""),
        };
        let (after, of_next) = work.after(self.geometry.depth);
        let layer = if of_next { "next" } else { "layer" };
        let load = format!("load_{}({layer}, 0u);", after.name());
        let (soon, late) = match (self.geometry.has_all(), of_next) {
            (true, _) => (String::new(), format!("  {load}\n")),
            (false, false) => (format!("  {load}\n"), String::new()),
            // The head, which comes behind the last layer, needs the registers.
            (false, true) => (format!("  if (next != 0u) {{ {load} }}\n"), String::new()),
        };
        let squares = if norm.is_empty() { "" } else { "  finish_squares();\n" };
        let vectors = match norm {
            "" => String::new(),
            _ => self.load_norm(&work.place(&self.shape), norm, "next"),
        };
        let bias = if work == Work::Qkv { self.load_bias("next") } else { String::new() };
        let _ = writeln!(
            text,
            "fn phase_{name}(layer: u32, next: u32) {{\n  {stage}\n  workgroupBarrier();\n\
             \x20 multiply_{name}(layer);\n{soon}{squares}  workgroupBarrier();\n  finish_{name}();\n{late}{vectors}{bias}}}"
        );
    }

    /// Loads of a batch, and of each handful of it.
    fn load(&self, text: &mut String, work: Work, share: &Share) {
        let name = work.name();
        let handfuls = self.handfuls(share);
        for (i, units) in handfuls.iter().enumerate() {
            self.load_handful(text, work, share, &format!("load_{name}_{i}"), units);
        }
        let calls: String =
            (0..handfuls.len()).map(|i| format!("  load_{name}_{i}(layer, step);\n")).collect();
        let _ = writeln!(text, "fn load_{name}(layer: u32, step: u32) {{\n{calls}}}");
    }

    /// Units of a batch that are loaded again as soon as they have been used: all of them if there is but one batch.
    fn handfuls(&self, share: &Share) -> Vec<Vec<usize>> {
        let n = if share.steps() == 1 { share.batch } else { HANDFUL };
        (0..share.batch).collect::<Vec<_>>().chunks(n).map(<[usize]>::to_vec).collect()
    }

    fn load_handful(&self, text: &mut String, work: Work, share: &Share, name: &str, units: &[usize]) {
        let (place, registers) = (work.place(&self.shape), self.registers_of(work));
        let block = match share.parts {
            1 => "out",
            _ => "(out / 4u * 2u + slot % 2u) * 4u + out % 4u",
        };
        let loads = self.of_weights(&place, "layer", |spot, quads, words| {
            let rows = Rows { spot, quads, words, place: &place, n_units: share.n_units };
            let exact = share.slices * share.batch * share.batches == share.n_units;
            let unit = |&k: &usize| {
                rows.load("layer", "at", (k, share.slices, exact), &format!("unit{registers}_{k}"))
            };
            units.iter().map(unit).collect()
        });
        let guard = match share.is_whole(&self.geometry) {
            true => String::new(),
            false => format!("if ({}) ", self.is_on(share)),
        };
        let _ = writeln!(
            text,
            "fn {name}(layer: u32, step: u32) {{\n  let slice = octet % {slices}u;\n\
             \x20 let slot = octet / {slices}u + step / {batches}u * {}u;\n  let out = wg + slot / {}u * N_GROUPS;\n\
             \x20 {guard}{{\n    let block = {block};\n    let at = slice + step % {batches}u * {}u;\n{loads}  }}\n}}",
            share.teams,
            share.parts,
            share.batch * share.slices,
            slices = share.slices,
            batches = share.batches,
        );
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
        let (name, place, registers) = (work.name(), work.place(&self.shape), self.registers_of(work));
        let Share { slices, batch, batches, .. } = *share;
        let _ = writeln!(
            text,
            "fn multiply_{name}(layer: u32) {{\n  let slice = octet % {slices}u;\n  var sum = 0.0;\n\
             \x20 for (var step = 0u; step < {}u; step += 1u) {{\n    let first = slice + step % {batches}u * {}u;",
            share.steps(),
            batch * slices
        );
        // Others have no weights.
        let guard = match share.is_whole(&self.geometry) {
            true => String::new(),
            false => format!("if (octet < {}u) ", share.teams * slices),
        };
        for (i, units) in self.handfuls(share).iter().enumerate() {
            let _ = writeln!(text, "    {guard}{{");
            for &k in units {
                let product = units::dot(place.ty, self.shape.rounds, &format!("unit{registers}_{k}"));
                let whole = ((batches - 1) * batch + k + 1) * slices <= share.n_units;
                let guard = if whole { String::new() } else { format!("if (u < {}u) ", share.n_units) };
                let _ = writeln!(
                    text,
                    "      {{\n        let u = first + {}u;\n        {guard}{{ sum += {product}; }}\n      }}",
                    k * slices
                );
            }
            let _ = writeln!(
                text,
                "    }}\n    if (step + 1u < {}u) {{ load_{name}_{i}(layer, step + 1u); }}",
                share.steps()
            );
        }
        let _ = writeln!(
            text,
            "    if ((step + 1u) % {batches}u == 0u) {{\n\
             \x20     let slot = octet / {slices}u + step / {batches}u * {}u;\n      let out = wg + slot / {}u * N_GROUPS;\n\
             \x20     if ({}) {{ partials[(slot * {slices}u + slice) * 8u + r] = sum; }}\n\
             \x20     sum = 0.0;\n    }}\n  }}\n}}",
            share.teams,
            share.parts,
            self.is_on(share),
        );
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

    /// Sums over slices, and what is done with them.
    fn finish(&self, text: &mut String, work: Work, share: &Share) {
        let (value, region) = match work {
            Work::Qkv if self.shape.biased => ("sum0 * scale + BIAS", "AT_QKV + out * 8u + r"),
            Work::Qkv => ("sum0 * scale", "AT_QKV + out * 8u + r"),
            Work::AttnOutput => ("OWN + sum0", "AT_MIDDLE + out * 8u + r"),
            Work::GateUp => ("silu(sum0 * scale) * (sum1 * scale)", "AT_GATED + out * 8u + r"),
            Work::FfnDown => ("OWN + sum0", "AT_HIDDEN + out * 8u + r"),
        };
        let adds = value.starts_with("OWN");
        let _ = writeln!(
            text,
            "fn finish_{}() {{\n  let on = alive();\n  let f = t / 8u % {}u;",
            work.name(),
            self.adders()
        );
        for s in 0..self.finish_sets(share) {
            let _ =
                writeln!(text, "  {{\n{}    if ({}) {{", self.finish_slot(s), self.finish_is_on(share, s));
            if !adds {
                text.push_str("      let scale = norm_scale();\n");
            }
            for part in 0..share.parts {
                self.add_up(text, share, part);
            }
            let value = value.replace("OWN", &format!("own{s}")).replace("BIAS", &format!("bias{s}"));
            let _ = writeln!(text, "      let made = number(bitcast<u32>({value}));");
            if adds {
                let _ = writeln!(text, "      own{s} = made;");
            }
            let _ = writeln!(
                text,
                "      if (on && f == 0u && out < {}u) {{ publish({region}, made); }}\n    }}\n  }}",
                share.blocks
            );
        }
        text.push_str("}\n");
    }

    /// The sum over slices of a slot's part, for the thread whose share of the sums is `f`, and in the end for all of them.
    fn add_up(&self, text: &mut String, share: &Share, part: usize) {
        let (adders, sums) = (self.adders(), share.slices);
        let _ = writeln!(text, "      var sum{part} = 0.0;");
        for j in (0..sums).step_by(adders) {
            let at = format!("((slot * {}u + {part}u) * {sums}u + {j}u + f) * 8u + r", share.parts);
            let _ = match j + adders <= sums {
                true => writeln!(text, "      sum{part} += partials[{at}];"),
                false => {
                    writeln!(text, "      if ({j}u + f < {sums}u) {{ sum{part} += partials[{at}]; }}")
                }
            };
        }
        for distance in [8, 16].into_iter().filter(|n| n / 8 < adders) {
            let _ = writeln!(text, "      sum{part} += subgroupShuffleXor(sum{part}, {distance}u);");
        }
    }

    /// Threads that add up the sums of a row.
    fn adders(&self) -> usize {
        (self.geometry.lanes / BLOCK).min(4)
    }

    /// Slots that are added up at a time, and how many times.
    fn finish_sets(&self, share: &Share) -> usize {
        share.slots.div_ceil(self.geometry.threads / (BLOCK * self.adders()))
    }

    fn finish_slot(&self, set: usize) -> String {
        let per_slot = BLOCK * self.adders();
        format!(
            "    let slot = t / {per_slot}u + {}u;\n    let out = wg + slot * N_GROUPS;\n",
            set * (self.geometry.threads / per_slot)
        )
    }

    fn finish_is_on(&self, share: &Share, set: usize) -> String {
        let at_once = self.geometry.threads / (BLOCK * self.adders());
        format!(
            "t < {}u && slot < {}u",
            at_once * BLOCK * self.adders(),
            share.slots.min((set + 1) * at_once)
        )
    }

    /// The thread's own elements of the hidden state, which it adds to: O's and down's rows are shared out alike.
    pub(super) fn own_elements(&self, text: &mut String) {
        let share = self.share(Work::FfnDown);
        let mut lines = String::new();
        for s in 0..self.finish_sets(&share) {
            let _ = writeln!(text, "var<private> own{s}: f32;");
            let _ = writeln!(
                lines,
                "  {{\n{}    own{s} = embedded(id, min(out, {}u) * 8u + r);\n  }}",
                self.finish_slot(s),
                share.blocks - 1
            );
        }
        let _ = writeln!(text, "fn embed_own(id: u32) {{\n{lines}}}");
    }

    fn share(&self, work: Work) -> Share {
        Share::of(&self.shape, &self.geometry, work)
    }
}
