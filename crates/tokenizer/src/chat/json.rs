//! `tojson` as Hugging Face defines it: Python's `json.dumps`, nothing escaped for HTML.

use std::io;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};
use serde::Serialize;
use serde_json::Value as Json;
use serde_json::ser::{Formatter, Serializer};

use super::python::{MAX_DEPTH, MAX_INDENT, too_deep};

/// The filter; `indent`, `separators`, `sort_keys` and `ensure_ascii` as in `json.dumps`.
pub(super) fn tojson(value: &Value, arguments: Kwargs) -> Result<Value, Error> {
    if value.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "an undefined value has no JSON form"));
    }
    let indent = match arguments.get::<Option<Value>>("indent")? {
        None => None,
        Some(indent) if indent.is_none() => None,
        Some(indent) if indent.kind() == ValueKind::String => indent.as_str().map(str::to_owned),
        Some(indent) => Some(" ".repeat(usize::try_from(indent)?.min(MAX_INDENT))),
    };
    let item_default = if indent.is_some() { "," } else { ", " };
    let (item, key) = match arguments.get::<Option<Vec<String>>>("separators")?.as_deref() {
        None => (item_default.to_owned(), ": ".to_owned()),
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "separators are two texts")),
    };
    let sort_keys = arguments.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let ensure_ascii = arguments.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    arguments.assert_all_used()?;

    let mut json = plain(value, MAX_DEPTH)?;
    if sort_keys {
        json.sort_all_objects();
    }
    let mut text = Vec::new();
    let style = PythonStyle { item, key, indent, ensure_ascii, depth: 0, filled: false };
    json.serialize(&mut Serializer::with_formatter(&mut text, style)).map_err(failed)?;
    String::from_utf8(text)
        .map(Value::from)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, "JSON is not UTF-8").with_source(error))
}

/// `value` without minijinja, which may nest `depth` levels.
fn plain(value: &Value, depth: usize) -> Result<Json, Error> {
    let inner = depth.checked_sub(1).ok_or_else(too_deep)?;
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter()?.map(|item| plain(&item, inner)).collect::<Result<_, _>>().map(Json::Array)
        }
        ValueKind::Map => value
            .try_iter()?
            .map(|key| Ok((key.to_string(), plain(&value.get_item(&key)?, inner)?)))
            .collect::<Result<_, _>>()
            .map(Json::Object),
        _ => serde_json::to_value(value).map_err(failed),
    }
}

fn failed(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::BadSerialization, "no JSON form").with_source(error)
}

/// `json.dumps`' layout: a space after each separator unless told otherwise, empty containers closed at once.
struct PythonStyle {
    item: String,
    key: String,
    indent: Option<String>,
    ensure_ascii: bool,
    depth: usize,
    /// The innermost open container has an element.
    filled: bool,
}

impl PythonStyle {
    fn open<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        writer.write_all(bracket)
    }

    fn close<W: ?Sized + io::Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if std::mem::replace(&mut self.filled, true) {
            self.break_line(writer)?;
        }
        writer.write_all(bracket)
    }

    fn element<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if !first {
            writer.write_all(self.item.as_bytes())?;
        }
        self.filled = true;
        self.break_line(writer)
    }

    fn break_line<W: ?Sized + io::Write>(&self, writer: &mut W) -> io::Result<()> {
        let Some(indent) = &self.indent else { return Ok(()) };
        writer.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| writer.write_all(indent.as_bytes()))
    }
}

impl Formatter for PythonStyle {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.element(writer, first)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.open(writer, b"{")
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.close(writer, b"}")
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.element(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.key.as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        if !self.ensure_ascii {
            return writer.write_all(text.as_bytes());
        }
        for c in text.chars() {
            if c.is_ascii() {
                writer.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dumps(value: &serde_json::Value, arguments: &[(&'static str, Value)]) -> String {
        let value = Value::from(minijinja::value::Serde(value));
        tojson(&value, arguments.iter().cloned().collect()).expect("JSON").to_string()
    }

    #[test]
    fn the_layout_is_that_of_json_dumps() {
        let value = json!({"b": [1, 2.0, null, true], "a": {}, "e": [], "s": "é<\"'&>\n"});
        assert_eq!(dumps(&value, &[]), r#"{"b": [1, 2.0, null, true], "a": {}, "e": [], "s": "é<\"'&>\n"}"#);
        assert_eq!(
            dumps(&json!({"a": [1, {}], "b": {"c": []}}), &[("indent", Value::from(2))]),
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {\n    \"c\": []\n  }\n}"
        );
        assert_eq!(
            dumps(&json!({"b": 1, "a": 2}), &[("sort_keys", Value::from(true))]),
            r#"{"a": 2, "b": 1}"#
        );
        assert_eq!(dumps(&json!("é😀"), &[("ensure_ascii", Value::from(true))]), r#""\u00e9\ud83d\ude00""#);
        let compact = Value::from(vec![",", ":"]);
        assert_eq!(dumps(&json!({"a": [1, 2]}), &[("separators", compact)]), r#"{"a":[1,2]}"#);
    }

    #[test]
    fn an_undefined_value_is_an_error() {
        let arguments: Kwargs = std::iter::empty::<(&str, Value)>().collect();
        assert!(tojson(&Value::UNDEFINED, arguments).is_err());
    }
}
