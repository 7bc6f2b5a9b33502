//! Writes a model as one GGUF version 3 file.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Read, Write};

use crate::header::{ALIGNMENT_KEY, DEFAULT_ALIGNMENT, MAGIC};
use crate::tensor_table::{self, SizeError};
use crate::{Array, TensorType, Value, WriteError};

const VERSION: u32 = 3;

/// Collects metadata and tensors, checks them, and writes them out in the order given.
///
/// A file written by it reads back as what was put in. `general.alignment`, when set, is obeyed; 32 otherwise.
#[derive(Clone, Debug)]
pub struct GgufWriter<'a> {
    alignment: u32,
    metadata: Vec<(String, Value)>,
    keys: HashSet<String>,
    tensors: Vec<PendingTensor<'a>>,
    names: HashSet<String>,
}

#[derive(Clone, Debug)]
struct PendingTensor<'a> {
    name: String,
    ty: TensorType,
    shape: Vec<u64>,
    data: Cow<'a, [u8]>,
}

impl<'a> GgufWriter<'a> {
    /// A writer of an empty model.
    pub fn new() -> Self {
        Self {
            alignment: DEFAULT_ALIGNMENT,
            metadata: Vec::new(),
            keys: HashSet::new(),
            tensors: Vec::new(),
            names: HashSet::new(),
        }
    }

    /// Adds a metadata entry.
    ///
    /// # Errors
    /// The key is empty or set already, the value nests too deep, or is an alignment that is not a power of two.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Result<&mut Self, WriteError> {
        let (key, value) = (key.into(), value.into());
        if key.is_empty() {
            return Err(WriteError::EmptyKey);
        }
        if self.keys.contains(&key) {
            return Err(WriteError::DuplicateKey { key });
        }
        match &value {
            Value::Array(array) if !array.is_within_depth(Array::MAX_DEPTH) => {
                return Err(WriteError::NestedTooDeep { key });
            }
            Value::U32(alignment) if key == ALIGNMENT_KEY && alignment.is_power_of_two() => {
                self.alignment = *alignment;
            }
            _ if key == ALIGNMENT_KEY => return Err(WriteError::BadAlignment { value }),
            _ => {}
        }
        self.keys.insert(key.clone());
        self.metadata.push((key, value));
        Ok(self)
    }

    /// Adds a tensor: its shape, slowest dimension first, and its rows of whole blocks.
    ///
    /// # Errors
    /// The name is empty or taken, or shape, type and number of bytes do not agree.
    pub fn add_tensor(
        &mut self,
        name: impl Into<String>,
        ty: TensorType,
        shape: &[u64],
        data: impl Into<Cow<'a, [u8]>>,
    ) -> Result<&mut Self, WriteError> {
        let (tensor, shape, data) = (name.into(), shape.to_vec(), data.into());
        if tensor.is_empty() {
            return Err(WriteError::EmptyTensorName);
        }
        if self.names.contains(&tensor) {
            return Err(WriteError::DuplicateTensor { tensor });
        }
        let expected = match tensor_table::size(ty, &shape) {
            Ok((_, len_bytes)) => len_bytes,
            Err(SizeError::Shape) => return Err(WriteError::BadShape { tensor, shape }),
            Err(SizeError::PartialBlock { row_len }) => {
                return Err(WriteError::PartialBlock { tensor, ty, row_len });
            }
        };
        let got = data.len() as u64;
        if got != expected {
            return Err(WriteError::WrongSize { tensor, expected, got });
        }
        self.names.insert(tensor.clone());
        self.tensors.push(PendingTensor { name: tensor, ty, shape, data });
        Ok(self)
    }

    /// Writes the file. Writes are many and small: give a file in a [`BufWriter`](io::BufWriter).
    ///
    /// # Errors
    /// The output fails.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let mut out = Output { out, len: 0 };
        out.bytes(MAGIC)?;
        out.bytes(&VERSION.to_le_bytes())?;
        out.bytes(&(self.tensors.len() as u64).to_le_bytes())?;
        out.bytes(&(self.metadata.len() as u64).to_le_bytes())?;
        for (key, value) in &self.metadata {
            out.string(key.as_bytes())?;
            out.bytes(&value.type_id().to_le_bytes())?;
            out.value(value)?;
        }
        let mut data_offset = 0u64;
        for tensor in &self.tensors {
            out.tensor_entry(tensor, data_offset)?;
            // The data is in memory, so that its padded size does not overflow 64 bits.
            data_offset += (tensor.data.len() as u64).next_multiple_of(self.alignment.into());
        }
        for tensor in &self.tensors {
            out.pad(self.alignment)?;
            out.bytes(&tensor.data)?;
        }
        // The last tensor too is padded, as ggml has it.
        if self.tensors.is_empty() { Ok(()) } else { out.pad(self.alignment) }
    }

    /// The file as bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes).expect("a Vec takes every write");
        bytes
    }
}

impl Default for GgufWriter<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The output, and how much of it is written.
struct Output<'o, W> {
    out: &'o mut W,
    len: u64,
}

impl<W: Write> Output<'_, W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.len += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn string(&mut self, text: &[u8]) -> io::Result<()> {
        self.bytes(&(text.len() as u64).to_le_bytes())?;
        self.bytes(text)
    }

    /// Zeros up to the next multiple of `alignment`.
    fn pad(&mut self, alignment: u32) -> io::Result<()> {
        let zeros = self.len.next_multiple_of(alignment.into()) - self.len;
        self.len += zeros;
        io::copy(&mut io::repeat(0).take(zeros), self.out).map(drop)
    }

    fn tensor_entry(&mut self, tensor: &PendingTensor<'_>, data_offset: u64) -> io::Result<()> {
        self.string(tensor.name.as_bytes())?;
        #[expect(clippy::cast_possible_truncation, reason = "four at most")]
        let n_dims = tensor.shape.len() as u32;
        self.bytes(&n_dims.to_le_bytes())?;
        for dim in tensor.shape.iter().rev() {
            self.bytes(&dim.to_le_bytes())?;
        }
        self.bytes(&tensor.ty.ggml_id().to_le_bytes())?;
        self.bytes(&data_offset.to_le_bytes())
    }

    fn value(&mut self, value: &Value) -> io::Result<()> {
        match value {
            Value::U8(v) => self.bytes(&v.to_le_bytes()),
            Value::I8(v) => self.bytes(&v.to_le_bytes()),
            Value::U16(v) => self.bytes(&v.to_le_bytes()),
            Value::I16(v) => self.bytes(&v.to_le_bytes()),
            Value::U32(v) => self.bytes(&v.to_le_bytes()),
            Value::I32(v) => self.bytes(&v.to_le_bytes()),
            Value::F32(v) => self.bytes(&v.to_le_bytes()),
            Value::Bool(v) => self.bytes(&[u8::from(*v)]),
            Value::String(v) => self.string(v.as_bytes()),
            Value::Array(v) => self.array(v),
            Value::U64(v) => self.bytes(&v.to_le_bytes()),
            Value::I64(v) => self.bytes(&v.to_le_bytes()),
            Value::F64(v) => self.bytes(&v.to_le_bytes()),
        }
    }

    fn array(&mut self, array: &Array) -> io::Result<()> {
        self.bytes(&array.element_type_id().to_le_bytes())?;
        self.bytes(&(array.len() as u64).to_le_bytes())?;
        match array {
            Array::U8(items) => self.bytes(items),
            Array::I8(items) => self.numbers(items, |v| v.to_le_bytes()),
            Array::U16(items) => self.numbers(items, |v| v.to_le_bytes()),
            Array::I16(items) => self.numbers(items, |v| v.to_le_bytes()),
            Array::U32(items) => self.numbers(items, |v| v.to_le_bytes()),
            Array::I32(items) => self.numbers(items, |v| v.to_le_bytes()),
            Array::F32(items) => self.numbers(items, |v| v.to_le_bytes()),
            Array::Bool(items) => self.numbers(items, |v| [u8::from(v)]),
            Array::String(items) => items.iter().try_for_each(|item| self.string(item.as_bytes())),
            Array::Array(items) => items.iter().try_for_each(|item| self.array(item)),
            Array::U64(items) => self.numbers(items, |v| v.to_le_bytes()),
            Array::I64(items) => self.numbers(items, |v| v.to_le_bytes()),
            Array::F64(items) => self.numbers(items, |v| v.to_le_bytes()),
        }
    }

    fn numbers<T: Copy, const N: usize>(&mut self, items: &[T], write: fn(T) -> [u8; N]) -> io::Result<()> {
        items.iter().try_for_each(|&item| self.bytes(&write(item)))
    }
}
