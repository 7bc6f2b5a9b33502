//! The text of what groups exchange: where its words are, and waiting for them.

use super::Source;
use super::deal::Deal;
use super::vectors::words_of;
use crate::kernels::sampling::MOST_K;
use crate::persistent::shape::{Geometry, Shape};
use crate::shader::Shader;
use std::fmt::Write;

/// Words of the exchange that say how it went: whether a group has stopped, how many tokens are done, and how many groups have
/// answered the roll call; and how many layers of tokens were begun, where there are helpers.
pub(in crate::persistent) const STOPPED: usize = 0;
pub(in crate::persistent) const DONE: usize = 1;
const PRESENT: usize = 2;
const PROGRESS: usize = 3;
/// Words of a line: what different phases use is not on the same.
const LINE: usize = 32;

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
    counts: usize,
    candidates: usize,
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
        // Copies one behind the other, none on a line of another.
        let copied = |n: usize| n.next_multiple_of(LINE) * geometry.copies;
        let splits = geometry.splits;
        let width = shape.heads.width();
        let regions = Self {
            hidden: take(copied(words_of(shape, shape.n_embd, true))),
            qkv: take(shape.qkv.n_rows),
            attended: take(if splits == 1 { words_of(shape, width, false) } else { splits * width }),
            states: take(2 * splits * shape.heads.n_heads),
            middle: take(copied(words_of(shape, shape.n_embd, true))),
            gated: take(copied(words_of(shape, shape.n_ff, false))),
            best: take(2 * geometry.groups),
            counts: take(geometry.groups * usize::from(geometry.draws)),
            candidates: take(2 * geometry.groups * MOST_K * usize::from(geometry.draws)),
            len: 0,
        };
        Self { len, ..regions }
    }

    pub(super) fn constants(&self, shader: Shader) -> Shader {
        shader
            .constant("STOPPED", STOPPED)
            .constant("DONE", DONE)
            .constant("PRESENT", PRESENT)
            .constant("PROGRESS", PROGRESS)
            .constant("AT_HIDDEN", self.hidden)
            .constant("AT_QKV", self.qkv)
            .constant("AT_ATTENDED", self.attended)
            .constant("AT_STATES", self.states)
            .constant("AT_MIDDLE", self.middle)
            .constant("AT_GATED", self.gated)
            .constant("AT_BEST", self.best)
            .constant("AT_COUNTS", self.counts)
            .constant("AT_CANDIDATES", self.candidates)
    }
}

/// A word of the exchange that a thread waits for, as WGSL.
pub(super) struct Word {
    place: String,
    /// Whether it does; the same in all lanes of a subgroup.
    needed: String,
}

/// Where copy `copy` of `copies` of a vector of `n` words is, the first of which begins at `at`.
pub(super) fn copy_at(at: &str, n: usize, copies: usize, copy: &str) -> String {
    match copies {
        1 => at.to_owned(),
        _ => format!("({at} + {copy} * {}u)", n.next_multiple_of(LINE)),
    }
}

impl Source {
    /// Waits for words as `word0`, `word1` and so on, until all have the tag `expected`; a word that a thread needs not have counts as
    /// if it had. Each thread asks for itself: with a vote of subgroups in a loop, NVIDIA's compiler no longer knows which threads are
    /// together, and has every operation of subgroups and every barrier of the kernel find out. Where subgroups take turns, all tell what
    /// they have to tell before one waits.
    pub(super) fn wait(&self, words: &[Word], expected: &str) -> String {
        let mut text = String::new();
        if self.geometry.in_turns {
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
            "{loads}  var looks = 0u;\n  while ((({}) & 1u) != 0u) {{\n    if (!waits(looks)) {{ break; }}\n    looks += 1u;\n{again}  }}",
            wrong.join(" | ")
        );
        text
    }
}

impl Word {
    /// A thread's `k`-th, for threads in whose subgroup somebody has one: words that all groups look at are slow to come, the more so
    /// the more look at them.
    pub(super) fn of(deal: Deal, k: usize, place: impl Fn(&str) -> String) -> Self {
        Self { place: place(&deal.index(k)), needed: deal.is_near(k) }
    }
}
