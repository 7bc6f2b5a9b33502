//! Where tensors come from: a file, or a generator.

use gguf::{Gguf, TensorType};
use std::borrow::Cow;

/// Type and shape of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorMeta {
    /// Block format.
    pub ty: TensorType,
    /// Slowest first: `[n_out, n_in]`, or `[n]`.
    pub shape: Vec<u64>,
}

/// A set of named tensors whose bytes can be had one at a time, so that a model need never be in memory twice.
pub trait TensorSource: Sync {
    /// Type and shape of `name`, if it is there.
    fn meta(&self, name: &str) -> Option<TensorMeta>;

    /// Every name.
    fn names(&self) -> Vec<String>;

    /// The bytes of `name` in its block format, row after row; empty if it is not there.
    fn bytes(&self, name: &str) -> Cow<'_, [u8]>;

    /// Lets the system take back the memory that holds bytes which were given out, where they can be had again: of a mapped file.
    /// What is borrowed stays valid.
    fn forget(&self) {}
}

impl TensorSource for Gguf {
    fn meta(&self, name: &str) -> Option<TensorMeta> {
        let tensor = self.tensor(name)?;
        Some(TensorMeta { ty: tensor.info.ty(), shape: tensor.info.shape().to_vec() })
    }

    fn names(&self) -> Vec<String> {
        self.tensors().map(|info| info.name().to_owned()).collect()
    }

    fn bytes(&self, name: &str) -> Cow<'_, [u8]> {
        self.tensor(name).map_or(Cow::Borrowed(&[]), |tensor| Cow::Borrowed(tensor.data))
    }

    fn forget(&self) {
        self.advise_dropped();
    }
}
