//! Models of real shapes with seeded random weights, made one tensor at a time: speed without a file. The text is noise.

use crate::family;
use crate::rope::{self, RopeScaling};
use crate::source::{TensorMeta, TensorSource};
use crate::spec::ModelSpec;
use gguf::TensorType;
use half::f16;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The shape of a well-known model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SyntheticPreset {
    /// What `--synthetic` calls it.
    pub name: &'static str,
    n_layers: usize,
    n_embd: usize,
    n_heads: usize,
    n_kv_heads: usize,
    head_dim: usize,
    n_ff: usize,
    n_vocab: usize,
    rope_base: u32,
    trained_context: usize,
    tied_head: bool,
}

impl SyntheticPreset {
    /// Every preset.
    pub const ALL: [Self; 3] = [
        Self {
            name: "smollm-135m",
            n_layers: 30,
            n_embd: 576,
            n_heads: 9,
            n_kv_heads: 3,
            head_dim: 64,
            n_ff: 1536,
            n_vocab: 49_152,
            rope_base: 10_000,
            trained_context: 2048,
            tied_head: true,
        },
        Self {
            name: "llama-1b",
            n_layers: 16,
            n_embd: 2048,
            n_heads: 32,
            n_kv_heads: 8,
            head_dim: 64,
            n_ff: 8192,
            n_vocab: 128_256,
            rope_base: 500_000,
            trained_context: 8192,
            tied_head: true,
        },
        Self {
            name: "llama-8b",
            n_layers: 32,
            n_embd: 4096,
            n_heads: 32,
            n_kv_heads: 8,
            head_dim: 128,
            n_ff: 14_336,
            n_vocab: 128_256,
            rope_base: 500_000,
            trained_context: 8192,
            tied_head: false,
        },
    ];

    /// A shape at which rows of every block format fit, for checks of a device.
    pub const TINY: Self = Self {
        name: "tiny",
        n_layers: 2,
        n_embd: 256,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 64,
        n_ff: 512,
        n_vocab: 1500,
        rope_base: 10_000,
        trained_context: 256,
        tied_head: true,
    };

    /// The preset called `name`.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name == name)
    }

    /// Its spec: a llama.
    #[must_use]
    pub fn spec(self) -> ModelSpec {
        let family = family::find("llama").expect("the table has a llama row");
        ModelSpec {
            family,
            n_layers: self.n_layers,
            n_embd: self.n_embd,
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            head_dim: self.head_dim,
            n_ff: self.n_ff,
            n_vocab: self.n_vocab,
            trained_context: self.trained_context,
            rms_eps: 1e-5,
            rope: rope::table(
                family.rope_pairing,
                self.head_dim,
                f64::from(self.rope_base),
                RopeScaling::None,
                None,
            ),
            qkv_bias: false,
            qk_norm: false,
            tied_head: self.tied_head,
        }
    }
}

/// Seeded random weights for a preset: Q4_0 matrices, a Q8_0 embedding and head, norms of ones, as the common files have.
#[derive(Debug)]
pub struct Synthetic {
    seed: u64,
    tensors: BTreeMap<String, TensorMeta>,
}

impl Synthetic {
    /// The tensors of `preset`; the same seed gives the same bytes everywhere.
    #[must_use]
    pub fn new(preset: SyntheticPreset, seed: u64) -> Self {
        Self::with_types(preset, [TensorType::Q4_0, TensorType::Q8_0], seed)
    }

    /// With other types of the matrices of layers, and of the embedding and head.
    #[must_use]
    pub fn with_types(preset: SyntheticPreset, [matrices, head]: [TensorType; 2], seed: u64) -> Self {
        let spec = preset.spec();
        let [v, e, f] = [spec.n_vocab, spec.n_embd, spec.n_ff].map(|n| n as u64);
        let [q, kv] = [spec.q_dim(), spec.kv_dim()].map(|n| n as u64);
        let mut tensors = BTreeMap::new();
        let mut add = |name: String, ty: TensorType, shape: &[u64]| {
            tensors.insert(name, TensorMeta { ty, shape: shape.to_vec() });
        };
        add("token_embd.weight".into(), head, &[v, e]);
        if !preset.tied_head {
            add("output.weight".into(), head, &[v, e]);
        }
        add("output_norm.weight".into(), TensorType::F32, &[e]);
        for i in 0..spec.n_layers {
            for (suffix, shape) in [("attn_norm", e), ("ffn_norm", e)] {
                add(format!("blk.{i}.{suffix}.weight"), TensorType::F32, &[shape]);
            }
            for (suffix, shape) in [
                ("attn_q", [q, e]),
                ("attn_k", [kv, e]),
                ("attn_v", [kv, e]),
                ("attn_output", [e, q]),
                ("ffn_gate", [f, e]),
                ("ffn_up", [f, e]),
                ("ffn_down", [e, f]),
            ] {
                add(format!("blk.{i}.{suffix}.weight"), matrices, &shape);
            }
        }
        Self { seed, tensors }
    }
}

impl TensorSource for Synthetic {
    fn meta(&self, name: &str) -> Option<TensorMeta> {
        self.tensors.get(name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn bytes(&self, name: &str) -> Cow<'_, [u8]> {
        let Some(meta) = self.tensors.get(name) else { return Cow::Borrowed(&[]) };
        let n: u64 = meta.shape.iter().product();
        let n = usize::try_from(n).expect("presets fit the address space");
        // FNV-1a: each tensor gets its own stream, whatever order they are asked for in.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let mut rng = SplitMix64(self.seed ^ hash);
        let scale = 1.0 / (*meta.shape.last().unwrap_or(&1) as f32).sqrt();
        let bytes = match meta.ty {
            TensorType::Q4_0 => q4_0(&mut rng, n, scale),
            TensorType::Q8_0 => q8_0(&mut rng, n, scale),
            _ if meta.shape.len() == 1 => std::iter::repeat_n(1f32.to_le_bytes(), n).flatten().collect(),
            ty => random_blocks(ty, n, scale * 3f32.sqrt(), &mut || rng.next()),
        };
        Cow::Owned(bytes)
    }
}

/// Blocks of f16 scale and 16 bytes of nibbles. A nibble of 0 becomes 8: the values -7..=7 have mean 0, where -8..=7 would
/// pull a random model into one attractor. 4.6 is the deviation of such a nibble.
fn q4_0(rng: &mut SplitMix64, n: usize, scale: f32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(n / 32 * 18);
    for _ in 0..n / 32 {
        bytes.extend(rng.scale(scale / 4.6).to_le_bytes());
        for _ in 0..2 {
            let raw = rng.next();
            let nonzero = raw | (raw >> 1) | (raw >> 2) | (raw >> 3);
            let zeros = !nonzero & 0x1111_1111_1111_1111;
            bytes.extend((raw | (zeros << 3)).to_le_bytes());
        }
    }
    bytes
}

/// Blocks of f16 scale and 32 signed bytes; 73 is about the deviation of such a byte.
fn q8_0(rng: &mut SplitMix64, n: usize, scale: f32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(n / 32 * 34);
    for _ in 0..n / 32 {
        bytes.extend(rng.scale(scale / 73.0).to_le_bytes());
        for _ in 0..4 {
            bytes.extend(rng.next().to_le_bytes());
        }
    }
    bytes
}

/// Random elements of `ty`, whole blocks of them, of about the deviation that numbers from -scale to scale have; `bits` gives 64
/// random bits at a time. Types without an encoder get random blocks with fitting scales.
///
/// # Panics
/// There is no such type to decode.
#[must_use]
pub fn random_blocks(ty: TensorType, n: usize, scale: f32, bits: &mut dyn FnMut() -> u64) -> Vec<u8> {
    let values: Vec<f32> =
        (0..n).map(|_| ((bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * scale).collect();
    if let Ok(bytes) = ty.encode(&values) {
        return bytes;
    }
    let mut bytes = vec![0; n / ty.block_len() * ty.block_bytes()];
    for chunk in bytes.chunks_mut(8) {
        chunk.copy_from_slice(&bits().to_le_bytes()[..chunk.len()]);
    }
    // Where the f16 scales of a block lie (gguf::format), and a value at which its elements have about `scale`.
    let fields: &[(usize, f32)] = match ty {
        TensorType::Q4_1 => &[(0, 1.0 / 8.0), (2, -1.0)],
        TensorType::Q5_0 => &[(0, 1.0 / 16.0)],
        TensorType::Q5_1 => &[(0, 1.0 / 16.0), (2, -1.0)],
        TensorType::Q2_K => &[(80, 1.0 / 16.0), (82, 1.0 / 12.0)],
        TensorType::Q3_K => &[(108, 1.0 / 64.0)],
        TensorType::Q4_K => &[(0, 1.0 / 500.0), (2, 1.0 / 63.0)],
        TensorType::Q5_K => &[(0, 1.0 / 1000.0), (2, 1.0 / 63.0)],
        TensorType::Q6_K => &[(208, 1.0 / 2000.0)],
        _ => panic!("no random blocks of {ty}"),
    };
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        for &(at, factor) in fields {
            block[at..at + 2].copy_from_slice(&f16::from_f32(scale * factor).to_le_bytes());
        }
    }
    bytes
}

/// Sebastiano Vigna's splitmix64: eight good bytes in a few instructions.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A block scale, 0.5 to 1.5 times `scale`.
    fn scale(&mut self, scale: f32) -> f16 {
        let unit = (self.next() >> 40) as f32 / (1u64 << 24) as f32;
        f16::from_f32((0.5 + unit) * scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;

    #[test]
    fn a_preset_has_every_tensor_of_its_spec_and_the_real_size() {
        for preset in SyntheticPreset::ALL {
            let source = Synthetic::new(preset, 7);
            let spec = preset.spec();
            let weights = Weights::new(&spec, &source).unwrap();
            let expected = match preset.name {
                "smollm-135m" => 134_515_008,
                "llama-1b" => 1_235_814_400,
                _ => 8_030_261_248,
            };
            assert_eq!(weights.n_params(), expected, "{}", preset.name);
        }
    }

    #[test]
    fn weights_are_seeded_centred_and_scaled() {
        let preset = SyntheticPreset::ALL[0];
        let [a, b] =
            [7, 8].map(|seed| Synthetic::new(preset, seed).bytes("blk.3.attn_q.weight").into_owned());
        assert_eq!(a, *Synthetic::new(preset, 7).bytes("blk.3.attn_q.weight"));
        assert_ne!(a, b);
        for name in ["blk.3.attn_q.weight", "token_embd.weight"] {
            let source = Synthetic::new(preset, 7);
            let weights = Weights::new(&preset.spec(), &source).unwrap();
            let values = weights.iter().find(|w| w.name == name).unwrap().decode();
            let n = values.len() as f64;
            let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let deviation = (values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n).sqrt();
            assert!(mean.abs() < 1e-3, "{name}: mean {mean}");
            assert!((deviation * 24.0 - 1.0).abs() < 0.15, "{name}: deviation {deviation}");
        }
    }
}
