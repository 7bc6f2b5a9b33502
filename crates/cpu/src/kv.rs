//! Keys and values in f16, block after block.
//!
//! `[n_layers, n_blocks, n_kv_heads]` of: keys `[2, head_dim, 16]` (16 positions side by side, so that scores need no sum
//! across lanes), then values `[32, head_dim in whole vectors]`.

use crate::arch::{Kernels, LANES};
use crate::kernels::attend::block_len;
use crate::kernels::f16;
use crate::kernels::narrow::Narrow;
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
        let len = spec.n_layers * n_blocks * spec.n_kv_heads * block_len(spec.head_dim);
        Self { elements: Shared::new(len), n_blocks, n_kv_heads: spec.n_kv_heads, head_dim: spec.head_dim }
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        2 * self.elements.len() as u64
    }

    /// Elements of a value.
    fn value_len(&self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    fn range(&self, layer: usize, block: u32, kv_head: usize) -> Range<usize> {
        let len = block_len(self.head_dim);
        let start = ((layer * self.n_blocks + block as usize) * self.n_kv_heads + kv_head) * len;
        start..start + len
    }

    /// Keys and values of one head in one block.
    ///
    /// # Safety
    /// No thread writes to a position of this head of this block that is looked at while the slice lives.
    #[allow(unsafe_code, reason = "the promise of Shared, passed on")]
    pub(crate) unsafe fn block(&self, layer: usize, block: u32, kv_head: usize) -> &[u16] {
        // SAFETY: passed on to the caller.
        unsafe { self.elements.get(self.range(layer, block, kv_head)) }
    }

    /// Key and value of one position of all heads, when no run is under way.
    pub(crate) fn read(&mut self, layer: usize, block: u32, position: usize) -> [Vec<f32>; 2] {
        let (n, mut key, mut value) = (self.head_dim, Vec::new(), Vec::new());
        for kv_head in 0..self.n_kv_heads {
            let (range, value_len) = (self.range(layer, block, kv_head), self.value_len());
            let head = &self.elements.as_mut_slice()[range];
            let keys = &head[position / LANES * LANES * n + position % LANES..];
            key.extend(keys.iter().step_by(LANES).take(n).map(|&k| f16::to_f32(k)));
            let values = &head[BLOCK_LEN * n + position * value_len..][..n];
            value.extend(values.iter().map(|&v| f16::to_f32(v)));
        }
        [key, value]
    }

    /// Writes key and value of one position (0 to 31 in its block). `narrow` is room for one of them.
    ///
    /// # Safety
    /// No other thread uses this position of this head of this block during the call.
    #[allow(unsafe_code, reason = "the promise of Shared, passed on")]
    pub(crate) unsafe fn store(
        &self,
        kernels: &Kernels,
        (layer, block, kv_head): (usize, u32, usize),
        position: usize,
        [key, value]: [&[f32]; 2],
        narrow: &mut Vec<[u16; LANES]>,
    ) {
        let head = self.range(layer, block, kv_head).start;
        narrow.resize(self.head_dim.div_ceil(LANES), [0; LANES]);
        (kernels.narrow)(Narrow { x: key, out: narrow });
        let keys = head + position / LANES * LANES * self.head_dim + position % LANES;
        // Element by element: another worker may be writing the next position of the same block.
        for (d, k) in narrow.as_flattened()[..self.head_dim].iter().enumerate() {
            // SAFETY: passed on to the caller; these elements belong to this position alone.
            unsafe { self.elements.set(keys + d * LANES, *k) };
        }
        (kernels.narrow)(Narrow { x: value, out: narrow });
        let values = head + BLOCK_LEN * self.head_dim + position * self.value_len();
        // SAFETY: as above.
        let values = unsafe { self.elements.get_mut(values..values + self.value_len()) };
        values.copy_from_slice(narrow.as_flattened());
    }
}
