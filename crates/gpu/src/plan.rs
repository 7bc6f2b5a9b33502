//! A pass as data: the steps that a device executes, in order.

use crate::kernels::Kernel;
use std::fmt;

/// Words of immediates.
const PARAM_WORDS: usize = 32;

/// One dispatch.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) kernel: Kernel,
    pub(crate) what: What,
    /// The buffer of weights that it reads.
    pub(crate) weights: usize,
    /// The buffer of keys and values that it uses.
    pub(crate) kv: usize,
    /// Workgroups.
    pub(crate) grid: [u32; 3],
    /// Multiplications, about: what a submit's length is reckoned by.
    pub(crate) work: u64,
    params: [u32; PARAM_WORDS],
    n_params: usize,
    /// The immediate that is the position of the row.
    position_at: Option<usize>,
}

/// What a step does to which tensors, for listings and for finding what it leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct What {
    pub(crate) role: Role,
    pub(crate) layer: Option<usize>,
    /// Elements in and out.
    pub(crate) shape: [usize; 2],
}

/// A part of the forward pass, by the name of its tensor where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    TokenEmbd,
    AttnNorm,
    AttnQkv,
    RopeKv,
    Attn,
    AttnOutput,
    FfnNorm,
    FfnGateUp,
    FfnGate,
    FfnUp,
    FfnSiluMul,
    FfnDown,
    OutputNorm,
    Output,
    /// The first of the two steps that choose a token.
    Candidates,
    /// The second, which looks its embedding up.
    NextToken,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TokenEmbd => "token_embd",
            Self::AttnNorm => "attn_norm",
            Self::AttnQkv => "attn_qkv",
            Self::RopeKv => "rope_kv",
            Self::Attn => "attn",
            Self::AttnOutput => "attn_output",
            Self::FfnNorm => "ffn_norm",
            Self::FfnGateUp => "ffn_gate_up",
            Self::FfnGate => "ffn_gate",
            Self::FfnUp => "ffn_up",
            Self::FfnSiluMul => "ffn_silu_mul",
            Self::FfnDown => "ffn_down",
            Self::OutputNorm => "output_norm",
            Self::Output => "output",
            Self::Candidates => "candidates",
            Self::NextToken => "next_token",
        }
    }
}

impl What {
    pub(crate) fn new(role: Role, layer: Option<usize>, shape: [usize; 2]) -> Self {
        Self { role, layer, shape }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [n_in, n_out] = self.shape;
        let name = self.role.name();
        match self.layer {
            Some(layer) => write!(f, "blk.{layer}.{name} [{n_in}]->[{n_out}]"),
            None => write!(f, "{name} [{n_in}]->[{n_out}]"),
        }
    }
}

impl Step {
    /// A step of `kernel` with immediates `params`, a struct of words.
    pub(crate) fn new<P: bytemuck::Pod>(kernel: Kernel, what: What, params: &P, grid: [u32; 3]) -> Self {
        let words: &[u32] = bytemuck::cast_slice(bytemuck::bytes_of(params));
        let mut all = [0; PARAM_WORDS];
        all[..words.len()].copy_from_slice(words);
        Self {
            kernel,
            what,
            weights: 0,
            kv: 0,
            grid,
            work: 0,
            params: all,
            n_params: words.len(),
            position_at: None,
        }
    }

    pub(crate) fn with_weights(self, weights: usize) -> Self {
        Self { weights, ..self }
    }

    pub(crate) fn with_kv(self, kv: usize) -> Self {
        Self { kv, ..self }
    }

    pub(crate) fn with_work(self, work: u64) -> Self {
        Self { work, ..self }
    }

    /// Its immediate number `word` is the position of the row, given anew for each token.
    pub(crate) fn with_position_at(self, word: usize) -> Self {
        Self { position_at: Some(word), ..self }
    }

    /// Its immediates for the row at `position`, as the struct that they are.
    #[cfg(test)]
    pub(crate) fn params_as<P: bytemuck::AnyBitPattern>(&self, position: u32) -> P {
        let (params, n) = self.params(position);
        bytemuck::pod_read_unaligned(bytemuck::cast_slice(&params[..n]))
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
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, step) in self.steps.iter().enumerate() {
            let [x, y, z] = step.grid;
            writeln!(f, "step {i:3} {:30} {:36} {x}x{y}x{z}", step.kernel.name(), step.what.to_string())?;
        }
        Ok(())
    }
}
