//! A model's tensors on the device, by role.

use crate::error::GpuError;
use crate::kernels::matvec::Epilogue;
use crate::layout::GROUP;
use crate::weights::{Layout, Order, Placed};
use model::{LayerWeights, ModelSpec, Weight, Weights};

/// A part of a product: rows of a (fused) tensor in one buffer, with the vectors that its kernels read beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) placed: Placed,
    /// Words at which the norm before it begins.
    pub(crate) norm: u32,
    /// Words at which its bias begins, if it has one.
    pub(crate) bias: Option<u32>,
    /// Where its first output lies in the whole, in floats.
    pub(crate) first: u32,
}

/// The gates and ups of a feed-forward layer.
#[derive(Debug, Clone)]
pub(crate) enum GateUp {
    /// As one tensor, whose row groups take turns.
    Fused(Vec<Part>),
    /// Of different types.
    Apart { gate: Vec<Part>, up: Vec<Part> },
}

/// The tensors of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// Q, K and V: neighbours are joined where they have one type.
    pub(crate) qkv: Vec<Part>,
    /// The buffer that holds the norms of Q and K, and where they begin there, in words.
    pub(crate) head_norms: Option<(usize, [u32; 2])>,
    pub(crate) attn_output: Vec<Part>,
    pub(crate) gate_up: GateUp,
    pub(crate) ffn_down: Vec<Part>,
}

/// All tensors.
#[derive(Debug, Clone)]
pub(crate) struct Tensors {
    pub(crate) embedding: Vec<Part>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output: Vec<Part>,
}

/// Where Q, K and V begin in their row, and its length, in floats.
pub(crate) fn qkv_starts(spec: &ModelSpec) -> [usize; 4] {
    let [q, kv] = [spec.q_dim(), spec.kv_dim()].map(|n| n.next_multiple_of(GROUP));
    [0, q, q + kv, q + 2 * kv]
}

impl Part {
    /// Rows that it has of a tensor of `n_rows`.
    pub(crate) fn n_rows(&self, n_rows: usize) -> u32 {
        (self.placed.n_groups * GROUP).min(n_rows - self.first as usize) as u32
    }

    /// `Store` adds the bias, if there is one.
    pub(crate) fn epilogue(&self, wanted: Epilogue) -> Epilogue {
        match wanted {
            Epilogue::Store if self.bias.is_some() => Epilogue::StoreBiased,
            other => other,
        }
    }
}

impl GateUp {
    /// The tensors; beside the first is the norm before all of them.
    pub(crate) fn tensors(&self) -> Vec<&Vec<Part>> {
        match self {
            Self::Fused(parts) => vec![parts],
            Self::Apart { gate, up } => vec![gate, up],
        }
    }
}

impl Tensors {
    /// Whether gates and ups are apart in any layer.
    pub(crate) fn gate_apart(&self) -> bool {
        self.layers.iter().any(|layer| matches!(layer.gate_up, GateUp::Apart { .. }))
    }

    /// Lays all tensors out, in the order in which a token reads them, in buffers of at most `max_binding` bytes.
    pub(crate) fn lay_out<'a>(
        max_binding: u64,
        spec: &ModelSpec,
        weights: &'a Weights<'a>,
    ) -> Result<(Self, Layout<'a>), GpuError> {
        let mut layout = Layout::new(max_binding);
        let layers = weights
            .layers
            .iter()
            .map(|layer| lay_out_layer(&mut layout, spec, layer))
            .collect::<Result<_, _>>()?;
        let norm = weights.output_norm.decode();
        let output = parts(layout.add(&[&weights.output], Order::Joined, &[norm])?, 0, false);
        let embedding = match spec.tied_head {
            true => output.clone(),
            false => parts(layout.add(&[&weights.token_embd], Order::Joined, &[])?, 0, false),
        };
        Ok((Self { embedding, layers, output }, layout))
    }
}

fn lay_out_layer<'a>(
    layout: &mut Layout<'a>,
    spec: &ModelSpec,
    layer: &'a LayerWeights<'a>,
) -> Result<Layer, GpuError> {
    let starts = qkv_starts(spec);
    let attn_norm = layer.attn_norm.decode();
    let sources = [&layer.attn_q, &layer.attn_k, &layer.attn_v];
    let biases: Option<Vec<Vec<f32>>> = layer.qkv_bias.as_ref().map(|b| b.iter().map(padded).collect());
    let head_norm_values: Vec<Vec<f32>> = layer.qk_norm.iter().flatten().map(Weight::decode).collect();
    let mut qkv = Vec::new();
    let mut head_norms = None;
    for run in [0, 1, 2].chunk_by(|&a, &b| sources[a].ty == sources[b].ty) {
        let mut vectors = vec![attn_norm.clone()];
        if let Some(biases) = &biases {
            vectors.push(run.iter().flat_map(|&i| biases[i].clone()).collect());
        }
        vectors.extend(head_norm_values.iter().cloned());
        let members: Vec<&Weight<'a>> = run.iter().map(|&i| sources[i]).collect();
        let placed = layout.add(&members, Order::Joined, &vectors)?;
        if let (Some((part, offsets)), [_, _]) = (placed.first(), &head_norm_values[..]) {
            let at = offsets.len() - 2;
            head_norms = Some((part.buffer, [offsets[at], offsets[at + 1]]));
        }
        qkv.extend(parts(placed, starts[run[0]], biases.is_some()));
    }
    let attn_output = parts(layout.add(&[&layer.attn_output], Order::Joined, &[])?, 0, false);
    let ffn_norm = layer.ffn_norm.decode();
    let gate_up = match layer.ffn_gate.ty == layer.ffn_up.ty {
        true => {
            let placed = layout.add(&[&layer.ffn_gate, &layer.ffn_up], Order::Alternating, &[ffn_norm])?;
            let halved = |part: Part| Part { first: part.first / 2, ..part };
            GateUp::Fused(parts(placed, 0, false).into_iter().map(halved).collect())
        }
        false => GateUp::Apart {
            gate: parts(
                layout.add(&[&layer.ffn_gate], Order::Joined, std::slice::from_ref(&ffn_norm))?,
                0,
                false,
            ),
            up: parts(layout.add(&[&layer.ffn_up], Order::Joined, &[ffn_norm])?, 0, false),
        },
    };
    Ok(Layer {
        qkv,
        head_norms,
        attn_output,
        gate_up,
        ffn_down: parts(layout.add(&[&layer.ffn_down], Order::Joined, &[])?, 0, false),
    })
}

/// Vectors beside a tensor are the norm, then the bias.
fn parts(placed: Vec<(Placed, Vec<u32>)>, first: usize, biased: bool) -> Vec<Part> {
    let part = |(placed, offsets): (Placed, Vec<u32>)| Part {
        placed,
        norm: offsets.first().copied().unwrap_or(0),
        bias: biased.then(|| offsets[1] + (placed.first_group * GROUP) as u32),
        first: (first + placed.first_group * GROUP) as u32,
    };
    placed.into_iter().map(part).collect()
}

/// A bias, padded to whole row groups.
fn padded(bias: &Weight<'_>) -> Vec<f32> {
    let mut values = bias.decode();
    values.resize(values.len().next_multiple_of(GROUP), 0.0);
    values
}
