//! Trials that were passed, on disk: the same kernels on the same device and driver need not be compared at every start.

use crate::device::Gpu;
use crate::files;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Trials that are remembered: a few models of a few versions of the kernels.
const MOST: usize = 64;

/// A file beside the compiled kernels, of the same adapter and driver: a line for each trial.
#[derive(Debug)]
pub(super) struct Passed(Option<PathBuf>);

impl Passed {
    /// In `folder`; nowhere if there is none.
    pub(super) fn open(gpu: &Gpu, folder: Option<&Path>) -> Self {
        let key = wgpu::util::pipeline_cache_key(&gpu.info);
        Self(folder.zip(key).map(|(folder, key)| folder.join(format!("{key}.passed"))))
    }

    pub(super) fn has(&self, texts: &[String]) -> bool {
        self.lines().contains(&line(texts))
    }

    /// A file that cannot be written costs the next start its time, and nothing else.
    pub(super) fn add(&self, texts: &[String]) {
        let Some(path) = &self.0 else { return };
        let mut lines = self.lines();
        lines.push(line(texts));
        let lines = &lines[lines.len().saturating_sub(MOST)..];
        let _ = files::replace(path, (lines.join("\n") + "\n").as_bytes());
    }

    fn lines(&self) -> Vec<String> {
        let text = self.0.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// What stands for kernels: a hash of their texts, in which the model's shape is.
fn line(texts: &[String]) -> String {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), texts).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_is_known_next_time_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("passed-{}", std::process::id()));
        let passed = || Passed(Some(folder.join("adapter.passed")));
        let texts = |n: usize| vec![format!("kernel {n}"), "another".to_owned()];
        assert!(!passed().has(&texts(0)));
        for n in 0..=MOST {
            passed().add(&texts(n));
            assert!(passed().has(&texts(n)));
        }
        assert!(!passed().has(&texts(0)), "only so many are remembered");
        assert!(!passed().has(&texts(MOST)[..1]));
        fs::write(folder.join("adapter.passed"), [0xff, 0xfe, b'x']).unwrap();
        assert!(!passed().has(&texts(MOST)), "a damaged file knows nothing");
        assert!(!Passed(None).has(&texts(0)));
        fs::remove_dir_all(folder).unwrap();
    }
}
