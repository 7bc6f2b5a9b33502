//! A pass as data: the steps that a device executes, in order.

use crate::kernels::Kernel;
use std::fmt;

/// Words of immediates.
const PARAM_WORDS: usize = 32;

/// One dispatch.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) kernel: Kernel,
    /// What it does to which tensors, for the listing: `blk.3.attn_q [576]->[576]`.
    pub(crate) what: String,
    /// The buffer of weights that it reads.
    pub(crate) weights: usize,
    /// The buffer of keys and values that it uses.
    pub(crate) kv: usize,
    /// Workgroups.
    pub(crate) grid: [u32; 3],
    params: [u32; PARAM_WORDS],
    n_params: usize,
    /// The immediate that is the position of the row.
    position_at: Option<usize>,
}

impl Step {
    /// A step of `kernel` with immediates `params`, a struct of words.
    pub(crate) fn new<P: bytemuck::Pod>(kernel: Kernel, what: String, params: &P, grid: [u32; 3]) -> Self {
        let words: &[u32] = bytemuck::cast_slice(bytemuck::bytes_of(params));
        let mut all = [0; PARAM_WORDS];
        all[..words.len()].copy_from_slice(words);
        Self { kernel, what, weights: 0, kv: 0, grid, params: all, n_params: words.len(), position_at: None }
    }

    pub(crate) fn with_weights(self, weights: usize) -> Self {
        Self { weights, ..self }
    }

    pub(crate) fn with_kv(self, kv: usize) -> Self {
        Self { kv, ..self }
    }

    /// Its immediate number `word` is the position of the row, given anew for each token.
    pub(crate) fn with_position_at(self, word: usize) -> Self {
        Self { position_at: Some(word), ..self }
    }

    /// Its immediates for the row at `position`.
    pub(crate) fn params(&self, position: u32) -> ([u32; PARAM_WORDS], usize) {
        let mut params = self.params;
        if let Some(word) = self.position_at {
            params[word] = position;
        }
        (params, self.n_params)
    }
}

/// Steps of a pass; printed, they are its listing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    /// How many dispatches it takes.
    pub(crate) fn n_dispatches(&self) -> usize {
        self.steps.len()
    }

    pub(crate) fn kernels(&self) -> impl Iterator<Item = Kernel> {
        self.steps.iter().map(|step| step.kernel)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            let [x, y, z] = step.grid;
            writeln!(f, "step {i:3} {:28} {:44} {x}x{y}x{z}", step.kernel.name(), step.what)?;
        }
        Ok(())
    }
}
