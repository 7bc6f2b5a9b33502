//! A small file with every feature, and what a reader of untrusted files does with one.

use gguf::{Array, FormatError, Gguf, GgufString, GgufWriter, TensorType, Value};

/// Entries of every value type, every array type, and nested arrays.
pub(crate) fn metadata() -> Vec<(&'static str, Value)> {
    let nested = Array::Array(vec![
        Array::Array(vec![Array::I8(vec![-1]), Array::String(vec!["deep".into()])]),
        Array::Bool(vec![true, false]),
    ]);
    vec![
        ("general.architecture", "llama".into()),
        ("general.alignment", 64u32.into()),
        ("u8", u8::MAX.into()),
        ("i8", i8::MIN.into()),
        ("u16", u16::MAX.into()),
        ("i16", i16::MIN.into()),
        ("u32", u32::MAX.into()),
        ("i32", i32::MIN.into()),
        ("f32", 1.5f32.into()),
        ("bool", true.into()),
        ("u64", u64::MAX.into()),
        ("i64", i64::MIN.into()),
        ("f64", 0.1f64.into()),
        ("empty", "".into()),
        ("not utf-8", GgufString(vec![b'a', 0xFF]).into()),
        ("array u8", vec![0u8, 1].into()),
        ("array i8", vec![-1i8].into()),
        ("array u16", vec![7u16, 8].into()),
        ("array i16", vec![-7i16].into()),
        ("array u32", vec![1u32, 2, 3].into()),
        ("array i32", vec![-1i32, 1].into()),
        ("array f32", vec![0.5f32, -0.25].into()),
        ("array bool", vec![false, true].into()),
        ("array str", vec!["<s>", "", "▁a"].into()),
        ("array u64", vec![u64::MAX].into()),
        ("array i64", vec![i64::MIN].into()),
        ("array f64", vec![2.5f64].into()),
        ("array empty", Vec::<f32>::new().into()),
        ("array nested", nested.into()),
    ]
}

/// A tensor of each type with a decoder, and one of a type without; their bytes are arbitrary but finite as F32.
pub(crate) fn tensors() -> Vec<(String, TensorType, Vec<u64>, Vec<u8>)> {
    let supported = TensorType::ALL.iter().filter(|ty| ty.is_supported());
    supported
        .chain([&TensorType::IQ4_XS])
        .enumerate()
        .map(|(i, &ty)| {
            let shape = [1, 2, 1, ty.block_len() as u64][3 - i % 4..].to_vec();
            let n_elements = shape.iter().product();
            let len = usize::try_from(ty.row_bytes(n_elements).unwrap()).unwrap();
            let data = (0..len).map(|j| u8::try_from((j * 37 + i) % 64).unwrap()).collect();
            (format!("blk.{i}.{ty}"), ty, shape, data)
        })
        .collect()
}

pub(crate) fn file() -> Vec<u8> {
    let mut writer = GgufWriter::new();
    for (key, value) in metadata() {
        writer.set(key, value).unwrap();
    }
    for (name, ty, shape, data) in tensors() {
        writer.add_tensor(name, ty, &shape, data).unwrap();
    }
    writer.to_vec()
}

/// Uses everything of a file that opened: what the reader let through must be usable.
pub(crate) fn walk(file: &Gguf) {
    assert!(matches!(file.version(), 2 | 3));
    let metadata = file.metadata();
    for (key, value) in metadata.iter() {
        assert_eq!(metadata.get(key).map(Value::type_name), Some(value.type_name()));
        drop((
            metadata.str(key),
            metadata.bool(key),
            metadata.u32(key),
            metadata.u64(key),
            metadata.f32(key),
        ));
        drop((
            metadata.str_array(key),
            metadata.u32_array(key),
            metadata.i32_array(key),
            metadata.f32_array(key),
        ));
    }
    for info in file.tensors() {
        let tensor = file.tensor(info.name()).expect("a listed tensor is found");
        assert_eq!(tensor.data.len() as u64, info.len_bytes());
        assert!((1..=4).contains(&info.shape().len()));
        assert_eq!(info.shape().iter().product::<u64>(), info.n_elements());
        // Bounded, because every weight of a supported type takes bits of the file.
        let n_weights =
            if info.ty().is_supported() { usize::try_from(info.n_elements()).unwrap() } else { 0 };
        let mut weights = vec![0.0; n_weights];
        match info.ty().decode(tensor.data, &mut weights) {
            Ok(()) => assert!(info.ty().is_supported()),
            Err(error) => assert_eq!(error, FormatError::NoDecoder { ty: info.ty() }),
        }
    }
}
