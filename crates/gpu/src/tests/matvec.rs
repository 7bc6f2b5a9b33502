//! Matrix times vector, every format, prologue and epilogue.

use super::{GUARD, Lab, Memory, POISON, Tensor, floats, words};
use crate::kernels::matvec::{Epilogue, Matvec, Params, Prologue};
use crate::pipeline::Checks;
use gguf::TensorType;
use testkit::{Random, dot_bound};

pub(super) const TYPES: [TensorType; 13] = [
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

/// One case: `(n_rows, n_cols)` of a tensor, and what goes around it.
fn check(
    lab: &mut Lab,
    random: &mut Random,
    ty: TensorType,
    (rows, cols): (usize, usize),
    prologue: Prologue,
) -> Vec<u32> {
    let tensor = Tensor::random(random, ty, rows, cols);
    let x = random.vector(cols, 3.0);
    let kernel = Matvec::new(ty, cols, prologue, Epilogue::Store, lab.gpu.caps);
    let padded = rows.next_multiple_of(32);
    let x_at = GUARD;
    let y_at = x_at + cols.next_multiple_of(4) + GUARD;
    let mut memory = Memory {
        weights: tensor.words.clone(),
        kv: vec![0; 4],
        tables: vec![0; 4],
        tokens: vec![0; 4],
        ..Memory::default()
    };
    memory.scratch = vec![POISON; y_at + padded + GUARD];
    memory.scratch[x_at..x_at + cols].copy_from_slice(&words(&x));
    let norm_at = memory.weights.len().next_multiple_of(4);
    let norm = random.vector(cols, 2.0);
    memory.weights.resize(norm_at, 0);
    memory.weights.extend(words(&norm));
    memory.weights.resize(norm_at + cols.next_multiple_of(32), 0);
    let params = Params {
        quads: tensor.starts[0] / 4,
        words: tensor.starts[1],
        pairs: tensor.starts[2],
        supers: tensor.starts[3],
        n_units: tensor.n_units,
        x: x_at as u32,
        y: y_at as u32,
        norm: (norm_at / 4) as u32,
        bias: 0,
    };
    let after =
        lab.run(kernel.kernel(), bytemuck::bytes_of(&params), kernel.grid(tensor.areas.n_groups()), &memory);
    let (x, what) = match prologue {
        Prologue::Plain => (x.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>(), "plain"),
        Prologue::Norm { eps_bits } => {
            let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / cols as f64;
            let scale = 1.0 / (mean + f64::from(f32::from_bits(eps_bits))).sqrt();
            (x.iter().zip(&norm).map(|(&x, &w)| f64::from(x) * f64::from(w) * scale).collect(), "norm")
        }
    };
    for (row, got) in floats(&after.scratch[y_at..y_at + rows]).into_iter().enumerate() {
        let terms = tensor.values[row * cols..][..cols].iter().zip(&x);
        let (sum, abs) =
            terms.fold((0f64, 0f64), |(s, a), (&w, x)| (s + f64::from(w) * x, a + (f64::from(w) * x).abs()));
        let error = (f64::from(got) - sum).abs();
        // Types with minimums sum x beside the product; their terms are larger than the weights.
        let slack = if gguf::format::has_min(ty) { 8.0 } else { 1.0 };
        assert!(
            error <= slack * dot_bound(cols, abs),
            "{ty} {what} [{rows}, {cols}] row {row}: {got} for {sum}, error {error:.1e} of {abs:.1e}"
        );
    }
    assert!(
        floats(&after.scratch[y_at + rows..y_at + padded]).iter().all(|&v| v == 0.0),
        "{ty}: rows past the end are zero"
    );
    let outside = |s: &[u32]| [&s[..y_at], &s[y_at + padded..]].concat();
    assert!(outside(&after.scratch) == outside(&memory.scratch), "{ty}: something else was written");
    after.scratch
}

#[test]
fn every_format_agrees_with_f64_and_checks_change_no_bit() {
    let mut checked = Lab::new(Checks::On);
    let mut unchecked = Lab::new(Checks::Off);
    for ty in TYPES {
        let width = ty.block_len().max(32);
        for (i, (rows, blocks)) in [(1, 1), (33, 2), (64, 3), (70, 18)].into_iter().enumerate() {
            let cols = if ty.block_len() == 1 { blocks * 32 - 5 } else { blocks * width };
            for prologue in [Prologue::Plain, Prologue::Norm { eps_bits: 1e-5f32.to_bits() }] {
                let seed = 100 + i as u64;
                let a = check(&mut checked, &mut Random::new(seed), ty, (rows, cols), prologue);
                let b = check(&mut unchecked, &mut Random::new(seed), ty, (rows, cols), prologue);
                assert!(a == b, "{ty}: checks change the result");
            }
        }
    }
}
