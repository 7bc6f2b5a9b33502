//! A model with the structure of a real one and a few thousand random weights.

use crate::random::Random;
use gguf::{Gguf, GgufWriter, TensorType};

/// What to make. `TinyModel::default()` is a two-layer llama in F32.
#[derive(Debug, Clone)]
pub struct TinyModel {
    /// `general.architecture`: `llama`, `qwen2` or `qwen3`.
    pub family: &'static str,
    /// Layers.
    pub n_layers: usize,
    /// Width of the hidden state.
    pub n_embd: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key-value heads.
    pub n_kv_heads: usize,
    /// Elements of a head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub n_ff: usize,
    /// Positions that the metadata promises.
    pub context_len: usize,
    /// Type of the layers' matrices.
    pub matrices: TensorType,
    /// Type of the embedding and the head.
    pub head: TensorType,
    /// Whether the head is the embedding.
    pub tied_head: bool,
    /// `rope_freqs.weight` with divisors from 1 to 8.
    pub rope_divisors: bool,
    /// `tokenizer.chat_template`.
    pub chat_template: Option<&'static str>,
    /// Factor on all weights: larger ones make the model surer of its next token.
    pub gain: f32,
    /// Same seed, same bytes.
    pub seed: u64,
}

impl Default for TinyModel {
    fn default() -> Self {
        Self {
            family: "llama",
            n_layers: 2,
            n_embd: 64,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 16,
            n_ff: 96,
            context_len: 128,
            matrices: TensorType::F32,
            head: TensorType::F32,
            tied_head: true,
            rope_divisors: false,
            chat_template: None,
            gain: 1.5,
            seed: 1,
        }
    }
}

/// Merges of the vocabulary, so that common English makes tokens of more than one byte.
const MERGES: [&str; 14] =
    ["Ġ t", "h e", "Ġt he", "i n", "Ġ a", "e r", "o n", "Ġ w", "Ġ s", "o u", "r e", "n d", "Ġa nd", "l l"];
/// Control tokens, after the bytes and the merges.
const CONTROL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

impl TinyModel {
    /// Sizes at which rows of every block format fit: multiples of 256.
    #[must_use]
    pub fn wide(matrices: TensorType) -> Self {
        Self {
            n_embd: 256,
            n_heads: 4,
            n_kv_heads: 2,
            head_dim: 64,
            n_ff: 512,
            matrices,
            head: TensorType::Q8_0,
            ..Self::default()
        }
    }

    /// Tokens in the vocabulary.
    #[must_use]
    pub fn n_vocab(&self) -> usize {
        256 + MERGES.len() + CONTROL.len()
    }

    /// The model as a file.
    #[must_use]
    pub fn gguf(&self) -> Gguf {
        Gguf::from_vec(self.bytes()).expect("the writer's files can be read")
    }

    /// The bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut writer = GgufWriter::new();
        self.write_metadata(&mut writer).expect("keys are distinct");
        self.write_vocabulary(&mut writer).expect("keys are distinct");
        self.write_tensors(&mut writer).expect("names are distinct");
        writer.to_vec()
    }

    fn write_metadata(&self, writer: &mut GgufWriter<'_>) -> Result<(), gguf::WriteError> {
        let size = |n: usize| u32::try_from(n).expect("tiny");
        writer.set("general.architecture", self.family)?;
        writer.set("general.name", "tiny")?;
        for (key, value) in [
            ("context_length", self.context_len),
            ("embedding_length", self.n_embd),
            ("block_count", self.n_layers),
            ("feed_forward_length", self.n_ff),
            ("attention.head_count", self.n_heads),
            ("attention.head_count_kv", self.n_kv_heads),
            ("attention.key_length", self.head_dim),
            ("attention.value_length", self.head_dim),
            ("rope.dimension_count", self.head_dim),
        ] {
            writer.set(format!("{}.{key}", self.family), size(value))?;
        }
        writer.set(format!("{}.attention.layer_norm_rms_epsilon", self.family), 1e-5f32)?;
        writer.set(format!("{}.rope.freq_base", self.family), 10_000f32)?;
        Ok(())
    }

    fn write_vocabulary(&self, writer: &mut GgufWriter<'_>) -> Result<(), gguf::WriteError> {
        let mut tokens: Vec<String> = (0..=255).map(|byte| byte_symbol(byte).to_string()).collect();
        tokens.extend(MERGES.iter().map(|merge| merge.replace(' ', "")));
        let n_normal = tokens.len();
        tokens.extend(CONTROL.map(String::from));
        let types: Vec<i32> = (0..tokens.len()).map(|i| if i < n_normal { 1 } else { 3 }).collect();
        let id = |i: usize| u32::try_from(n_normal + i).expect("tiny");
        writer.set("tokenizer.ggml.model", "gpt2")?;
        writer.set("tokenizer.ggml.pre", "gpt-2")?;
        writer.set("tokenizer.ggml.tokens", tokens)?;
        writer.set("tokenizer.ggml.token_type", types)?;
        writer.set("tokenizer.ggml.merges", MERGES.map(String::from).to_vec())?;
        writer.set("tokenizer.ggml.bos_token_id", id(0))?;
        writer.set("tokenizer.ggml.eos_token_id", id(0))?;
        writer.set("tokenizer.ggml.eot_token_id", id(2))?;
        writer.set("tokenizer.ggml.add_bos_token", false)?;
        if let Some(template) = self.chat_template {
            writer.set("tokenizer.chat_template", template)?;
        }
        Ok(())
    }

    fn write_tensors(&self, writer: &mut GgufWriter<'_>) -> Result<(), gguf::WriteError> {
        let mut random = Random::new(self.seed);
        let (q_dim, kv_dim) = (self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim);
        let (vocab, embd, ff) = (self.n_vocab(), self.n_embd, self.n_ff);
        let mut matrix = |writer: &mut GgufWriter<'_>, name: String, ty, rows: usize, cols: usize| {
            let bytes = random_matrix(&mut random, ty, rows, cols, self.gain);
            writer.add_tensor(name, ty, &[rows as u64, cols as u64], bytes).map(|_| ())
        };
        matrix(writer, "token_embd.weight".into(), self.head, vocab, embd)?;
        if !self.tied_head {
            matrix(writer, "output.weight".into(), self.head, vocab, embd)?;
        }
        for i in 0..self.n_layers {
            for (suffix, rows, cols) in [
                ("attn_q", q_dim, embd),
                ("attn_k", kv_dim, embd),
                ("attn_v", kv_dim, embd),
                ("attn_output", embd, q_dim),
                ("ffn_gate", ff, embd),
                ("ffn_up", ff, embd),
                ("ffn_down", embd, ff),
            ] {
                matrix(writer, format!("blk.{i}.{suffix}.weight"), self.matrices, rows, cols)?;
            }
        }
        let mut vector = |name: String, centre: f32, spread: f32, n: usize| {
            let values: Vec<u8> =
                random.vector(n, spread).into_iter().flat_map(|v| (centre + v).to_le_bytes()).collect();
            writer.add_tensor(name, TensorType::F32, &[n as u64], values).map(|_| ())
        };
        vector("output_norm.weight".into(), 1.0, 0.2, embd)?;
        for i in 0..self.n_layers {
            vector(format!("blk.{i}.attn_norm.weight"), 1.0, 0.2, embd)?;
            vector(format!("blk.{i}.ffn_norm.weight"), 1.0, 0.2, embd)?;
            if self.family == "qwen2" {
                for (suffix, n) in [("attn_q", q_dim), ("attn_k", kv_dim), ("attn_v", kv_dim)] {
                    vector(format!("blk.{i}.{suffix}.bias"), 0.0, 0.3, n)?;
                }
            }
            if self.family == "qwen3" {
                for suffix in ["attn_q_norm", "attn_k_norm"] {
                    vector(format!("blk.{i}.{suffix}.weight"), 1.0, 0.2, self.head_dim)?;
                }
            }
        }
        if self.rope_divisors {
            let n = self.head_dim / 2;
            let divisors: Vec<u8> =
                (0..n).flat_map(|i| (1.0 + 7.0 * i as f32 / n as f32).to_le_bytes()).collect();
            writer.add_tensor("rope_freqs.weight", TensorType::F32, &[n as u64], divisors)?;
        }
        Ok(())
    }
}

/// A random matrix whose outputs have about the deviation of its inputs times `gain`.
#[must_use]
pub fn random_matrix(random: &mut Random, ty: TensorType, rows: usize, cols: usize, gain: f32) -> Vec<u8> {
    let scale = gain * (3.0 / cols as f32).sqrt();
    model::random_blocks(ty, rows * cols, scale, &mut || random.bits())
}

/// The character that byte-level BPE writes for a byte.
fn byte_symbol(byte: u8) -> char {
    let plain = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if plain(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !plain(b)).count();
    char::from_u32(256 + u32::try_from(before).expect("a byte")).expect("below the surrogates")
}
