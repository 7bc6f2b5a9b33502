//! Intermediate results of a pass, kept between passes.

use crate::activations::{MOST_TOKENS, Tile};
use crate::arch::LANES;
use crate::kernels::attend::{SEGMENT, state_len};
use crate::shared::Shared;
use model::ModelSpec;

/// Buffers that the workers share, and one set of private ones for each worker.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Hidden states, `[n_rows, n_embd]`.
    pub(crate) hidden: Shared<f32>,
    /// Queries, keys and values, `[n_rows, q_dim + 2 * kv_dim]`.
    pub(crate) qkv: Shared<f32>,
    /// silu(gate) * up of few rows, `[n_rows, n_ff]`.
    pub(crate) gated: Shared<f32>,
    /// States of attention by segment, where rows are few and segments are split among workers.
    pub(crate) states: Shared<f32>,
    /// `[n_wanted, n_vocab]`
    pub(crate) logits: Shared<f32>,
    pub(crate) workers: Shared<WorkerScratch>,
    n_rows: usize,
    n_few: usize,
}

/// One worker's own buffers.
#[derive(Debug, Default)]
pub(crate) struct WorkerScratch {
    pub(crate) tiles: Vec<Tile>,
    pub(crate) staging: Vec<f32>,
    /// Queries of some rows and one group of heads, `[n_rows, group_size, head_dim]`.
    pub(crate) queries: Vec<f32>,
    pub(crate) states: Vec<f32>,
    /// What attention gives for the rows of an item, `[n_rows, q_dim]`.
    pub(crate) attended: Vec<f32>,
    /// silu(gate) * up for the rows of an item, `[n_rows, n_ff]`.
    pub(crate) gated: Vec<f32>,
    /// `[head_dim]`
    pub(crate) head: Vec<f32>,
    pub(crate) narrow: Vec<[u16; LANES]>,
    /// Token and logit of the likeliest token so far.
    pub(crate) best: Option<(u32, f32)>,
}

impl Scratch {
    pub(crate) fn new(n_workers: usize) -> Self {
        let workers = (0..n_workers).map(|_| WorkerScratch::default()).collect();
        let empty = || Shared::new(0);
        Self {
            hidden: empty(),
            qkv: empty(),
            gated: empty(),
            states: empty(),
            logits: empty(),
            workers: Shared::from_vec(workers),
            n_rows: 0,
            n_few: 0,
        }
    }

    /// Makes room for passes of up to `n_rows` rows, of which `n_wanted` in all want logits.
    pub(crate) fn reserve(&mut self, spec: &ModelSpec, n_rows: usize, n_wanted: usize, context_len: usize) {
        if n_rows > self.n_rows {
            self.n_rows = n_rows;
            self.hidden = Shared::new(n_rows * spec.n_embd);
            self.qkv = Shared::new(n_rows * (spec.q_dim() + 2 * spec.kv_dim()));
            for worker in self.workers.as_mut_slice() {
                // One for each row is enough for any instruction set.
                worker.tiles.resize_with(n_rows.min(MOST_ITEM_ROWS), Tile::default);
            }
        }
        let few = n_rows.min(FEW_ROWS);
        if few > self.n_few {
            self.n_few = few;
            self.gated = Shared::new(few * spec.n_ff);
            let states = few * spec.n_heads * context_len.div_ceil(SEGMENT);
            self.states = Shared::new(states * state_len(spec.head_dim));
        }
        if n_wanted * spec.n_vocab > self.logits.len() {
            self.logits = Shared::new(n_wanted * spec.n_vocab);
        }
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        let shared = [&self.hidden, &self.qkv, &self.gated, &self.states, &self.logits];
        4 * shared.iter().map(|buffer| buffer.len() as u64).sum::<u64>()
    }
}

/// Up to how many rows are split by weights.
pub(crate) const FEW_ROWS: usize = 4 * MOST_TOKENS;
/// Most rows that a worker has in its tiles at a time.
pub(crate) const MOST_ITEM_ROWS: usize = 8 * MOST_TOKENS;
