//! The backend against the f64 reference, and against itself.

mod bits;
mod kernels;
mod oracle;

use crate::arch::Kernels;
use crate::forward::{CpuForwardPass, CpuOptions};
use gguf::{Gguf, TensorType};
use model::{ModelSpec, Row, Weights};
use std::num::NonZeroUsize;
use testkit::TinyModel;

/// Every tensor type with a decoder.
const TYPES: [TensorType; 13] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::BF16,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q8_0,
    TensorType::Q2_K,
    TensorType::Q3_K,
    TensorType::Q4_K,
    TensorType::Q5_K,
    TensorType::Q6_K,
];

/// The models that every whole-pass test runs on: each family, each type, odd sizes, tied and not.
fn models() -> Vec<(String, TinyModel)> {
    let mut models: Vec<(String, TinyModel)> =
        TYPES.iter().map(|&ty| (format!("llama {ty}"), TinyModel::wide(ty))).collect();
    for family in ["llama", "qwen2", "qwen3"] {
        models.push((format!("{family} F32"), TinyModel { family, ..TinyModel::default() }));
        let quantised = TinyModel { family, seed: 2, ..TinyModel::wide(TensorType::Q8_0) };
        models.push((format!("{family} Q8_0"), quantised));
    }
    let odd = TinyModel {
        n_embd: 36,
        n_heads: 6,
        n_kv_heads: 3,
        head_dim: 6,
        n_ff: 50,
        tied_head: false,
        rope_divisors: true,
        ..TinyModel::default()
    };
    models.push(("odd sizes".into(), odd));
    let untied = TinyModel { tied_head: false, head: TensorType::Q6_K, ..TinyModel::wide(TensorType::Q4_0) };
    models.push(("untied Q6_K head".into(), untied));
    for matrices in [TensorType::F16, TensorType::BF16, TensorType::Q4_1, TensorType::Q6_K] {
        let float = TinyModel { head: TensorType::F16, ..TinyModel::wide(matrices) };
        models.push((format!("llama {matrices}, F16 head"), float));
    }
    let one_kv_head = TinyModel { n_kv_heads: 1, n_heads: 5, ..TinyModel::default() };
    models.push(("one KV head".into(), one_kv_head));
    models
}

fn load(file: &Gguf, threads: usize, context_len: usize, kernels: &'static Kernels) -> CpuForwardPass {
    let spec = ModelSpec::new(file.metadata(), file).unwrap();
    let weights = Weights::new(&spec, file).unwrap();
    let options = CpuOptions { threads: NonZeroUsize::new(threads), context_len, n_sequences: 2 };
    CpuForwardPass::with_kernels(&spec, &weights, &options, kernels, &mut |_| ()).unwrap()
}

/// Thread counts between which no bit may differ. Under an emulator, of which `cargo xtask arm-check` tells by this variable, no more
/// than three: threads that wait for one another spin, and where they are many more than the cores, spinning is most of what is
/// emulated.
fn thread_counts() -> &'static [usize] {
    match std::env::var_os("METAL_ATTENTION_TEST_EMULATED") {
        Some(_) => &[1, 2, 3],
        None => &[1, 2, 3, 4],
    }
}

/// Tokens of a prompt that wanders over the vocabulary.
fn prompt(n: usize, n_vocab: usize) -> Vec<u32> {
    (0..n).map(|i| u32::try_from((i * i * 7 + i * 3 + 1) % n_vocab).unwrap()).collect()
}

/// Rows that want all their logits.
fn wanting_all(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter().map(|row| Row { wants_logits: true, ..row }).collect()
}
