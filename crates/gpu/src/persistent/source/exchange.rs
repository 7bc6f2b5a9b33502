//! The text of what groups exchange: waiting for words, vectors in registers, and their way to where products read them.

use super::{Source, name_of};
use crate::layout::UNIT;
use crate::persistent::shape::{Geometry, Place, Shape, TYPES};
use crate::shader::Shader;
use std::fmt::Write;

/// Words of the exchange that say how it went: whether a group has stopped, how many tokens are done, and how many groups have
/// answered the roll call.
pub(in crate::persistent) const STOPPED: usize = 0;
pub(in crate::persistent) const DONE: usize = 1;
const PRESENT: usize = 2;
/// Words of a line: what different phases use is not on the same.
const LINE: usize = 32;

/// Words that a thread waits for at a time.
const MOST_WORDS: usize = 16;

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
    len: usize,
}

/// Words of the exchange in all.
pub(in crate::persistent) fn exchange_words(shape: &Shape, geometry: &Geometry) -> usize {
    Regions::new(shape, geometry).len
}

impl Regions {
    pub(super) fn new(shape: &Shape, geometry: &Geometry) -> Self {
        let mut len = LINE;
        let mut take = |n: usize| {
            let at = len;
            len += n.next_multiple_of(LINE);
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

    pub(super) fn constants(&self, shader: Shader) -> Shader {
        shader
            .constant("STOPPED", STOPPED)
            .constant("DONE", DONE)
            .constant("PRESENT", PRESENT)
            .constant("AT_HIDDEN", self.hidden)
            .constant("AT_QKV", self.qkv)
            .constant("AT_ATTENDED", self.attended)
            .constant("AT_STATES", self.states)
            .constant("AT_MIDDLE", self.middle)
            .constant("AT_GATED", self.gated)
            .constant("AT_BEST", self.best)
    }
}

/// A word of the exchange that a thread waits for, as WGSL.
pub(super) struct Word {
    place: String,
    /// Whether it does; the same in all lanes of a subgroup.
    needed: String,
}

impl Source {
    /// Elements that a thread has side by side in registers: one, or four of a unit, eight apart, where units are rounded.
    fn width(&self) -> usize {
        if self.shape.rounds { 4 } else { 1 }
    }

    /// The type of such elements.
    fn number_type(&self) -> &'static str {
        if self.shape.rounds { "vec4<f32>" } else { "f32" }
    }

    /// Pieces of so many elements that a thread has of a vector of `n`.
    pub(super) fn pieces(&self, n: usize) -> usize {
        (n / self.width()).div_ceil(self.geometry.threads)
    }

    /// A thread's piece `k` of a vector of `n`, as WGSL: its number, clamped, and whether it has one.
    fn piece(&self, n: usize, k: usize) -> (String, String) {
        let (i, n_pieces) = (format!("t + {}u", k * self.geometry.threads), n / self.width());
        match (k + 1) * self.geometry.threads <= n_pieces {
            true => (format!("({i})"), "true".to_owned()),
            false => (format!("min({i}, {}u)", n_pieces - 1), format!("{i} < {n_pieces}u")),
        }
    }

    /// What `of` says of each element of a thread's piece `k`, put together.
    pub(super) fn of_elements(&self, n: usize, k: usize, of: impl Fn(&str) -> String) -> String {
        let i = self.piece(n, k).0;
        match self.shape.rounds {
            false => of(&i),
            true => {
                let each: Vec<String> = (0..4).map(|c| of(&format!("(four({i}) + {}u)", 8 * c))).collect();
                format!("vec4({})", each.join(", "))
            }
        }
    }

    /// Waits for words as `word0`, `word1` and so on, until all have the tag `expected`; a word that a thread needs not have counts as
    /// if it had. All lanes of a subgroup wait together. A group alone waits for itself, and a software device may run its subgroups
    /// one after another from barrier to barrier.
    pub(super) fn wait(&self, words: &[Word], expected: &str) -> String {
        let mut text = String::new();
        if self.geometry.groups == 1 {
            text.push_str("  workgroupBarrier();\n");
        }
        let (mut loads, mut again) = (String::new(), String::new());
        for (k, word) in words.iter().enumerate() {
            let _ = writeln!(text, "  var word{k} = {expected};");
            let load = format!("word{k} = atomicLoad(&exchange[{}]);", word.place);
            loads += &match word.needed.as_str() {
                "true" => format!("  {load}\n"),
                needed => format!("  if ({needed}) {{ {load} }}\n"),
            };
            let _ = writeln!(again, "    if (((word{k} ^ {expected}) & 1u) != 0u) {{ {load} }}");
        }
        let wrong: Vec<String> = (0..words.len()).map(|k| format!("(word{k} ^ {expected})")).collect();
        let _ = writeln!(
            text,
            "{loads}  var looks = 0u;\n  while (subgroupAny((({}) & 1u) != 0u)) {{\n    if (!waits(looks)) {{ break; }}\n    looks += 1u;\n{again}  }}",
            wrong.join(" | ")
        );
        text
    }

    /// Word `t + k THREADS` of `n`, for threads in whose subgroup somebody has one: words that all groups look at are slow to come,
    /// the more so the more look at them.
    pub(super) fn word(&self, n: usize, k: usize, place: impl Fn(&str) -> String) -> Word {
        let (first, lanes) = (k * self.geometry.threads, self.geometry.lanes);
        let (i, needed) = match first + self.geometry.threads <= n {
            true => (format!("(t + {first}u)"), "true".to_owned()),
            false => (
                format!("min(t + {first}u, {}u)", n - 1),
                format!("t / {lanes}u * {lanes}u + {first}u < {n}u"),
            ),
        };
        Word { place: place(&i), needed }
    }

    /// The words of a thread's piece `k` of a vector of `n` at `at`. For fours a subgroup of 32 reads four lines of its vector, one at a
    /// time, and `turned` gives each lane its four; smaller ones read fours as they are.
    fn words(&self, at: &str, n: usize, k: usize) -> Vec<Word> {
        let i = format!("(t + {}u)", k * self.geometry.threads);
        let of_line = |c: usize| Word {
            place: format!("{at} + {i} / 32u * 128u + {i} % 32u + {}u", 32 * c),
            needed: match 4 * (k + 1) * self.geometry.threads <= n {
                true => "true".to_owned(),
                false => format!("{i} / 32u * 128u + {}u < {n}u", 32 * c),
            },
        };
        let of_four = |c: usize| Word {
            place: format!("{at} + four({}) + {}u", self.piece(n, k).0, 8 * c),
            needed: "true".to_owned(),
        };
        match (self.shape.rounds, self.geometry.lanes) {
            (false, _) => vec![self.word(n, k, |e| format!("{at} + {e}"))],
            (true, UNIT) => (0..4).map(of_line).collect(),
            (true, _) => (0..4).map(of_four).collect(),
        }
    }

    /// The numbers of a piece whose words were waited for from `first` on.
    fn numbers(&self, first: usize) -> String {
        let words =
            format!("vec4<u32>(word{first}, word{}, word{}, word{})", first + 1, first + 2, first + 3);
        match (self.shape.rounds, self.geometry.lanes) {
            (false, _) => format!("number(word{first})"),
            (true, UNIT) => format!("numbers(turned({words}))"),
            (true, _) => format!("numbers({words})"),
        }
    }

    /// Vectors as the threads have them: `got`, piece t + k THREADS of what was taken last, and the same of norms.
    pub(super) fn vectors(&self, text: &mut String) {
        let shape = &self.shape;
        let longest = shape.n_embd.max(shape.n_ff).max(shape.heads.width());
        let ty = self.number_type();
        for k in 0..self.pieces(longest) {
            let _ = writeln!(text, "var<private> got{k}: {ty};");
        }
        for k in 0..self.pieces(shape.n_embd) {
            let norms = ["attn_norm", "ffn_norm", "output_norm"];
            let _ = norms.map(|name| writeln!(text, "var<private> {name}{k}: {ty};"));
        }
        let width = shape.heads.width();
        for (name, at, n) in [("hidden", "AT_HIDDEN", shape.n_embd), ("middle", "AT_MIDDLE", shape.n_embd)] {
            let _ = writeln!(text, "fn take_{name}(expected: u32) {{\n{}}}", self.take(at, n, None));
        }
        let attended = match self.geometry.splits {
            1 => self.take("AT_ATTENDED", width, Some(&shape.attn_output)),
            _ => self.merge() + &self.stage(&shape.attn_output, width, None),
        };
        let gated = self.take("AT_GATED", shape.n_ff, Some(&shape.ffn_down));
        for (name, lines) in [("attended", attended), ("gated", gated)] {
            let _ = writeln!(text, "fn stage_{name}(expected: u32) {{\n{lines}}}");
        }
        for (name, place, norm) in [
            ("hidden", shape.qkv, "attn_norm"),
            ("middle", shape.gate_up, "ffn_norm"),
            ("last", shape.output, "output_norm"),
        ] {
            let _ =
                writeln!(text, "fn stage_{name}() {{\n{}}}", self.stage(&place, shape.n_embd, Some(norm)));
        }
        // What elements are multiplied by when they are staged.
        let head = Some(shape.output.ty).filter(|ty| !TYPES.contains(ty));
        let types = TYPES.iter().copied().chain(head).filter(|_| !shape.rounds);
        let factors = types.fold(String::new(), |factors, ty| {
            let ty = name_of(ty);
            let _ = writeln!(text, "var<private> by_{ty}: f32;");
            factors + &format!("  by_{ty} = factor_{ty}(t);\n")
        });
        let _ = writeln!(text, "fn set_factors() {{\n{factors}}}");
    }

    /// The norm before a product of layer `layer`.
    pub(super) fn load_norm(&self, place: &Place, name: &str, layer: &str) -> String {
        self.of_weights(place, layer, |spot, _, words| {
            (0..self.pieces(self.shape.n_embd)).fold(String::new(), |text, k| {
                let of =
                    |e: &str| format!("bitcast<f32>({words}[{}u + {layer} * LAYER_WORDS + {e}])", spot.norm);
                text + &format!("  {name}{k} = {};\n", self.of_elements(self.shape.n_embd, k, of))
            })
        })
    }

    /// The vector that was taken, on its way to a product; `square` is the sum of its squares if it is one before a norm.
    fn stage(&self, place: &Place, n: usize, norm: Option<&str>) -> String {
        let start = if norm.is_some() { "  square = 0.0;\n" } else { "" };
        (0..self.pieces(n)).fold(start.to_owned(), |text, k| text + &self.stage_piece(place, n, k, norm))
    }

    fn stage_piece(&self, place: &Place, n: usize, k: usize, norm: Option<&str>) -> String {
        let (i, (_, on)) = (format!("t + {}u", k * self.geometry.threads), self.piece(n, k));
        let by = norm.map_or(String::new(), |norm| format!(" * {norm}{k}"));
        let stage = match self.shape.rounds {
            true => format!("  stage_rounded({i}, got{k}{by}, {on});\n"),
            false => format!("  if ({on}) {{ stage({i}, got{k}{by} * by_{}); }}\n", name_of(place.ty)),
        };
        match (norm, self.shape.rounds) {
            (Some(_), true) => format!("{stage}  if ({on}) {{ square += dot(got{k}, got{k}); }}\n"),
            (Some(_), false) => format!("{stage}  if ({on}) {{ square += got{k} * got{k}; }}\n"),
            (None, _) => stage,
        }
    }

    /// Words are waited for a few at a time, and staged at once for a product that needs nothing else: all of a long vector would take
    /// too many registers.
    fn take(&self, at: &str, n: usize, product: Option<&Place>) -> String {
        let all: Vec<usize> = (0..self.pieces(n)).collect();
        all.chunks(MOST_WORDS / self.width()).fold(String::new(), |mut text, some| {
            let words: Vec<Word> = some.iter().flat_map(|&k| self.words(at, n, k)).collect();
            let _ = writeln!(text, "  {{\n{}", self.wait(&words, "expected"));
            for (i, &k) in some.iter().enumerate() {
                let _ = writeln!(text, "  got{k} = {};", self.numbers(i * self.width()));
            }
            let stage = |place| some.iter().map(|&k| self.stage_piece(place, n, k, None)).collect();
            text + &product.map_or(String::new(), stage) + "  }\n"
        })
    }

    /// The states of all parts of the keys, put together: values, tops and totals.
    fn merge(&self) -> String {
        let (splits, width) = (self.geometry.splits, self.shape.heads.width());
        let n = self.pieces(width);
        let n_states = 2 * splits * self.shape.heads.n_heads;
        let of_split = |split: usize| {
            let at = format!("AT_ATTENDED + {}u", split * width);
            (0..n).flat_map(move |k| self.words(&at, width, k))
        };
        let mut words: Vec<Word> = (0..splits).flat_map(of_split).collect();
        words.push(self.word(n_states, 0, |i| format!("AT_STATES + {i}")));
        let mut text = self.wait(&words, "expected");
        let _ = writeln!(
            text,
            "  if (t < {n_states}u) {{ states[t] = number(word{}); }}\n  workgroupBarrier();",
            splits * n * self.width()
        );
        for k in 0..n {
            let i = self.piece(width, k).0;
            let first = if self.shape.rounds { format!("four({i})") } else { i };
            let _ = writeln!(text, "  {{\n    let head = {first} / HEAD_DIM;");
            let mut top = String::new();
            for s in 0..splits {
                let _ = writeln!(text, "    let top{s} = states[({s}u * N_HEADS + head) * 2u];");
                top = if s == 0 { "top0".to_owned() } else { format!("max({top}, top{s})") };
            }
            let _ = writeln!(text, "    let top = {top};");
            let (mut sum, mut total) = (String::new(), String::new());
            for s in 0..splits {
                let _ = writeln!(text, "    let w{s} = weight(top{s} - top);");
                let _ = write!(sum, " + w{s} * {}", self.numbers((s * n + k) * self.width()));
                let _ = write!(total, " + w{s} * states[({s}u * N_HEADS + head) * 2u + 1u]");
            }
            let _ = writeln!(text, "    got{k} = ({}(){sum}) / (0.0{total});\n  }}", self.number_type());
        }
        text
    }
}
