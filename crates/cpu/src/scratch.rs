//! Intermediate results of a pass, kept between passes.

use crate::activations::{TILE, Tile};
use crate::attention::SEGMENT;
use crate::kernels::attend::state_len;
use crate::shared::Shared;
use model::ModelSpec;

/// Buffers that the workers share, and one set of private ones for each worker.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Hidden states, `[n_rows, n_embd]`.
    pub(crate) hidden: Shared<f32>,
    /// Queries, keys and values, `[n_rows, q_dim + 2 * kv_dim]`.
    pub(crate) qkv: Shared<f32>,
    /// What attention gives, `[n_rows, q_dim]`.
    pub(crate) attended: Shared<f32>,
    /// silu(gate) * up, `[n_rows, n_ff]`.
    pub(crate) gated: Shared<f32>,
    /// States of attention by segment, where rows are few and segments are split among workers.
    pub(crate) states: Shared<f32>,
    /// `[n_wanted, n_vocab]`
    pub(crate) logits: Shared<f32>,
    pub(crate) workers: Shared<WorkerScratch>,
    n_rows: usize,
}

/// One worker's own buffers.
#[derive(Debug, Default)]
pub(crate) struct WorkerScratch {
    pub(crate) tiles: Vec<Tile>,
    pub(crate) staging: Vec<f32>,
    /// Queries of one group of heads, `[group_size, head_dim]`.
    pub(crate) queries: Vec<f32>,
    /// `[head_dim]`
    pub(crate) head: Vec<f32>,
    pub(crate) states: Vec<f32>,
}

impl Scratch {
    pub(crate) fn new(n_workers: usize) -> Self {
        let workers = (0..n_workers).map(|_| WorkerScratch::default()).collect();
        let empty = || Shared::new(0);
        Self {
            hidden: empty(),
            qkv: empty(),
            attended: empty(),
            gated: empty(),
            states: empty(),
            logits: empty(),
            workers: Shared::from_vec(workers),
            n_rows: 0,
        }
    }

    /// Makes room for `n_rows` rows, of which `n_wanted` want logits.
    pub(crate) fn reserve(&mut self, spec: &ModelSpec, n_rows: usize, n_wanted: usize, context_len: usize) {
        let n_workers = self.workers.len();
        if n_rows > self.n_rows {
            self.n_rows = n_rows;
            self.hidden = Shared::new(n_rows * spec.n_embd);
            self.qkv = Shared::new(n_rows * (spec.q_dim() + 2 * spec.kv_dim()));
            self.attended = Shared::new(n_rows * spec.q_dim());
            self.gated = Shared::new(n_rows * spec.n_ff);
            let few = n_rows.min(Self::few_rows(n_workers));
            let states = few * spec.n_heads * context_len.div_ceil(SEGMENT);
            self.states = Shared::new(states * state_len(spec.head_dim));
            let tiles = n_rows.div_ceil(TILE);
            let most = tiles.div_ceil(n_workers).max(few.div_ceil(TILE)).max(tiles.min(HEAD_TILES));
            for worker in self.workers.as_mut_slice() {
                worker.tiles.resize_with(most, Tile::default);
            }
        }
        if n_wanted * spec.n_vocab > self.logits.len() {
            self.logits = Shared::new(n_wanted * spec.n_vocab);
        }
    }

    /// Up to how many rows are split by weight groups: with more, each worker has a tile of its own.
    pub(crate) fn few_rows(n_workers: usize) -> usize {
        TILE * n_workers
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        let shared = [&self.hidden, &self.qkv, &self.attended, &self.gated, &self.states, &self.logits];
        4 * shared.iter().map(|buffer| buffer.len() as u64).sum::<u64>()
    }
}

/// Tiles whose logits a worker computes in one go.
pub(crate) const HEAD_TILES: usize = 8;
