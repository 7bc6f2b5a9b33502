//! `cargo xtask bench-peer`: this engine and llama.cpp on one file, taking turns.
//!
//! A machine's speed drifts while one measures, and with it every number; what is run one after the other at the same time can
//! be compared.

use crate::cargo;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is measured.
#[derive(Debug, Args)]
pub(crate) struct BenchPeer {
    /// The folder of a llama.cpp build: llama-bench is in it, or in its folder bin.
    peer: PathBuf,
    /// The GGUF file.
    #[arg(short, long)]
    model: PathBuf,
    /// Threads, of either.
    #[arg(short, long, default_value_t = 2)]
    threads: usize,
    /// Tokens of the prompt; 0 for none.
    #[arg(short = 'p', long, default_value_t = 512)]
    n_prompt: usize,
    /// Tokens to generate; 0 for none.
    #[arg(short = 'n', long, default_value_t = 128)]
    n_gen: usize,
    /// Tokens in the context before.
    #[arg(short = 'd', long, default_value_t = 0)]
    n_depth: usize,
    /// How often each takes its turn.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// A CSV file to write every sample to.
    #[arg(long)]
    csv: Option<PathBuf>,
}

const OURS: &str = "metal-attention";
const PEER: &str = "llama.cpp";

/// One measurement of one engine.
struct Sample {
    engine: &'static str,
    commit: String,
    pair: usize,
    test: String,
    date: String,
    tokens_per_second: f64,
}

pub(crate) fn run(options: &BenchPeer) -> Result<()> {
    ensure!(options.pairs > 0, "there is nothing to compare in 0 pairs");
    let peer = find_peer(&options.peer)?;
    cargo::run(&["build", "--release", "--package", "metal-attention-cli"])?;
    let ours = our_binary()?;
    let commit = our_commit()?;
    let mut samples = Vec::new();
    for pair in 1..=options.pairs {
        for (engine, mut command) in [(PEER, peer_command(&peer)), (OURS, our_command(&ours))] {
            let lines = bench(&mut command, options).with_context(|| format!("{engine}, pair {pair}"))?;
            for line in lines.lines().filter(|line| line.starts_with('{')) {
                let sample = read(line, engine, pair, &commit)?;
                println!("{pair} {engine:15} {:>14} {:10.2}", sample.test, sample.tokens_per_second);
                samples.push(sample);
            }
        }
    }
    print!("{}", summary(&samples));
    if let Some(path) = &options.csv {
        std::fs::write(path, csv(&samples, options))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn find_peer(folder: &Path) -> Result<PathBuf> {
    let name = format!("llama-bench{}", std::env::consts::EXE_SUFFIX);
    let candidates = [folder.join(&name), folder.join("bin").join(&name)];
    match candidates.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("there is no llama-bench in {}; build llama.cpp there first", folder.display()),
    }
}

/// The release build lies beside the profile that this command was built in.
fn our_binary() -> Result<PathBuf> {
    let this = std::env::current_exe().context("where this program lies is unknown")?;
    let target = this.ancestors().nth(2).context("this program does not lie in a target folder")?;
    Ok(target.join("release").join(format!("metal-attention{}", std::env::consts::EXE_SUFFIX)))
}

fn our_commit() -> Result<String> {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output();
    let output = output.context("git tells the commit, and cannot be run")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn our_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["bench", "--cpu"]);
    command
}

/// Its libraries are looked for beside it.
fn peer_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["-ngl", "0"]);
    if let Some(folder) = program.parent() {
        let variable = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
        let mut folders = vec![folder.to_owned()];
        folders.extend(std::env::var_os(variable).iter().flat_map(std::env::split_paths));
        if let Ok(folders) = std::env::join_paths(folders) {
            command.env(variable, folders);
        }
    }
    command
}

/// Runs one engine once; gives its lines of JSON.
fn bench(command: &mut Command, options: &BenchPeer) -> Result<String> {
    let numbers = [
        ("-t", options.threads),
        ("-p", options.n_prompt),
        ("-n", options.n_gen),
        ("-d", options.n_depth),
        ("-r", 1),
    ];
    command.arg("-m").arg(&options.model).args(["-o", "jsonl"]);
    command.args(numbers.iter().flat_map(|(flag, n)| [(*flag).to_owned(), n.to_string()]));
    let output = command.output().context("cannot be run")?;
    ensure!(output.status.success(), "failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn read(line: &str, engine: &'static str, pair: usize, our_commit: &str) -> Result<Sample> {
    let json: Value = serde_json::from_str(line).context("a line of results is not JSON")?;
    let number = |key: &str| json[key].as_u64().with_context(|| format!("the results have no {key}"));
    let text = |key: &str| json[key].as_str().unwrap_or_default();
    let test = match (number("n_prompt")?, number("n_gen")?, number("n_depth")?) {
        (p, 0, 0) => format!("pp{p}"),
        (p, 0, d) => format!("pp{p} @ d{d}"),
        (_, n, 0) => format!("tg{n}"),
        (_, n, d) => format!("tg{n} @ d{d}"),
    };
    Ok(Sample {
        engine,
        commit: if engine == OURS { our_commit } else { text("build_commit") }.to_owned(),
        pair,
        test,
        date: text("test_time").chars().take(10).collect(),
        tokens_per_second: json["avg_ts"].as_f64().context("the results have no avg_ts")?,
    })
}

/// Medians and their ratio, for each test.
fn summary(samples: &[Sample]) -> String {
    let mut tests: BTreeMap<&str, [Vec<f64>; 2]> = BTreeMap::new();
    for sample in samples {
        let [ours, peer] = tests.entry(&sample.test).or_default();
        if sample.engine == OURS { ours } else { peer }.push(sample.tokens_per_second);
    }
    let mut text = format!("{:>14} {OURS:>16} {PEER:>12} {:>7}\n", "median of", "ratio");
    for (test, speeds) in tests {
        let [ours, peer] = speeds.map(median);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{test:>14} {ours:16.2} {peer:12.2} {:7.2}", ours / peer);
    }
    text
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    match (numbers.get(numbers.len() / 2), numbers.len() % 2) {
        (Some(middle), 1) => *middle,
        (Some(middle), _) => f64::midpoint(*middle, numbers[numbers.len() / 2 - 1]),
        (None, _) => f64::NAN,
    }
}

fn csv(samples: &[Sample], options: &BenchPeer) -> String {
    let name = options.model.file_name().unwrap_or_default().to_string_lossy();
    let mut text = format!(
        "# {name}; taking turns, one repetition each, with -t {} -p {} -n {} -d {}\n\
         date,commit,engine,pair,test,tokens_per_second\n",
        options.threads, options.n_prompt, options.n_gen, options.n_depth
    );
    for s in samples {
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{},{:.2}",
            s.date, s.commit, s.engine, s.pair, s.test, s.tokens_per_second
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(engine: &'static str, pair: usize, tokens_per_second: f64) -> Sample {
        let (commit, test, date) = ("abc".into(), "tg128".into(), "2026-01-02".into());
        Sample { engine, commit, pair, test, date, tokens_per_second }
    }

    #[test]
    fn medians_are_compared() {
        let speeds = [(1, 100.0, 250.0), (2, 90.0, 150.0), (3, 500.0, 200.0)];
        let samples: Vec<_> = speeds
            .into_iter()
            .flat_map(|(pair, peer, ours)| [sample(PEER, pair, peer), sample(OURS, pair, ours)])
            .collect();
        let text = summary(&samples);
        assert!(
            text.lines().nth(1).is_some_and(|line| line.ends_with("200.00       100.00    2.00")),
            "{text}"
        );
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }

    #[test]
    fn lines_of_llama_bench_are_read() {
        let line = r#"{"build_commit":"de3ff81","n_prompt":0,"n_gen":128,"n_depth":1500,"avg_ts":231.5,
            "test_time":"2026-11-20T16:12:30Z"}"#;
        let sample = read(line, PEER, 2, "ours").unwrap();
        assert_eq!(
            (&*sample.test, &*sample.commit, &*sample.date),
            ("tg128 @ d1500", "de3ff81", "2026-11-20")
        );
        assert!(read("{}", PEER, 1, "").is_err());
    }
}
