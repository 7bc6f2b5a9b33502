//! Metadata values, for people and as JSON.

use metal_attention::{Array, Value};
use serde_json::json;

/// Elements of an array and characters of a string that are shown.
const MOST_ELEMENTS: usize = 6;
const MOST_CHARS: usize = 120;

/// A value in a line; long ones are cut.
pub(crate) fn brief(value: &Value) -> String {
    match json(value) {
        serde_json::Value::Array(items) => brief_array(&items),
        scalar => brief_scalar(&scalar),
    }
}

fn brief_array(items: &[serde_json::Value]) -> String {
    let mut shown: Vec<String> = items.iter().take(MOST_ELEMENTS).map(brief_scalar).collect();
    if items.len() > MOST_ELEMENTS {
        shown.push(format!("... {} in all", items.len()));
    }
    format!("[{}]", shown.join(", "))
}

fn brief_scalar(value: &serde_json::Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}... {} bytes in all", &text[..end], text.len()),
        None => text,
    }
}

/// A whole value. What is no UTF-8 gets replacement characters, what is no finite number null.
pub(crate) fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::U8(n) => json!(n),
        Value::I8(n) => json!(n),
        Value::U16(n) => json!(n),
        Value::I16(n) => json!(n),
        Value::U32(n) => json!(n),
        Value::I32(n) => json!(n),
        Value::F32(n) => json!(n),
        Value::Bool(flag) => json!(flag),
        Value::String(text) => json!(String::from_utf8_lossy(text.as_bytes())),
        Value::U64(n) => json!(n),
        Value::I64(n) => json!(n),
        Value::F64(n) => json!(n),
        Value::Array(items) => array(items),
    }
}

fn array(array: &Array) -> serde_json::Value {
    match array {
        Array::U8(items) => json!(items),
        Array::I8(items) => json!(items),
        Array::U16(items) => json!(items),
        Array::I16(items) => json!(items),
        Array::U32(items) => json!(items),
        Array::I32(items) => json!(items),
        Array::F32(items) => json!(items),
        Array::Bool(items) => json!(items),
        Array::String(items) => items.iter().map(|text| String::from_utf8_lossy(text.as_bytes())).collect(),
        Array::U64(items) => json!(items),
        Array::I64(items) => json!(items),
        Array::F64(items) => json!(items),
        Array::Array(items) => items.iter().map(self::array).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut() {
        assert_eq!(brief(&Value::from("a\nb")), r#""a\nb""#);
        assert_eq!(brief(&Value::from(vec![1u32, 2])), "[1, 2]");
        assert_eq!(brief(&Value::from(vec![0u8; 9])), "[0, 0, 0, 0, 0, 0, ... 9 in all]");
        let long = brief(&Value::from("é".repeat(500)));
        assert!(long.ends_with("... 1002 bytes in all") && long.chars().count() < 150, "{long}");
    }

    #[test]
    fn every_value_has_a_json_form() {
        assert_eq!(json(&Value::F32(0.5)), json!(0.5));
        assert_eq!(json(&Value::F32(f32::NAN)), serde_json::Value::Null);
        assert_eq!(json(&Value::from(vec!["a", "b"])), json!(["a", "b"]));
        let nested = Array::Array(vec![Array::U8(vec![1]), Array::Bool(vec![true])]);
        assert_eq!(json(&Value::Array(nested)), json!([[1], [true]]));
    }
}
