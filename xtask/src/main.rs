//! Developer commands: `cargo xtask COMMAND`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

mod arm_check;
mod bench_peer;
mod bench_start;
mod cargo;
mod conformance;
mod mac_check;
mod median;
mod msl_smoke;
mod packages;
mod tales;
mod target;
mod test;

use anyhow::Result;
use clap::Parser;
use median::median;
use std::path::PathBuf;

/// Developer commands of metal-attention.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
enum Command {
    /// Runs every test of the project, installing first what they need: software Vulkan and a C++ compiler, on Linux.
    Test,
    /// Compiles the kernels' Metal source as C++ and runs it on the CPU against the f64 reference; a part of `test`.
    MslSmoke,
    /// Type-checks and lints the workspace for Macs with Apple's chips.
    MacCheck,
    /// Runs every test of the CPU backend as code for 64-bit Arm under qemu: on processors with and without dot products and
    /// matrix products of bytes.
    ArmCheck,
    /// Checks the vocabularies and models in a folder against the expected ids and texts beside them, one line each.
    ///
    /// A vocabulary is a triple X.gguf, X.gguf.inp, X.gguf.out, in llama.cpp's form. A model is a file X*.gguf for which there
    /// is an X-greedy.txt: the text that it must write at temperature 0 from the first four words of that text; its logits
    /// are compared with the f64 reference as well.
    Conformance {
        /// Looked through with all its subfolders.
        folder: PathBuf,
    },
    /// Measures this engine and llama.cpp on the same files, taking turns, and prints medians, ratios and peak memory.
    BenchPeer(bench_peer::BenchPeer),
    /// Measures how long it takes from the start of the program to its first text.
    BenchStart(bench_start::BenchStart),
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
        Command::MslSmoke => msl_smoke::run(),
        Command::MacCheck => mac_check::run(),
        Command::ArmCheck => arm_check::run(),
        Command::Conformance { folder } => conformance::run(&folder),
        Command::BenchPeer(options) => bench_peer::run(&options),
        Command::BenchStart(options) => bench_start::run(&options),
        Command::Tales { run, output } => tales::run(&run, &output),
    }
}
