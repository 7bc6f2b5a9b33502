//! Reads one file up to its tensor data.

use crate::cursor::Cursor;
use crate::{Array, GgufErrorKind, GgufString, Metadata, TensorInfo, Value, tensor_table};

/// `GGUF`.
pub(crate) const MAGIC: &[u8; 4] = b"GGUF";
/// The key that says to what tensors are aligned.
pub(crate) const ALIGNMENT_KEY: &str = "general.alignment";
/// Where it is absent.
pub(crate) const DEFAULT_ALIGNMENT: u32 = 32;
/// Bytes of the smallest possible metadata entry: a key of one byte, type, one byte.
const MIN_METADATA_BYTES: u64 = 8 + 1 + 4 + 1;

/// All of a file but the tensor data.
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<TensorInfo>,
}

impl Header {
    /// Reads the file that is number `shard`, from 0, of its model.
    pub(crate) fn read(bytes: &[u8], shard: usize) -> Result<Self, GgufErrorKind> {
        let start = &bytes[..bytes.len().min(MAGIC.len())];
        if start != MAGIC {
            return Err(GgufErrorKind::NotGguf { start: start.to_vec() });
        }
        let mut cursor = Cursor::new(bytes);
        cursor.take(MAGIC.len() as u64, "the header")?;
        let version = read_version(&mut cursor)?;

        let tensor_count_at = cursor.offset();
        let tensor_count = cursor.u64("the header")?;
        let metadata_count = cursor.count(MIN_METADATA_BYTES, "metadata entries")?;

        let entries = (0..metadata_count).map(|_| read_entry(&mut cursor)).collect::<Result<Vec<_>, _>>()?;
        let metadata = Metadata::from_entries(entries)?;
        let alignment = metadata.opt_u32(ALIGNMENT_KEY)?.unwrap_or(DEFAULT_ALIGNMENT);
        if !alignment.is_power_of_two() {
            return Err(GgufErrorKind::BadAlignment { alignment });
        }

        let tensor_count =
            cursor.check_count(tensor_count, tensor_table::MIN_ENTRY_BYTES, tensor_count_at, "tensors")?;
        let tensors = tensor_table::read(&mut cursor, tensor_count, alignment, shard)?;
        Ok(Self { version, metadata, tensors })
    }
}

fn read_version(cursor: &mut Cursor<'_>) -> Result<u32, GgufErrorKind> {
    match cursor.u32("the header")? {
        version @ (2 | 3) => Ok(version),
        // A small version that was written the other way round has zeros in its lower half.
        version if version != 0 && version & 0xFFFF == 0 => {
            Err(GgufErrorKind::BigEndian { version: version.swap_bytes() })
        }
        version => Err(GgufErrorKind::UnsupportedVersion { version }),
    }
}

fn read_entry(cursor: &mut Cursor<'_>) -> Result<(String, Value), GgufErrorKind> {
    let key_at = cursor.offset();
    let key = match std::str::from_utf8(cursor.string("a metadata key")?) {
        Ok(key) if !key.is_empty() => key,
        _ => return Err(GgufErrorKind::BadKey { offset: key_at }),
    };
    let value = ValueReader { cursor, key }.value()?;
    Ok((key.to_owned(), value))
}

/// Reads the value of one key.
struct ValueReader<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    key: &'a str,
}

const VALUE: &str = "a metadata value";

impl ValueReader<'_, '_> {
    fn value(&mut self) -> Result<Value, GgufErrorKind> {
        let type_at = self.cursor.offset();
        Ok(match self.cursor.u32(VALUE)? {
            0 => Value::U8(u8::from_le_bytes(self.scalar()?)),
            1 => Value::I8(i8::from_le_bytes(self.scalar()?)),
            2 => Value::U16(u16::from_le_bytes(self.scalar()?)),
            3 => Value::I16(i16::from_le_bytes(self.scalar()?)),
            4 => Value::U32(u32::from_le_bytes(self.scalar()?)),
            5 => Value::I32(i32::from_le_bytes(self.scalar()?)),
            6 => Value::F32(f32::from_le_bytes(self.scalar()?)),
            7 => Value::Bool(self.bool()?),
            8 => Value::String(self.string()?),
            9 => Value::Array(self.array(Array::MAX_DEPTH)?),
            10 => Value::U64(u64::from_le_bytes(self.scalar()?)),
            11 => Value::I64(i64::from_le_bytes(self.scalar()?)),
            12 => Value::F64(f64::from_le_bytes(self.scalar()?)),
            type_id => return Err(self.bad_type(type_id, type_at)),
        })
    }

    /// An array, in which arrays nest `depth` deep at most.
    fn array(&mut self, depth: usize) -> Result<Array, GgufErrorKind> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(GgufErrorKind::NestedTooDeep { key: self.key.to_owned() });
        };
        let type_at = self.cursor.offset();
        Ok(match self.cursor.u32(VALUE)? {
            0 => Array::U8(self.numbers(u8::from_le_bytes)?),
            1 => Array::I8(self.numbers(i8::from_le_bytes)?),
            2 => Array::U16(self.numbers(u16::from_le_bytes)?),
            3 => Array::I16(self.numbers(i16::from_le_bytes)?),
            4 => Array::U32(self.numbers(u32::from_le_bytes)?),
            5 => Array::I32(self.numbers(i32::from_le_bytes)?),
            6 => Array::F32(self.numbers(f32::from_le_bytes)?),
            7 => Array::Bool(self.items(1, Self::bool)?),
            8 => Array::String(self.items(8, Self::string)?),
            9 => Array::Array(self.items(4 + 8, |reader| reader.array(depth))?),
            10 => Array::U64(self.numbers(u64::from_le_bytes)?),
            11 => Array::I64(self.numbers(i64::from_le_bytes)?),
            12 => Array::F64(self.numbers(f64::from_le_bytes)?),
            type_id => return Err(self.bad_type(type_id, type_at)),
        })
    }

    fn scalar<const N: usize>(&mut self) -> Result<[u8; N], GgufErrorKind> {
        self.cursor.array(VALUE)
    }

    fn bool(&mut self) -> Result<bool, GgufErrorKind> {
        let offset = self.cursor.offset();
        match self.scalar()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [byte] => Err(GgufErrorKind::BadBool { key: self.key.to_owned(), byte, offset }),
        }
    }

    fn string(&mut self) -> Result<GgufString, GgufErrorKind> {
        Ok(GgufString(self.cursor.string(VALUE)?.to_vec()))
    }

    fn numbers<T, const N: usize>(&mut self, read: fn([u8; N]) -> T) -> Result<Vec<T>, GgufErrorKind> {
        let count = self.cursor.count(N as u64, "array items")?;
        let bytes = self.cursor.take((count * N) as u64, VALUE)?;
        Ok(bytes.as_chunks().0.iter().map(|&item| read(item)).collect())
    }

    /// Items of varying size, `min_bytes` each or more.
    fn items<T>(
        &mut self,
        min_bytes: u64,
        read: impl Fn(&mut Self) -> Result<T, GgufErrorKind>,
    ) -> Result<Vec<T>, GgufErrorKind> {
        let count = self.cursor.count(min_bytes, "array items")?;
        (0..count).map(|_| read(self)).collect()
    }

    fn bad_type(&self, type_id: u32, offset: u64) -> GgufErrorKind {
        GgufErrorKind::BadValueType { key: self.key.to_owned(), type_id, offset }
    }
}
