//! What can be wrong with a model file.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::{MetadataError, TensorType};

/// A model file that cannot be opened: what is wrong, and in which file.
#[derive(Debug)]
pub struct GgufError {
    path: Option<PathBuf>,
    kind: Box<GgufErrorKind>,
}

impl GgufError {
    pub(crate) fn new(path: Option<&Path>, kind: GgufErrorKind) -> Self {
        Self { path: path.map(Path::to_owned), kind: Box::new(kind) }
    }

    /// What is wrong.
    pub fn kind(&self) -> &GgufErrorKind {
        &self.kind
    }

    /// The file; `None` for a model in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl fmt::Display for GgufError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(), self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl Error for GgufError {
    // The kind is part of the message, so the chain goes on with the kind's own cause.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.kind.source()
    }
}

/// What is wrong with a model file. Offsets are bytes from the start of the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufErrorKind {
    /// The file cannot be opened or mapped.
    #[error("cannot open the model file")]
    Open(#[source] io::Error),

    /// The file does not begin with `GGUF`.
    #[error(
        "not a GGUF file: it starts with \"{}\", not \"GGUF\"; models in other formats must be converted first",
        start.escape_ascii()
    )]
    NotGguf {
        /// The first four bytes, or fewer.
        start: Vec<u8>,
    },

    /// The file was written for a big-endian machine.
    #[error(
        "big-endian GGUF (version {version}, byte-swapped) is not supported; convert it to little-endian"
    )]
    BigEndian {
        /// The version after swapping.
        version: u32,
    },

    /// A version that is not read.
    #[error(
        "GGUF version {version} is not supported, only 2 and 3 are; convert the model with current tools"
    )]
    UnsupportedVersion {
        /// The version in the file.
        version: u32,
    },

    /// The file ends too early.
    #[error(
        "the file ends inside {what}: {needed} bytes are needed at offset {offset}, {left} are left; \
         the download may be incomplete"
    )]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where.
        offset: u64,
        /// Bytes needed there.
        needed: u64,
        /// Bytes left there.
        left: u64,
    },

    /// A count that the rest of the file cannot hold.
    #[error(
        "damaged or incomplete file: {count} is given as the number of {what} at offset {offset}, \
         more than the {left} bytes left can hold"
    )]
    CountTooLarge {
        /// What is counted.
        what: &'static str,
        /// Where the count stands.
        offset: u64,
        /// The count.
        count: u64,
        /// Bytes left where they begin.
        left: u64,
    },

    /// A metadata key that is empty or not UTF-8.
    #[error("damaged file: the metadata key at offset {offset} is empty or not UTF-8")]
    BadKey {
        /// Where the key stands.
        offset: u64,
    },

    /// Two metadata entries with one key.
    #[error("damaged file: metadata key `{key}` occurs twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },

    /// A value type that GGUF does not have.
    #[error("damaged file: metadata key `{key}` has the unknown value type {type_id} (at offset {offset})")]
    BadValueType {
        /// The key.
        key: String,
        /// The type's id.
        type_id: u32,
        /// Where the id stands.
        offset: u64,
    },

    /// A truth value that is neither 0 nor 1.
    #[error(
        "damaged file: metadata key `{key}` has a bool that is {byte}, neither 0 nor 1 (at offset {offset})"
    )]
    BadBool {
        /// The key.
        key: String,
        /// The byte.
        byte: u8,
        /// Where it stands.
        offset: u64,
    },

    /// Arrays within arrays beyond [`Array::MAX_DEPTH`](crate::Array::MAX_DEPTH).
    #[error("metadata key `{key}` nests arrays deeper than {}", crate::Array::MAX_DEPTH)]
    NestedTooDeep {
        /// The key.
        key: String,
    },

    /// `general.alignment` is not a power of two.
    #[error("damaged file: general.alignment is {alignment}, not a power of two")]
    BadAlignment {
        /// The alignment in bytes.
        alignment: u32,
    },

    /// A tensor name that is empty or not UTF-8.
    #[error("damaged file: the tensor name at offset {offset} is empty or not UTF-8")]
    BadTensorName {
        /// Where the name stands.
        offset: u64,
    },

    /// Two tensors with one name.
    #[error("damaged file: tensor `{tensor}` occurs twice")]
    DuplicateTensor {
        /// The name.
        tensor: String,
    },

    /// A number of dimensions outside 1 to 4.
    #[error("damaged file: tensor `{tensor}` has {n_dims} dimensions, not 1 to 4")]
    BadDimensions {
        /// The tensor.
        tensor: String,
        /// Number of dimensions.
        n_dims: u32,
    },

    /// A shape with an empty dimension, or with more elements than any file holds.
    #[error("damaged file: tensor `{tensor}` has the impossible shape {shape:?}")]
    BadShape {
        /// The tensor.
        tensor: String,
        /// The shape, slowest first.
        shape: Vec<u64>,
    },

    /// A row that is not whole blocks.
    #[error(
        "damaged file: tensor `{tensor}` has rows of {row_len} weights, not a multiple of {}, the block length of {ty}",
        ty.block_len()
    )]
    PartialBlock {
        /// The tensor.
        tensor: String,
        /// Its type.
        ty: TensorType,
        /// Length of a row.
        row_len: u64,
    },

    /// A tensor type with an id that is not known.
    #[error(
        "tensor `{tensor}` has the unknown type id {type_id}; the file may need a newer version of this program"
    )]
    UnknownTensorType {
        /// The tensor.
        tensor: String,
        /// The type's id.
        type_id: u32,
    },

    /// A tensor type that ggml has withdrawn.
    #[error(
        "tensor `{tensor}` has type {name} (id {type_id}), which ggml has withdrawn; quantise the model anew"
    )]
    WithdrawnTensorType {
        /// The tensor.
        tensor: String,
        /// The type's id.
        type_id: u32,
        /// The type's name.
        name: &'static str,
    },

    /// A tensor whose offset is not aligned.
    #[error("damaged file: tensor `{tensor}` starts at {offset} of the data, not a multiple of {alignment}")]
    Misaligned {
        /// The tensor.
        tensor: String,
        /// Its offset from the start of the data section.
        offset: u64,
        /// The file's alignment.
        alignment: u32,
    },

    /// A tensor that is not wholly inside the file.
    #[error(
        "tensor `{tensor}` ({len_bytes} bytes at {offset} of the data, which begins at {data_offset}) \
         ends after the file's {file_len} bytes; the download may be incomplete"
    )]
    OutOfFile {
        /// The tensor.
        tensor: String,
        /// Its offset from the start of the data section.
        offset: u64,
        /// Its size in bytes.
        len_bytes: u64,
        /// Where the data section begins.
        data_offset: u64,
        /// The file's size in bytes.
        file_len: u64,
    },

    /// Two tensors that share bytes.
    #[error("damaged file: tensors `{first}` and `{second}` overlap")]
    Overlap {
        /// The tensor that starts earlier.
        first: String,
        /// The tensor that starts before the first ends.
        second: String,
    },

    /// Metadata that opening needs has the wrong type.
    #[error(transparent)]
    Metadata(#[from] MetadataError),

    /// A shard other than the first was given.
    #[error("this is shard {number} of {count} of a split model; open the first one, {}", first.display())]
    LaterShard {
        /// Number of the shard given, from 1.
        number: u64,
        /// Number of shards.
        count: u32,
        /// The first shard.
        first: PathBuf,
    },

    /// The name of a split model's first shard does not say where the others are.
    #[error(
        "the first of {count} shards must have a name that ends in `-00001-of-{count:05}.gguf`; give it its old name"
    )]
    BadShardName {
        /// Number of shards.
        count: u32,
    },

    /// A later shard is missing or cannot be opened.
    #[error("cannot open shard {number} of {count}, which must be beside the first: {}", path.display())]
    MissingShard {
        /// Number of the shard, from 1.
        number: u32,
        /// Number of shards.
        count: u32,
        /// Where it was looked for.
        path: PathBuf,
        /// Why it cannot be opened.
        #[source]
        source: io::Error,
    },

    /// A file with a shard's name that does not belong to the model.
    #[error("this file says it is shard {found}, but its name says shard {expected}; download it again")]
    ShardMismatch {
        /// What the name says.
        expected: String,
        /// What the file says.
        found: String,
    },

    /// The shards together have another number of tensors than the first one says.
    #[error(
        "the shards hold {found} tensors together, but the first says {expected}; download the model again"
    )]
    SplitTensorCount {
        /// What `split.tensors.count` says.
        expected: u64,
        /// What is there.
        found: u64,
    },

    /// A shard of a split model was given as bytes.
    #[error(
        "the model is split into {count} files and cannot be read from memory; join it with gguf-split --merge"
    )]
    SplitInMemory {
        /// Number of shards.
        count: u32,
    },
}
