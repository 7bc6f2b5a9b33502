//! Which blocks of a KV cache belong to which sequence. The numbers in the blocks are the backend's.

use crate::forward::ForwardError;
use crate::rows::{Row, SequenceId};
use std::collections::BTreeMap;

/// Positions in a block.
pub const BLOCK_LEN: usize = 32;

/// The block table: a pool of numbered blocks, and for each sequence the blocks that hold its positions, in order.
#[derive(Debug)]
pub struct KvBlocks {
    context_len: usize,
    n_vocab: usize,
    n_blocks: usize,
    /// Free blocks, the lowest number last, so that a single session uses 0, 1, 2, ...
    free: Vec<u32>,
    sequences: BTreeMap<SequenceId, Sequence>,
}

#[derive(Debug, Default)]
struct Sequence {
    blocks: Vec<u32>,
    len: usize,
}

impl KvBlocks {
    /// A pool for `n_sequences` sequences of up to `context_len` positions each, of a model with `n_vocab` tokens.
    #[must_use]
    pub fn new(context_len: usize, n_sequences: usize, n_vocab: usize) -> Self {
        let n_blocks = context_len.div_ceil(BLOCK_LEN) * n_sequences;
        let last = u32::try_from(n_blocks).unwrap_or(u32::MAX);
        Self { context_len, n_vocab, n_blocks, free: (0..last).rev().collect(), sequences: BTreeMap::new() }
    }

    /// Blocks in the pool.
    #[must_use]
    pub fn n_blocks(&self) -> usize {
        self.n_blocks
    }

    /// Positions that one sequence may hold.
    #[must_use]
    pub fn context_len(&self) -> usize {
        self.context_len
    }

    /// Positions that `sequence` holds.
    #[must_use]
    pub fn len(&self, sequence: SequenceId) -> usize {
        self.sequences.get(&sequence).map_or(0, |s| s.len)
    }

    /// The blocks of `sequence`: position `p` is in block `table[p / BLOCK_LEN]`, at `p % BLOCK_LEN`.
    #[must_use]
    pub fn table(&self, sequence: SequenceId) -> &[u32] {
        self.sequences.get(&sequence).map_or(&[], |s| &s.blocks)
    }

    /// Checks `rows` and takes them in: each sequence grows by its rows, with blocks for all of them.
    ///
    /// # Errors
    /// No row at all, a token outside the vocabulary, a position that does not continue its sequence, a sequence past the
    /// context, or no free block. Nothing is changed then.
    pub fn append(&mut self, rows: &[Row]) -> Result<(), ForwardError> {
        let grown = self.check(rows)?;
        let needed: usize = grown.iter().map(|(&id, &len)| self.blocks_missing(id, len)).sum();
        if needed > self.free.len() {
            return Err(ForwardError::KvFull { needed_blocks: needed, free_blocks: self.free.len() });
        }
        for (id, len) in grown {
            let missing = self.blocks_missing(id, len);
            let taken = self.free.split_off(self.free.len() - missing);
            let sequence = self.sequences.entry(id).or_default();
            sequence.blocks.extend(taken.into_iter().rev());
            sequence.len = len;
        }
        Ok(())
    }

    /// Shortens `sequence` to `len` positions and frees the blocks beyond; no effect where it is not longer.
    pub fn truncate(&mut self, sequence: SequenceId, len: usize) {
        let Some(entry) = self.sequences.get_mut(&sequence) else { return };
        if len < entry.len {
            entry.len = len;
            let kept = len.div_ceil(BLOCK_LEN);
            self.free.extend(entry.blocks.drain(kept..).rev());
        }
        if entry.len == 0 {
            self.sequences.remove(&sequence);
        }
    }

    fn blocks_missing(&self, id: SequenceId, len: usize) -> usize {
        len.div_ceil(BLOCK_LEN) - self.table(id).len()
    }

    /// The new length of each sequence that `rows` touch.
    fn check(&self, rows: &[Row]) -> Result<BTreeMap<SequenceId, usize>, ForwardError> {
        if rows.is_empty() {
            return Err(ForwardError::NoRows);
        }
        let mut grown = BTreeMap::new();
        for row in rows {
            if row.token as usize >= self.n_vocab {
                return Err(ForwardError::TokenOutOfVocabulary { token: row.token, n_vocab: self.n_vocab });
            }
            let len = grown.entry(row.sequence).or_insert_with(|| self.len(row.sequence));
            if row.position as usize != *len {
                return Err(ForwardError::PositionGap { position: row.position, expected: *len });
            }
            *len += 1;
        }
        match grown.iter().find(|&(_, &len)| len > self.context_len) {
            Some((&id, &len)) => Err(ForwardError::ContextFull {
                held: self.len(id),
                added: len - self.len(id),
                context_len: self.context_len,
            }),
            None => Ok(grown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SequenceId = SequenceId(0);
    const B: SequenceId = SequenceId(7);

    fn rows(sequence: SequenceId, position: u32, n: usize) -> Vec<Row> {
        Row::prompt(sequence, position, &vec![1; n])
    }

    #[test]
    fn one_sequence_uses_blocks_in_order() {
        let mut kv = KvBlocks::new(100, 1, 10);
        kv.append(&rows(A, 0, 33)).unwrap();
        assert_eq!(kv.table(A), [0, 1]);
        kv.append(&rows(A, 33, 64)).unwrap();
        assert_eq!((kv.table(A), kv.len(A)), (&[0, 1, 2, 3][..], 97));
    }

    #[test]
    fn truncating_frees_whole_blocks_and_they_come_back_in_order() {
        let mut kv = KvBlocks::new(128, 1, 10);
        kv.append(&rows(A, 0, 128)).unwrap();
        kv.truncate(A, 33);
        assert_eq!((kv.table(A), kv.len(A)), (&[0, 1][..], 33));
        kv.append(&rows(A, 33, 60)).unwrap();
        assert_eq!(kv.table(A), [0, 1, 2]);
        kv.truncate(A, 200);
        assert_eq!(kv.len(A), 93, "a longer length changes nothing");
        kv.truncate(A, 0);
        assert_eq!((kv.table(A), kv.len(A)), (&[][..], 0));
    }

    #[test]
    fn two_sequences_share_the_pool() {
        let mut kv = KvBlocks::new(64, 2, 10);
        let mut mixed = rows(A, 0, 40);
        mixed.extend(rows(B, 0, 10));
        kv.append(&mixed).unwrap();
        assert_eq!((kv.table(A), kv.table(B)), (&[0, 1][..], &[2][..]));
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let mut kv = KvBlocks::new(64, 1, 10);
        kv.append(&rows(A, 0, 5)).unwrap();
        let wrong_token = [Row { sequence: A, position: 5, token: 10, wants_logits: true }];
        assert!(matches!(kv.append(&[]), Err(ForwardError::NoRows)));
        assert!(matches!(
            kv.append(&wrong_token),
            Err(ForwardError::TokenOutOfVocabulary { token: 10, n_vocab: 10 })
        ));
        assert!(matches!(
            kv.append(&rows(A, 6, 1)),
            Err(ForwardError::PositionGap { position: 6, expected: 5 })
        ));
        assert!(matches!(
            kv.append(&rows(A, 5, 60)),
            Err(ForwardError::ContextFull { held: 5, added: 60, context_len: 64 })
        ));
        assert!(matches!(
            kv.append(&rows(B, 0, 64)),
            Err(ForwardError::KvFull { needed_blocks: 2, free_blocks: 1 })
        ));
        assert_eq!((kv.len(A), kv.len(B), kv.table(A).len()), (5, 0, 1));
    }
}
