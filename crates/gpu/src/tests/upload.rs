//! Both ways of weights to the device leave the same words.

use crate::device::{AdapterChoice, Gpu};
use crate::tensors::Tensors;
use gguf::TensorType;
use model::{ModelSpec, Weights};
use testkit::TinyModel;

/// Fails unless shares rise to all of it.
fn assert_rises(shares: &[f32]) {
    assert!(shares.is_sorted() && shares.len() > 1, "{shares:?}");
    assert_eq!(shares.last(), Some(&1.0));
}

#[test]
fn packed_in_place_and_staged_are_the_same() {
    let choice = AdapterChoice { allow_software: true, ..AdapterChoice::default() };
    let gpu = Gpu::open(choice, None).unwrap();
    for (model, limit, most_buffers) in [
        (TinyModel { family: "qwen2", ..TinyModel::default() }, 1 << 30, 1),
        (TinyModel { family: "qwen3", tied_head: false, ..TinyModel::default() }, 64 << 10, 64),
        (TinyModel::wide(TensorType::Q4_K), 192 << 10, 64),
        // Tensors of several pieces.
        (TinyModel { n_ff: 2304, ..TinyModel::wide(TensorType::Q5_K) }, 1 << 30, 1),
    ] {
        let file = model.gguf();
        let spec = ModelSpec::new(file.metadata(), &file).unwrap();
        let weights = Weights::new(&spec, &file).unwrap();
        let (_, layout) = Tensors::lay_out(limit, &spec, &weights).unwrap();
        let lens = layout.lens();
        assert!(
            (1..=most_buffers).contains(&lens.len()) && (lens.len() > 1) == (most_buffers > 1),
            "{lens:?}"
        );

        // Memory for a buffer is whole pages: longer than what is packed.
        let mut memories: Vec<Vec<u32>> =
            lens.iter().map(|len| vec![0; len.next_multiple_of(4096)]).collect();
        let mut shares = Vec::new();
        layout.pack_into(memories.iter_mut().map(Vec::as_mut_slice).collect(), &mut |s| shares.push(s));
        assert_rises(&shares);

        shares.clear();
        let buffers = layout.stage(&gpu, &mut |s| shares.push(s)).unwrap();
        assert_rises(&shares);
        assert_eq!(buffers.len(), lens.len());
        for ((buffer, memory), &len) in buffers.iter().zip(&memories).zip(lens) {
            let (packed, behind) = memory.split_at(len);
            assert!(gpu.read(buffer, 0, len).unwrap() == packed, "{}", model.family);
            assert!(packed.iter().any(|&word| word != 0) && behind.iter().all(|&word| word == 0));
        }
    }
}
