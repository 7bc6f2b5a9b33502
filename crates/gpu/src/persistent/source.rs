//! Several tokens of one sequence, from embedding to choice, in one dispatch: the text, composed phase by phase. A text takes the best
//! token each time, or draws it as [`draw`](crate::kernels::draw) does.
//!
//! Inputs: weights in row groups (see `layout`), Q4_0 or Q8_0, of one shape and place in all layers, the head and the embedding
//! Q6_K as well; keys and values; angles, block table and the first id in `tables` and `tokens`. Outputs: ids,
//! `tokens[position + 1]` and on; keys and values of their rows; in the exchange how many tokens are done, and whether a group has
//! stopped.
//! Requires: all workgroups at work at a time, subgroups of `lanes`, coherent buffers, what [`Shape`] says of sizes. Launch:
//! `groups` workgroups, at most n_ff / 8, of `threads`, and behind them `helpers` that need not be at work at that time.
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
//! | or `draw` | those, then lists | each group's rows that may be among the best few; the next token, likewise |
//!
//! A phase is three steps: words are taken and staged in workgroup memory; products of a few rows, 8 threads to a block of rows,
//! over units of their own; sums over the slices, and their publication.
//!
//! A thread of a small model has its weights of a layer in registers, and loads those of the next as soon as the last have been used;
//! groups that do not attend read the weights after those, so that they come from the cache. Of a larger model a thread has a few
//! units, and loads others as soon as those have been used; but nothing while it waits for a vector, whose words would come behind.
//! Groups that do not attend read the weights that come next. Of a small model a few more groups, which nobody waits for, bring keys and
//! values of the layer that comes next near (`help.wgsl`).
//! Where that shares out well, vectors of a large model are told in halves: of a phase's rows the first half is told while the second is
//! made, and who takes the vector multiplies the first half before it looks at the second. So nobody waits for what has just been made.
//! A word that many look at is slow to come. So what all groups wait for is told in several copies, of which each group looks at one;
//! and where the words are known to take a while, a small model's groups wait a little before they look at all.
//! Numerics: f32, but for the lowest bit of what is exchanged, and vectors rounded to 8 bits where that is asked for: by whoever makes
//! them, 8 numbers with a scale of their own, of every four the first to an even number, in whose place the tag is. Keys and values
//! rounded to f16 as in the cache. In floats, against the plan of dispatches: keys and values of 30 layers within 7e-4 of the largest;
//! of 60 texts of the bundled model with 26,334 tokens one differed, where two logits are 7e-5 apart. In 8 bits texts part from those
//! of that plan, which rounds in blocks of 32.
//! Source: own.
//! Measured on an H200, Q4_0, 128 tokens. SmolLM-135M, floats: 280 to 282 us a token on a machine where the version before took 300 to
//! 303. What costs: words that are looked at by more threads than need them (8), sums that are added by shuffles before they are left
//! (20), four loads of 8 words side by side in place of one of 32 (95), words of a block in four lines (70), weights and keys loaded only
//! when the next vector has come (20), keys loaded between attention and gates and not behind those (7), one copy in place of four (4),
//! no wait before looks (9). Without looks in vain a version of 290 took 254, without products besides 187, without those of keys 140.
//! A draw among the best 40 takes 16 us more than the best (to the least key that counts 5, lists and their fence 2, their lengths 3, all
//! candidates in order 2, the draw itself 3), and took 15 more with loops written out: what a token goes through once is not at hand
//! as a program. Keys found digit by digit, and logits kept in registers until the head is done, took 3 more.
//! Llama-8B: 1,548 us without halves, 347 for 8 layers with them and 363 without; 1,592 and 376 while the compiler did not know which
//! threads are together (see `Source::meet`), 382 while it saw through a constant besides (`opaque_upper`). In a version before, where everybody
//! rounded whole vectors, it was 580 us for 8 layers, 500 without that and with a quarter of the words; with weights on their way while
//! words were looked at 328 for 6 layers, 315 without.
//! Llama-1B: 339 us, 372 without halves, 391 before that; 414 while a thread asked of each of its words which it is. What threads do to
//! words counts: 256 of 512 threads that take them for all took 434 where it was 416, and with the others to multiply, whose weights
//! come meanwhile, 478 to 495 where it is 391 to 394.
//! There are 128 registers for each of 512 threads, of which those of weights are few: with more a token took longer.

use super::shape::{Geometry, Shape, TYPE_OF_HEAD};
use super::share::{Share, Work};
use crate::layout::quant_offset;
use crate::shader::Shader;
pub(super) use choice::{CODES, LEAST_PARTIALS};
use exchange::Regions;
pub(super) use exchange::{DONE, STOPPED, exchange_words};
use gguf::TensorType;

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
    fn constants(&self) -> Shader {
        let (shape, geometry) = (&self.shape, &self.geometry);
        let shares = Work::ALL.map(|work| Share::of(shape, geometry, work));
        let shader = shape
            .heads
            .constants(Shader::default())
            .constant("N_LAYERS", shape.n_layers)
            .constant("N_EMBD", shape.n_embd)
            .constant("N_VOCAB", shape.n_vocab)
            .constant("MOST_PARTIALS", shape.n_partials(geometry, &shares))
            .float("EPS", shape.eps)
            .constant("N_GROUPS", geometry.groups)
            .constant("THREADS", geometry.threads)
            .constant("SUBGROUP", geometry.lanes)
            .constant("N_SUBGROUPS", geometry.threads / geometry.lanes)
            .constant("SPLITS", geometry.splits)
            .constant("KEYS", geometry.keys)
            .text(&format!("const AHEAD = {};", geometry.holds_layer))
            .constant("KV", shape.kv)
            .constant("LAYER_KV", shape.layer_kv)
            .constant("ROPE", shape.rope)
            .constant("TABLE", shape.table)
            .constant("N_BLOCKS", shape.n_blocks)
            .constant("LAYER_WORDS", shape.layer_words as usize)
            .constant("QKV_GROUPS", shares[0].blocks.min(geometry.groups))
            .constant("OUTPUT_GROUPS", shares[1].blocks.min(geometry.groups));
        self.at.constants(shader)
    }

    fn compose(&self) -> String {
        let (shape, geometry) = (&self.shape, &self.geometry);
        let mut shader = self
            .constants()
            .text(include_str!("core.wgsl"))
            .text(include_str!("../shared/softmax.wgsl"))
            .text(include_str!("attention.wgsl"))
            .text(if shape.halves {
                include_str!("rope_halves.wgsl")
            } else {
                include_str!("rope_adjacent.wgsl")
            })
            .text(include_str!("../shared/keys.wgsl"))
            .text(include_str!("choose.wgsl"));
        if geometry.helpers > 0 {
            shader = shader.constant("HELPERS", geometry.helpers).text(include_str!("help.wgsl"));
        }
        if geometry.draws {
            shader = self.draws(shader);
        }
        for n in 1..shape.n_buffers() {
            shader = shader.text(&more_weights(n));
        }
        let shader = self.factors(shader);
        let shader = shader.text(match shape.head_norms {
            true => include_str!("head_norms.wgsl"),
            false => include_str!("no_head_norms.wgsl"),
        });
        let mut text = self.subgroup_sum();
        self.vectors(&mut text);
        self.registers(&mut text);
        for work in Work::ALL {
            self.phase(&mut text, work);
        }
        self.load_first(&mut text);
        self.attention(&mut text);
        self.output(&mut text);
        self.choice(&mut text);
        self.embedded(&mut text);
        self.embed(&mut text);
        self.own_elements(&mut text);
        let (first, next) = match geometry.draws {
            true => ("let even = even_number(p.position + token);", "draw(best, even)"),
            false => ("", "choose(best)"),
        };
        let [help, tell, end] = match geometry.helpers {
            0 => [""; 3],
            _ => [
                "if (wg >= N_GROUPS) {\n    help();\n    return;\n  }",
                "tell_progress(i * N_LAYERS + layer);",
                "tell_progress(p.n_tokens * N_LAYERS);",
            ],
        };
        let other_half =
            if geometry.in_halves.hidden { "take_hidden(tag, 1u);\n  stage_last(1u);" } else { "" };
        let main = include_str!("main.wgsl")
            .replace("// <help>", help)
            .replace("// <progress>", tell)
            .replace("// <end>", end)
            .replace("// <random number>", first)
            .replace("// <the other half>", other_half)
            .replace("<next token>", next);
        shader.text(&text).text(&main).finish()
    }

    /// A number of each lane, added up. `subgroupAdd` asks which lanes there are before it does the same.
    fn subgroup_sum(&self) -> String {
        let distances = (0..).map(|i| 1 << i).take_while(|&distance| distance < self.geometry.lanes);
        let sums: String = distances.fold(String::new(), |text, distance: usize| {
            text + &format!("  sum += subgroupShuffleXor(sum, {distance}u);\n")
        });
        format!("fn subgroup_sum(v: f32) -> f32 {{\n  var sum = v;\n{sums}  return sum;\n}}\n")
    }

    /// What products are of: x as it is staged, and weights.
    fn factors(&self, shader: Shader) -> Shader {
        let (shape, geometry) = (&self.shape, &self.geometry);
        let shader = match shape.rounds {
            false => shader
                .constant("LONGEST", shape.longest())
                .text(include_str!("staged.wgsl"))
                .text(include_str!("q4_0.wgsl"))
                .text(include_str!("q8_0.wgsl")),
            true => shader
                .constant("LONGEST", shape.longest())
                .constant("N_ROUNDED", shape.staged_bytes(geometry) / 16)
                .text(include_str!("rounded.wgsl")),
        };
        match (shape.output.ty, shape.rounds) {
            (TYPE_OF_HEAD, false) => shader.text(include_str!("q6_k.wgsl")),
            (TYPE_OF_HEAD, true) => shader
                .float("OFFSET", f32::from(quant_offset(TYPE_OF_HEAD)))
                .text(include_str!("../shared/words.wgsl"))
                .text(include_str!("rounded_q6_k.wgsl")),
            _ => shader,
        }
    }
}

/// Buffer `n` of weights, one behind the first, twice.
fn more_weights(n: usize) -> String {
    let binding = 2 * (n - 1);
    format!(
        "@group(3) @binding({binding}) var<storage, read> quads{n}: array<vec4<u32>>;\n\
         @group(3) @binding({}) var<storage, read> words{n}: array<u32>;",
        binding + 1
    )
}

/// A type in the names of functions.
fn name_of(ty: TensorType) -> String {
    ty.name().to_lowercase()
}

mod attention;
mod choice;
mod deal;
mod exchange;
mod finish;
mod output;
mod product;
mod units;
mod vectors;
