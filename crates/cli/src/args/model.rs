//! Which model, and where it runs.

use super::DeviceArgs;
use clap::Args;
use metal_attention::SyntheticPreset;
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

/// What `--synthetic` accepts.
pub(crate) fn synthetic_names() -> [&'static str; SyntheticPreset::ALL.len()] {
    SyntheticPreset::ALL.map(|preset| preset.name)
}
