//! Decoders and encoders give the bits that gguf-py gives; `tests/golden/README.md` tells where the vectors come from.

use std::path::Path;

use gguf::TensorType;

/// Splits a golden file into its first and second part, given what a block takes of each.
fn read(name: &str, first_bytes: usize, second_bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let mut first = std::fs::read(&path).unwrap();
    let n_blocks = first.len() / (first_bytes + second_bytes);
    assert_eq!(first.len(), n_blocks * (first_bytes + second_bytes), "{name}");
    assert!(n_blocks >= 10, "{name} has a block for each special scale");
    let second = first.split_off(n_blocks * first_bytes);
    (first, second)
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn check_decode(ty: TensorType) {
    let name = format!("decode_{}.bin", ty.name().to_lowercase());
    let (blocks, weights) = read(&name, ty.block_bytes(), 4 * ty.block_len());
    let weights = floats(&weights);
    let mut decoded = vec![0.0; weights.len()];
    ty.decode(&blocks, &mut decoded).unwrap();
    for (i, (decoded, weight)) in decoded.iter().zip(&weights).enumerate() {
        assert_eq!(decoded.to_bits(), weight.to_bits(), "{ty} weight {i}: {decoded:e}, not {weight:e}");
    }
}

fn check_encode(ty: TensorType) {
    let name = format!("encode_{}.bin", ty.name().to_lowercase());
    let (weights, blocks) = read(&name, 4 * ty.block_len(), ty.block_bytes());
    let encoded = ty.encode(&floats(&weights)).unwrap();
    for (i, (encoded, block)) in
        encoded.chunks(ty.block_bytes()).zip(blocks.chunks(ty.block_bytes())).enumerate()
    {
        assert_eq!(encoded, block, "{ty} block {i}");
    }
}

#[test]
fn decoders_match_gguf_py() {
    // F32 has no vectors: its bytes are the weight.
    for &ty in TensorType::ALL.iter().filter(|&&ty| ty.is_supported() && ty != TensorType::F32) {
        check_decode(ty);
    }
}

#[test]
fn encoders_match_gguf_py() {
    for ty in [TensorType::F16, TensorType::BF16, TensorType::Q4_0, TensorType::Q8_0] {
        check_encode(ty);
    }
}
