//! Which device, as typed.

use crate::cache;
use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, Command, Error, ValueEnum};
use metal_attention::{Activations, DecodeMode, DeviceChoice, LoadOptions};
use std::ffi::OsStr;

/// The variable that lets a software adapter be taken where there is no other GPU.
const ALLOW_SOFTWARE_VARIABLE: &str = "METAL_ATTENTION_ALLOW_SOFTWARE";

#[derive(Debug, Args)]
#[command(next_help_heading = "Model and device")]
pub(crate) struct DeviceArgs {
    /// Where to run: auto takes the best there is, any other is an error where it cannot be had; vulkan:1 is a GPU by its number
    #[arg(long, value_name = "DEVICE", value_parser = DeviceParser, default_value_t = DeviceChoice::Auto,
          env = "METAL_ATTENTION_DEVICE", hide_env_values = true)]
    device: DeviceChoice,
    /// Run on the CPU, whatever --device says
    #[arg(long, conflicts_with = "gpu")]
    cpu: bool,
    /// Run on a GPU, whatever --device says
    #[arg(long)]
    gpu: bool,
    /// How a GPU decodes: several tokens in one dispatch where it can (persistent), or a dispatch for each step
    #[arg(long, value_name = "MODE", value_enum, default_value_t = DecodeWord::Auto)]
    decode: DecodeWord,
    /// What a GPU multiplies quantised weights with, a few tokens at a time: floats (f32), or activations in 8 bits as a CPU does (int8)
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = ActivationsWord::Auto)]
    activations: ActivationsWord,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ActivationsWord {
    Auto,
    F32,
    Int8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DecodeWord {
    Auto,
    Dispatch,
    Persistent,
}

impl DeviceArgs {
    /// Where to run. `--device` gives way to the other two, as it may come from the environment.
    pub(crate) fn choice(&self) -> DeviceChoice {
        match self.device {
            _ if self.cpu => DeviceChoice::Cpu,
            _ if self.gpu => DeviceChoice::Gpu,
            device => device,
        }
    }

    /// What the engine is to do; the rest as it does by itself.
    pub(crate) fn options(&self) -> LoadOptions {
        let decode = match self.decode {
            DecodeWord::Auto => DecodeMode::Auto,
            DecodeWord::Dispatch => DecodeMode::Dispatch,
            DecodeWord::Persistent => DecodeMode::Persistent,
        };
        let activations = match self.activations {
            ActivationsWord::Auto => Activations::Auto,
            ActivationsWord::F32 => Activations::F32,
            ActivationsWord::Int8 => Activations::Int8,
        };
        LoadOptions { decode, activations, ..load_on(self.choice()) }
    }
}

/// What the engine is to do to load a model there.
pub(crate) fn load_on(device: DeviceChoice) -> LoadOptions {
    LoadOptions {
        device,
        allow_software_gpu: allows_software(),
        pipeline_cache: cache::folder(),
        ..LoadOptions::default()
    }
}

/// Whether a software adapter may be taken where there is no other GPU.
pub(crate) fn allows_software() -> bool {
    std::env::var_os(ALLOW_SOFTWARE_VARIABLE).is_some_and(|value| !value.is_empty() && value != "0")
}

/// Reads a device. The words without a number are what a shell offers.
#[derive(Debug, Clone)]
pub(crate) struct DeviceParser;

impl TypedValueParser for DeviceParser {
    type Value = DeviceChoice;

    fn parse_ref(&self, cmd: &Command, arg: Option<&Arg>, value: &OsStr) -> Result<DeviceChoice, Error> {
        value.to_str().and_then(|word| word.parse().ok()).ok_or_else(|| {
            let mut error = Error::new(ErrorKind::InvalidValue).with_cmd(cmd);
            let word = value.to_string_lossy().into_owned();
            let words = DeviceChoice::WORDS.map(str::to_owned).to_vec();
            if let Some(arg) = arg {
                error.insert(ContextKind::InvalidArg, ContextValue::String(arg.to_string()));
            }
            error.insert(ContextKind::InvalidValue, ContextValue::String(word));
            error.insert(ContextKind::ValidValue, ContextValue::Strings(words));
            error
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(DeviceChoice::WORDS.into_iter().map(PossibleValue::new)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use metal_attention::GpuBackend;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        device: DeviceArgs,
    }

    #[test]
    fn the_short_flags_go_before_the_long_one() {
        let choice = |args: &[&str]| Line::parse_from([&["x"], args].concat()).device.choice();
        assert_eq!(choice(&["--device", "auto"]), DeviceChoice::Auto);
        assert_eq!(choice(&["--device", "gpu"]), DeviceChoice::Gpu);
        assert_eq!(choice(&["--gpu"]), DeviceChoice::Gpu);
        assert_eq!(choice(&["--device", "gpu", "--cpu"]), DeviceChoice::Cpu);
        let second = DeviceChoice::Backend { backend: GpuBackend::Vulkan, index: Some(1) };
        assert_eq!(choice(&["--device", "vulkan:1"]), second);
        assert!(Line::try_parse_from(["x", "--cpu", "--gpu"]).is_err());
    }

    #[test]
    fn a_mistake_is_told_with_what_is_possible() {
        let Err(error) = Line::try_parse_from(["x", "--device", "cuda"]) else { panic!("there is no cuda") };
        let message = error.to_string();
        for word in ["cuda", "--device <DEVICE>", "auto, cpu, gpu, metal, vulkan, dx12"] {
            assert!(message.contains(word), "{message}");
        }
    }
}
