//! What the user types.

mod device;
mod model;
mod prompt;
mod sampling;
mod spelling;

pub(crate) use device::{DeviceArgs, allows_software, load_on};
pub(crate) use model::{LoadArgs, MODEL_VARIABLE, ModelArgs};
pub(crate) use prompt::PromptArgs;
pub(crate) use sampling::{GenerateArgs, count};

use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use metal_attention::DeviceChoice;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Reads the command line.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    Cli::try_parse_from(spelling::normalise(std::env::args_os()))
}

/// Run GGUF language models on this machine
#[derive(Debug, Parser)]
#[command(name = "metal-attention", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is said besides the result.
#[derive(Debug, Args)]
#[command(next_help_heading = "Messages")]
pub(crate) struct OutputArgs {
    /// Say nothing but errors on stderr
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more on stderr
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Generate text from a prompt
    Run(RunArgs),
    /// Talk to a model, turn by turn
    Chat(ChatArgs),
    /// Measure speed, in the columns of llama-bench
    Bench(BenchArgs),
    /// Show what a model file holds
    Info(InfoArgs),
    /// Show the tokens of a text
    Tokenize(TokenizeArgs),
    /// Measure how well a model predicts a text, as llama-perplexity does
    Perplexity(PerplexityArgs),
    /// List the devices that models can run on
    Devices(DevicesArgs),
    /// Examine this machine and its GPUs, and print a report
    Doctor(DoctorArgs),
    /// Look into a model at work: for developers
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) prompt: PromptArgs,
    /// Take the prompt as it is, without the model's chat template
    #[arg(long, conflicts_with_all = ["system_prompt", "chat_template", "chat_template_file"])]
    pub(crate) raw: bool,
    /// Do not repeat the prompt before the text that follows it
    #[arg(long)]
    pub(crate) no_display_prompt: bool,
    /// Print one JSON object: text, finish_reason, usage, timings, device, seed, model
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) generate: GenerateArgs,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Tell tokens and speed after each answer
    #[arg(long)]
    pub(crate) show_timings: bool,
    #[command(flatten)]
    pub(crate) generate: GenerateArgs,
    #[command(flatten)]
    pub(crate) load: LoadArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Measure a model of this shape with random weights, made in memory
    #[arg(long, value_name = "SHAPE", conflicts_with_all = ["model", "positional"],
          value_parser = clap::builder::PossibleValuesParser::new(model::synthetic_names()))]
    pub(crate) synthetic: Option<String>,
    /// Tokens of the prompt, several separated by commas; 0 for none
    #[arg(short = 'p', long, value_name = "N", value_delimiter = ',', default_value = "512")]
    pub(crate) n_prompt: Vec<usize>,
    /// Tokens to generate, several separated by commas; 0 for none
    #[arg(short = 'n', long, value_name = "N", value_delimiter = ',', default_value = "128")]
    pub(crate) n_gen: Vec<usize>,
    /// Tokens in the context before the clock starts, several separated by commas
    #[arg(short = 'd', long, value_name = "N", value_delimiter = ',', default_value = "0")]
    pub(crate) n_depth: Vec<usize>,
    /// How often to measure each
    #[arg(short, long, value_name = "N", default_value = "5")]
    pub(crate) repetitions: NonZeroUsize,
    /// Threads, several separated by commas [default: one for each physical core]
    #[arg(
        short,
        long,
        value_name = "N",
        value_delimiter = ',',
        env = "METAL_ATTENTION_THREADS",
        hide_env_values = true
    )]
    pub(crate) threads: Vec<NonZeroUsize>,
    /// How to print the results
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = BenchFormat::Md)]
    pub(crate) output: BenchFormat,
    /// Start the clock at once
    #[arg(long)]
    pub(crate) no_warmup: bool,
    /// Print the steps that a GPU executes for a token, and measure nothing
    #[arg(long)]
    pub(crate) plan: bool,
    /// Time a GPU's overheads and every step of a layer of the model
    #[arg(long, conflicts_with = "plan")]
    pub(crate) kernels: bool,
    /// Time every kind of step where it stands in the prompts and tokens that are asked for, and the host beside it, on a GPU
    #[arg(long, conflicts_with_all = ["plan", "kernels"])]
    pub(crate) profile: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchFormat {
    Md,
    Json,
    Jsonl,
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// List the tensors
    #[arg(long)]
    pub(crate) tensors: bool,
    /// List the metadata
    #[arg(long)]
    pub(crate) kv: bool,
    /// Print the chat template
    #[arg(long)]
    pub(crate) template: bool,
    /// Load the model there, and show the memory that it takes
    #[arg(long, value_name = "DEVICE", value_parser = device::DeviceParser)]
    device: Option<DeviceChoice>,
    /// The same as --device gpu
    #[arg(long, conflicts_with = "device")]
    gpu: bool,
    /// Tokens of context to load it with; 0 for as many as it was trained for [default: the same, 8192 at most]
    #[arg(short, long, value_name = "N")]
    pub(crate) ctx_size: Option<usize>,
}

impl InfoArgs {
    /// Where to load the model, if anywhere.
    pub(crate) fn device(&self) -> Option<DeviceChoice> {
        if self.gpu { Some(DeviceChoice::Gpu) } else { self.device }
    }
}

#[derive(Debug, Args)]
pub(crate) struct TokenizeArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) prompt: PromptArgs,
    /// Read the text from standard input
    #[arg(long, conflicts_with_all = ["prompt", "file"])]
    pub(crate) stdin: bool,
    /// Print the ids only, as a list
    #[arg(long)]
    pub(crate) ids: bool,
    /// Do not add the begin-of-text token where the vocabulary asks for it
    #[arg(long)]
    pub(crate) no_bos: bool,
    /// Take control tokens in the text for plain text
    #[arg(long)]
    pub(crate) no_parse_special: bool,
    /// Tell the number of tokens
    #[arg(long)]
    pub(crate) show_count: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PerplexityArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Text to measure with; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Tokens of a chunk, of which the second half is scored
    #[arg(short, long, value_name = "N", default_value_t = 512)]
    pub(crate) ctx_size: usize,
    /// Chunks to measure at most; -1 for all
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true,
          value_parser = clap::value_parser!(i64).range(-1..))]
    pub(crate) chunks: i64,
    /// Tokens computed together at most: a GPU has other kernels for up to 8 than for more
    #[arg(short, long, value_name = "N")]
    pub(crate) batch_size: Option<NonZeroUsize>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(short, long, value_name = "N", help = model::THREADS_HELP, env = "METAL_ATTENTION_THREADS", hide_env_values = true)]
    pub(crate) threads: Option<NonZeroUsize>,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DevicesArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Examine this GPU only [default: every GPU that is not software]
    #[arg(long, value_name = "DEVICE", value_parser = device::DeviceParser)]
    pub(crate) device: Option<DeviceChoice>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DebugCommand {
    /// Compare every intermediate result of a token with those of a slow computation in f64
    Compare(CompareArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Text whose last token is compared
    #[arg(short, long, value_name = "TEXT", default_value = "Once upon a time", allow_hyphen_values = true)]
    pub(crate) prompt: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
