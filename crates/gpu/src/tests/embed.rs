//! Rows of the embedding, every format, against the decoders of `gguf`.

use super::sampling::{assert_only, labs, memory};
use super::{Lab, POISON, Step, Tensor, floats};
use crate::kernels::embed::{Embed, Ids, Params};
use crate::layout::WeightsAt;
use gguf::TensorType;
use gguf::format::has_min;
use testkit::Random;

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

/// Rows of the ids, read through their descriptions, or the first of them alone. Gives x, rows one after another.
fn embed(lab: &mut Lab, tensor: &Tensor, ty: TensorType, n_embd: usize, ids: &[u32], one: bool) -> Vec<f32> {
    let n_vocab = tensor.values.len() / n_embd;
    let kernel = Embed { ty, n_vocab, n_embd, ids: if one { Ids::At } else { Ids::OfRows } };
    let mut memory = memory();
    memory.weights = tensor.words.clone();
    let padded = n_embd.next_multiple_of(32);
    let stride = padded + 32;
    let x = memory.region(ids.len() * stride);
    // Sequences begin at 3 and at 50; row i is at position i of either.
    memory.tokens = vec![u32::MAX; 100];
    memory.tables = vec![POISON; 8];
    for (i, &id) in ids.iter().enumerate() {
        let (begin, position) = (if i % 2 == 0 { 3 } else { 50 }, i + 1);
        memory.tokens[begin + position] = id;
        memory.tables.extend([position as u32, POISON, begin as u32, 0]);
    }
    let params = Params {
        weights: WeightsAt {
            quads: 0,
            words: tensor.starts[1],
            pairs: tensor.starts[2],
            supers: tensor.starts[3],
            n_units: tensor.n_units,
        },
        x: x as u32,
        stride: stride as u32,
        rows: 8,
        ids: 3,
        position: 1,
        first: 0,
        n_rows: n_vocab as u32,
    };
    let n_rows = if one { 1 } else { ids.len() };
    let after = lab.run_all(&[Step::new(kernel.kernel(), &params, kernel.grid(n_rows))], &memory);
    let written: Vec<_> = (0..n_rows).map(|i| x + i * stride..x + i * stride + padded).collect();
    assert_only(&memory.scratch, &after.scratch, &written, &kernel.name());
    written.into_iter().flat_map(|row| floats(&after.scratch[row])).collect()
}

/// Fails unless x is the rows of the ids. Gives back the largest difference in units in the last place.
fn compare(ty: TensorType, tensor: &Tensor, n_embd: usize, ids: &[u32], x: &[f32]) -> u32 {
    let last = tensor.values.len() / n_embd - 1;
    let mut largest_ulps = 0;
    for (row, &id) in x.chunks(n_embd.next_multiple_of(32)).zip(ids) {
        let expected = &tensor.values[last.min(id as usize) * n_embd..][..n_embd];
        let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
        for (got, want) in row.iter().zip(expected) {
            if has_min(ty) {
                // One rounding less where the device fuses: half an ulp of the product, which is at most twice as large.
                assert!((got - want).abs() <= 2.0 * largest * f32::EPSILON, "{ty}: {got} for {want}");
                largest_ulps = largest_ulps.max(got.to_bits().abs_diff(want.to_bits()));
            } else {
                assert_eq!(got.to_bits(), want.to_bits(), "{ty}: {got} for {want}");
            }
        }
        assert!(row[n_embd..].iter().all(|v| v.to_bits() == 0), "{ty}: zeros behind the row");
    }
    largest_ulps
}

#[test]
fn rows_of_every_format_are_those_of_its_decoder() {
    let mut random = Random::new(31);
    let mut labs = labs();
    let mut largest_ulps = 0;
    for ty in TYPES {
        for blocks in [1, 3] {
            let n_embd = if ty.block_len() == 1 { 32 * blocks - 5 } else { blocks * ty.block_len() };
            let tensor = Tensor::random(&mut random, ty, 70, n_embd);
            // Past the end of the vocabulary the last row is taken.
            let ids = [5, 0, 69, 31, 32, 69, 70, u32::MAX];
            let [checked, unchecked, _] = &mut labs;
            let x = embed(checked, &tensor, ty, n_embd, &ids, false);
            let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<u32>>();
            assert_eq!(
                bits(&x),
                bits(&embed(unchecked, &tensor, ty, n_embd, &ids, false)),
                "{ty}: checks change it"
            );
            largest_ulps = largest_ulps.max(compare(ty, &tensor, n_embd, &ids, &x));
            if blocks == 3 {
                let one = embed(unchecked, &tensor, ty, n_embd, &ids, true);
                assert_eq!(bits(&one), bits(&x[..n_embd.next_multiple_of(32)]), "{ty}: one row alone");
            }
        }
    }
    println!("types with minimums differ by {largest_ulps} ulps at most");
}

#[test]
fn wide_rows_take_several_rounds_and_a_part_of_a_tensor_gives_its_rows_only() {
    let mut random = Random::new(32);
    let [mut lab, ..] = labs();
    let (n_vocab, n_embd) = (96, 32 * 300);
    let tensor = Tensor::random(&mut random, TensorType::Q8_0, n_vocab, n_embd);
    let x = embed(&mut lab, &tensor, TensorType::Q8_0, n_embd, &[95, 17], false);
    assert!(x == [&tensor.values[95 * n_embd..], &tensor.values[17 * n_embd..][..n_embd]].concat());

    // The tensor as the rows from 1000 on of a larger one.
    let kernel = Embed { ty: TensorType::Q8_0, n_vocab: 2000, n_embd, ids: Ids::At };
    let mut memory = memory();
    memory.weights = tensor.words.clone();
    let x = memory.region(n_embd);
    let [quads, words, pairs, supers] = tensor.starts;
    let params = Params {
        weights: WeightsAt { quads, words, pairs, supers, n_units: tensor.n_units },
        x: x as u32,
        stride: 0,
        rows: 0,
        ids: 0,
        position: 0,
        first: 1000,
        n_rows: 96,
    };
    for (id, row) in [(999, None), (1000, Some(0)), (1095, Some(95)), (1096, None), (0, None), (1999, None)] {
        memory.tokens[0] = id;
        let after = lab.run_all(&[Step::new(kernel.kernel(), &params, kernel.grid(1))], &memory);
        match row {
            None => assert!(after.scratch == memory.scratch, "{id} is not in this part"),
            Some(row) => {
                assert!(floats(&after.scratch[x..x + n_embd]) == tensor.values[row * n_embd..][..n_embd])
            }
        }
    }
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let mut lab = Lab::emulator();
    for ty in TYPES {
        let n_embd = if ty.block_len() == 1 { 91 } else { 3 * ty.block_len() };
        let tensor = Tensor::random(&mut Random::new(31), ty, 70, n_embd);
        let ids = [5, 0, 69, 31, 70];
        compare(ty, &tensor, n_embd, &ids, &embed(&mut lab, &tensor, ty, n_embd, &ids, false));
    }
}
