//! Keys and values in f16, block after block.
//!
//! `[n_layers, n_blocks, n_kv_heads]` of: keys `[2, head_dim, 16]` (16 positions side by side, so that scores need no sum
//! across lanes), then values `[32, head_dim]`.

use crate::kernels::{LANES, f16};
use crate::shared::Shared;
use model::{BLOCK_LEN, ModelSpec};
use std::ops::Range;

#[derive(Debug)]
pub(crate) struct KvStore {
    elements: Shared<u16>,
    n_blocks: usize,
    n_kv_heads: usize,
    head_dim: usize,
}

impl KvStore {
    pub(crate) fn new(spec: &ModelSpec, n_blocks: usize) -> Self {
        let len = spec.n_layers * n_blocks * spec.n_kv_heads * Self::head_block(spec.head_dim);
        Self { elements: Shared::new(len), n_blocks, n_kv_heads: spec.n_kv_heads, head_dim: spec.head_dim }
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        2 * self.elements.len() as u64
    }

    /// Elements of one block of one head.
    fn head_block(head_dim: usize) -> usize {
        2 * BLOCK_LEN * head_dim
    }

    fn range(&self, layer: usize, block: u32, kv_head: usize) -> Range<usize> {
        let len = Self::head_block(self.head_dim);
        let start = ((layer * self.n_blocks + block as usize) * self.n_kv_heads + kv_head) * len;
        start..start + len
    }

    /// Keys and values of one head in one block.
    ///
    /// # Safety
    /// No thread writes to this head of this block while the slice lives.
    #[allow(unsafe_code, reason = "the promise of Shared, passed on")]
    pub(crate) unsafe fn block(&self, layer: usize, block: u32, kv_head: usize) -> &[u16] {
        // SAFETY: passed on to the caller.
        unsafe { self.elements.get(self.range(layer, block, kv_head)) }
    }

    /// Key and value of one position of all heads, when no run is under way.
    pub(crate) fn read(&mut self, layer: usize, block: u32, position: usize) -> [Vec<f32>; 2] {
        let (n, mut key, mut value) = (self.head_dim, Vec::new(), Vec::new());
        for kv_head in 0..self.n_kv_heads {
            let range = self.range(layer, block, kv_head);
            let head = &self.elements.as_mut_slice()[range];
            let keys = &head[position / LANES * LANES * n + position % LANES..];
            key.extend(keys.iter().step_by(LANES).take(n).map(|&k| f16::to_f32(k)));
            value.extend(head[(BLOCK_LEN + position) * n..][..n].iter().map(|&v| f16::to_f32(v)));
        }
        [key, value]
    }

    /// Writes key and value of one position (0 to 31 in its block).
    ///
    /// # Safety
    /// No other thread uses this position of this head of this block during the call.
    #[allow(unsafe_code, reason = "the promise of Shared, passed on")]
    pub(crate) unsafe fn store(
        &self,
        (layer, block, kv_head): (usize, u32, usize),
        position: usize,
        key: &[f32],
        value: &[f32],
    ) {
        let head = self.range(layer, block, kv_head).start;
        let keys = head + position / LANES * LANES * self.head_dim + position % LANES;
        let values = head + (BLOCK_LEN + position) * self.head_dim;
        // Element by element: another worker may be writing the next position of the same block.
        for (d, (k, v)) in key.iter().zip(value).enumerate() {
            // SAFETY: passed on to the caller; these elements belong to this position alone.
            unsafe {
                self.elements.set(keys + d * LANES, f16::from_f32(*k));
                self.elements.set(values + d, f16::from_f32(*v));
            }
        }
    }
}
