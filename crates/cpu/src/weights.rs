//! A model's weights as the forward pass reads them.

use crate::arena::Arena;
use crate::error::CpuError;
use crate::layout::Layout;
use crate::matrix::Matrix;
use crate::pool::Pool;
use gguf::TensorType;
use model::{LayerWeights, ModelSpec, Weight, Weights};

#[derive(Debug)]
pub(crate) struct CpuWeights {
    pub(crate) arena: Arena,
    embedding: Embedding,
    pub(crate) layers: Vec<CpuLayer>,
    pub(crate) output_norm: Vec<f32>,
    pub(crate) output: Matrix,
}

#[derive(Debug)]
pub(crate) struct CpuLayer {
    pub(crate) attn_norm: Vec<f32>,
    pub(crate) qkv: [Matrix; 3],
    /// `[q_dim]`, `[kv_dim]`, `[kv_dim]`
    pub(crate) qkv_bias: Option<[Vec<f32>; 3]>,
    /// Norms of each head of Q and of K, `[head_dim]` both.
    pub(crate) qk_norm: Option<[Vec<f32>; 2]>,
    pub(crate) attn_output: Matrix,
    pub(crate) ffn_norm: Vec<f32>,
    /// Strips alternate.
    pub(crate) gate_up: [Matrix; 2],
    pub(crate) ffn_down: Matrix,
}

/// Rows are looked up one at a time; what a tied head needs anyway is not kept twice.
#[derive(Debug)]
enum Embedding {
    /// The rows of `output`.
    Tied,
    /// As the file has them.
    Rows { ty: TensorType, bytes: Vec<u8>, row_bytes: usize },
}

impl CpuWeights {
    pub(crate) fn load(
        spec: &ModelSpec,
        weights: &Weights<'_>,
        pool: &mut Pool,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Self, CpuError> {
        let (layout, layers, output) = lay_out(weights);
        let arena = layout.pack(pool, progress)?;
        let embedding = match spec.tied_head {
            true => Embedding::Tied,
            false => {
                let w = &weights.token_embd;
                let row_bytes = w.ty.row_bytes(w.cols as u64).map_or(0, |n| n as usize);
                Embedding::Rows { ty: w.ty, bytes: w.bytes().into_owned(), row_bytes }
            }
        };
        Ok(Self { arena, embedding, layers, output_norm: weights.output_norm.decode(), output })
    }

    /// Bytes that `load` will take.
    pub(crate) fn memory_needed(spec: &ModelSpec, weights: &Weights<'_>) -> u64 {
        let rows = if spec.tied_head { 0 } else { weights.token_embd.len_bytes() };
        lay_out(weights).0.len() as u64 + rows
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        let rows = match &self.embedding {
            Embedding::Tied => 0,
            Embedding::Rows { bytes, .. } => bytes.len(),
        };
        (self.arena.len() + rows) as u64
    }

    /// The embedding of `token`.
    pub(crate) fn embed(&self, token: u32, out: &mut [f32]) {
        match &self.embedding {
            Embedding::Tied => self.output.row(self.arena.bytes(), token as usize, out),
            Embedding::Rows { ty, bytes, row_bytes } => {
                let row = &bytes[token as usize * row_bytes..][..*row_bytes];
                ty.decode(row, out).expect("type and shape were checked at load");
            }
        }
    }
}

/// In the order in which a token reads them.
fn lay_out<'a>(weights: &'a Weights<'a>) -> (Layout<'a>, Vec<CpuLayer>, Matrix) {
    let mut layout = Layout::default();
    let layers = weights.layers.iter().map(|layer| lay_out_layer(layer, &mut layout)).collect();
    let output = layout.add(&weights.output);
    (layout, layers, output)
}

fn lay_out_layer<'a>(layer: &'a LayerWeights<'a>, layout: &mut Layout<'a>) -> CpuLayer {
    CpuLayer {
        attn_norm: layer.attn_norm.decode(),
        qkv: [&layer.attn_q, &layer.attn_k, &layer.attn_v].map(|w| layout.add(w)),
        qkv_bias: layer.qkv_bias.as_ref().map(|biases| biases.each_ref().map(Weight::decode)),
        qk_norm: layer.qk_norm.as_ref().map(|norms| norms.each_ref().map(Weight::decode)),
        attn_output: layout.add(&layer.attn_output),
        ffn_norm: layer.ffn_norm.decode(),
        gate_up: layout.add_interleaved([&layer.ffn_gate, &layer.ffn_up]),
        ffn_down: layout.add(&layer.ffn_down),
    }
}
