//! The one unit of work: a row.

/// Names one sequence (a chat, a request) in a backend's KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SequenceId(pub u32);

/// One token at one position of one sequence.
///
/// Rows of a sequence come in order and without gaps: the first continues where the sequence ended, the next is one
/// further. Rows of different sequences may be mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The sequence that this token continues.
    pub sequence: SequenceId,
    /// Its position there, from 0.
    pub position: u32,
    /// The token.
    pub token: u32,
    /// Whether the logits of the token after this one are wanted.
    pub wants_logits: bool,
}

impl Row {
    /// Rows for `tokens` from `position` on; logits wanted for the last one only.
    #[must_use]
    pub fn prompt(sequence: SequenceId, position: u32, tokens: &[u32]) -> Vec<Self> {
        let last = tokens.len().saturating_sub(1);
        (position..)
            .zip(tokens.iter().enumerate())
            .map(|(position, (i, &token))| Self { sequence, position, token, wants_logits: i == last })
            .collect()
    }
}
