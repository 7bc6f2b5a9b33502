//! The text of vectors: from the exchange to registers, and from there to where products read them.
//!
//! A thread takes words of a vector: numbers, or, where vectors are rounded to 8 bits, the words of blocks that were rounded where they
//! were made, of 8 numbers each.

use super::deal::Deal;
use super::exchange::{Word, copy_at};
use super::{Source, name_of};
use crate::layout::BLOCK;
use crate::persistent::shape::{Place, Shape, TYPES};
use std::fmt::Write;

/// Words that a thread waits for at a time.
const MOST_WORDS: usize = 16;
/// Words of a block: 8 numbers and their scale; and the sum of the squares of what a norm is to be made of.
pub(super) const BLOCK_WORDS: usize = 3;
pub(super) const NORM_BLOCK_WORDS: usize = 4;

/// Words of a vector of `n` that a product reads, behind a norm or not.
pub(super) fn words_of(shape: &Shape, n: usize, norm: bool) -> usize {
    match (shape.rounds, norm) {
        (false, _) => n,
        (true, norm) => n / BLOCK * block_words(norm),
    }
}

fn block_words(norm: bool) -> usize {
    if norm { NORM_BLOCK_WORDS } else { BLOCK_WORDS }
}

impl Source {
    /// The words of a vector of `n`, before a norm or not, as threads take them.
    fn deal_words(&self, n: usize, norm: bool) -> Deal {
        let n_words = words_of(&self.shape, n, norm);
        match self.shape.rounds {
            false => self.deal(n_words),
            true => self.deal_blocks(n_words, block_words(norm)),
        }
    }

    /// Vectors, from the exchange to products.
    pub(super) fn vectors(&self, text: &mut String) {
        self.vector_registers(text);
        self.takes_of_vectors(text);
        self.stages_of_vectors(text);
        self.factors_of_types(text);
    }

    /// Parts that the hidden state, that after attention and the gated vector are taken in.
    fn parts(&self) -> [usize; 3] {
        let in_halves = self.geometry.in_halves;
        [in_halves.hidden, in_halves.middle, in_halves.gated].map(|halved| if halved { 2 } else { 1 })
    }

    /// Vectors as the threads have them: `got`, what was taken last; and norms, where it is not multiplied by them before.
    fn vector_registers(&self, text: &mut String) {
        let (shape, width) = (&self.shape, self.shape.heads.width());
        let ty = if shape.rounds { "u32" } else { "f32" };
        let [hidden, middle, gated] = self.parts();
        let most = [
            (width, false),
            (shape.n_embd / hidden, true),
            (shape.n_embd / middle, true),
            (shape.n_ff / gated, false),
        ]
        .map(|(n, norm)| self.deal_words(n, norm).pieces());
        for k in 0..most.into_iter().max().unwrap_or(0) {
            let _ = writeln!(text, "var<private> got{k}: {ty};");
        }
        for k in 0..if shape.rounds { 0 } else { self.deal(shape.n_embd).pieces() } {
            let norms = ["attn_norm", "ffn_norm", "output_norm"];
            let _ = norms.map(|name| writeln!(text, "var<private> {name}{k}: f32;"));
        }
        for k in 0..if self.geometry.splits > 1 { self.deal(width).pieces() } else { 0 } {
            let _ = writeln!(text, "var<private> merged{k}: f32;");
        }
    }

    /// `take_hidden` and so on: a part of a vector, when it has come.
    fn takes_of_vectors(&self, text: &mut String) {
        let shape = &self.shape;
        let [hidden, middle, gated] = self.parts();
        let attended = match self.geometry.splits {
            1 => self.take("AT_ATTENDED", shape.heads.width(), false),
            _ => self.merge(),
        };
        for (name, lines) in [
            ("hidden", self.take_copy("AT_HIDDEN", (shape.n_embd, hidden), true)),
            ("attended", attended),
            ("middle", self.take_copy("AT_MIDDLE", (shape.n_embd, middle), true)),
            ("gated", self.take_copy("AT_GATED", (shape.n_ff, gated), false)),
        ] {
            let _ = writeln!(text, "fn take_{name}(expected: u32, part: u32) {{\n{lines}}}");
        }
    }

    /// `stage_hidden` and so on: the part that was taken, to where products read it.
    fn stages_of_vectors(&self, text: &mut String) {
        let shape = &self.shape;
        let [hidden, middle, gated] = self.parts();
        for (name, place, n, parts, norm) in [
            ("hidden", shape.qkv, shape.n_embd, hidden, Some("attn_norm")),
            ("attended", shape.attn_output, shape.heads.width(), 1, None),
            ("middle", shape.gate_up, shape.n_embd, middle, Some("ffn_norm")),
            ("gated", shape.ffn_down, shape.n_ff, gated, None),
            ("last", shape.output, shape.n_embd, hidden, Some("output_norm")),
        ] {
            let start = match (norm, parts) {
                (None, _) => "",
                (_, 1) => "  square = 0.0;\n",
                _ => "  if (part == 0u) { square = 0.0; }\n",
            };
            let lines: String = match (name, self.geometry.splits) {
                ("attended", 2..) => self.stage_merged(),
                _ => (0..self.deal_words(n / parts, norm.is_some()).pieces())
                    .map(|k| self.stage(&place, (n, parts), k, norm))
                    .collect(),
            };
            let _ = writeln!(text, "fn stage_{name}(part: u32) {{\n{start}{lines}}}");
        }
    }

    /// What numbers are multiplied by when they are staged.
    fn factors_of_types(&self, text: &mut String) {
        let shape = &self.shape;
        let head = Some(shape.output.ty).filter(|ty| !TYPES.contains(ty));
        let types = TYPES.iter().copied().chain(head).filter(|_| !shape.rounds);
        let factors = types.fold(String::new(), |factors, ty| {
            let (by, ty) = (format!("by_{}", name_of(ty)), name_of(ty));
            let _ = writeln!(text, "var<private> {by}: f32;");
            factors + &format!("  {by} = factor_{ty}(t);\n")
        });
        let _ = writeln!(text, "fn set_factors() {{\n{factors}}}");
    }

    /// The norm before a product of layer `layer`, where vectors are multiplied by it when they are staged.
    pub(super) fn load_norm(&self, place: &Place, name: &str, layer: &str) -> String {
        if self.shape.rounds {
            return String::new();
        }
        let deal = self.deal(self.shape.n_embd);
        self.of_weights(place, layer, |spot, _, words| {
            (0..deal.pieces()).fold(String::new(), |text, k| {
                let at = format!("{}u + {layer} * LAYER_WORDS + {}", spot.norm, deal.index(k));
                text + &format!("  {name}{k} = bitcast<f32>({words}[{at}]);\n")
            })
        })
    }

    /// Piece `k` of a part of the vector of `n` numbers in `parts` that was taken, on its way to a product; if it is one before a norm,
    /// `square` counts its squares.
    fn stage(&self, place: &Place, (n, parts): (usize, usize), k: usize, norm: Option<&str>) -> String {
        let deal = self.deal_words(n / parts, norm.is_some());
        let (first, on) = (deal.first(k), deal.has(k));
        if self.shape.rounds {
            let n_words = block_words(norm.is_some());
            // What is the same for all words of a thread is found once.
            let (block, word) = match first.is_multiple_of(n_words) {
                true => (format!("t / {n_words}u + {}u", first / n_words), format!("t % {n_words}u")),
                false => (format!("(t + {first}u) / {n_words}u"), format!("(t + {first}u) % {n_words}u")),
            };
            let block = match parts {
                1 => block,
                _ => format!("part * {}u + {block}", n / parts / BLOCK),
            };
            return format!("  if ({on}) {{ stage_word({block}, {word}, got{k}, {}); }}\n", self.by(place));
        }
        let (times, square) = match norm {
            Some(norm) => (format!(" * {norm}{k}"), format!(" square += got{k} * got{k};")),
            None => Default::default(),
        };
        format!("  if ({on}) {{ stage(t + {first}u, got{k}{times} * {});{square} }}\n", self.by(place))
    }

    /// A part of a vector of `n` numbers that is taken in `parts`, of which there are copies.
    fn take_copy(&self, at: &str, (n, parts): (usize, usize), norm: bool) -> String {
        let copies = self.geometry.copies;
        let n_words = words_of(&self.shape, n, norm);
        let own = copy_at(at, n_words, copies, &format!("wg % {copies}u"));
        match parts {
            1 => self.take(&own, n, norm),
            _ => self.take(&format!("{own} + part * {}u", n_words / parts), n / parts, norm),
        }
    }

    /// A vector of `n`, whose words are waited for some at a time.
    fn take(&self, at: &str, n: usize, norm: bool) -> String {
        let deal = self.deal_words(n, norm);
        let all: Vec<usize> = (0..deal.pieces()).collect();
        all.chunks(MOST_WORDS).fold(String::new(), |mut text, some| {
            let word = |&k: &usize| Word::of(deal, k, |i| format!("{at} + {i}"));
            let words: Vec<Word> = some.iter().map(word).collect();
            let _ = writeln!(text, "  {{\n{}", self.wait(&words, "expected"));
            for (i, &k) in some.iter().enumerate() {
                let word = format!("word{i}");
                let got = if self.shape.rounds { word } else { format!("number({word})") };
                let _ = writeln!(text, "  got{k} = {got};");
            }
            text + "  }\n"
        })
    }

    /// The states of all parts of the keys, put together: values, tops and totals.
    fn merge(&self) -> String {
        let (splits, width) = (self.geometry.splits, self.shape.heads.width());
        let deal = self.deal(width);
        let n = deal.pieces();
        let n_states = 2 * splits * self.shape.heads.n_heads;
        let of_split = |split: usize| {
            (0..n).map(move |k| Word::of(deal, k, |i| format!("AT_ATTENDED + {}u + {i}", split * width)))
        };
        let mut words: Vec<Word> = (0..splits).flat_map(of_split).collect();
        words.push(Word::of(self.deal(n_states), 0, |i| format!("AT_STATES + {i}")));
        let mut text = self.wait(&words, "expected");
        let _ = writeln!(
            text,
            "  if (t < {n_states}u) {{ states[t] = number(word{}); }}\n  workgroupBarrier();",
            splits * n
        );
        for k in 0..n {
            let clamped = deal.index(k);
            let _ = writeln!(text, "  {{\n    let head = {clamped} / HEAD_DIM;");
            let mut top = String::new();
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
            let _ = writeln!(text, "    merged{k} = (0.0{sum}) / (0.0{total});\n  }}");
        }
        text
    }

    fn stage_merged(&self) -> String {
        let (width, by) = (self.shape.heads.width(), self.by(&self.shape.attn_output));
        let deal = self.deal(width);
        (0..deal.pieces()).fold(String::new(), |text, k| {
            let (i, on) = (format!("t + {}u", deal.first(k)), deal.has(k));
            text + &match self.shape.rounds {
                true => format!("  stage_number({i}, merged{k}, {by}, {on});\n"),
                false => format!("  if ({on}) {{ stage({i}, merged{k} * {by}); }}\n"),
            }
        })
    }

    /// A token's embedding, on its way to the first layer's product: taken, or, where it is to be rounded, staged.
    pub(super) fn embed(&self, text: &mut String) {
        let n = self.shape.n_embd;
        let start = if self.shape.rounds { "  square = 0.0;\n" } else { "" };
        let deal = self.deal(n);
        let lines = (0..deal.pieces()).fold(start.to_owned(), |text, k| {
            let (i, on) = (deal.index(k), deal.has(k));
            text + &match self.shape.rounds {
                false => format!("  got{k} = embedded(id, {i});\n"),
                true => format!(
                    "  {{\n    let v = embedded(id, {i});\n    var norm: f32;\n{}\
                     \x20   stage_number(t + {}u, v * norm, {}, {on});\n    if ({on}) {{ square += v * v; }}\n  }}\n",
                    self.of_weights(&self.shape.qkv, "0u", |spot, _, words| {
                        format!("    norm = bitcast<f32>({words}[{}u + {i}]);\n", spot.norm)
                    }),
                    deal.first(k),
                    self.by(&self.shape.qkv)
                ),
            }
        });
        let _ = writeln!(text, "fn embed(id: u32) {{\n{lines}}}");
    }

    /// What x is multiplied by for weights of a tensor.
    fn by(&self, place: &Place) -> String {
        let ty = name_of(place.ty);
        if self.shape.rounds { format!("BY_{}", ty.to_uppercase()) } else { format!("by_{ty}") }
    }
}
