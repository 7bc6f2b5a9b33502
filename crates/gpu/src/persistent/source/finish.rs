//! The text of what becomes of a product's sums: added up, made into the rows of the next vector, rounded, and told.

use super::Source;
use super::exchange::copy_at;
use super::vectors::{BLOCK_WORDS, NORM_BLOCK_WORDS, words_of};
use crate::layout::BLOCK;
use crate::persistent::shape::Place;
use crate::persistent::share::{Share, Work};
use std::fmt::Write;

impl Source {
    /// Sums over slices, and what is done with them.
    pub(super) fn finish(&self, text: &mut String, work: Work, share: &Share) {
        let value = match work {
            Work::Qkv if self.shape.biased => "sum0 * scale + BIAS",
            Work::Qkv => "sum0 * scale",
            Work::GateUp => "silu(sum0 * scale) * (sum1 * scale)",
            Work::AttnOutput | Work::FfnDown => "OWN + sum0",
        };
        let adds = value.starts_with("OWN");
        let _ = writeln!(
            text,
            "fn finish_{}(told: u32) {{\n  let on = alive();\n  let f = t / 8u % {}u;",
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
            // What others get is what is added to.
            let made = if self.shape.rounds { value } else { format!("number(bitcast<u32>({value}))") };
            let _ = writeln!(text, "      let made = {made};");
            if adds {
                let _ = writeln!(text, "      own{s} = made;");
            }
            text.push_str(&self.tell(work, share, s));
            text.push_str("    }\n  }\n");
        }
        text.push_str("}\n");
    }

    /// What becomes known of the rows of set `set` that were made: each thread that has a sum tells a copy of it, or several.
    fn tell(&self, work: Work, share: &Share, set: usize) -> String {
        let shape = &self.shape;
        let (region, n_words, copies) = match work {
            // Few groups wait for the same.
            Work::Qkv => ("AT_QKV", shape.qkv.n_rows, 1),
            Work::AttnOutput => ("AT_MIDDLE", words_of(shape, shape.n_embd, true), self.geometry.copies),
            Work::GateUp => ("AT_GATED", words_of(shape, shape.n_ff, false), self.geometry.copies),
            Work::FfnDown => ("AT_HIDDEN", words_of(shape, shape.n_embd, true), self.geometry.copies),
        };
        (0..copies).step_by(self.adders()).fold(String::new(), |text, first| {
            let on = format!("on && f + {first}u < {copies}u && out < {}u", share.blocks);
            let at = copy_at(region, n_words, copies, &format!("(f + {first}u)"));
            // Of a block all lanes are on, since they round it together.
            text + &match (self.own_norm(work), work) {
                (Some(norm), _) => {
                    format!(
                        "      publish_block({at}, out, made * {norm}{set}, octet_sum(made * made), {NORM_BLOCK_WORDS}u, {on});\n"
                    )
                }
                (None, Work::GateUp) if shape.rounds => {
                    format!("      publish_block({at}, out, made, 0.0, {BLOCK_WORDS}u, {on});\n")
                }
                _ => format!("      if ({on}) {{ publish({at} + out * 8u + r, made); }}\n"),
            }
        })
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
        let on = format!(
            "t < {}u && slot < {}u",
            at_once * BLOCK * self.adders(),
            share.slots.min((set + 1) * at_once)
        );
        // One comparison: where there were two, NVIDIA's compiler did not know which threads of a subgroup are together, in all of a layer.
        let first = share.first_slots();
        match share.tells() {
            1 => on,
            _ => format!(
                "slot - select({first}u, 0u, told == 0u) < select({}u, {first}u, told == 0u)",
                share.slots - first
            ),
        }
    }

    /// The thread's own elements of the hidden state, which it adds to: O's and down's rows are shared out alike.
    pub(super) fn own_elements(&self, text: &mut String) {
        let share = self.share(Work::FfnDown);
        let mut lines = String::new();
        for s in 0..self.finish_sets(&share) {
            let _ = writeln!(text, "var<private> own{s}: f32;");
            for name in Work::ALL.iter().filter_map(|work| self.own_norm(*work)) {
                let _ = writeln!(text, "var<private> {name}{s}: f32;");
            }
            let _ = writeln!(
                lines,
                "  {{\n{}    own{s} = embedded(id, min(out, {}u) * 8u + r);\n  }}",
                self.finish_slot(s),
                share.blocks - 1
            );
        }
        for s in 0..if self.shape.biased { self.finish_sets(&self.share(Work::Qkv)) } else { 0 } {
            let _ = writeln!(text, "var<private> bias{s}: f32;");
        }
        let _ = writeln!(text, "fn embed_own(id: u32) {{\n{lines}}}");
    }

    /// The bias of the rows of Q, K and V that a thread adds up.
    pub(super) fn load_bias(&self, layer: &str) -> String {
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

    /// Of a vector that is rounded where it is made, the norm's weights of the rows that a thread adds up of layer `layer`: O's are
    /// those before gates and ups, down's those of the layer after, or before the head.
    pub(super) fn load_own_norm(&self, work: Work, layer: &str) -> String {
        let shape = &self.shape;
        let Some(name) = self.own_norm(work) else { return String::new() };
        let share = self.share(work);
        let row = format!("min(out, {}u) * 8u + r", share.blocks - 1);
        (0..self.finish_sets(&share)).fold(String::new(), |text, s| {
            let read = |place: &Place, layer: &str| {
                self.of_weights(place, layer, |spot, _, words| {
                    let at = format!("{}u + {layer} * LAYER_WORDS + {row}", spot.norm);
                    format!("    {name}{s} = bitcast<f32>({words}[{at}]);\n")
                })
            };
            let read = match work {
                Work::AttnOutput => read(&shape.gate_up, layer),
                _ => format!(
                    "    let after = {layer} + 1u;\n    if (after == N_LAYERS) {{\n{}    }} else {{\n{}    }}\n",
                    read(&shape.output, "0u"),
                    read(&shape.qkv, "after")
                ),
            };
            text + &format!("  {{\n{}{read}  }}\n", self.finish_slot(s))
        })
    }

    /// What those are called.
    fn own_norm(&self, work: Work) -> Option<&'static str> {
        match work {
            _ if !self.shape.rounds => None,
            Work::AttnOutput => Some("norm_after_attn_output"),
            Work::FfnDown => Some("norm_after_ffn_down"),
            Work::Qkv | Work::GateUp => None,
        }
    }
}
