//! Trials that were passed, on disk: the same kernels on the same device and driver need not be tried at every start.

use crate::device::Gpu;
use crate::files;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Trials that are remembered: a few models of a few versions of the kernels.
const MOST: usize = 64;

/// Trials in which kernels have to be slower before that is taken for certain: a device that was at work for others meanwhile may
/// have made them so.
const SLOWER: usize = 3;

/// How a kernel that gave the right tokens did against a dispatch for each step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Faster,
    Slower,
}

/// A file beside the compiled kernels, of the same adapter and driver: a line for each trial.
#[derive(Debug)]
pub(super) struct Trials(Option<PathBuf>);

impl Trials {
    /// In `folder`; nowhere if there is none.
    pub(super) fn open(gpu: &Gpu, folder: Option<&Path>) -> Self {
        let key = wgpu::util::pipeline_cache_key(&gpu.info);
        Self(folder.zip(key).map(|(folder, key)| folder.join(format!("{key}.trials"))))
    }

    /// That of earlier trials of kernels, if it is certain.
    pub(super) fn outcome(&self, texts: &[String]) -> Option<Outcome> {
        let lines = self.lines();
        let seen = |outcome| {
            let known = line(texts, outcome);
            lines.iter().filter(|line| **line == known).count()
        };
        match (seen(Outcome::Faster), seen(Outcome::Slower)) {
            (1.., _) => Some(Outcome::Faster),
            (_, SLOWER..) => Some(Outcome::Slower),
            _ => None,
        }
    }

    /// A file that cannot be written costs the next start its time, and nothing else.
    pub(super) fn add(&self, texts: &[String], outcome: Outcome) {
        let Some(path) = &self.0 else { return };
        let mut lines = self.lines();
        lines.push(line(texts, outcome));
        let lines = &lines[lines.len().saturating_sub(MOST)..];
        let _ = files::replace(path, (lines.join("\n") + "\n").as_bytes());
    }

    fn lines(&self) -> Vec<String> {
        let text = self.0.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// What stands for a trial of kernels: a hash of their texts, in which the model's shape is, and the outcome.
fn line(texts: &[String], outcome: Outcome) -> String {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), texts).hash(&mut hasher);
    let outcome = match outcome {
        Outcome::Faster => "faster",
        Outcome::Slower => "slower",
    };
    format!("{:016x} {outcome}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_known_next_time_and_no_other() {
        let folder = std::env::temp_dir().join(format!("trials-{}", std::process::id()));
        let trials = || Trials(Some(folder.join("adapter.trials")));
        let texts = |n: usize| vec![format!("kernel {n}"), "another".to_owned()];
        assert_eq!(trials().outcome(&texts(0)), None);
        for n in 0..=MOST {
            trials().add(&texts(n), Outcome::Faster);
            assert_eq!(trials().outcome(&texts(n)), Some(Outcome::Faster));
        }
        assert_eq!(trials().outcome(&texts(0)), None, "only so many are remembered");
        assert_eq!(trials().outcome(&texts(MOST)[..1]), None);
        for n in 1..=SLOWER {
            assert_eq!(trials().outcome(&texts(0)), None, "slower {n} times is not certain");
            trials().add(&texts(0), Outcome::Slower);
        }
        assert_eq!(trials().outcome(&texts(0)), Some(Outcome::Slower));
        fs::write(folder.join("adapter.trials"), [0xff, 0xfe, b'x']).unwrap();
        assert_eq!(trials().outcome(&texts(MOST)), None, "a damaged file knows nothing");
        assert_eq!(Trials(None).outcome(&texts(0)), None);
        fs::remove_dir_all(folder).unwrap();
    }
}
