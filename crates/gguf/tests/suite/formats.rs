//! The block formats, apart from the golden vectors.

use gguf::format::{Unit, f16, q4_k};
use gguf::{FormatError, TensorType};
use proptest::prelude::*;

#[test]
fn the_table_has_the_sizes_of_the_format_modules() {
    use gguf::format::{bf16, f32, q2_k, q3_k, q4_0, q4_1, q5_0, q5_1, q5_k, q6_k, q8_0};
    macro_rules! check {
        ($($ty:ident $module:ident),*) => {$(
            assert_eq!(TensorType::$ty.block_len(), $module::BLOCK_LEN, stringify!($ty));
            assert_eq!(TensorType::$ty.block_bytes(), $module::BLOCK_BYTES, stringify!($ty));
        )*};
    }
    check!(F32 f32, F16 f16, BF16 bf16, Q4_0 q4_0, Q4_1 q4_1, Q5_0 q5_0, Q5_1 q5_1, Q8_0 q8_0);
    check!(Q2_K q2_k, Q3_K q3_k, Q4_K q4_k, Q5_K q5_k, Q6_K q6_k);
}

#[test]
fn lengths_are_checked() {
    let wrong = TensorType::Q4_0.decode(&[0; 18], &mut [0.0; 31]);
    assert_eq!(wrong, Err(FormatError::WrongLength { ty: TensorType::Q4_0, len_bytes: 18, n_weights: 31 }));
    assert!(TensorType::Q4_0.decode(&[0; 36], &mut [0.0; 32]).is_err());
    assert!(TensorType::Q4_0.decode(&[0; 17], &mut [0.0; 32]).is_err());
    assert_eq!(TensorType::Q6_K.decode(&[], &mut []), Ok(()));
    let partial = TensorType::Q8_0.encode(&[0.0; 33]);
    assert_eq!(partial, Err(FormatError::PartialBlock { ty: TensorType::Q8_0, n_weights: 33 }));
}

#[test]
fn a_type_without_decoder_or_encoder_is_named() {
    let error = TensorType::IQ2_XXS.decode(&[0; 66], &mut [0.0; 256]).unwrap_err().to_string();
    let supported = "F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, BF16";
    assert_eq!(error, format!("tensor type IQ2_XXS is not supported; supported are {supported}"));
    let error = TensorType::Q4_K.encode(&[0.0; 256]);
    assert_eq!(error, Err(FormatError::NoEncoder { ty: TensorType::Q4_K }));
}

#[test]
fn weights_that_a_scale_cannot_hold_are_refused() {
    for ty in [TensorType::Q4_0, TensorType::Q8_0] {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
            let mut weights = [1.0; 64];
            weights[40] = bad;
            assert_eq!(ty.encode(&weights), Err(FormatError::NotEncodable { ty, first: 32 }), "{bad}");
        }
    }
}

#[test]
fn every_f16_survives_decoding_and_encoding() {
    for bits in 0..=u16::MAX {
        let mut weight = [0.0];
        TensorType::F16.decode(&bits.to_le_bytes(), &mut weight).unwrap();
        let encoded = u16::from_le_bytes(f16::encode(&weight));
        let is_nan = bits & 0x7FFF > 0x7C00;
        assert_eq!(weight[0].is_nan(), is_nan, "{bits:#06x}");
        // There is but one NaN of each sign.
        let expected = if is_nan { bits & 0x8000 | 0x7E00 } else { bits };
        assert_eq!(encoded, expected, "{bits:#06x}");
    }
}

#[test]
fn every_bf16_survives_decoding_and_encoding() {
    for bits in 0..=u16::MAX {
        let mut weight = [0.0];
        TensorType::BF16.decode(&bits.to_le_bytes(), &mut weight).unwrap();
        let is_nan = bits & 0x7FFF > 0x7F80;
        let expected = if is_nan { bits | 0x40 } else { bits };
        assert_eq!(TensorType::BF16.encode(&weight).unwrap(), expected.to_le_bytes(), "{bits:#06x}");
    }
}

/// The 12 bytes of scales filled with 16 known 6-bit numbers, by the table in the module's documentation.
#[test]
fn scales_of_q4_k_stand_where_the_documentation_says() {
    let scales: [u8; 8] = [0x3F, 0, 0x2A, 0x15, 0x31, 0x0E, 0x3C, 0x03];
    let mins: [u8; 8] = [0x01, 0x3E, 0x20, 0x1F, 0x2D, 0x12, 0x07, 0x38];
    let mut packed = [0u8; 12];
    for s in 0..4 {
        packed[s] = scales[s] | scales[s + 4] >> 4 << 6;
        packed[s + 4] = mins[s] | mins[s + 4] >> 4 << 6;
        packed[s + 8] = scales[s + 4] & 0xF | mins[s + 4] << 4;
    }
    for s in 0..8 {
        assert_eq!(q4_k::scale_min(&packed, s), (scales[s], mins[s]), "{s}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Rounding to one of 16 or 256 steps, and the scale to 11 bits, bounds the error.
    #[test]
    fn what_was_encoded_decodes_to_about_the_same(weights in proptest::collection::vec(-1e4f32..1e4, 64)) {
        for (ty, bound) in [(TensorType::Q4_0, 1.0 / 8.0), (TensorType::Q8_0, 0.5 / 127.0)] {
            let blocks = ty.encode(&weights).unwrap();
            let mut decoded = vec![0.0; weights.len()];
            ty.decode(&blocks, &mut decoded).unwrap();
            for (weights, decoded) in weights.chunks(32).zip(decoded.chunks(32)) {
                let largest = weights.iter().fold(0.0f32, |max, weight| max.max(weight.abs()));
                for (weight, decoded) in weights.iter().zip(decoded) {
                    let limit = largest * (bound + 1.0 / 2048.0);
                    prop_assert!((weight - decoded).abs() <= limit, "{ty}: {weight} became {decoded}");
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn units_are_the_weights_of_their_blocks(bytes in prop::collection::vec(any::<u8>(), 2 * 210)) {
        for ty in TensorType::ALL.iter().copied().filter(|&ty| gguf::format::bits(ty).is_some()) {
            let row = &bytes[..bytes.len() / ty.block_bytes() * ty.block_bytes()];
            let mut expected = vec![0.0; row.len() / ty.block_bytes() * ty.block_len()];
            ty.decode(row, &mut expected).unwrap();
            for (u, expected) in expected.chunks_exact(32).enumerate() {
                let unit = Unit::of(ty, row, u).unwrap();
                for (got, expected) in unit.decode(ty).iter().zip(expected) {
                    let same = got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan());
                    prop_assert!(same, "{ty}: {got} instead of {expected}");
                }
                let largest = unit.q.iter().max().unwrap();
                prop_assert!(u32::from(*largest) < 1 << gguf::format::bits(ty).unwrap());
            }
            prop_assert_eq!(Unit::of(ty, row, expected.len() / 32), None);
        }
    }
}
