//! Where Jinja shows that it is Python: how values print, what can be looped over, methods of strings.

use std::fmt::Write;

use minijinja::value::{Kwargs, StringInput, ValueKind};
use minijinja::{Error, ErrorKind, Output, State, Value, escape_formatter};
use minijinja_contrib::pycompat;

/// How deep lists and maps may nest. A template can build them as deep as it has steps, but a stack is finite.
pub(super) const MAX_DEPTH: usize = 128;

/// What nesting deeper than [`MAX_DEPTH`] is answered with.
pub(super) fn too_deep() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("a value nests deeper than {MAX_DEPTH} levels"))
}

/// Prints a value as Python's `str` would: `None`, `True`, `['a', 1]`.
pub(super) fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Seq | ValueKind::Map => {
            let mut text = String::new();
            repr(&mut text, value, MAX_DEPTH)?;
            Ok(out.write_str(&text)?)
        }
        _ => escape_formatter(out, state, value),
    }
}

/// Appends what Python's `repr` says of `value`, which may nest `depth` levels.
fn repr(text: &mut String, value: &Value, depth: usize) -> Result<(), Error> {
    let inner = depth.checked_sub(1).ok_or_else(too_deep)?;
    match value.kind() {
        ValueKind::None => text.push_str("None"),
        ValueKind::Bool => text.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::String => repr_string(text, value.as_str().unwrap_or_default()),
        ValueKind::Seq => {
            text.push('[');
            for (index, item) in value.try_iter()?.enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                repr(text, &item, inner)?;
            }
            text.push(']');
        }
        ValueKind::Map => {
            text.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                text.push_str(if index > 0 { ", " } else { "" });
                repr(text, &key, inner)?;
                text.push_str(": ");
                repr(text, &value.get_item(&key)?, inner)?;
            }
            text.push('}');
        }
        _ => write!(text, "{value}")?,
    }
    Ok(())
}

/// Quotes as Python does: double quotes only around a text with single and no double ones.
fn repr_string(text: &mut String, string: &str) {
    let quote = if string.contains('\'') && !string.contains('"') { '"' } else { '\'' };
    text.push(quote);
    for c in string.chars() {
        match c {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\\' => text.push_str("\\\\"),
            c if c == quote => text.extend(['\\', c]),
            c => text.push(c),
        }
    }
    text.push(quote);
}

/// Methods of Python's strings, lists and maps.
pub(super) fn method(state: &mut State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match (value.as_str(), name, args) {
        (Some(text), "removeprefix", [affix]) => {
            let affix = affix.as_str().unwrap_or_default();
            Ok(text.strip_prefix(affix).unwrap_or(text).into())
        }
        (Some(text), "removesuffix", [affix]) => {
            let affix = affix.as_str().unwrap_or_default();
            Ok(text.strip_suffix(affix).unwrap_or(text).into())
        }
        _ => pycompat::unknown_method_callback(state, value, name, args),
    }
}

/// The filter `indent`, which minijinja lets ask for any amount of memory.
pub(super) fn indent(
    text: StringInput<'_>,
    width: Option<usize>,
    first: Option<bool>,
    blank: Option<bool>,
    named: Kwargs,
) -> Result<Value, Error> {
    let asked = width.map_or_else(|| named.peek::<Option<usize>>("width"), |width| Ok(Some(width)))?;
    if asked.is_some_and(|asked| asked > MAX_INDENT) {
        let what = format!("cannot indent by more than {MAX_INDENT}");
        return Err(Error::new(ErrorKind::InvalidOperation, what));
    }
    minijinja::filters::indent(text, width, first, blank, named)
}

/// More would only serve to use up memory.
pub(super) const MAX_INDENT: usize = 64;

/// The test `iterable`: unlike in minijinja, none is not.
pub(super) fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}
