//! A type and arbitrary bytes, taken once as blocks to decode and once as weights to encode and decode again.
#![no_main]

use gguf::{FormatError, TensorType};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&selector, bytes)) = input.split_first() else { return };
    let ty = TensorType::ALL[usize::from(selector) % TensorType::ALL.len()];
    decode(ty, bytes);
    encode(ty, bytes);
});

fn decode(ty: TensorType, bytes: &[u8]) {
    let n_blocks = bytes.len() / ty.block_bytes();
    let mut weights = vec![0.0; n_blocks * ty.block_len()];
    match ty.decode(&bytes[..n_blocks * ty.block_bytes()], &mut weights) {
        Ok(()) => assert!(ty.is_supported()),
        Err(error) => assert_eq!(error, FormatError::NoDecoder { ty }),
    }
    // A byte more than whole blocks, or a weight more than the bytes hold, is an error.
    if n_blocks * ty.block_bytes() < bytes.len() {
        assert!(ty.decode(bytes, &mut weights).is_err());
    }
    weights.push(0.0);
    assert!(ty.decode(&bytes[..n_blocks * ty.block_bytes()], &mut weights).is_err());
}

fn encode(ty: TensorType, bytes: &[u8]) {
    let mut weights: Vec<f32> = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    weights.truncate(weights.len() / ty.block_len() * ty.block_len());
    let blocks = match ty.encode(&weights) {
        Ok(blocks) => blocks,
        Err(FormatError::NoEncoder { .. }) => return,
        Err(error @ FormatError::NotEncodable { .. }) => {
            assert!(weights.iter().any(|weight| weight.is_nan() || weight.abs() > 65504.0 * 7.0), "{error}");
            return;
        }
        Err(error) => panic!("whole blocks were given: {error}"),
    };
    let mut decoded = vec![0.0; weights.len()];
    ty.decode(&blocks, &mut decoded).expect("what was encoded can be decoded");
    let chunks = weights.chunks(ty.block_len()).zip(decoded.chunks(ty.block_len()));
    chunks.for_each(|(weights, decoded)| check_close(ty, weights, decoded));
}

/// The weights of one block differ from what they were by no more than their type's steps.
fn check_close(ty: TensorType, weights: &[f32], decoded: &[f32]) {
    let largest = weights.iter().fold(0.0f32, |largest, weight| largest.max(weight.abs()));
    // Relative to the largest of the block: half a step, or one where the scale has no step for +8, and the
    // rounding of the f16 scale. Absolute: the smallest f16 scale times the largest quant.
    let (relative, absolute) = match ty {
        TensorType::F32 => (0.0, 0.0),
        TensorType::F16 => (1.0 / 2048.0, f32::powi(2.0, -25)),
        TensorType::BF16 => (1.0 / 256.0, f32::powi(2.0, -134)),
        TensorType::Q4_0 => (1.0 / 8.0 + 1.0 / 1024.0, 8.0 * f32::powi(2.0, -24)),
        TensorType::Q8_0 => (0.5 / 127.0 + 1.0 / 1024.0, 127.0 * f32::powi(2.0, -24)),
        _ => panic!("{ty} has an encoder but no bound"),
    };
    for (&weight, &decoded) in weights.iter().zip(decoded) {
        let same = weight == decoded || weight.is_nan() && decoded.is_nan();
        let overflowed = decoded.is_infinite() && weight.is_sign_positive() == decoded.is_sign_positive();
        let limit = largest * relative + absolute;
        let close = (weight - decoded).abs() <= limit || overflowed && weight.abs() > 65504.0;
        assert!(same || close, "{ty}: {weight:e} became {decoded:e}, the largest is {largest:e}");
    }
}
