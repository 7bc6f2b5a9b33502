//! Developer commands: `cargo xtask COMMAND`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod conformance;
mod tales;
mod test;

use anyhow::Result;
use clap::Parser;
use std::path::PathBuf;

/// Developer commands of metal-attention.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Command {
    /// Runs every test of the project, installing first what they need.
    Test,
    /// Checks the vocabularies and models in a folder against the expected ids and texts beside them, one line each.
    ///
    /// A vocabulary is a triple X.gguf, X.gguf.inp, X.gguf.out, in llama.cpp's form. A model is a file X*.gguf for which there
    /// is an X-greedy.txt: the text that it must write at temperature 0 from the first four words of that text; its logits
    /// are compared with the f64 reference as well.
    Conformance {
        /// Looked through with all its subfolders.
        folder: PathBuf,
    },
    /// Writes the bundled model from what models/tales/train.py left.
    Tales {
        /// The folder that the training wrote.
        run: PathBuf,
        /// The GGUF file to write.
        #[arg(default_value = "models/tales/tales-q4_0.gguf")]
        output: PathBuf,
    },
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Test => test::run(),
        Command::Conformance { folder } => conformance::run(&folder),
        Command::Tales { run, output } => tales::run(&run, &output),
    }
}
