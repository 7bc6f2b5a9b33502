//! Files that are cut short, altered or made to mislead: a typed error or a file that can be used, never a panic.

use std::time::{Duration, Instant};

use gguf::{Gguf, GgufErrorKind, GgufWriter, TensorType, Value};

use crate::refusal::refused;
use crate::sample;

/// Bytes before the tensor data.
fn header_len(bytes: &[u8]) -> usize {
    let file = Gguf::from_vec(bytes.to_vec()).unwrap();
    let first = file.tensors().map(gguf::TensorInfo::offset).min().unwrap();
    usize::try_from(first).unwrap()
}

/// A header with these counts and nothing more.
fn header(version: u32, n_tensors: u64, n_metadata: u64) -> Vec<u8> {
    [&b"GGUF"[..], &version.to_le_bytes(), &n_tensors.to_le_bytes(), &n_metadata.to_le_bytes()].concat()
}

/// A file whose only metadata entry has this type and these bytes.
fn with_entry(key: &[u8], type_id: u32, value: &[u8]) -> Vec<u8> {
    [&header(3, 0, 1)[..], &(key.len() as u64).to_le_bytes(), key, &type_id.to_le_bytes(), value].concat()
}

#[test]
fn cut_short_at_any_length() {
    let bytes = sample::file();
    let tensors_end = sample_tensors_end(&bytes);
    for len in 0..bytes.len() {
        match Gguf::from_vec(bytes[..len].to_vec()) {
            // Only the padding behind the last tensor may be missing.
            Ok(file) => {
                assert!(len >= tensors_end, "{len}");
                sample::walk(&file);
            }
            Err(error) => assert!(len < tensors_end, "{len}: {error}"),
        }
    }
}

fn sample_tensors_end(bytes: &[u8]) -> usize {
    let file = Gguf::from_vec(bytes.to_vec()).unwrap();
    let end = file.tensors().map(|info| info.offset() + info.len_bytes()).max().unwrap();
    usize::try_from(end).unwrap()
}

#[test]
fn any_bit_of_the_header_flipped() {
    let bytes = sample::file();
    let (mut opened, mut refused) = (0, 0);
    for bit in 0..header_len(&bytes) * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match Gguf::from_vec(damaged) {
            Ok(file) => {
                sample::walk(&file);
                opened += 1;
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    assert!(opened > 1000 && refused > 1000, "{opened} opened, {refused} refused");
}

#[test]
fn bytes_replaced_at_random() {
    let bytes = sample::file();
    let mut state = 1u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random(4) {
            let at = random(damaged.len());
            damaged[at] = u8::try_from(random(256)).unwrap();
        }
        if let Ok(file) = Gguf::from_vec(damaged) {
            sample::walk(&file);
        }
    }
}

#[test]
fn other_formats_versions_and_byte_orders_are_named() {
    assert!(refused(vec![]).display.starts_with("not a GGUF file: it starts with \"\""));
    assert!(refused(b"PK\x03\x04 and more".to_vec()).display.contains(r#"starts with "PK\x03\x04""#));
    assert!(refused(b"GGU".to_vec()).debug.starts_with("NotGguf"));
    assert_eq!(refused(header(1, 0, 0)).debug, "UnsupportedVersion { version: 1 }");
    assert_eq!(refused(header(0, 0, 0)).debug, "UnsupportedVersion { version: 0 }");
    assert_eq!(refused(header(4, 0, 0)).debug, "UnsupportedVersion { version: 4 }");
    let swapped = refused(header(3u32.swap_bytes(), 0, 0));
    assert_eq!(swapped.debug, "BigEndian { version: 3 }");
    assert!(swapped.display.contains("big-endian"));
}

#[test]
fn counts_beyond_the_file_fail_fast_and_without_memory() {
    // A reader that allocated by these counts would end the process.
    let start = Instant::now();
    for count in [1u64, 1 << 20, 1 << 60, u64::MAX] {
        assert!(refused(header(3, count, 0)).debug.starts_with("CountTooLarge { what: \"tensors\""));
        assert!(refused(header(3, 0, count)).debug.starts_with("CountTooLarge { what: \"metadata"));
        for element_type in 0..=12u32 {
            let array = [&element_type.to_le_bytes()[..], &count.to_le_bytes()].concat();
            let error = refused(with_entry(b"key", 9, &array));
            assert!(error.debug.starts_with("CountTooLarge { what: \"array items\""), "{}", error.debug);
        }
        let error = refused(with_entry(b"key", 8, &count.to_le_bytes()));
        assert!(error.debug.starts_with("Truncated { what: \"a metadata value\""), "{}", error.debug);
    }
    for len in [21u64, 1 << 60, u64::MAX] {
        let error = refused([&header(3, 0, 1)[..], &len.to_le_bytes(), &[0; 20]].concat());
        assert!(error.debug.starts_with("Truncated { what: \"a metadata key\""), "{}", error.debug);
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn bad_metadata_is_named() {
    assert_eq!(refused(with_entry(b"", 0, &[0; 9])).debug, "BadKey { offset: 24 }");
    assert_eq!(refused(with_entry(b"\xFF", 0, &[0; 9])).debug, "BadKey { offset: 24 }");
    let error = refused(with_entry(b"key", 13, &[0; 9]));
    assert_eq!(error.debug, r#"BadValueType { key: "key", type_id: 13, offset: 35 }"#);
    let array = [&13u32.to_le_bytes()[..], &0u64.to_le_bytes()].concat();
    let error = refused(with_entry(b"key", 9, &array));
    assert_eq!(error.debug, r#"BadValueType { key: "key", type_id: 13, offset: 39 }"#);
    let error = refused(with_entry(b"key", 7, &[2]));
    assert_eq!(error.debug, r#"BadBool { key: "key", byte: 2, offset: 39 }"#);

    let entry = [&1u64.to_le_bytes()[..], b"k", &0u32.to_le_bytes(), &[5]].concat();
    let error = refused([&header(3, 0, 2)[..], &entry, &entry].concat());
    assert_eq!(error.debug, r#"DuplicateKey { key: "k" }"#);
}

#[test]
fn arrays_nest_to_a_bounded_depth() {
    let nested = |depth: usize| {
        let level = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes()].concat();
        let flat = [&0u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[7]].concat();
        with_entry(b"key", 9, &[level.repeat(depth - 1), flat].concat())
    };
    let file = Gguf::from_vec(nested(4)).unwrap();
    assert!(matches!(file.metadata().get("key"), Some(Value::Array(array)) if array.len() == 1));
    assert_eq!(refused(nested(5)).debug, r#"NestedTooDeep { key: "key" }"#);
    assert_eq!(refused(nested(100_000)).debug, r#"NestedTooDeep { key: "key" }"#);
}

#[test]
fn the_alignment_must_be_a_power_of_two() {
    for bad in [0u32, 3, 48, u32::MAX] {
        let error = refused(with_entry(b"general.alignment", 4, &bad.to_le_bytes()));
        assert_eq!(error.debug, format!("BadAlignment {{ alignment: {bad} }}"));
    }
    let error = refused(with_entry(b"general.alignment", 6, &32f32.to_le_bytes()));
    assert!(error.display.contains("`general.alignment` must be an integer"), "{}", error.display);
    let huge = with_entry(b"general.alignment", 4, &(1u32 << 31).to_le_bytes());
    assert!(Gguf::from_vec(huge).is_ok(), "harmless without tensors");
}

#[test]
fn errors_name_the_file_and_keep_their_cause() {
    use std::error::Error;
    let dir = tempfile::tempdir().unwrap();
    let missing = Gguf::open(dir.path().join("none.gguf")).unwrap_err();
    assert!(missing.to_string().ends_with("none.gguf: cannot open the model file"), "{missing}");
    let cause = missing.source().and_then(|source| source.downcast_ref::<std::io::Error>());
    assert_eq!(cause.map(std::io::Error::kind), Some(std::io::ErrorKind::NotFound));

    let folder = Gguf::open(dir.path()).unwrap_err();
    assert!(matches!(folder.kind(), GgufErrorKind::Open(_)), "{folder}");

    let path = dir.path().join("empty.gguf");
    std::fs::write(&path, b"").unwrap();
    let empty = Gguf::open(&path).unwrap_err();
    assert!(matches!(empty.kind(), GgufErrorKind::NotGguf { .. }), "{empty}");
    assert_eq!(empty.path(), Some(path.as_path()));
}

#[test]
fn a_file_that_stops_inside_a_tensor_says_so() {
    let mut writer = GgufWriter::new();
    writer.add_tensor("weight", TensorType::F32, &[2, 4], vec![0; 32]).unwrap();
    let mut bytes = writer.to_vec();
    bytes.pop();
    let error = refused(bytes);
    assert!(error.display.starts_with("tensor `weight` (32 bytes at 0 of the data"), "{}", error.display);
    assert!(error.display.contains("download may be incomplete"), "{}", error.display);
}
