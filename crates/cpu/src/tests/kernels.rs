//! Each kernel of each instruction set against f64, on fuzzed shapes.

use super::TYPES;
use crate::activations::{Need, TILE, Tile};
use crate::arch::Kernels;
use crate::arena::Arena;
use crate::kernels::LANES;
use crate::kernels::attend::{self, state_len};
use crate::pack::{Format, Group};
use gguf::TensorType;
use testkit::{Random, dot_bound};

/// One packed group of random weights, and their values.
fn random_group(random: &mut Random, ty: TensorType, rows: usize, cols: usize) -> (Arena, Vec<f32>) {
    let bytes = ty.encode(&random.vector(rows * cols, 1.0)).unwrap();
    let mut values = vec![0.0; rows * cols];
    ty.decode(&bytes, &mut values).unwrap();
    let format = Format::of(ty);
    let mut arena = Arena::new(format.group_bytes(cols)).unwrap();
    format.pack(&bytes, cols, arena.bytes_mut());
    (arena, values)
}

#[test]
fn tiles_agree_with_f64_on_the_same_quantised_numbers() {
    let mut random = Random::new(11);
    let own = TYPES.into_iter().filter(|&ty| ty == TensorType::F32 || !Format::decodes(ty));
    for ty in own.filter(|ty| ty.encode(&[0.0; 256]).is_ok()) {
        let format = Format::of(ty);
        for case in 0..40 {
            let cols = if ty.block_len() == 1 { 1 + random.below(300) } else { 32 * (1 + random.below(20)) };
            let rows = 1 + random.below(LANES);
            let n_tokens = 1 + case % TILE;
            let (arena, weights) = random_group(&mut random, ty, rows, cols);
            let group = Group::new(arena.bytes(0..format.group_bytes(cols)), cols);
            let x: Vec<Vec<f32>> = (0..n_tokens).map(|_| random.vector(cols, 3.0)).collect();
            for kernels in Kernels::available() {
                let mut tile = Tile::default();
                tile.fill(kernels, n_tokens, cols, Need::of([format]), &mut Vec::new(), |t, out| {
                    out.copy_from_slice(&x[t]);
                });
                let mut out = [[0f32; LANES]; TILE];
                (kernels.tile(format))(group, &tile, &mut out);
                for (t, x) in x.iter().enumerate() {
                    let seen = seen_by(kernels, format, x);
                    for row in 0..rows {
                        let terms = weights[row * cols..][..cols].iter().zip(&seen);
                        let (sum, abs) = terms.fold((0f64, 0f64), |(s, a), (&w, x)| {
                            let term = f64::from(w) * x;
                            (s + term, a + term.abs())
                        });
                        let error = (f64::from(out[t][row]) - sum).abs();
                        assert!(
                            error <= dot_bound(cols, abs),
                            "{ty} {} [{rows}, {cols}] x {n_tokens}: error {error} of {abs}",
                            kernels.name
                        );
                    }
                    assert!(out[t][rows..].iter().all(|&v| v == 0.0), "rows past the end are zero");
                }
                assert!(
                    out[n_tokens..].iter().flatten().all(|&v| v == 0.0),
                    "tokens past the end are untouched"
                );
            }
        }
    }
}

/// The activations that a kernel of `format` multiplies with.
fn seen_by(kernels: &Kernels, format: Format, x: &[f32]) -> Vec<f64> {
    if !format.is_quantised() {
        return x.iter().map(|&v| f64::from(v)).collect();
    }
    let blocks = x.as_chunks::<32>().0.iter();
    blocks
        .flat_map(|block| {
            let mut q = [0; 32];
            let (d, _) = (kernels.quantize)(block, &mut q);
            q.map(|q| f64::from(q) * f64::from(d))
        })
        .collect()
}

#[test]
fn rms_norm_agrees_with_f64() {
    let mut random = Random::new(12);
    for n in [1, 3, 15, 16, 17, 64, 100, 576, 4096] {
        let (x, w) = (random.vector(n, 5.0), random.vector(n, 2.0));
        let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n as f64;
        for kernels in Kernels::available() {
            let mut y = vec![f32::NAN; n];
            (kernels.rms_norm)(&x, &w, 1e-5, &mut y);
            for i in 0..n {
                let expected = f64::from(x[i]) / (mean + 1e-5).sqrt() * f64::from(w[i]);
                assert!(
                    (f64::from(y[i]) - expected).abs() <= 1e-6 * expected.abs(),
                    "{} {n}: {i}",
                    kernels.name
                );
            }
        }
    }
}

#[test]
fn silu_mul_agrees_with_f64() {
    let mut random = Random::new(13);
    let (mut gate, up) = (random.vector(500, 30.0), random.vector(500, 3.0));
    gate[..4].copy_from_slice(&[0.0, -100.0, 100.0, -1e30]);
    for kernels in Kernels::available() {
        let mut y = vec![f32::NAN; 500];
        (kernels.silu_mul)(&gate, &up, &mut y);
        for i in 0..500 {
            let g = f64::from(gate[i]);
            let expected = g / (1.0 + (-g).exp()) * f64::from(up[i]);
            let error = (f64::from(y[i]) - expected).abs();
            assert!(error <= 1e-6 * expected.abs() + 1e-30, "{}: {g} gives {}", kernels.name, y[i]);
        }
    }
}

#[test]
fn attention_agrees_with_f64_and_never_reads_past_the_valid_positions() {
    let mut random = Random::new(14);
    for case in 0..60 {
        let head_dim = [8, 16, 64, 80, 128][case % 5];
        let (n_heads, n_positions) = (1 + case % 4, 1 + random.below(100));
        let queries = random.vector(n_heads * head_dim, 1.0);
        let keys: Vec<Vec<f32>> = (0..n_positions).map(|_| rounded(&mut random, head_dim)).collect();
        let values: Vec<Vec<f32>> = (0..n_positions).map(|_| rounded(&mut random, head_dim)).collect();
        for kernels in Kernels::available() {
            let mut states = vec![f32::NAN; n_heads * state_len(head_dim)];
            attend::reset(&mut states, head_dim);
            for start in (0..n_positions).step_by(32) {
                let n_valid = (n_positions - start).min(32);
                // Everything past the valid positions is NaN.
                let mut block = vec![0x7e00u16; 64 * head_dim];
                for p in 0..n_valid {
                    for d in 0..head_dim {
                        let bits = |v: f32| half::f16::from_f32(v).to_bits();
                        block[p / 16 * 16 * head_dim + d * 16 + p % 16] = bits(keys[start + p][d]);
                        block[32 * head_dim + p * head_dim + d] = bits(values[start + p][d]);
                    }
                }
                (kernels.attend)(&queries, head_dim, &block, n_valid, &mut states);
            }
            for (h, state) in states.chunks_exact(state_len(head_dim)).enumerate() {
                let mut got = vec![0.0; head_dim];
                attend::merge(std::iter::once(state), &mut got);
                let expected = exact(&queries[h * head_dim..][..head_dim], &keys, &values);
                for (g, e) in got.iter().zip(expected) {
                    assert!((f64::from(*g) - e).abs() < 3e-6, "{} case {case}: {g} for {e}", kernels.name);
                }
            }
        }
    }
}

/// Random numbers that f16 holds exactly.
fn rounded(random: &mut Random, n: usize) -> Vec<f32> {
    random.vector(n, 1.0).into_iter().map(|v| half::f16::from_f32(v).to_f32()).collect()
}

fn exact(query: &[f32], keys: &[Vec<f32>], values: &[Vec<f32>]) -> Vec<f64> {
    let dot = |k: &Vec<f32>| query.iter().zip(k).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let weights: Vec<f64> = keys.iter().map(|k| dot(k).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mix = |d: usize| weights.iter().zip(values).map(|(w, v)| w * f64::from(v[d])).sum::<f64>() / total;
    (0..query.len()).map(mix).collect()
}
