//! Models that are split into several files, `NAME-00001-of-00003.gguf` and so on.

use std::path::{Path, PathBuf};

use crate::{GgufErrorKind, Metadata};

/// What a file says about the split it belongs to.
pub(crate) struct Split {
    /// Position of this file, from 0.
    pub(crate) index: u64,
    /// Number of files, 2 or more.
    pub(crate) count: u32,
    /// Tensors in all files together.
    pub(crate) n_tensors: Option<u64>,
}

impl Split {
    /// Reads the `split.*` keys; `None` when the model is one file.
    pub(crate) fn read(metadata: &Metadata) -> Result<Option<Self>, GgufErrorKind> {
        let count = metadata.opt_u32("split.count")?.unwrap_or(0);
        if count < 2 {
            return Ok(None);
        }
        let index = metadata.u64("split.no")?;
        let n_tensors = metadata.opt_u64("split.tensors.count")?;
        Ok(Some(Self { index, count, n_tensors }))
    }
}

/// The path of shard `number`, from 1, given the path of shard `given`; `None` when that is not named like one.
pub(crate) fn shard_path(path: &Path, given: u64, number: u64, count: u32) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?;
    let prefix = name.strip_suffix(&suffix(given, count))?;
    Some(path.with_file_name(format!("{prefix}{}", suffix(number, count))))
}

fn suffix(number: u64, count: u32) -> String {
    format!("-{number:05}-of-{count:05}.gguf")
}
