//! Typed access to metadata.

use gguf::{Gguf, GgufWriter, MetadataError, Value};

use crate::sample;

fn sample() -> Gguf {
    Gguf::from_vec(sample::file()).unwrap()
}

#[test]
fn a_value_of_the_type_wanted_is_given() {
    let file = sample();
    let metadata = file.metadata();
    assert_eq!(metadata.str("general.architecture"), Ok("llama"));
    assert_eq!(metadata.bool("bool"), Ok(true));
    assert_eq!(metadata.f32("f32"), Ok(1.5));
    assert_eq!(metadata.f32("f64"), Ok(0.1));
    assert_eq!(metadata.u32("u8"), Ok(255));
    assert_eq!(metadata.u32("u16"), Ok(65535));
    assert_eq!(metadata.u32("u32"), Ok(u32::MAX));
    assert_eq!(metadata.u64("u64"), Ok(u64::MAX));
    assert_eq!(metadata.str_array("array str"), Ok(vec!["<s>", "", "▁a"]));
    assert_eq!(metadata.u32_array("array u8"), Ok(vec![0, 1]));
    assert_eq!(metadata.u32_array("array u16"), Ok(vec![7, 8]));
    assert_eq!(metadata.i32_array("array i32"), Ok(vec![-1, 1]));
    assert_eq!(metadata.i32_array("array u32"), Ok(vec![1, 2, 3]));
    assert_eq!(metadata.f32_array("array f32"), Ok(vec![0.5, -0.25]));
    assert_eq!(metadata.f32_array("array f64"), Ok(vec![2.5]));
    assert_eq!(metadata.f32_array("array empty"), Ok(vec![]));
}

#[test]
fn a_missing_key_is_an_error_unless_optional() {
    let file = sample();
    let metadata = file.metadata();
    assert_eq!(metadata.u32("none"), Err(MetadataError::MissingKey { key: "none".into() }));
    assert_eq!(metadata.opt_u32("none"), Ok(None));
    assert_eq!(metadata.opt_u64("none"), Ok(None));
    assert_eq!(metadata.opt_str("none"), Ok(None));
    assert_eq!(metadata.opt_bool("none"), Ok(None));
    assert_eq!(metadata.opt_f32("none"), Ok(None));
    assert_eq!(metadata.opt_str_array("none"), Ok(None));
    assert_eq!(metadata.opt_u32_array("none"), Ok(None));
    assert_eq!(metadata.opt_i32_array("none"), Ok(None));
    assert_eq!(metadata.opt_f32_array("none"), Ok(None));
    assert_eq!(metadata.get("none"), None);
}

#[test]
fn another_type_is_an_error_that_names_both() {
    let file = sample();
    let metadata = file.metadata();
    let message = |error: MetadataError| error.to_string();
    assert_eq!(
        metadata.opt_str("u32").map_err(message),
        Err("metadata key `u32` must be a string but is u32".to_owned())
    );
    assert_eq!(
        metadata.u32_array("array nested").map_err(message),
        Err("metadata key `array nested` must be an array of integers (u32) but is array of array".to_owned())
    );
    for key in ["f32", "bool", "empty", "array u32"] {
        assert!(matches!(metadata.u32(key), Err(MetadataError::WrongType { .. })), "{key}");
    }
    assert!(matches!(metadata.f32("u32"), Err(MetadataError::WrongType { .. })));
    assert!(matches!(metadata.bool("u8"), Err(MetadataError::WrongType { .. })));
    assert!(matches!(metadata.f32_array("array i32"), Err(MetadataError::WrongType { .. })));
    assert!(matches!(metadata.str_array("empty"), Err(MetadataError::WrongType { .. })));
}

#[test]
fn a_number_that_does_not_fit_is_an_error() {
    let file = sample();
    let metadata = file.metadata();
    for key in ["i8", "i16", "i32", "i64", "u64"] {
        assert!(matches!(metadata.u32(key), Err(MetadataError::OutOfRange { .. })), "{key}");
    }
    assert!(matches!(metadata.u64("i64"), Err(MetadataError::OutOfRange { .. })));
    assert!(matches!(metadata.u32_array("array i32"), Err(MetadataError::OutOfRange { .. })));
    assert!(matches!(metadata.i32_array("array u64"), Err(MetadataError::OutOfRange { .. })));
    assert!(matches!(metadata.i32_array("array i64"), Err(MetadataError::OutOfRange { .. })));

    let mut writer = GgufWriter::new();
    writer.set("huge", 1e300).unwrap().set("infinite", f64::INFINITY).unwrap();
    writer.set("huge array", vec![1e300]).unwrap();
    let file = Gguf::from_vec(writer.to_vec()).unwrap();
    assert!(matches!(file.metadata().f32("huge"), Err(MetadataError::OutOfRange { .. })));
    assert!(matches!(file.metadata().f32_array("huge array"), Err(MetadataError::OutOfRange { .. })));
    assert_eq!(file.metadata().f32("infinite"), Ok(f32::INFINITY));
}

#[test]
fn a_string_that_is_not_utf8_is_kept_as_bytes() {
    let file = sample();
    let metadata = file.metadata();
    assert!(matches!(metadata.str("not utf-8"), Err(MetadataError::NotUtf8 { .. })));
    let Some(Value::String(string)) = metadata.get("not utf-8") else { panic!("a string") };
    assert_eq!(string.as_bytes(), [b'a', 0xFF]);
    assert!(string.to_str().is_err());
}
