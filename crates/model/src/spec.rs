//! A model's sizes and flags, read from metadata once and checked; nothing downstream re-validates them.

use crate::error::ModelError;
use crate::family::{self, Family, Presence};
use crate::rope::{self, RopeScaling, RopeTable, Yarn};
use crate::source::TensorSource;
use crate::weights;
use gguf::Metadata;

/// Everything about a model but its weights.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// The architecture's row.
    pub family: &'static Family,
    /// Layers.
    pub n_layers: usize,
    /// Width of the hidden state.
    pub n_embd: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads; each serves `n_heads / n_kv_heads` query heads.
    pub n_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub n_ff: usize,
    /// Tokens in the vocabulary.
    pub n_vocab: usize,
    /// Positions that the model was trained for.
    pub trained_context: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_eps: f32,
    /// Rotary embedding.
    pub rope: RopeTable,
    /// Whether Q, K and V have biases.
    pub qkv_bias: bool,
    /// Whether each head of Q and K is RMS-normalised before the rotation.
    pub qk_norm: bool,
    /// Whether the head uses the embedding's weights.
    pub tied_head: bool,
}

impl ModelSpec {
    /// Reads the spec of a file: sizes from `metadata`, the rest from which tensors `source` has.
    ///
    /// # Errors
    /// A missing or mistyped key, an architecture or feature that is not supported, sizes that cannot be.
    pub fn new(metadata: &Metadata, source: &dyn TensorSource) -> Result<Self, ModelError> {
        let name = metadata.str("general.architecture")?;
        let family = family::find(name)
            .ok_or_else(|| ModelError::Architecture { name: name.to_owned(), supported: family::names() })?;
        let keys = Keys { metadata, prefix: family.name };
        keys.refuse_unsupported()?;

        let n_embd = keys.size("embedding_length", 1 << 20)?;
        let n_heads = keys.size("attention.head_count", 1 << 16)?;
        let n_kv_heads = keys.opt_size("attention.head_count_kv", 1 << 16)?.unwrap_or(n_heads);
        let head_dim = match keys.opt_size("attention.key_length", 1 << 16)? {
            Some(n) => n,
            None => n_embd / n_heads,
        };
        let embedding = source
            .meta("token_embd.weight")
            .ok_or(ModelError::MissingTensor { name: "token_embd.weight".into(), family: family.name })?;
        let has = |tensor: &str| source.meta(&format!("blk.0.{tensor}")).is_some();
        let spec = Self {
            family,
            n_layers: keys.size("block_count", 1 << 16)?,
            n_embd,
            n_heads,
            n_kv_heads,
            head_dim,
            n_ff: keys.size("feed_forward_length", 1 << 22)?,
            n_vocab: usize::try_from(embedding.shape[0]).unwrap_or(usize::MAX),
            trained_context: keys.size("context_length", 1 << 31)?,
            rms_eps: keys.metadata.f32(&keys.key("attention.layer_norm_rms_epsilon"))?,
            rope: keys.rope(family, head_dim, source)?,
            qkv_bias: wanted(family.qkv_bias, has("attn_q.bias")),
            qk_norm: wanted(family.qk_norm, has("attn_q_norm.weight")),
            tied_head: source.meta("output.weight").is_none(),
        };
        spec.check(&keys)?;
        Ok(spec)
    }

    /// Width of Q: all query heads.
    #[must_use]
    pub fn q_dim(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of K, and of V: all key-value heads.
    #[must_use]
    pub fn kv_dim(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Query heads that share a key-value head.
    #[must_use]
    pub fn group_size(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }

    /// Factor on the scores of attention.
    #[must_use]
    pub fn attention_scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// Bytes of keys and values that one position takes at 16 bits an element.
    #[must_use]
    pub fn kv_bytes_per_position(&self) -> u64 {
        2 * 2 * self.n_layers as u64 * self.kv_dim() as u64
    }

    fn check(&self, keys: &Keys<'_>) -> Result<(), ModelError> {
        let size = |key: &str, value: usize, why: &str| ModelError::Size {
            key: keys.key(key),
            value: value as u64,
            why: why.to_owned(),
        };
        if !self.n_heads.is_multiple_of(self.n_kv_heads) {
            let why = format!("it must divide the number of heads, {}", self.n_heads);
            return Err(size("attention.head_count_kv", self.n_kv_heads, &why));
        }
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            return Err(size("attention.key_length", self.head_dim, "a head has an even number of elements"));
        }
        if let Some(n) = keys.opt_size("attention.value_length", 1 << 16)?
            && n != self.head_dim
        {
            return Err(size("attention.value_length", n, "keys and values must have one length here"));
        }
        if !(self.rms_eps.is_finite() && self.rms_eps >= 0.0) {
            return Err(ModelError::Feature {
                key: keys.key("attention.layer_norm_rms_epsilon"),
                value: self.rms_eps.to_string(),
                why: "it must be a small number, 0 or more",
            });
        }
        Ok(())
    }
}

fn wanted(presence: Presence, found: bool) -> bool {
    match presence {
        Presence::Never => false,
        Presence::Optional => found,
        Presence::Required => true,
    }
}

/// The metadata keys of one architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    prefix: &'static str,
}

impl Keys<'_> {
    fn key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.prefix)
    }

    /// A required size of 1 to `most`.
    fn size(&self, suffix: &str, most: u64) -> Result<usize, ModelError> {
        let key = self.key(suffix);
        let value = self.metadata.u64(&key)?;
        Self::checked(key, value, most)
    }

    fn opt_size(&self, suffix: &str, most: u64) -> Result<Option<usize>, ModelError> {
        let key = self.key(suffix);
        self.metadata.opt_u64(&key)?.map(|value| Self::checked(key, value, most)).transpose()
    }

    fn checked(key: String, value: u64, most: u64) -> Result<usize, ModelError> {
        match usize::try_from(value) {
            Ok(n) if n >= 1 && value <= most => Ok(n),
            _ => Err(ModelError::Size { key, value, why: format!("it must be 1 to {most}") }),
        }
    }

    fn opt_f64(&self, suffix: &str) -> Result<Option<f64>, ModelError> {
        Ok(self.metadata.opt_f32(&self.key(suffix))?.map(f64::from))
    }

    /// Features that change the result and are not computed here.
    fn refuse_unsupported(&self) -> Result<(), ModelError> {
        let experts = self.key("expert_count");
        if let Some(n @ 1..) = self.metadata.opt_u64(&experts)? {
            return Err(ModelError::Feature {
                key: experts,
                value: n.to_string(),
                why: "mixtures of experts are not supported, only dense models",
            });
        }
        Ok(())
    }

    fn rope(
        &self,
        family: &Family,
        head_dim: usize,
        source: &dyn TensorSource,
    ) -> Result<RopeTable, ModelError> {
        let n_rot = self.opt_size("rope.dimension_count", 1 << 16)?.unwrap_or(head_dim);
        if n_rot > head_dim || !n_rot.is_multiple_of(2) {
            return Err(ModelError::Size {
                key: self.key("rope.dimension_count"),
                value: n_rot as u64,
                why: format!("it must be even and at most the head's {head_dim} elements"),
            });
        }
        let base = self.opt_f64("rope.freq_base")?.unwrap_or(10_000.0);
        if !(base.is_finite() && base > 1.0) {
            return Err(ModelError::Feature {
                key: self.key("rope.freq_base"),
                value: base.to_string(),
                why: "it must be more than 1",
            });
        }
        let divisors = rope_divisors(n_rot, source)?;
        Ok(rope::table(family.rope_pairing, n_rot, base, self.rope_scaling()?, divisors.as_deref()))
    }

    fn rope_scaling(&self) -> Result<RopeScaling, ModelError> {
        let key = self.key("rope.scaling.type");
        let kind = self.metadata.opt_str(&key)?.unwrap_or("none");
        // Older files carry the factor of linear scaling under this name alone.
        let factor = match self.opt_f64("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.opt_f64("rope.scale_linear")?,
        };
        let factor = factor.filter(|&f| f != 0.0).unwrap_or(1.0);
        if !(factor.is_finite() && factor > 0.0) {
            return Err(ModelError::Feature {
                key: self.key("rope.scaling.factor"),
                value: factor.to_string(),
                why: "it must be more than 0",
            });
        }
        match kind {
            "none" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear { factor }),
            "yarn" => Ok(RopeScaling::Yarn(Yarn {
                factor,
                original_context: match self.opt_size("rope.scaling.original_context_length", 1 << 31)? {
                    Some(n) => n as f64,
                    None => self.size("context_length", 1 << 31)? as f64,
                },
                beta_fast: self.opt_f64("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: self.opt_f64("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                log_multiplier: self.opt_f64("rope.scaling.yarn_log_multiplier")?.unwrap_or(0.0),
                attention_factor: self.opt_f64("rope.scaling.attn_factor")?.unwrap_or(1.0),
            })),
            other => Err(ModelError::Feature {
                key,
                value: other.to_owned(),
                why: "RoPE scaling can be none, linear or yarn, or by a rope_freqs.weight tensor",
            }),
        }
    }
}

/// `rope_freqs.weight`, the per-pair divisors of Llama 3.1 and later.
fn rope_divisors(n_rot: usize, source: &dyn TensorSource) -> Result<Option<Vec<f32>>, ModelError> {
    const NAME: &str = "rope_freqs.weight";
    let Some(meta) = source.meta(NAME) else { return Ok(None) };
    let expected = vec![n_rot as u64 / 2];
    if meta.shape != expected {
        return Err(ModelError::Shape { name: NAME.into(), expected, got: meta.shape });
    }
    let mut values = vec![0.0; n_rot / 2];
    meta.ty.decode(&source.bytes(NAME), &mut values).map_err(|_| ModelError::TensorType {
        name: NAME.into(),
        ty: meta.ty,
        supported: weights::supported_types(),
    })?;
    if let Some(bad) = values.iter().find(|v| !(v.is_finite() && **v > 0.0)) {
        return Err(ModelError::Feature {
            key: NAME.into(),
            value: bad.to_string(),
            why: "divisors of RoPE frequencies must be more than 0",
        });
    }
    Ok(Some(values))
}
