//! Where a plan keeps its intermediate results.

use crate::kernels::attend_hidden::AttendHidden;
use crate::kernels::floats::Floats;
use crate::kernels::heads::Heads;
use crate::kernels::matvec_int8::MOST_TOKENS;
use crate::kernels::quantize::Quantize;
use crate::kernels::top_candidates::TopCandidates;
use crate::layout::GROUP;
use crate::tensors::qkv_starts;
use model::ModelSpec;

/// Parts that the keys of a row are split into at most.
pub(crate) const MOST_SPLITS: usize = 16;
/// Rows that are attended to by parts at a time.
const MOST_SPLIT_ROWS: usize = 8;

/// Rows of floats in `scratch`, padded to whole row groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    /// Where row 0 begins, in floats.
    pub(crate) at: u32,
    /// Floats from row to row.
    pub(crate) stride: u32,
    /// How they lie there. Rows of f16 take half of their room.
    pub(crate) floats: Floats,
    /// Whether they are rounded to 8 bits, as `quantize` leaves them, which takes less room.
    pub(crate) rounded: bool,
    /// Rows of [`Regions::head_sums`] that are to be added to what is here.
    pub(crate) n_sums: usize,
}

impl Region {
    /// From `row` on.
    pub(crate) fn from(self, row: usize) -> Self {
        Self { at: self.at + row as u32 * self.stride, ..self }
    }

    /// With its numbers in another format.
    pub(crate) fn of(self, floats: Floats) -> Self {
        Self { floats, ..self }
    }

    /// With rows of sums beside it.
    pub(crate) fn beside(self, n_sums: usize) -> Self {
        Self { n_sums, ..self }
    }

    /// With its numbers in 8 bits, if so.
    pub(crate) fn in_8_bits(self, rounded: bool) -> Self {
        Self { rounded, ..self }
    }
}

/// All of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Regions {
    pub(crate) hidden: Region,
    /// What products in parts of the columns leave beside the hidden states, `n_partials` rows in all.
    pub(crate) partials: Region,
    pub(crate) n_partials: usize,
    /// What O makes of each head of a token, where that is still to be added to the hidden state.
    pub(crate) head_sums: Region,
    /// The hidden state after a norm; for one row the norms are part of other kernels.
    pub(crate) normed: Region,
    /// Q, K and V, which begin where [`qkv_starts`] says.
    pub(crate) qkv: Region,
    pub(crate) attended: Region,
    /// Attention over parts of the keys.
    pub(crate) states: u32,
    pub(crate) gated: Region,
    /// Ups, where they are not multiplied with the gates at once.
    pub(crate) up: Region,
    /// What goes into products of few rows, rounded to 8 bits.
    pub(crate) rounded: Region,
    pub(crate) logits: Region,
    /// Candidates for the next token.
    pub(crate) best: u32,
    /// Four floats that are written only, if at all.
    pub(crate) unused: u32,
    /// Rows that have room, and rows of logits.
    pub(crate) n_rows: usize,
    pub(crate) n_logits: usize,
    /// Floats in all.
    pub(crate) len: usize,
}

pub(crate) fn heads(spec: &ModelSpec) -> Heads {
    Heads { n_heads: spec.n_heads, n_kv_heads: spec.n_kv_heads, head_dim: spec.head_dim }
}

impl Regions {
    /// For one row.
    pub(crate) fn token(spec: &ModelSpec, gate_apart: bool) -> Self {
        Self::new(spec, gate_apart, [1, 1, 0])
    }

    /// For `n_rows` rows, the logits of `n_logits` of them at a time, and `n_partials` rows of partial sums.
    pub(crate) fn batch(
        spec: &ModelSpec,
        gate_apart: bool,
        [n_rows, n_logits, n_partials]: [usize; 3],
    ) -> Self {
        Self::new(spec, gate_apart, [n_rows, n_logits, n_partials])
    }

    fn new(spec: &ModelSpec, gate_apart: bool, [n_rows, n_logits, n_partials]: [usize; 3]) -> Self {
        let mut len = 0;
        let mut take = |rows: usize, n: usize| {
            let (at, stride) = (len as u32, n.next_multiple_of(GROUP));
            len += rows * stride;
            Region { at, stride: stride as u32, floats: Floats::F32, rounded: false, n_sums: 0 }
        };
        let heads = heads(spec);
        let state = 4 * heads.state_quads() * heads.n_heads;
        let states = match heads.whole_quads() {
            // The own key of a single row may have a part for itself.
            true => n_rows.min(MOST_SPLIT_ROWS) * MOST_SPLITS + usize::from(n_rows == 1),
            // These leave a state for every row.
            false => n_rows.max(MOST_SPLITS * n_rows.min(MOST_SPLIT_ROWS)),
        };
        let few = if n_rows > 1 { n_rows.min(MOST_TOKENS) } else { 0 };
        let rounded = Quantize::row_words(spec.n_embd.max(spec.q_dim()).max(spec.n_ff));
        let best = TopCandidates { n_vocab: spec.n_vocab, penalties: false }.len_best();
        let regions = Self {
            hidden: take(n_rows, spec.n_embd),
            partials: take(n_partials, spec.n_embd),
            n_partials,
            head_sums: take(if n_rows > 1 { 0 } else { AttendHidden::most_sums(heads) }, spec.n_embd),
            normed: take(if n_rows > 1 { n_rows } else { 0 }, spec.n_embd),
            qkv: take(n_rows, qkv_starts(spec)[3]),
            attended: take(n_rows, spec.q_dim()),
            states: take(states, state).at,
            gated: take(n_rows, spec.n_ff),
            up: take(if gate_apart { n_rows } else { 0 }, spec.n_ff),
            rounded: take(few, rounded).in_8_bits(true),
            logits: take(n_logits, spec.n_vocab),
            best: take(if n_rows > 1 { 0 } else { 1 }, best).at,
            unused: take(1, 4).at,
            n_rows,
            n_logits,
            len: 0,
        };
        Self { len, ..regions }
    }

    /// Parts of the keys that `n_rows` rows may be split into.
    pub(crate) fn splits(n_rows: usize, wanted: usize) -> usize {
        if n_rows > MOST_SPLIT_ROWS { 1 } else { wanted.clamp(1, MOST_SPLITS) }
    }
}
