//! Each kernel of each instruction set against f64, on fuzzed shapes.

use super::TYPES;
use crate::activations::{Need, QuantBlock, Tile};
use crate::arch::{Kernels, LANES};
use crate::arena::Arena;
use crate::kernels::argmax::Argmax;
use crate::kernels::attend::{Attend, Merge, block_len, state_len};
use crate::kernels::product::{Sink, Stream};
use crate::kernels::quantize::Quantize;
use crate::kernels::rms_norm::RmsNorm;
use crate::matrix::Matrix;
use crate::pack::{Format, STRIP};
use crate::shared::Columns;
use gguf::TensorType;
use testkit::{Random, dot_bound, random_matrix};

/// One packed strip of random weights, and their values.
fn random_strip(random: &mut Random, ty: TensorType, rows: usize, cols: usize) -> (Arena, Matrix, Vec<f32>) {
    let bytes = random_matrix(random, ty, rows, cols, (cols as f32 / 3.0).sqrt());
    let mut values = vec![0.0; rows * cols];
    ty.decode(&bytes, &mut values).unwrap();
    let mut matrix = Matrix { format: Format::of(ty), rows, cols, start: 0, stride: 0 };
    matrix.stride = matrix.strip_bytes();
    let mut arena = Arena::new(matrix.stride).unwrap();
    let row_bytes = bytes.len() / rows;
    let groups = arena.bytes_mut().chunks_mut(matrix.group_bytes());
    for (group, rows) in groups.zip(bytes.chunks(LANES * row_bytes)) {
        matrix.format.pack(rows, cols, group);
    }
    (arena, matrix, values)
}

#[test]
fn products_agree_with_f64_on_the_same_quantised_numbers() {
    let mut random = Random::new(11);
    for ty in TYPES {
        for case in 0..20 {
            let blocks = 1 + random.below(if ty.block_len() == 256 { 4 } else { 20 });
            let cols = if ty.block_len() == 1 { 1 + random.below(300) } else { ty.block_len() * blocks };
            // The last is more than any pass has at a time.
            let (rows, n_tokens) = (1 + random.below(STRIP), [1, 2, 3, 4, 35][case % 5]);
            let (arena, matrix, weights) = random_strip(&mut random, ty, rows, cols);
            let x: Vec<Vec<f32>> = (0..n_tokens).map(|_| random.vector(cols, 3.0)).collect();
            let mut expected = None;
            for kernels in Kernels::available() {
                let tiles = tiles(kernels, matrix.format, &x);
                let mut out = vec![0.0; n_tokens * rows];
                let sink = Sink::Store(Columns::of(&mut out, 0, rows, rows));
                let stream = Stream { end: matrix.stride, next: 0, is_near: case % 4 == 0 };
                let stream = (case % 2 == 0).then_some(stream);
                matrix.times(kernels, arena.bytes(), 0..1, &tiles, sink, stream);
                let what = format!("{ty} {} [{rows}, {cols}] x {n_tokens}", kernels.name);
                check_product(kernels, &matrix, &weights, &x, &out, &what);
                let bits: Vec<u32> = out.iter().map(|v| v.to_bits()).collect();
                assert!(*expected.get_or_insert_with(|| bits.clone()) == bits, "{what}: other bits");
            }
        }
    }
}

fn tiles(kernels: &Kernels, format: Format, x: &[Vec<f32>]) -> Vec<Tile> {
    let fill = |x: &[Vec<f32>]| {
        let mut tile = Tile::default();
        tile.fill(kernels, x.len(), x[0].len(), Need::of([format]), &mut Vec::new(), |t, _| Some(&x[t]));
        tile
    };
    x.chunks(kernels.tokens).map(fill).collect()
}

fn check_product(
    kernels: &Kernels,
    matrix: &Matrix,
    weights: &[f32],
    x: &[Vec<f32>],
    out: &[f32],
    what: &str,
) {
    let (rows, cols) = (matrix.rows, matrix.cols);
    for (t, x) in x.iter().enumerate() {
        let seen = seen_by(kernels, matrix.format, x);
        for row in 0..rows {
            let terms = weights[row * cols..][..cols].iter().zip(&seen);
            let (sum, abs) = terms.fold((0f64, 0f64), |(s, a), (&w, x)| {
                let term = f64::from(w) * x;
                // The parts of a weight with a minimum are larger than the weight.
                (s + term, a + 8.0 * term.abs())
            });
            let error = (f64::from(out[t * rows + row]) - sum).abs();
            assert!(error <= dot_bound(cols, abs), "{what}: error {error} of {abs}");
        }
    }
}

#[test]
fn sinks_store_add_and_gate() {
    let mut random = Random::new(17);
    let (rows, cols) = (21, 64);
    let (arena, matrix, _) = random_strip(&mut random, TensorType::Q8_0, rows, cols);
    let x = vec![random.vector(cols, 1.0), random.vector(cols, 1.0), random.vector(cols, 1.0)];
    let (there, bias) = (random.vector(3 * rows, 2.0), random.vector(rows, 2.0));
    for kernels in Kernels::available() {
        let tiles = tiles(kernels, matrix.format, &x);
        let run = |sink: &dyn for<'a> Fn(Columns<'a>) -> Sink<'a>| {
            let mut out = there.clone();
            let columns = Columns::of(&mut out, 0, rows, rows);
            matrix.times(kernels, arena.bytes(), 0..1, &tiles, sink(columns), None);
            out
        };
        let plain = run(&|columns| Sink::Store(columns));
        let added = run(&|columns| Sink::Add(columns));
        let gated = run(&|columns| Sink::Gate(columns));
        let mut biased = there.clone();
        let columns = Columns::of(&mut biased, 0, rows, rows);
        matrix.times(kernels, arena.bytes(), 0..1, &tiles, Sink::StoreBiased(columns, &bias), None);
        for i in 0..3 * rows {
            assert_eq!(added[i], there[i] + plain[i], "{}", kernels.name);
            assert_eq!(biased[i], plain[i] + bias[i % rows], "{}", kernels.name);
            let g = f64::from(there[i]);
            let expected = g / (1.0 + (-g).exp()) * f64::from(plain[i]);
            assert!((f64::from(gated[i]) - expected).abs() <= 1e-6 * expected.abs(), "{}", kernels.name);
        }
    }
}

/// The activations that a kernel of `format` multiplies with.
fn seen_by(kernels: &Kernels, format: Format, x: &[f32]) -> Vec<f64> {
    if !format.is_quantised() {
        return x.iter().map(|&v| f64::from(v)).collect();
    }
    quantized(kernels, x)
        .iter()
        .flat_map(|block| block.q.map(|q| f64::from(q) * f64::from(block.scale)))
        .collect()
}

fn quantized(kernels: &Kernels, x: &[f32]) -> Vec<QuantBlock> {
    let mut blocks = vec![QuantBlock::default(); x.len() / 32];
    (kernels.quantize)(Quantize { x, blocks: &mut blocks, stride: 1 });
    blocks
}

#[test]
fn blocks_round_to_nearest_even_and_keep_the_largest() {
    let mut x = [0f32; 32];
    (x[0], x[1], x[2], x[17]) = (-127.0, 2.5, 3.5, 1.25);
    for kernels in Kernels::available() {
        let block = quantized(kernels, &x)[0];
        assert_eq!((block.scale, block.minus_sum), (1.0, 127 - 2 - 4 - 1));
        assert_eq!(block.minus_sums, [127 - 2 - 4, -1]);
        assert_eq!((&block.q[..4], block.q[17]), (&[-127, 2, 4, 0][..], 1), "{}", kernels.name);
    }
}

#[test]
fn small_and_huge_blocks_stay_in_range() {
    for kernels in Kernels::available() {
        for nothing in [0.0, 1e-38] {
            let block = quantized(kernels, &[nothing; 32])[0];
            assert_eq!((block.scale, block.minus_sum, block.q), (0.0, 0, [0; 32]));
        }
        for scale in [1e-35f32, 1e-30, 1e30, 3e38] {
            let x: [f32; 32] = std::array::from_fn(|i| (i as f32 - 16.0) / 16.0 * scale);
            let block = quantized(kernels, &x)[0];
            for (q, x) in block.q.iter().zip(x) {
                let error = (f32::from(*q) * block.scale - x).abs();
                assert!(error <= scale / 127.0 * 0.51, "{scale}: {q} * {} for {x}", block.scale);
            }
        }
    }
}

#[test]
fn the_largest_is_the_first_among_equals_and_never_nan() {
    let mut random = Random::new(19);
    for kernels in Kernels::available() {
        let argmax = |values: &[f32], floor| (kernels.argmax)(Argmax { values, floor });
        for n in [1, 15, 16, 17, 100, 513] {
            let mut values = random.vector(n, 5.0);
            values[n / 3] = f32::NAN;
            let top = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let expected = values.iter().position(|&v| v == top).map(|i| (i, top));
            assert_eq!(argmax(&values, f32::NEG_INFINITY), expected, "{} {n}", kernels.name);
            assert_eq!(argmax(&values, top), None);
        }
        assert_eq!(argmax(&[1.0, 3.0, 3.0], 2.0), Some((1, 3.0)));
        assert_eq!(argmax(&[-4.0], -3.0), None);
    }
}

#[test]
fn rms_norm_agrees_with_f64() {
    let mut random = Random::new(12);
    for n in [1, 3, 15, 16, 17, 64, 100, 576, 4096] {
        let (x, w) = (random.vector(n, 5.0), random.vector(n, 2.0));
        let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n as f64;
        for kernels in Kernels::available() {
            let mut y = vec![f32::NAN; n];
            (kernels.rms_norm)(RmsNorm { x: &x, weight: &w, eps: 1e-5, y: &mut y });
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
fn attention_agrees_with_f64_and_never_reads_past_the_valid_positions() {
    let mut random = Random::new(14);
    for case in 0..60 {
        let head_dim = [8, 16, 64, 80, 128][case % 5];
        let (n_heads, n_positions) = (1 + case % 4, 1 + random.below(100));
        let queries = random.vector(n_heads * head_dim, 1.0);
        let keys: Vec<Vec<f32>> = (0..n_positions).map(|_| rounded(&mut random, head_dim)).collect();
        let values: Vec<Vec<f32>> = (0..n_positions).map(|_| rounded(&mut random, head_dim)).collect();
        for kernels in Kernels::available() {
            // Everything past the valid positions is NaN.
            let mut blocks = vec![vec![0x7e00u16; block_len(head_dim)]; n_positions.div_ceil(32)];
            let value_len = head_dim.next_multiple_of(LANES);
            for p in 0..n_positions {
                let block = &mut blocks[p / 32];
                for d in 0..head_dim {
                    let bits = |v: f32| half::f16::from_f32(v).to_bits();
                    block[p % 32 / 16 * 16 * head_dim + d * 16 + p % 16] = bits(keys[p][d]);
                    block[32 * head_dim + p % 32 * value_len + d] = bits(values[p][d]);
                }
            }
            let blocks: Vec<&[u16]> = blocks.iter().map(|block| &block[..]).collect();
            // Each sees a position fewer than the next, as rows of a prompt do.
            let seen: Vec<usize> =
                (0..n_heads).map(|h| n_positions.saturating_sub(n_heads - 1 - h).max(1)).collect();
            let mut states = vec![f32::NAN; n_heads * state_len(head_dim)];
            (kernels.attend)(&mut Attend {
                head_dim,
                queries: &queries,
                seen: &seen,
                blocks: &blocks,
                states: &mut states,
            });
            let mut got = vec![0.0; n_heads * head_dim];
            (kernels.merge)(Merge { states: &states, head_dim, out: &mut got });
            for (h, got) in got.chunks_exact(head_dim).enumerate() {
                let query = &queries[h * head_dim..][..head_dim];
                let expected = exact(query, &keys[..seen[h]], &values[..seen[h]]);
                for (g, e) in got.iter().zip(expected) {
                    assert!((f64::from(*g) - e).abs() < 3e-6, "{} case {case}: {g} for {e}", kernels.name);
                }
            }
        }
    }
}

#[test]
fn exponentials_agree_with_f64_over_the_whole_range() {
    for kernels in Kernels::available() {
        // Two states of which the second weighs e^x times the first.
        let weight = |x: f32| {
            let mut states = [0.0f32; 64];
            (states[0], states[1], states[32], states[33], states[48]) = (0.0, 1.0, x, 0.0, 1.0);
            let mut out = [0.0; 16];
            (kernels.merge)(Merge { states: &states, head_dim: 16, out: &mut out });
            f64::from(out[0])
        };
        let mut worst = 0f64;
        for i in -86_999..0 {
            let x = i as f32 * 1e-3;
            worst = worst.max((weight(x) / f64::from(x).exp() - 1.0).abs());
        }
        assert!(worst < 2e-7, "{}: relative error {worst}", kernels.name);
        assert_eq!((weight(0.0), weight(-87.1), weight(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
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
