//! `cargo xtask bench-start`: how long it takes from the start of the program to its first text.

use crate::cargo;
use crate::median::median;
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What is started.
#[derive(Debug, Args)]
pub(crate) struct BenchStart {
    /// The GGUF file [default: the bundled model].
    #[arg(short, long)]
    model: Option<PathBuf>,
    /// How often.
    #[arg(long, default_value_t = 11)]
    runs: usize,
    /// This build of metal-attention, instead of building it.
    #[arg(long)]
    ours: Option<PathBuf>,
    /// What else `run` is told, such as --gpu.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn run(options: &BenchStart) -> Result<()> {
    ensure!(options.runs > 0, "there is nothing to measure in 0 runs");
    let program = match &options.ours {
        Some(path) => path.clone(),
        None => cargo::build_ours()?,
    };
    let mut times = Vec::new();
    // The first brings the file into memory.
    for i in 0..=options.runs {
        let milliseconds = start(&program, options)?;
        println!("{i:3} {milliseconds:8.1} ms{}", if i == 0 { ", not counted" } else { "" });
        if i > 0 {
            times.push(milliseconds);
        }
    }
    let [fastest, slowest] = [f64::min, f64::max].map(|which| times.iter().copied().reduce(which));
    println!(
        "from the start to the first text, of {} runs: median {:.1} ms, {:.1} to {:.1}",
        options.runs,
        median(times.clone()),
        fastest.unwrap_or(f64::NAN),
        slowest.unwrap_or(f64::NAN)
    );
    Ok(())
}

/// Milliseconds from before the process exists to the first byte of its text, which comes with the first token.
fn start(program: &Path, options: &BenchStart) -> Result<f64> {
    let mut command = Command::new(program);
    command.args(["run", "--quiet", "--temp", "0", "-n", "1", "-p", "Once upon a time"]);
    if let Some(model) = &options.model {
        command.arg("-m").arg(model);
    }
    command.args(&options.arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
    let mut stdout = child.stdout.take().context("its output is not to be had")?;
    let mut first = [0];
    let read = stdout.read_exact(&mut first);
    let took = started.elapsed();
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).context("its output cannot be read")?;
    let status = child.wait().context("its end was missed")?;
    ensure!(status.success() && read.is_ok(), "{} ended without any text ({status})", program.display());
    Ok(took.as_secs_f64() * 1e3)
}
