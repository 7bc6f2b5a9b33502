//! Tensor tables that contradict themselves or the file.

use gguf::Gguf;

use crate::refusal::refused;

/// One entry of a tensor table, in any shape.
struct Entry<'a> {
    name: &'a [u8],
    /// Fastest dimension first, as in the file.
    dims: &'a [u64],
    type_id: u32,
    offset: u64,
}

const F32: u32 = 0;
const Q4_0: u32 = 2;

/// A file of these entries and this many bytes of data.
fn file(entries: &[Entry<'_>], data_len: usize) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend((entries.len() as u64).to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    for entry in entries {
        bytes.extend((entry.name.len() as u64).to_le_bytes());
        bytes.extend(entry.name);
        bytes.extend(u32::try_from(entry.dims.len()).unwrap().to_le_bytes());
        entry.dims.iter().for_each(|dim| bytes.extend(dim.to_le_bytes()));
        bytes.extend(entry.type_id.to_le_bytes());
        bytes.extend(entry.offset.to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(32) + data_len, 0);
    bytes
}

fn refused_entry(dims: &[u64], type_id: u32, offset: u64) -> String {
    refused(file(&[Entry { name: b"t", dims, type_id, offset }], 64)).debug
}

#[test]
fn dimensions_are_one_to_four_and_not_empty() {
    for n_dims in 1..=4 {
        assert!(
            Gguf::from_vec(file(
                &[Entry { name: b"t", dims: &[1; 4][..n_dims], type_id: F32, offset: 0 }],
                4
            ))
            .is_ok()
        );
    }
    assert_eq!(refused_entry(&[], F32, 0), r#"BadDimensions { tensor: "t", n_dims: 0 }"#);
    assert_eq!(refused_entry(&[1; 5], F32, 0), r#"BadDimensions { tensor: "t", n_dims: 5 }"#);
    assert_eq!(refused_entry(&[0, 2], F32, 0), r#"BadShape { tensor: "t", shape: [2, 0] }"#);
    assert_eq!(refused_entry(&[2, 0], F32, 0), r#"BadShape { tensor: "t", shape: [0, 2] }"#);
}

#[test]
fn sizes_that_overflow_are_impossible_shapes() {
    for dims in [&[u64::MAX, 2][..], &[1 << 32, 1 << 32], &[1 << 62], &[u64::MAX; 4]] {
        let error = refused_entry(dims, F32, 0);
        assert!(error.starts_with("BadShape"), "{error}");
    }
    // The elements fit 64 bits, the file does not fit them.
    assert!(refused_entry(&[1 << 61], F32, 0).starts_with("OutOfFile"));
}

#[test]
fn rows_are_whole_blocks() {
    // 64 weights, but in rows of 16.
    assert_eq!(refused_entry(&[16, 4], Q4_0, 0), r#"PartialBlock { tensor: "t", ty: Q4_0, row_len: 16 }"#);
    assert!(
        Gguf::from_vec(file(&[Entry { name: b"t", dims: &[32, 2], type_id: Q4_0, offset: 0 }], 36)).is_ok()
    );
}

#[test]
fn types_that_are_unknown_or_withdrawn_are_named() {
    assert_eq!(refused_entry(&[32], 43, 0), r#"UnknownTensorType { tensor: "t", type_id: 43 }"#);
    assert_eq!(
        refused_entry(&[32], u32::MAX, 0),
        format!("UnknownTensorType {{ tensor: \"t\", type_id: {} }}", u32::MAX)
    );
    let error = refused(file(&[Entry { name: b"t", dims: &[32], type_id: 31, offset: 0 }], 64));
    assert!(error.display.contains("type Q4_0_4_4 (id 31), which ggml has withdrawn"), "{}", error.display);
}

#[test]
fn offsets_are_aligned_and_inside_the_file() {
    assert_eq!(refused_entry(&[1], F32, 4), r#"Misaligned { tensor: "t", offset: 4, alignment: 32 }"#);
    for offset in [64, 1 << 40, u64::MAX - 31] {
        let error = refused_entry(&[1], F32, offset);
        assert!(error.starts_with("OutOfFile"), "{error}");
    }
    assert!(refused_entry(&[17], F32, 0).starts_with("OutOfFile"));
    assert!(refused_entry(&[9], F32, 32).starts_with("OutOfFile"));
}

#[test]
fn tensors_do_not_overlap_in_whatever_order_they_stand() {
    let entry =
        |name: &'static [u8], n: &'static [u64], offset| Entry { name, dims: n, type_id: F32, offset };
    let apart = file(&[entry(b"b", &[8], 32), entry(b"a", &[8], 0), entry(b"c", &[1], 96)], 128);
    let opened = Gguf::from_vec(apart).unwrap();
    assert_eq!(opened.tensors().map(gguf::TensorInfo::name).collect::<Vec<_>>(), ["b", "a", "c"]);
    for (first, second) in [(0, 0), (0, 32)] {
        let error = refused(file(&[entry(b"b", &[8], second), entry(b"a", &[9], first)], 128));
        assert!(error.debug.starts_with("Overlap"), "{}", error.debug);
    }
}

#[test]
fn names_are_utf8_and_differ() {
    let entry = |name: &'static [u8], offset| Entry { name, dims: &[8], type_id: F32, offset };
    assert_eq!(refused(file(&[entry(b"\xFF", 0)], 64)).debug, "BadTensorName { offset: 24 }");
    assert_eq!(refused(file(&[entry(b"", 0)], 64)).debug, "BadTensorName { offset: 24 }");
    let error = refused(file(&[entry(b"t", 0), entry(b"t", 32)], 64));
    assert_eq!(error.debug, r#"DuplicateTensor { tensor: "t" }"#);
}
