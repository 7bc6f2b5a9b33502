//! Which device runs a model, as it is asked for.

use std::fmt;
use std::str::FromStr;

/// Which device runs a model. In words: `auto`, `cpu`, `gpu`, `metal`, `vulkan`, `dx12`, and with a number `vulkan:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeviceChoice {
    /// The best there is: a discrete GPU, else an integrated one, else the CPU.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// The best GPU, or an error if there is none.
    Gpu,
    /// A GPU by its interface, or an error if there is none.
    Backend {
        /// The interface.
        backend: GpuBackend,
        /// Its number among the adapters of the interface, as [`devices`](crate::devices) counts them. `None`: the best.
        index: Option<usize>,
    },
}

/// Interfaces to a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GpuBackend {
    /// macOS and iOS.
    Metal,
    /// Linux, Windows, Android.
    Vulkan,
    /// Windows.
    Dx12,
}

/// How a GPU decodes tokens one after another; a CPU does not heed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DecodeMode {
    /// In one dispatch for several tokens where the device has shown at load that it can, else by a dispatch for each step.
    #[default]
    Auto,
    /// By a dispatch for each step.
    Dispatch,
    /// In one dispatch for several tokens, or an error that says why that is not possible.
    Persistent,
}

/// What numbers a GPU makes products of up to 8 tokens with quantised weights of; a CPU does not heed it, and always takes 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Activations {
    /// Of activations in 8 bits where the GPU multiplies such four at a time and that is faster, else of floats.
    #[default]
    Auto,
    /// Of floats.
    F32,
    /// Of activations rounded to 8 bits in units of 32.
    Int8,
}

/// A word that names no device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no device {word:?}; possible are {}, and {} with a number, such as vulkan:1", DeviceChoice::WORDS.join(", "),
    GpuBackend::ALL.map(GpuBackend::word).join(", "))]
pub struct ParseDeviceError {
    /// The word.
    pub word: String,
}

impl DeviceChoice {
    /// Every device by its word, those with a number apart.
    pub const WORDS: [&str; 6] = ["auto", "cpu", "gpu", "metal", "vulkan", "dx12"];
}

impl GpuBackend {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Metal, Self::Vulkan, Self::Dx12];

    /// The word for it, as in [`DeviceChoice`].
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Metal => "metal",
            Self::Vulkan => "vulkan",
            Self::Dx12 => "dx12",
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = ParseDeviceError;

    fn from_str(word: &str) -> Result<Self, ParseDeviceError> {
        let error = || ParseDeviceError { word: word.to_owned() };
        let lower = word.to_ascii_lowercase();
        let (name, index) = match lower.split_once(':') {
            // `usize` would take a sign.
            Some((name, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                (name, Some(digits.parse().map_err(|_| error())?))
            }
            Some(_) => return Err(error()),
            None => (lower.as_str(), None),
        };
        match (name, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("gpu", None) => Ok(Self::Gpu),
            (name, index) => {
                let backend = GpuBackend::ALL.into_iter().find(|backend| backend.word() == name);
                Ok(Self::Backend { backend: backend.ok_or_else(error)?, index })
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Cpu => f.pad("cpu"),
            Self::Gpu => f.pad("gpu"),
            Self::Backend { backend, index: None } => f.pad(backend.word()),
            Self::Backend { backend, index: Some(index) } => f.pad(&format!("{}:{index}", backend.word())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_choices_are_each_others_inverse() {
        for word in DeviceChoice::WORDS.into_iter().chain(["vulkan:0", "metal:12", "dx12:3"]) {
            assert_eq!(word.parse::<DeviceChoice>().unwrap().to_string(), word);
        }
        let second = DeviceChoice::Backend { backend: GpuBackend::Vulkan, index: Some(1) };
        assert_eq!("Vulkan:1".parse(), Ok(second));
        assert_eq!("auto".parse(), Ok(DeviceChoice::default()));
    }

    #[test]
    fn other_words_are_refused_with_the_possible_ones() {
        for word in
            ["", "cuda", "cpu:0", "gpu:1", "auto:", "vulkan:", "vulkan:x", "vulkan:+1", "vulkan:-1", ":1"]
        {
            let error = word.parse::<DeviceChoice>().unwrap_err();
            assert_eq!(error.word, word);
            assert!(error.to_string().contains("auto, cpu, gpu, metal, vulkan, dx12"), "{error}");
        }
        assert!("vulkan:99999999999999999999999".parse::<DeviceChoice>().is_err());
    }
}
