//! Metadata values, typed as in the file.

use std::str::Utf8Error;

/// A string as the file has it: bytes, which ought to be UTF-8 but need not be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct GgufString(pub Vec<u8>);

impl GgufString {
    /// The string, when its bytes are UTF-8.
    pub fn to_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(&self.0)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for GgufString {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for GgufString {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

/// Builds [`Value`] and [`Array`] from one list of the scalar types, in the order of their ids.
macro_rules! values {
    ($($name:ident($ty:ty) = $id:literal, $word:literal;)*) => {
        /// One metadata value.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Value {
            $(#[doc = concat!("`", $word, "`.")] $name($ty),)*
            /// An array.
            Array(Array),
        }

        /// An array of one element type. Arrays may hold arrays, to a depth of [`Array::MAX_DEPTH`].
        #[derive(Clone, Debug, PartialEq)]
        pub enum Array {
            $(#[doc = concat!("Elements of type `", $word, "`.")] $name(Vec<$ty>),)*
            /// Arrays, each with an element type of its own.
            Array(Vec<Array>),
        }

        impl Value {
            /// The type in words, such as `u32` or `array of str`.
            pub fn type_name(&self) -> String {
                match self {
                    $(Self::$name(_) => $word.to_owned(),)*
                    Self::Array(array) => format!("array of {}", array.element_type_name()),
                }
            }

            /// The id of the type in a file.
            pub(crate) fn type_id(&self) -> u32 {
                match self {
                    $(Self::$name(_) => $id,)*
                    Self::Array(_) => Array::TYPE_ID,
                }
            }
        }

        impl Array {
            /// Number of elements.
            pub fn len(&self) -> usize {
                match self {
                    $(Self::$name(items) => items.len(),)*
                    Self::Array(items) => items.len(),
                }
            }

            /// The element type in words, such as `u32`, `str` or `array`.
            pub fn element_type_name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => $word,)*
                    Self::Array(_) => "array",
                }
            }

            /// The id of the element type in a file.
            pub(crate) fn element_type_id(&self) -> u32 {
                match self {
                    $(Self::$name(_) => $id,)*
                    Self::Array(_) => Self::TYPE_ID,
                }
            }
        }

        $(
            impl From<$ty> for Value {
                fn from(value: $ty) -> Self {
                    Self::$name(value)
                }
            }

            impl From<Vec<$ty>> for Value {
                fn from(items: Vec<$ty>) -> Self {
                    Self::Array(Array::$name(items))
                }
            }
        )*
    };
}

values! {
    U8(u8) = 0, "u8";
    I8(i8) = 1, "i8";
    U16(u16) = 2, "u16";
    I16(i16) = 3, "i16";
    U32(u32) = 4, "u32";
    I32(i32) = 5, "i32";
    F32(f32) = 6, "f32";
    Bool(bool) = 7, "bool";
    String(GgufString) = 8, "str";
    U64(u64) = 10, "u64";
    I64(i64) = 11, "i64";
    F64(f64) = 12, "f64";
}

impl Array {
    /// How deep arrays may nest: a flat array has depth 1.
    pub const MAX_DEPTH: usize = 4;
    pub(crate) const TYPE_ID: u32 = 9;

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether arrays nest no deeper than `limit`.
    pub(crate) fn is_within_depth(&self, limit: usize) -> bool {
        match (self, limit.checked_sub(1)) {
            (_, None) => false,
            (Self::Array(items), Some(limit)) => items.iter().all(|item| item.is_within_depth(limit)),
            _ => true,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text.into())
    }
}

impl From<Vec<&str>> for Value {
    fn from(items: Vec<&str>) -> Self {
        Self::Array(Array::String(items.into_iter().map(GgufString::from).collect()))
    }
}

impl From<Vec<String>> for Value {
    fn from(items: Vec<String>) -> Self {
        Self::Array(Array::String(items.into_iter().map(GgufString::from).collect()))
    }
}

impl From<Array> for Value {
    fn from(array: Array) -> Self {
        Self::Array(array)
    }
}
