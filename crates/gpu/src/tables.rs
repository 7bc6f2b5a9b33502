//! What the host tells the kernels between passes: angles, block tables, rows; and where.

use model::{BLOCK_LEN, ModelSpec};

/// Words of a row's description: position, where its block table begins, where its ids begin in `tokens`, 0.
pub(crate) const ROW_WORDS: usize = 4;

/// Offsets in `tables`, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tables {
    /// Cosine and sine of each pair, position by position.
    pub(crate) rope: u32,
    /// The block table of sequence 0.
    pub(crate) blocks: u32,
    /// Descriptions of the rows of a batch.
    pub(crate) rows: u32,
    /// The block tables of the sequences of a batch, one after another.
    pub(crate) batch_blocks: u32,
    /// Words in all.
    pub(crate) len: usize,
}

impl Tables {
    /// For contexts of `context_len` positions, `n_blocks` blocks and batches of `n_rows` rows.
    pub(crate) fn new(spec: &ModelSpec, context_len: usize, n_blocks: usize, n_rows: usize) -> Self {
        let angles = 2 * pairs(spec) * context_len.next_multiple_of(BLOCK_LEN);
        let blocks = angles;
        let rows = (blocks + context_len.div_ceil(BLOCK_LEN)).next_multiple_of(4);
        let batch_blocks = rows + ROW_WORDS * n_rows;
        Self {
            rope: 0,
            blocks: blocks as u32,
            rows: rows as u32,
            batch_blocks: batch_blocks as u32,
            len: batch_blocks + n_blocks,
        }
    }
}

/// The angles of every position, as `Tables::rope` has them.
pub(crate) fn angles(spec: &ModelSpec, context_len: usize) -> Vec<f32> {
    let pairs = pairs(spec);
    let positions = context_len.next_multiple_of(BLOCK_LEN);
    let mut angles = Vec::with_capacity(2 * pairs * positions);
    for position in 0..positions {
        for i in 0..pairs {
            let (cos, sin) = spec.rope.cos_sin(position as u32, i);
            angles.extend([cos as f32, sin as f32]);
        }
    }
    angles
}

fn pairs(spec: &ModelSpec) -> usize {
    spec.rope.n_rot() / 2
}
