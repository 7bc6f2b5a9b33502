//! GGUF model files: metadata, tensor table and block formats.
//!
//! A GGUF file holds a model: typed key/value metadata (sizes, vocabulary, chat template), a table of named
//! tensors, and the tensors' bytes. [`Gguf`] opens one, all its shards included, on a memory map: nothing is
//! copied but the metadata and the table, and every count, offset and size in the file is checked against the
//! bytes that are there before it is used. A file is outside data, so whatever is wrong with it is a typed
//! [`GgufError`] that says what, where and what to do about it, never a panic.
//!
//! ```
//! use gguf::{Gguf, GgufWriter, TensorType};
//!
//! let mut writer = GgufWriter::new();
//! writer.set("general.architecture", "llama")?;
//! writer.add_tensor("rope_freqs.weight", TensorType::F32, &[2], [1.0f32, 0.5].map(f32::to_le_bytes).concat())?;
//!
//! let file = Gguf::from_vec(writer.to_vec())?;
//! assert_eq!(file.metadata().str("general.architecture")?, "llama");
//!
//! let tensor = file.tensor("rope_freqs.weight").ok_or("no such tensor")?;
//! let mut weights = [0.0; 2];
//! tensor.info.ty().decode(tensor.data, &mut weights)?;
//! assert_eq!(weights, [1.0, 0.5]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Shapes are given slowest dimension first, `[n_out, n_in]` for a weight matrix, the reverse of the order in
//! the file. The [`mod@format`] modules define each block format bit by bit; a backend that lays weights out in its
//! own way starts from them.

mod cursor;
mod error;
pub mod format;
mod header;
mod map;
mod metadata;
mod model_file;
mod name_index;
mod split;
mod tensor;
mod tensor_table;
mod tensor_type;
mod value;
mod write_error;
mod writer;

pub use error::{GgufError, GgufErrorKind};
pub use format::FormatError;
pub use metadata::{Metadata, MetadataError};
pub use model_file::Gguf;
pub use tensor::{Tensor, TensorInfo};
pub use tensor_type::TensorType;
pub use value::{Array, GgufString, Value};
pub use write_error::WriteError;
pub use writer::GgufWriter;
