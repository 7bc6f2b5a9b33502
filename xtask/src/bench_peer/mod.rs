//! `cargo xtask bench-peer`: this engine and llama.cpp on the same files, taking turns.
//!
//! A machine's speed drifts while one measures, and with it every number; what is run one after the other at the same time can
//! be compared. Each turn is a process of its own, so that its peak memory is that of one test.

mod engine;
mod report;
mod workload;

use anyhow::{Context, Result, ensure};
use clap::Args;
use engine::Engine;
use std::path::PathBuf;
use workload::Workload;

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct BenchPeer {
    /// The folder of a llama.cpp build: llama-bench is in it, or in its folder bin.
    peer: PathBuf,
    /// The GGUF file; may be given several times.
    #[arg(short, long, required = true)]
    model: Vec<PathBuf>,
    /// Threads of either, several separated by commas.
    #[arg(short, long, value_delimiter = ',', default_value = "2")]
    threads: Vec<usize>,
    /// What to time, separated by commas: pp512 is a prompt of 512 tokens, tg128 are 128 tokens one by one, and tg32@d1500 are 32 behind
    /// a context of 1500.
    #[arg(long = "tests", value_delimiter = ',', default_value = "pp512,tg128")]
    tests: Vec<Workload>,
    /// How often each takes its turn.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// This build of metal-attention, instead of building it: for machines without cargo.
    #[arg(long)]
    ours: Option<PathBuf>,
    /// A CSV file to write every sample to.
    #[arg(long)]
    csv: Option<PathBuf>,
}

/// One turn of one engine.
#[derive(Debug, Clone)]
struct Sample {
    /// Name of the model's file.
    model: String,
    threads: usize,
    test: Workload,
    engine: Engine,
    commit: String,
    date: String,
    pair: usize,
    tokens_per_second: f64,
    /// Peak resident memory of the process; 0 where the system does not tell.
    peak_bytes: u64,
}

pub(crate) fn run(options: &BenchPeer) -> Result<()> {
    ensure!(options.pairs > 0, "there is nothing to compare in 0 pairs");
    let programs = engine::Programs::find(&options.peer, options.ours.as_deref())?;
    let mut samples = Vec::new();
    for model in &options.model {
        for &threads in &options.threads {
            for &test in &options.tests {
                let first = samples.len();
                for pair in 1..=options.pairs {
                    for engine in [Engine::Peer, Engine::Ours] {
                        let sample =
                            programs.measure(engine, model, threads, test, pair).with_context(|| {
                                format!("{engine}, {test} of {}, pair {pair}", model.display())
                            })?;
                        println!("{}", report::line(&sample));
                        samples.push(sample);
                    }
                }
                println!("{}", report::summary(&samples[first..]));
            }
        }
    }
    print!("{}", report::summary(&samples));
    if let Some(path) = &options.csv {
        std::fs::write(path, report::csv(&samples))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
