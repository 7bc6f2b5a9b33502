//! A whole model: one file, or all the shards of a split one.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::header::Header;
use crate::map::Bytes;
use crate::name_index::NameIndex;
use crate::split::{Split, shard_path};
use crate::{GgufError, GgufErrorKind, Metadata, Tensor, TensorInfo};

/// A model file with all its shards, open for reading.
///
/// Cloning is cheap and shares the memory map.
#[derive(Clone)]
pub struct Gguf {
    inner: Arc<Inner>,
}

struct Inner {
    version: u32,
    metadata: Metadata,
    shards: Vec<Bytes>,
    tensors: Vec<TensorInfo>,
    index: NameIndex,
}

impl Gguf {
    /// Opens a model file; of a split model, the first shard, which finds the others beside it.
    ///
    /// The files are mapped, not read: they must not be changed or cut short while the value lives, as then the
    /// weights change under the reader or the process is killed.
    ///
    /// # Errors
    /// A file is missing, damaged, or of a kind that is not supported; the error names it.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GgufError> {
        let path = path.as_ref();
        let fail = |kind| GgufError::new(Some(path), kind);
        let bytes = Bytes::map(path).map_err(|source| fail(GgufErrorKind::Open(source)))?;
        let header = Header::read(&bytes, 0).map_err(fail)?;
        let Some(split) = Split::read(&header.metadata).map_err(fail)? else {
            return Self::join(header, vec![bytes]).map_err(fail);
        };
        Self::open_split(path, header, bytes, &split)
    }

    /// Reads a model that is compiled into the program.
    ///
    /// # Errors
    /// The bytes are damaged, or of a kind that is not supported.
    pub fn from_static(bytes: &'static [u8]) -> Result<Self, GgufError> {
        Self::from_bytes(Bytes::Static(bytes))
    }

    /// Reads a model from memory.
    ///
    /// # Errors
    /// The bytes are damaged, or of a kind that is not supported.
    pub fn from_vec(bytes: Vec<u8>) -> Result<Self, GgufError> {
        Self::from_bytes(Bytes::Owned(bytes))
    }

    fn from_bytes(bytes: Bytes) -> Result<Self, GgufError> {
        let fail = |kind| GgufError::new(None, kind);
        let header = Header::read(&bytes, 0).map_err(fail)?;
        match Split::read(&header.metadata).map_err(fail)? {
            Some(Split { count, .. }) => Err(fail(GgufErrorKind::SplitInMemory { count })),
            None => Self::join(header, vec![bytes]).map_err(fail),
        }
    }

    fn open_split(path: &Path, mut header: Header, bytes: Bytes, split: &Split) -> Result<Self, GgufError> {
        let fail = |kind| GgufError::new(Some(path), kind);
        let count = split.count;
        if split.index != 0 {
            let number = split.index.saturating_add(1);
            let first = shard_path(path, number, 1, count)
                .ok_or_else(|| fail(GgufErrorKind::BadShardName { count }))?;
            return Err(fail(GgufErrorKind::LaterShard { number, count, first }));
        }

        let mut shards = vec![bytes];
        for number in 2..=count {
            let shard = shard_path(path, 1, number.into(), count);
            let shard = shard.ok_or_else(|| fail(GgufErrorKind::BadShardName { count }))?;
            let bytes = Bytes::map(&shard).map_err(|source| {
                fail(GgufErrorKind::MissingShard { number, count, path: shard.clone(), source })
            })?;
            let tensors = Self::read_shard(&bytes, number, count, shards.len())
                .map_err(|kind| GgufError::new(Some(&shard), kind))?;
            shards.push(bytes);
            header.tensors.extend(tensors);
        }

        let found = header.tensors.len() as u64;
        match split.n_tensors {
            Some(expected) if expected != found => {
                Err(fail(GgufErrorKind::SplitTensorCount { expected, found }))
            }
            _ => Self::join(header, shards).map_err(fail),
        }
    }

    /// The tensors of a later shard, of whose metadata only its place in the split counts.
    fn read_shard(
        bytes: &[u8],
        number: u32,
        count: u32,
        position: usize,
    ) -> Result<Vec<TensorInfo>, GgufErrorKind> {
        let header = Header::read(bytes, position)?;
        let expected = format!("{number} of {count}");
        match Split::read(&header.metadata)? {
            Some(split) if split.count == count && split.index == u64::from(number - 1) => Ok(header.tensors),
            Some(Split { index, count, .. }) => {
                let found = format!("{} of {count}", u128::from(index) + 1);
                Err(GgufErrorKind::ShardMismatch { expected, found })
            }
            None => Err(GgufErrorKind::ShardMismatch { expected, found: "1 of 1".to_owned() }),
        }
    }

    fn join(header: Header, shards: Vec<Bytes>) -> Result<Self, GgufErrorKind> {
        let Header { version, metadata, tensors } = header;
        match NameIndex::build(&tensors, TensorInfo::name) {
            Ok(index) => Ok(Self { inner: Arc::new(Inner { version, metadata, shards, tensors, index }) }),
            Err(second) => Err(GgufErrorKind::DuplicateTensor { tensor: tensors[second].name.clone() }),
        }
    }

    /// The GGUF version of the (first) file: 2 or 3.
    pub fn version(&self) -> u32 {
        self.inner.version
    }

    /// The metadata; of a split model, the first shard's.
    pub fn metadata(&self) -> &Metadata {
        &self.inner.metadata
    }

    /// All tensors, in file order, shard by shard.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = &TensorInfo> {
        self.inner.tensors.iter()
    }

    /// The tensor of this name, with its bytes.
    pub fn tensor(&self, name: &str) -> Option<Tensor<'_>> {
        let info = self.inner.index.find(&self.inner.tensors, TensorInfo::name, name)?;
        Some(Tensor { info, data: self.tensor_data(info) })
    }

    /// The bytes of a tensor of this model.
    ///
    /// # Panics
    /// May panic when `info` comes from another model.
    pub fn tensor_data(&self, info: &TensorInfo) -> &[u8] {
        &self.inner.shards[info.shard][info.range.clone()]
    }

    /// Size of the model in bytes, all shards together.
    pub fn len_bytes(&self) -> u64 {
        self.inner.shards.iter().map(|shard| shard.len() as u64).sum()
    }

    /// Tells the system that the mapped pages will hardly be read again, as after a backend has laid the weights
    /// out for itself. Reading them still works. Nothing happens for a model in memory.
    pub fn advise_dropped(&self) {
        for shard in &self.inner.shards {
            shard.advise_dropped();
        }
    }
}

impl fmt::Debug for Gguf {
    // The bytes would fill screens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("version", &self.version())
            .field("metadata_keys", &self.metadata().len())
            .field("tensors", &self.tensors().len())
            .field("shards", &self.inner.shards.len())
            .field("len_bytes", &self.len_bytes())
            .finish()
    }
}
