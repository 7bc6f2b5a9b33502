//! Several greedy tokens of one sequence, from embedding to choice, in one dispatch: the text, composed phase by phase.
//!
//! Inputs: weights in row groups (see `layout`), Q4_0 or Q8_0, of one shape and place in all layers; keys and values; angles, block
//! table and the first id in `tables` and `tokens`. Outputs: ids, `tokens[position + 1]` and on; keys and values of their rows; in
//! the exchange how many tokens are done, and whether a group has stopped.
//! Requires: all workgroups at work at a time, subgroups of `lanes`, coherent buffers, what [`Shape`] says of sizes. Launch:
//! `groups` workgroups, at most n_ff / 8, of `threads`.
//!
//! | phase | waits for | leaves |
//! |---|---|---|
//! | `qkv` | hidden state (of the layer before) | Q, K, V as the projections give them |
//! | `attend` | Q, K, V of a head | what a head attends to, or the state of a part of its keys; appends K and V to the cache |
//! | `attn_output` | attended vector | hidden state after attention |
//! | `gate_up` | that | gated vector |
//! | `ffn_down` | gated vector | hidden state |
//! | `output` | hidden state | each group's best row |
//! | `choose` | those | the next token, and its embedding, for each group by itself |
//!
//! A phase is three steps: words are taken and staged in workgroup memory; products of a few rows, 8 threads to a block of rows,
//! over units of their own; sums over the slices, and their publication. A thread has its weights of a layer in registers: those of
//! the next are loaded as soon as the last have been used. Groups that do not attend read the weights after those, so that they come
//! from the cache. Keys are loaded a layer ahead, too.
//! Numerics: f32, but for the lowest bit of what is exchanged; keys and values rounded to f16 as in the cache. Against the plan of
//! dispatches: keys and values of 30 layers within 7e-4 of the largest; of 60 texts of the bundled model with 26,334 tokens one
//! differs, where two logits are 7e-5 apart.
//! Source: own.
//! Measured: SmolLM-135M in Q4_0 on an H200, 2026-11-20: 275 us a token at the beginning of a context, of which about 200 are its
//! 152 exchanges; ending the dispatch at each token costs 40 more, the two fences a token 1.

use super::shape::{Geometry, Place, Shape, Share, Work};
use crate::layout::{BLOCK, UnitWords};
use crate::shader::Shader;
use gguf::TensorType;
use std::fmt::Write;

/// Words of the exchange that say how it went: whether a group has stopped, how many tokens are done, and how many groups have
/// answered the roll call.
pub(super) const STOPPED: usize = 0;
pub(super) const DONE: usize = 1;
const PRESENT: usize = 2;
const STATUS: usize = 32;

/// Where each phase's words are in the exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Regions {
    hidden: usize,
    qkv: usize,
    attended: usize,
    states: usize,
    middle: usize,
    gated: usize,
    best: usize,
    /// Words in all.
    pub(super) len: usize,
}

impl Regions {
    pub(super) fn new(shape: &Shape, geometry: &Geometry) -> Self {
        let mut len = STATUS;
        let mut take = |n: usize| {
            let at = len;
            len += n.next_multiple_of(STATUS);
            at
        };
        let splits = geometry.splits;
        let regions = Self {
            hidden: take(shape.n_embd),
            qkv: take(shape.qkv.n_rows),
            attended: take(splits * shape.heads.width()),
            states: take(2 * splits * shape.heads.n_heads),
            middle: take(shape.n_embd),
            gated: take(shape.n_ff),
            best: take(2 * geometry.groups),
            len: 0,
        };
        Self { len, ..regions }
    }
}

/// The kernel's text.
pub(crate) fn source(shape: &Shape, geometry: &Geometry) -> String {
    Source { shape: *shape, geometry: *geometry, at: Regions::new(shape, geometry) }.compose()
}

struct Source {
    shape: Shape,
    geometry: Geometry,
    at: Regions,
}

impl Source {
    fn compose(&self) -> String {
        let (shape, geometry) = (&self.shape, &self.geometry);
        let shares = Work::ALL.map(|work| Share::of(shape, geometry, work));
        let longest = shape.n_embd.max(shape.n_ff).max(shape.heads.width());
        let partials = shares.iter().map(Share::n_partials).max().unwrap_or(0);
        let shader = shape
            .heads
            .constants(Shader::default())
            .constant("N_LAYERS", shape.n_layers)
            .constant("N_EMBD", shape.n_embd)
            .constant("N_VOCAB", shape.n_vocab)
            .constant("LONGEST", longest)
            .constant("MOST_PARTIALS", partials)
            .float("EPS", shape.eps)
            .constant("N_GROUPS", geometry.groups)
            .constant("THREADS", geometry.threads)
            .constant("SUBGROUP", geometry.lanes)
            .constant("N_SUBGROUPS", geometry.threads / geometry.lanes)
            .constant("SPLITS", geometry.splits)
            .constant("KEYS", geometry.keys)
            .constant("KV", shape.kv)
            .constant("LAYER_KV", shape.layer_kv)
            .constant("ROPE", shape.rope)
            .constant("TABLE", shape.table)
            .constant("N_BLOCKS", shape.n_blocks)
            .constant("LAYER_WORDS", shape.layer_words)
            .constant("QKV_GROUPS", shares[0].blocks.max(shares[1].blocks).min(geometry.groups))
            .constant("OUTPUT_GROUPS", shares[1].blocks.min(geometry.groups))
            .constant("STOPPED", STOPPED)
            .constant("DONE", DONE)
            .constant("PRESENT", PRESENT)
            .constant("AT_HIDDEN", self.at.hidden)
            .constant("AT_QKV", self.at.qkv)
            .constant("AT_ATTENDED", self.at.attended)
            .constant("AT_STATES", self.at.states)
            .constant("AT_MIDDLE", self.at.middle)
            .constant("AT_GATED", self.at.gated)
            .constant("AT_BEST", self.at.best)
            .text(include_str!("core.wgsl"))
            .text(include_str!("q4_0.wgsl"))
            .text(include_str!("q8_0.wgsl"))
            .text(include_str!("../shared/softmax.wgsl"))
            .text(include_str!("attention.wgsl"))
            .text(if shape.halves {
                include_str!("rope_halves.wgsl")
            } else {
                include_str!("rope_adjacent.wgsl")
            })
            .text(include_str!("choose.wgsl"));
        let mut text = String::new();
        self.vectors(&mut text);
        for (work, share) in Work::ALL.into_iter().zip(&shares) {
            self.product(&mut text, work, share);
        }
        self.attention(&mut text);
        self.output(&mut text);
        self.embedding(&mut text);
        shader.text(&text).text(include_str!("main.wgsl")).finish()
    }

    /// Elements of a vector of `n` that a thread has.
    fn elements(&self, n: usize) -> usize {
        n.div_ceil(self.geometry.threads)
    }

    /// Lines for each of a thread's elements of a vector of `n`, those past its end guarded.
    fn each(&self, n: usize, line: impl Fn(usize, &str) -> String) -> String {
        let threads = self.geometry.threads;
        (0..self.elements(n)).fold(String::new(), |text, k| {
            let line = line(k, &format!("(t + {}u)", k * threads));
            match (k + 1) * threads <= n {
                true => format!("{text}  {line}\n"),
                false => format!("{text}  if (t + {}u < {n}u) {{ {line} }}\n", k * threads),
            }
        })
    }

    /// Waits for `n_words` words whose places are given, as `word0`, `word1` and so on, until all have the tag `expected`. All lanes
    /// of a subgroup wait together. A group alone waits for itself, and a software device may run its subgroups one after another
    /// from barrier to barrier.
    fn wait(&self, n_words: usize, expected: &str, place: impl Fn(usize) -> String) -> String {
        let loads: String = (0..n_words).fold(String::new(), |text, k| {
            text + &format!(" word{k} = atomicLoad(&exchange[{}]);", place(k))
        });
        let mut text = String::new();
        if self.geometry.groups == 1 {
            text.push_str("  workgroupBarrier();\n");
        }
        for k in 0..n_words {
            let _ = writeln!(text, "  var word{k}: u32;");
        }
        let wrong: Vec<String> = (0..n_words).map(|k| format!("(word{k} ^ {expected})")).collect();
        let _ = writeln!(
            text,
            " {loads}\n  var looks = 0u;\n  while (subgroupAny((({}) & 1u) != 0u)) {{\n    if (!waits(looks)) {{ break; }}\n    looks += 1u;\n   {loads}\n  }}",
            wrong.join(" | ")
        );
        text
    }

    /// Vectors as the threads have them: `got`, element t + k THREADS of what was taken last.
    fn vectors(&self, text: &mut String) {
        let shape = &self.shape;
        let longest = shape.n_embd.max(shape.n_ff).max(shape.heads.width());
        for k in 0..self.elements(longest) {
            let _ = writeln!(text, "var<private> got{k}: f32;");
        }
        for k in 0..self.elements(shape.n_embd) {
            let _ = writeln!(
                text,
                "var<private> attn_norm{k}: f32;\nvar<private> ffn_norm{k}: f32;\nvar<private> output_norm{k}: f32;"
            );
        }
        for (name, at, n) in [
            ("hidden", "AT_HIDDEN", shape.n_embd),
            ("middle", "AT_MIDDLE", shape.n_embd),
            ("gated", "AT_GATED", shape.n_ff),
        ] {
            let _ = writeln!(text, "fn take_{name}(expected: u32) {{\n{}}}", self.take(at, n));
        }
        let attended = match self.geometry.splits {
            1 => self.take("AT_ATTENDED", shape.heads.width()),
            _ => self.merge(),
        };
        let _ = writeln!(text, "fn take_attended(expected: u32) {{\n{attended}}}");
        for (name, array, norm, ty) in [
            ("hidden", Some("hidden"), "attn_norm", shape.qkv.ty),
            ("middle", Some("middle"), "ffn_norm", shape.gate_up.ty),
            ("last", None, "output_norm", shape.output.ty),
        ] {
            let lines = self.each(shape.n_embd, |k, e| {
                let keep = array.map_or(String::new(), |array| format!("{array}[{e}] = got{k}; "));
                format!(
                    "{keep}stage({e}, got{k} * {norm}{k} * by_{}); square += got{k} * got{k};",
                    name_of(ty)
                )
            });
            let _ = writeln!(text, "fn stage_{name}() {{\n  square = 0.0;\n{lines}}}");
        }
        for (name, n, ty) in [
            ("attended", shape.heads.width(), shape.attn_output.ty),
            ("gated", shape.n_ff, shape.ffn_down.ty),
        ] {
            let lines = self.each(n, |k, e| format!("stage({e}, got{k} * by_{});", name_of(ty)));
            let _ = writeln!(text, "fn stage_{name}() {{\n{lines}}}");
        }
        text.push_str("// What elements are multiplied by when they are staged.\n");
        for ty in [TensorType::Q4_0, TensorType::Q8_0] {
            let _ = writeln!(text, "var<private> by_{}: f32;", name_of(ty));
        }
    }

    fn take(&self, at: &str, n: usize) -> String {
        let threads = self.geometry.threads;
        let place = |k: usize| match (k + 1) * threads <= n {
            true => format!("{at} + t + {}u", k * threads),
            false => format!("{at} + min(t + {}u, {}u)", k * threads, n - 1),
        };
        let words = self.wait(self.elements(n), "expected", place);
        (0..self.elements(n)).fold(words, |text, k| text + &format!("  got{k} = number(word{k});\n"))
    }

    /// The states of all parts of the keys, put together: values, tops and totals.
    fn merge(&self) -> String {
        let (threads, splits, width) =
            (self.geometry.threads, self.geometry.splits, self.shape.heads.width());
        let n = self.elements(width);
        let n_states = 2 * splits * self.shape.heads.n_heads;
        let place = |i: usize| match (i / n, i % n) {
            (split, _) if split == splits => format!("AT_STATES + min(t, {}u)", n_states - 1),
            (split, k) => {
                format!("AT_ATTENDED + {}u + min(t + {}u, {}u)", split * width, k * threads, width - 1)
            }
        };
        let mut text = self.wait(splits * n + 1, "expected", place);
        let _ = writeln!(
            text,
            "  if (t < {n_states}u) {{ states[t] = number(word{}); }}\n  workgroupBarrier();",
            splits * n
        );
        for k in 0..n {
            let _ =
                writeln!(text, "  {{\n    let head = min(t + {}u, {}u) / HEAD_DIM;", k * threads, width - 1);
            let mut top = String::from("states[head * 2u]");
            for s in 0..splits {
                let _ = writeln!(text, "    let top{s} = states[({s}u * N_HEADS + head) * 2u];");
                top = if s == 0 { "top0".to_owned() } else { format!("max({top}, top{s})") };
            }
            let _ = writeln!(text, "    let top = {top};");
            let (mut sum, mut total) = (String::new(), String::new());
            for s in 0..splits {
                let _ = writeln!(text, "    let w{s} = weight(top{s} - top);");
                let _ = write!(sum, " + w{s} * number(word{})", s * n + k);
                let _ = write!(total, " + w{s} * states[({s}u * N_HEADS + head) * 2u + 1u]");
            }
            let _ = writeln!(text, "    got{k} = (0.0{sum}) / (0.0{total});\n  }}");
        }
        text
    }

    /// Registers, loads, products and sums of one product.
    fn product(&self, text: &mut String, work: Work, share: &Share) {
        let (name, place) = (work.name(), work.place(&self.shape));
        let quads = UnitWords::of(place.ty).quads;
        for (s, k) in pairs(share.sets, share.rounds) {
            for j in 0..quads {
                let _ = writeln!(text, "var<private> {name}_{s}_{k}_{j}: vec4<u32>;");
            }
            let _ = writeln!(text, "var<private> {name}_{s}_{k}_d: u32;");
        }
        let slot = |s: usize| {
            format!(
                "    let slice = octet % {slices}u;\n    let slot = octet / {slices}u + {}u;\n    let out = wg + slot / {parts}u * N_GROUPS;\n\
                 \x20   if (octet < {}u && slot < {}u && out < {}u) {{\n",
                s * share.teams,
                share.teams * share.slices,
                share.slots * share.parts,
                share.blocks,
                slices = share.slices,
                parts = share.parts,
            )
        };
        let _ = writeln!(text, "fn load_{name}(layer: u32) {{");
        for s in 0..share.sets {
            let _ = write!(text, "  {{\n{}", slot(s));
            let block = match share.parts {
                1 => "out",
                _ => "(out / 4u * 2u + slot % 2u) * 4u + out % 4u",
            };
            let _ = writeln!(text, "      let block = {block};");
            for k in 0..share.rounds {
                let unit = Unit { place: &place, layer: "layer * LAYER_WORDS", block: "block" };
                let _ = writeln!(
                    text,
                    "      {{\n        let u = min(slice + {}u, {}u);\n{}      }}",
                    k * share.slices,
                    share.n_units - 1,
                    unit.load(&format!("{name}_{s}_{k}"), share.n_units)
                );
            }
            text.push_str("    }\n  }\n");
        }
        text.push_str(&self.norms(work));
        let _ = writeln!(text, "}}\nfn multiply_{name}() {{");
        for s in 0..share.sets {
            let _ = writeln!(text, "  {{\n{}      var sum = 0.0;", slot(s));
            for k in 0..share.rounds {
                let product = dot(place.ty, &format!("{name}_{s}_{k}"));
                let _ = writeln!(text, "      {{\n        let u = slice + {}u;", k * share.slices);
                let _ = match (k + 1) * share.slices <= share.n_units {
                    true => writeln!(text, "        sum += {product};\n      }}"),
                    false => writeln!(
                        text,
                        "        if (u < {}u) {{ sum += {product}; }}\n      }}",
                        share.n_units
                    ),
                };
            }
            let _ = writeln!(
                text,
                "      partials[(slot * {}u + slice) * 8u + r] = sum;\n    }}\n  }}",
                share.slices
            );
        }
        text.push_str("}\n");
        self.finish(text, work, share);
    }

    /// Elements of the norm that comes before the product of a layer.
    fn norms(&self, work: Work) -> String {
        let (name, norm) = match work {
            Work::Qkv => ("attn_norm", self.shape.qkv.norm),
            Work::GateUp => ("ffn_norm", self.shape.gate_up.norm),
            Work::AttnOutput | Work::FfnDown => return String::new(),
        };
        self.each(self.shape.n_embd, |k, e| {
            format!("{name}{k} = bitcast<f32>(words[{norm}u + layer * LAYER_WORDS + {e}]);")
        })
    }

    /// Sums over slices, and what is done with them.
    fn finish(&self, text: &mut String, work: Work, share: &Share) {
        let (threads, lanes) = (self.geometry.threads, self.geometry.lanes);
        let shares = (lanes / BLOCK).min(4);
        let per_slot = BLOCK * shares;
        let at_once = threads / per_slot;
        let (old, value, region) = match work {
            Work::Qkv => (None, "sum0 * scale", "AT_QKV"),
            Work::AttnOutput => (Some("hidden"), "old + sum0", "AT_MIDDLE"),
            Work::GateUp => (None, "silu(sum0 * scale) * (sum1 * scale)", "AT_GATED"),
            Work::FfnDown => (Some("middle"), "old + sum0", "AT_HIDDEN"),
        };
        let _ = writeln!(
            text,
            "fn finish_{}() {{\n  let on = alive();\n  let f = t / 8u % {shares}u;",
            work.name()
        );
        for s in 0..share.slots.div_ceil(at_once) {
            let _ = writeln!(
                text,
                "  {{\n    let slot = t / {per_slot}u + {}u;\n    let out = wg + slot * N_GROUPS;\n    if (t < {}u && slot < {}u) {{",
                s * at_once,
                at_once * per_slot,
                share.slots
            );
            if let Some(old) = old {
                let _ = writeln!(text, "      let old = {old}[min(out, {}u) * 8u + r];", share.blocks - 1);
            } else {
                text.push_str("      let scale = norm_scale();\n");
            }
            for part in 0..share.parts {
                let _ = writeln!(text, "      var sum{part} = 0.0;");
                for j in (0..share.slices).step_by(shares) {
                    let at = format!(
                        "((slot * {}u + {part}u) * {}u + {j}u + f) * 8u + r",
                        share.parts, share.slices
                    );
                    let _ = match j + shares <= share.slices {
                        true => writeln!(text, "      sum{part} += partials[{at}];"),
                        false => {
                            writeln!(
                                text,
                                "      if ({j}u + f < {}u) {{ sum{part} += partials[{at}]; }}",
                                share.slices
                            )
                        }
                    };
                }
                for distance in [8, 16].into_iter().filter(|&n| n < per_slot) {
                    let _ = writeln!(text, "      sum{part} += subgroupShuffleXor(sum{part}, {distance}u);");
                }
            }
            let _ = writeln!(
                text,
                "      if (on && f == 0u && out < {}u) {{ publish({region} + out * 8u + r, {value}); }}\n    }}\n  }}",
                share.blocks
            );
        }
        text.push_str("}\n");
    }
}

/// A unit of 32 weights of the thread's row.
struct Unit<'a> {
    place: &'a Place,
    /// Words from the first layer on, and the block of 8 rows.
    layer: &'a str,
    block: &'a str,
}

impl Unit<'_> {
    /// Loads of unit `u`, of `n_units`, into the registers called `name`.
    fn load(&self, name: &str, n_units: usize) -> String {
        let Self { place, layer, block } = self;
        let n = UnitWords::of(place.ty).quads;
        let mut text = String::new();
        for j in 0..n {
            let _ = writeln!(
                text,
                "        {name}_{j} = quads[{}u + ({layer}) / 4u + (({block} * {n_units}u + u) * {n}u + {j}u) * 8u + r];",
                place.quads / 4
            );
        }
        let _ = writeln!(
            text,
            "        {name}_d = words[{}u + {layer} + ({block} * {}u + u / 2u) * 8u + r];",
            place.pairs,
            n_units.div_ceil(2)
        );
        text
    }
}

/// The registers called `name` times unit `u` of x.
fn dot(ty: TensorType, name: &str) -> String {
    let quads: Vec<String> = (0..UnitWords::of(ty).quads).map(|j| format!("{name}_{j}")).collect();
    format!("unpack2x16float({name}_d >> (u % 2u * 16u)).x * dot_{}({}, u)", name_of(ty), quads.join(", "))
}

/// A type in the names of functions.
fn name_of(ty: TensorType) -> String {
    ty.name().to_lowercase()
}

fn pairs(n: usize, m: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |i| (0..m).map(move |j| (i, j)))
}

mod attention;
mod output;
