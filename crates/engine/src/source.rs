//! Where a model comes from.

use gguf::{Gguf, GgufError, Metadata};
use model::{ModelError, ModelSpec, Synthetic, SyntheticPreset, TensorSource};
use std::path::{Path, PathBuf};

/// Where a model comes from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ModelSource {
    /// A GGUF file; of a split model, the first shard.
    File(PathBuf),
    /// A GGUF file that is compiled into the program.
    Static {
        /// What to call the model.
        name: String,
        /// The file.
        bytes: &'static [u8],
    },
    /// A GGUF file in memory.
    Memory {
        /// What to call the model.
        name: String,
        /// The file.
        bytes: Vec<u8>,
    },
    /// A real model's shape with random weights, for measuring speed. Has no tokenizer.
    Synthetic(SyntheticPreset),
}

/// The seed of synthetic weights: everyone measures the same model.
const SYNTHETIC_SEED: u64 = 1;

/// A source that is open: metadata and tensors can be had.
pub(crate) enum Opened {
    File(Gguf),
    Synthetic(SyntheticPreset, Synthetic),
}

impl ModelSource {
    /// What to call the model where its metadata has no name.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => stem(path),
            Self::Static { name, .. } | Self::Memory { name, .. } => name.clone(),
            Self::Synthetic(preset) => format!("synthetic {}", preset.name),
        }
    }

    pub(crate) fn open(self) -> Result<Opened, GgufError> {
        Ok(match self {
            Self::File(path) => Opened::File(Gguf::open(path)?),
            Self::Static { bytes, .. } => Opened::File(Gguf::from_static(bytes)?),
            Self::Memory { bytes, .. } => Opened::File(Gguf::from_vec(bytes)?),
            Self::Synthetic(preset) => Opened::Synthetic(preset, Synthetic::new(preset, SYNTHETIC_SEED)),
        })
    }
}

impl Opened {
    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        match self {
            Self::File(gguf) => Some(gguf.metadata()),
            Self::Synthetic(..) => None,
        }
    }

    pub(crate) fn tensors(&self) -> &dyn TensorSource {
        match self {
            Self::File(gguf) => gguf,
            Self::Synthetic(_, tensors) => tensors,
        }
    }

    pub(crate) fn spec(&self) -> Result<ModelSpec, ModelError> {
        match self {
            Self::File(gguf) => ModelSpec::new(gguf.metadata(), gguf),
            Self::Synthetic(preset, _) => Ok(preset.spec()),
        }
    }
}

/// A file's name without its ending.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
