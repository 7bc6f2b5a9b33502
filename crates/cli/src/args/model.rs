//! Which model, and where it runs.

use clap::{Args, ValueEnum};
use metal_attention::{DeviceChoice, SyntheticPreset};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// The variable that `--model` is read from.
pub(crate) const MODEL_VARIABLE: &str = "METAL_ATTENTION_MODEL";
pub(crate) const THREADS_HELP: &str = "Threads that compute [default: one for each physical core]";

#[cfg(feature = "bundled-model")]
const MODEL_HELP: &str = "GGUF file; of a split model, the first part [default: the bundled model]";
#[cfg(not(feature = "bundled-model"))]
const MODEL_HELP: &str = "GGUF file; of a split model, the first part";

#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    #[arg(short, long, value_name = "FILE", help = MODEL_HELP, env = MODEL_VARIABLE, hide_env_values = true)]
    pub(crate) model: Option<PathBuf>,
    /// The same as --model
    #[arg(value_name = "MODEL")]
    pub(crate) positional: Option<PathBuf>,
}

/// How to load a model, for the commands that make text.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model and device")]
pub(crate) struct LoadArgs {
    /// Tokens of context; 0 for as many as the model was trained for [default: the same, 8192 at most]
    #[arg(short, long, value_name = "N", env = "METAL_ATTENTION_CTX_SIZE", hide_env_values = true)]
    pub(crate) ctx_size: Option<usize>,
    #[arg(short, long, value_name = "N", help = THREADS_HELP, env = "METAL_ATTENTION_THREADS", hide_env_values = true)]
    pub(crate) threads: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    /// Jinja chat template to use in place of the model's
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "chat_template_file")]
    pub(crate) chat_template: Option<String>,
    /// File with a Jinja chat template to use in place of the model's
    #[arg(long, value_name = "FILE")]
    pub(crate) chat_template_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Model and device")]
pub(crate) struct DeviceArgs {
    /// Where to run: auto takes the best there is, gpu is an error where there is none
    #[arg(long, value_name = "DEVICE", value_enum, default_value_t = DeviceName::Auto,
          env = "METAL_ATTENTION_DEVICE", hide_env_values = true)]
    device: DeviceName,
    /// Run on the CPU, whatever --device says
    #[arg(long, conflicts_with = "gpu")]
    cpu: bool,
    /// Run on a GPU, whatever --device says
    #[arg(long)]
    gpu: bool,
}

// Without documentation of the values: it would draw out the help of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceName {
    Auto,
    Cpu,
    Gpu,
}

impl DeviceArgs {
    /// Where to run. `--device` gives way to the other two, as it may come from the environment.
    pub(crate) fn choice(&self) -> DeviceChoice {
        match self.device {
            _ if self.cpu => DeviceChoice::Cpu,
            _ if self.gpu => DeviceChoice::Gpu,
            DeviceName::Auto => DeviceChoice::Auto,
            DeviceName::Cpu => DeviceChoice::Cpu,
            DeviceName::Gpu => DeviceChoice::Gpu,
        }
    }
}

/// What `--synthetic` accepts.
pub(crate) fn synthetic_names() -> [&'static str; SyntheticPreset::ALL.len()] {
    SyntheticPreset::ALL.map(|preset| preset.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

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
        assert!(Line::try_parse_from(["x", "--cpu", "--gpu"]).is_err());
    }
}
