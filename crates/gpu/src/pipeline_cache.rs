//! Compiled pipelines on disk, so that a driver compiles each kernel once and not at every start. Only Vulkan has it; Metal
//! keeps a cache of its own.

use crate::device::Gpu;
use crate::files;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use wgpu::{Features, PipelineCache};

/// A cache in memory, and the file that it came from and goes to.
#[derive(Debug)]
pub(crate) struct DiskCache {
    pub(crate) cache: PipelineCache,
    path: PathBuf,
    /// Bytes that the file holds.
    stored: Vec<u8>,
}

impl DiskCache {
    /// The cache of this adapter and driver in `folder`; empty where there is none yet, or a damaged one. `None` where the
    /// interface has no such thing.
    pub(crate) fn open(gpu: &Gpu, folder: &Path) -> Option<Self> {
        if !gpu.device.features().contains(Features::PIPELINE_CACHE) {
            return None;
        }
        let path = folder.join(wgpu::util::pipeline_cache_key(&gpu.info)?);
        let stored = fs::read(&path).ok().and_then(|bytes| unsealed(&bytes)).unwrap_or_default();
        let cache = make(gpu, Some(stored.as_slice()).filter(|data| !data.is_empty()));
        Some(Self { cache, path, stored })
    }

    /// Writes what is new. A folder that cannot be written costs the next start its time, and nothing else.
    pub(crate) fn save(&mut self) {
        let Some(data) = self.cache.get_data().filter(|data| *data != self.stored) else { return };
        if files::replace(&self.path, &sealed(&data)).is_ok() {
            self.stored = data;
        }
    }
}

#[allow(unsafe_code, reason = "pipelines that a driver made for itself")]
fn make(gpu: &Gpu, data: Option<&[u8]>) -> PipelineCache {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("kernels"), data, fallback: true };
    // SAFETY: the data is what `get_data` gave, bit for bit: `unsealed` has checked its sum. wgpu and the driver check that
    // it is of this adapter and this driver, and fall back to an empty cache.
    unsafe { gpu.device.create_pipeline_cache(&descriptor) }
}

fn sum(data: &[u8]) -> [u8; 8] {
    let mut hasher = DefaultHasher::new();
    hasher.write(data);
    hasher.finish().to_le_bytes()
}

/// The data behind its sum.
fn sealed(data: &[u8]) -> Vec<u8> {
    [&sum(data)[..], data].concat()
}

fn unsealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let (seal, data) = bytes.split_at_checked(8)?;
    (seal == sum(data)).then(|| data.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_no_cache() {
        let bytes = sealed(b"pipelines");
        assert_eq!(unsealed(&bytes).unwrap(), b"pipelines");
        for i in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[i] ^= 1;
            assert_eq!(unsealed(&damaged), None, "byte {i}");
        }
        assert_eq!(unsealed(&bytes[..7]), None);
    }
}
