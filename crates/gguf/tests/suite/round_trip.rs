//! What the writer is given is what the reader gives back.

use gguf::{Array, Gguf, GgufString, GgufWriter, TensorType, Value, WriteError};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::sample;

#[test]
fn a_file_with_every_feature_reads_back() {
    let file = Gguf::from_vec(sample::file()).unwrap();
    assert_eq!(file.version(), 3);
    assert_eq!(file.len_bytes(), sample::file().len() as u64);
    let expected = sample::metadata();
    assert_eq!(file.metadata().len(), expected.len());
    assert!(file.metadata().iter().eq(expected.iter().map(|(key, value)| (*key, value))));

    let expected = sample::tensors();
    assert_eq!(file.tensors().len(), expected.len());
    for (info, (name, ty, shape, data)) in file.tensors().zip(&expected) {
        assert_eq!((info.name(), info.ty(), info.shape()), (name.as_str(), *ty, shape.as_slice()));
        assert_eq!(info.offset() % 64, 0);
        assert_eq!(file.tensor_data(info), data);
    }
    sample::walk(&file);
    assert!(file.tensor("blk").is_none());
}

#[test]
fn the_shortest_file_is_a_header() {
    let bytes = GgufWriter::new().to_vec();
    assert_eq!(bytes.len(), 24);
    let file = Gguf::from_vec(bytes).unwrap();
    assert!(file.metadata().is_empty());
    assert_eq!(file.tensors().len(), 0);
}

#[test]
fn version_2_and_static_bytes_are_read() {
    let mut bytes = sample::file();
    bytes[4] = 2;
    let file = Gguf::from_static(bytes.leak()).unwrap();
    assert_eq!(file.version(), 2);
    sample::walk(&file);
}

#[test]
fn a_clone_outlives_its_original_on_another_thread() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, sample::file()).unwrap();
    let file = Gguf::open(&path).unwrap();
    let clone = file.clone();
    drop(file);
    std::thread::spawn(move || {
        sample::walk(&clone);
        clone.advise_dropped();
        sample::walk(&clone);
    })
    .join()
    .unwrap();
}

#[test]
fn the_writer_refuses_what_the_reader_would() {
    let mut writer = GgufWriter::new();
    assert!(matches!(writer.set("", 1u8), Err(WriteError::EmptyKey)));
    writer.set("a", 1u8).unwrap();
    assert!(matches!(writer.set("a", 2u8), Err(WriteError::DuplicateKey { key }) if key == "a"));
    for bad in [Value::U32(0), Value::U32(48), Value::U64(32)] {
        assert!(matches!(writer.set("general.alignment", bad), Err(WriteError::BadAlignment { .. })));
    }
    let nest = |depth| (1..depth).fold(Array::U8(vec![]), |inner, _| Array::Array(vec![inner]));
    writer.set("deep", nest(4)).unwrap();
    assert!(matches!(writer.set("deeper", nest(5)), Err(WriteError::NestedTooDeep { .. })));

    let f32s = TensorType::F32;
    assert!(matches!(writer.add_tensor("", f32s, &[1], vec![0; 4]), Err(WriteError::EmptyTensorName)));
    for bad in [&[][..], &[0], &[1, 0], &[1; 5], &[u64::MAX, 2], &[1 << 62, 1]] {
        assert!(
            matches!(writer.add_tensor("t", f32s, bad, vec![]), Err(WriteError::BadShape { .. })),
            "{bad:?}"
        );
    }
    let partial = writer.add_tensor("t", TensorType::Q8_0, &[32, 16], vec![]);
    assert!(matches!(partial, Err(WriteError::PartialBlock { row_len: 16, .. })));
    let short = writer.add_tensor("t", f32s, &[2], vec![0; 7]);
    assert!(matches!(short, Err(WriteError::WrongSize { expected: 8, got: 7, .. })));
    writer.add_tensor("t", f32s, &[2], vec![0; 8]).unwrap();
    let again = writer.add_tensor("t", f32s, &[1], vec![0; 4]);
    assert!(matches!(again, Err(WriteError::DuplicateTensor { .. })));

    // What was refused left nothing behind.
    let file = Gguf::from_vec(writer.to_vec()).unwrap();
    assert_eq!((file.metadata().len(), file.tensors().len()), (2, 1));
}

#[test]
fn a_failing_output_is_an_error() {
    let mut three = [0u8; 3];
    assert!(GgufWriter::new().write_to(&mut &mut three[..]).is_err());
}

fn array() -> impl Strategy<Value = Array> {
    let string = vec(any::<u8>(), 0..9).prop_map(GgufString);
    let flat = prop_oneof![
        vec(any::<u8>(), 0..5).prop_map(Array::U8),
        vec(any::<i16>(), 0..5).prop_map(Array::I16),
        vec(any::<u32>(), 0..5).prop_map(Array::U32),
        vec(any::<i64>(), 0..5).prop_map(Array::I64),
        vec(any::<f32>(), 0..5).prop_map(Array::F32),
        vec(any::<f64>(), 0..5).prop_map(Array::F64),
        vec(any::<bool>(), 0..5).prop_map(Array::Bool),
        vec(string, 0..5).prop_map(Array::String),
    ];
    flat.prop_recursive(3, 16, 4, |inner| vec(inner, 0..4).prop_map(Array::Array))
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u8>().prop_map(Value::U8),
        any::<i8>().prop_map(Value::I8),
        any::<u16>().prop_map(Value::U16),
        any::<i16>().prop_map(Value::I16),
        any::<u32>().prop_map(Value::U32),
        any::<i32>().prop_map(Value::I32),
        any::<u64>().prop_map(Value::U64),
        any::<i64>().prop_map(Value::I64),
        any::<f32>().prop_map(Value::F32),
        any::<f64>().prop_map(Value::F64),
        any::<bool>().prop_map(Value::Bool),
        vec(any::<u8>(), 0..9).prop_map(|bytes| Value::String(GgufString(bytes))),
        array().prop_map(Value::Array),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_metadata_and_tensors_read_back(
        metadata in btree_map("[a-z.é]{1,12}", value(), 0..8),
        tensors in btree_map("[a-z.0-9]{1,12}", vec(any::<u8>(), 1..100), 0..5),
        alignment_log2 in 0u32..12,
    ) {
        let mut writer = GgufWriter::new();
        writer.set("general.alignment", 1u32 << alignment_log2).unwrap();
        for (key, value) in &metadata {
            writer.set(key, value.clone()).unwrap();
        }
        for (name, data) in &tensors {
            writer.add_tensor(name, TensorType::I8, &[data.len() as u64], data).unwrap();
        }
        let file = Gguf::from_vec(writer.to_vec()).unwrap();

        prop_assert_eq!(file.metadata().len(), metadata.len() + 1);
        for ((key, value), (got_key, got)) in metadata.iter().zip(file.metadata().iter().skip(1)) {
            prop_assert_eq!(key, got_key);
            // By bytes, so that NaN equals itself.
            prop_assert_eq!(format!("{value:?}"), format!("{got:?}"));
        }
        prop_assert_eq!(file.tensors().len(), tensors.len());
        for ((name, data), info) in tensors.iter().zip(file.tensors()) {
            prop_assert_eq!(name, info.name());
            prop_assert_eq!(file.tensor_data(info), data);
        }
        // And a file made of what was read is the same file.
        let mut again = GgufWriter::new();
        for (key, value) in file.metadata().iter() {
            again.set(key, value.clone()).unwrap();
        }
        for info in file.tensors() {
            again.add_tensor(info.name(), info.ty(), info.shape(), file.tensor_data(info)).unwrap();
        }
        prop_assert_eq!(again.to_vec(), writer.to_vec());
    }
}
