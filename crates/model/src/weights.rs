//! A model's tensors by role, each shape checked against the spec.

use crate::error::ModelError;
use crate::source::TensorSource;
use crate::spec::ModelSpec;
use gguf::TensorType;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// One tensor, still where it came from.
#[derive(Clone)]
pub struct Weight<'a> {
    source: &'a dyn TensorSource,
    /// Its name in the file.
    pub name: String,
    /// Its block format; one that has a decoder.
    pub ty: TensorType,
    /// `n_out`; 1 for a vector.
    pub rows: usize,
    /// `n_in`; the length of a vector.
    pub cols: usize,
}

impl Weight<'_> {
    /// The bytes as stored: `rows` rows of `cols` elements in blocks of `ty`.
    #[must_use]
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        self.source.bytes(&self.name)
    }

    /// Bytes of the whole tensor.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.rows as u64 * self.ty.row_bytes(self.cols as u64).unwrap_or(0)
    }

    /// All elements, `[rows, cols]`.
    #[must_use]
    pub fn decode(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.rows * self.cols];
        self.ty.decode(&self.bytes(), &mut values).expect("type and shape were checked at load");
        values
    }
}

impl std::fmt::Debug for Weight<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} [{}, {}]", self.name, self.ty, self.rows, self.cols)
    }
}

/// The tensors of one layer.
#[derive(Debug, Clone)]
pub struct LayerWeights<'a> {
    /// `[n_embd]`
    pub attn_norm: Weight<'a>,
    /// `[q_dim, n_embd]`
    pub attn_q: Weight<'a>,
    /// `[kv_dim, n_embd]`
    pub attn_k: Weight<'a>,
    /// `[kv_dim, n_embd]`
    pub attn_v: Weight<'a>,
    /// `[q_dim]`, `[kv_dim]`, `[kv_dim]`
    pub qkv_bias: Option<[Weight<'a>; 3]>,
    /// Norms of each head of Q and of K, `[head_dim]` both.
    pub qk_norm: Option<[Weight<'a>; 2]>,
    /// `[n_embd, q_dim]`
    pub attn_output: Weight<'a>,
    /// `[n_embd]`
    pub ffn_norm: Weight<'a>,
    /// `[n_ff, n_embd]`
    pub ffn_gate: Weight<'a>,
    /// `[n_ff, n_embd]`
    pub ffn_up: Weight<'a>,
    /// `[n_embd, n_ff]`
    pub ffn_down: Weight<'a>,
}

/// All tensors of a model.
#[derive(Debug, Clone)]
pub struct Weights<'a> {
    /// `[n_vocab, n_embd]`
    pub token_embd: Weight<'a>,
    /// In order.
    pub layers: Vec<LayerWeights<'a>>,
    /// `[n_embd]`
    pub output_norm: Weight<'a>,
    /// `[n_vocab, n_embd]`; the embedding itself where the head is tied.
    pub output: Weight<'a>,
}

impl<'a> Weights<'a> {
    /// Finds every tensor that `spec` asks for.
    ///
    /// # Errors
    /// One that is missing, has another shape or a type without a decoder, or that the family does not know.
    pub fn new(spec: &ModelSpec, source: &'a dyn TensorSource) -> Result<Self, ModelError> {
        let mut finder = Finder { source, family: spec.family.name, used: BTreeSet::new() };
        let token_embd = finder.matrix("token_embd.weight", spec.n_vocab, spec.n_embd)?;
        let layers = (0..spec.n_layers).map(|i| finder.layer(spec, i)).collect::<Result<_, _>>()?;
        let output_norm = finder.vector("output_norm.weight", spec.n_embd)?;
        let output = match spec.tied_head {
            true => token_embd.clone(),
            false => finder.matrix("output.weight", spec.n_vocab, spec.n_embd)?,
        };
        finder.refuse_unused()?;
        Ok(Self { token_embd, layers, output_norm, output })
    }

    /// Every tensor once, in the order of a forward pass.
    pub fn iter(&self) -> impl Iterator<Item = &Weight<'a>> {
        let head = (self.output.name != self.token_embd.name).then_some(&self.output);
        std::iter::once(&self.token_embd)
            .chain(self.layers.iter().flat_map(LayerWeights::iter))
            .chain([&self.output_norm])
            .chain(head)
    }

    /// Elements of all tensors together.
    #[must_use]
    pub fn n_params(&self) -> u64 {
        self.iter().map(|w| w.rows as u64 * w.cols as u64).sum()
    }

    /// Bytes of all tensors together, as stored.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.iter().map(Weight::len_bytes).sum()
    }
}

impl<'a> LayerWeights<'a> {
    fn iter(&self) -> impl Iterator<Item = &Weight<'a>> {
        [&self.attn_norm, &self.attn_q, &self.attn_k, &self.attn_v]
            .into_iter()
            .chain(self.qkv_bias.iter().flatten())
            .chain(self.qk_norm.iter().flatten())
            .chain([&self.attn_output, &self.ffn_norm, &self.ffn_gate, &self.ffn_up, &self.ffn_down])
    }
}

struct Finder<'a> {
    source: &'a dyn TensorSource,
    family: &'static str,
    used: BTreeSet<String>,
}

impl<'a> Finder<'a> {
    fn layer(&mut self, spec: &ModelSpec, i: usize) -> Result<LayerWeights<'a>, ModelError> {
        let name = |suffix: &str| format!("blk.{i}.{suffix}");
        let (n_embd, n_ff, q_dim, kv_dim) = (spec.n_embd, spec.n_ff, spec.q_dim(), spec.kv_dim());
        let qkv_bias = match spec.qkv_bias {
            true => Some([
                self.vector(&name("attn_q.bias"), q_dim)?,
                self.vector(&name("attn_k.bias"), kv_dim)?,
                self.vector(&name("attn_v.bias"), kv_dim)?,
            ]),
            false => None,
        };
        let qk_norm = match spec.qk_norm {
            true => Some([
                self.vector(&name("attn_q_norm.weight"), spec.head_dim)?,
                self.vector(&name("attn_k_norm.weight"), spec.head_dim)?,
            ]),
            false => None,
        };
        Ok(LayerWeights {
            attn_norm: self.vector(&name("attn_norm.weight"), n_embd)?,
            attn_q: self.matrix(&name("attn_q.weight"), q_dim, n_embd)?,
            attn_k: self.matrix(&name("attn_k.weight"), kv_dim, n_embd)?,
            attn_v: self.matrix(&name("attn_v.weight"), kv_dim, n_embd)?,
            qkv_bias,
            qk_norm,
            attn_output: self.matrix(&name("attn_output.weight"), n_embd, q_dim)?,
            ffn_norm: self.vector(&name("ffn_norm.weight"), n_embd)?,
            ffn_gate: self.matrix(&name("ffn_gate.weight"), n_ff, n_embd)?,
            ffn_up: self.matrix(&name("ffn_up.weight"), n_ff, n_embd)?,
            ffn_down: self.matrix(&name("ffn_down.weight"), n_embd, n_ff)?,
        })
    }

    fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<Weight<'a>, ModelError> {
        self.find(name, &[rows as u64, cols as u64], rows, cols)
    }

    fn vector(&mut self, name: &str, len: usize) -> Result<Weight<'a>, ModelError> {
        self.find(name, &[len as u64], 1, len)
    }

    fn find(
        &mut self,
        name: &str,
        expected: &[u64],
        rows: usize,
        cols: usize,
    ) -> Result<Weight<'a>, ModelError> {
        let meta = self
            .source
            .meta(name)
            .ok_or_else(|| ModelError::MissingTensor { name: name.to_owned(), family: self.family })?;
        if meta.shape != expected {
            return Err(ModelError::Shape {
                name: name.to_owned(),
                expected: expected.to_vec(),
                got: meta.shape,
            });
        }
        if !meta.ty.is_supported() {
            return Err(ModelError::TensorType {
                name: name.to_owned(),
                ty: meta.ty,
                supported: supported_types(),
            });
        }
        self.used.insert(name.to_owned());
        Ok(Weight { source: self.source, name: name.to_owned(), ty: meta.ty, rows, cols })
    }

    /// A tensor that nobody asked for would be left out of the computation: better to refuse the file.
    fn refuse_unused(&self) -> Result<(), ModelError> {
        // The table of RoPE divisors is read by the spec; the other is a leftover of old converters that nothing needs.
        let known = |name: &str| name == "rope_freqs.weight" || name.ends_with(".attn_rot_embd");
        match self.source.names().into_iter().find(|name| !self.used.contains(name) && !known(name)) {
            Some(name) => Err(ModelError::UnknownTensor { name, family: self.family }),
            None => Ok(()),
        }
    }
}

/// The names of the types that have decoders.
pub(crate) fn supported_types() -> String {
    let types = (0..64).filter_map(TensorType::from_ggml_id).filter(|ty| ty.is_supported());
    types.map(TensorType::name).collect::<Vec<_>>().join(" ")
}
