//! The key/value metadata of a model and typed access to it.

use std::str::Utf8Error;

use crate::name_index::NameIndex;
use crate::{Array, GgufErrorKind, GgufString, Value};

/// A model's metadata, in file order.
///
/// The getters named after a type want the key to be there; those that begin with `opt_` give `Ok(None)` where
/// it is not. Either way a value of another type is an error.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Metadata {
    entries: Vec<(String, Value)>,
    index: NameIndex,
}

/// Metadata that is not as wanted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// The key is not there.
    #[error("the model's metadata lacks the key `{key}`; convert the model again with current tools")]
    MissingKey {
        /// The key.
        key: String,
    },

    /// The value has another type.
    #[error("metadata key `{key}` must be {expected} but is {got}")]
    WrongType {
        /// The key.
        key: String,
        /// The type wanted.
        expected: &'static str,
        /// The type found.
        got: String,
    },

    /// The number does not fit the type wanted.
    #[error("metadata key `{key}` is {got}, which does not fit {expected}")]
    OutOfRange {
        /// The key.
        key: String,
        /// The type wanted.
        expected: &'static str,
        /// The number.
        got: String,
    },

    /// The string, or a string of the array, is not UTF-8.
    #[error("metadata key `{key}` holds a string that is not UTF-8")]
    NotUtf8 {
        /// The key.
        key: String,
        /// Where it stops being UTF-8.
        #[source]
        source: Utf8Error,
    },
}

/// The getter that wants the key and the one that does not, over one conversion.
macro_rules! getters {
    ($($name:ident, $opt_name:ident -> $ty:ty, $convert:ident, $doc:literal;)*) => {$(
        #[doc = concat!("The value of `key`: ", $doc, ".")]
        ///
        /// # Errors
        /// The key is missing, or its value is of another type or does not fit.
        pub fn $name(&self, key: &str) -> Result<$ty, MetadataError> {
            self.$opt_name(key)?.ok_or_else(|| MetadataError::MissingKey { key: key.to_owned() })
        }

        #[doc = concat!("As [`Metadata::", stringify!($name), "`], `None` when the key is missing.")]
        ///
        /// # Errors
        /// The value is of another type or does not fit.
        pub fn $opt_name(&self, key: &str) -> Result<Option<$ty>, MetadataError> {
            self.get(key).map(|value| $convert(key, value)).transpose()
        }
    )*};
}

impl Metadata {
    /// Metadata of these entries, whose keys must differ.
    pub(crate) fn from_entries(entries: Vec<(String, Value)>) -> Result<Self, GgufErrorKind> {
        match NameIndex::build(&entries, |(key, _)| key) {
            Ok(index) => Ok(Self { entries, index }),
            Err(second) => Err(GgufErrorKind::DuplicateKey { key: entries[second].0.clone() }),
        }
    }

    /// The value of a key, whatever its type.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.index.find(&self.entries, |(key, _)| key, key).map(|(_, value)| value)
    }

    /// All keys and values, in file order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    getters! {
        str, opt_str -> &str, to_str, "a UTF-8 string";
        bool, opt_bool -> bool, to_bool, "a bool";
        u32, opt_u32 -> u32, to_int, "an integer of any type that fits";
        u64, opt_u64 -> u64, to_int, "an integer of any type that fits";
        f32, opt_f32 -> f32, to_f32, "an `f32`, or an `f64` rounded to one";
        str_array, opt_str_array -> Vec<&str>, to_str_array, "an array of UTF-8 strings";
        u32_array, opt_u32_array -> Vec<u32>, to_int_array, "an array of integers of any type that fit";
        i32_array, opt_i32_array -> Vec<i32>, to_int_array, "an array of integers of any type that fit";
        f32_array, opt_f32_array -> Vec<f32>, to_f32_array, "an array of `f32`, or of `f64` rounded to them";
    }
}

/// An integer type that a getter gives, with its name for messages.
trait Int: TryFrom<i128> {
    const NAME: &'static str;
    const ARRAY_NAME: &'static str;
}

impl Int for u32 {
    const NAME: &'static str = "an integer (u32)";
    const ARRAY_NAME: &'static str = "an array of integers (u32)";
}

impl Int for u64 {
    const NAME: &'static str = "an integer (u64)";
    const ARRAY_NAME: &'static str = "an array of integers (u64)";
}

impl Int for i32 {
    const NAME: &'static str = "an integer (i32)";
    const ARRAY_NAME: &'static str = "an array of integers (i32)";
}

fn wrong_type(key: &str, expected: &'static str, value: &Value) -> MetadataError {
    MetadataError::WrongType { key: key.to_owned(), expected, got: value.type_name() }
}

fn out_of_range(key: &str, expected: &'static str, got: impl ToString) -> MetadataError {
    MetadataError::OutOfRange { key: key.to_owned(), expected, got: got.to_string() }
}

fn utf8<'a>(key: &str, text: &'a GgufString) -> Result<&'a str, MetadataError> {
    text.to_str().map_err(|source| MetadataError::NotUtf8 { key: key.to_owned(), source })
}

fn to_str<'a>(key: &str, value: &'a Value) -> Result<&'a str, MetadataError> {
    match value {
        Value::String(text) => utf8(key, text),
        _ => Err(wrong_type(key, "a string", value)),
    }
}

fn to_bool(key: &str, value: &Value) -> Result<bool, MetadataError> {
    match value {
        Value::Bool(value) => Ok(*value),
        _ => Err(wrong_type(key, "a bool", value)),
    }
}

fn to_int<T: Int>(key: &str, value: &Value) -> Result<T, MetadataError> {
    let wide = match *value {
        Value::U8(n) => i128::from(n),
        Value::I8(n) => i128::from(n),
        Value::U16(n) => i128::from(n),
        Value::I16(n) => i128::from(n),
        Value::U32(n) => i128::from(n),
        Value::I32(n) => i128::from(n),
        Value::U64(n) => i128::from(n),
        Value::I64(n) => i128::from(n),
        _ => return Err(wrong_type(key, T::NAME, value)),
    };
    T::try_from(wide).map_err(|_| out_of_range(key, T::NAME, wide))
}

fn to_int_array<T: Int>(key: &str, value: &Value) -> Result<Vec<T>, MetadataError> {
    fn all<T: Int, N: Copy + Into<i128>>(key: &str, items: &[N]) -> Result<Vec<T>, MetadataError> {
        let narrow = |&item: &N| {
            let wide: i128 = item.into();
            T::try_from(wide).map_err(|_| out_of_range(key, T::ARRAY_NAME, format!("an array with {wide}")))
        };
        items.iter().map(narrow).collect()
    }
    match value {
        Value::Array(Array::U8(items)) => all(key, items),
        Value::Array(Array::I8(items)) => all(key, items),
        Value::Array(Array::U16(items)) => all(key, items),
        Value::Array(Array::I16(items)) => all(key, items),
        Value::Array(Array::U32(items)) => all(key, items),
        Value::Array(Array::I32(items)) => all(key, items),
        Value::Array(Array::U64(items)) => all(key, items),
        Value::Array(Array::I64(items)) => all(key, items),
        _ => Err(wrong_type(key, T::ARRAY_NAME, value)),
    }
}

/// Rounds to `f32`; a finite number must stay finite.
fn narrow(key: &str, wide: f64) -> Result<f32, MetadataError> {
    #[expect(clippy::cast_possible_truncation, reason = "rounding is wanted, overflow is checked")]
    let number = wide as f32;
    if number.is_finite() == wide.is_finite() { Ok(number) } else { Err(out_of_range(key, "an f32", wide)) }
}

fn to_f32(key: &str, value: &Value) -> Result<f32, MetadataError> {
    match *value {
        Value::F32(number) => Ok(number),
        Value::F64(wide) => narrow(key, wide),
        _ => Err(wrong_type(key, "a float (f32)", value)),
    }
}

fn to_str_array<'a>(key: &str, value: &'a Value) -> Result<Vec<&'a str>, MetadataError> {
    match value {
        Value::Array(Array::String(items)) => items.iter().map(|item| utf8(key, item)).collect(),
        _ => Err(wrong_type(key, "an array of strings", value)),
    }
}

fn to_f32_array(key: &str, value: &Value) -> Result<Vec<f32>, MetadataError> {
    match value {
        Value::Array(Array::F32(items)) => Ok(items.clone()),
        Value::Array(Array::F64(items)) => items.iter().map(|&wide| narrow(key, wide)).collect(),
        _ => Err(wrong_type(key, "an array of floats (f32)", value)),
    }
}
