//! The two programs, and a turn of either.

use super::{Sample, Workload};
use crate::cargo;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use wait4::Wait4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Engine {
    Peer,
    Ours,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Peer => "llama.cpp",
            Self::Ours => "metal-attention",
        })
    }
}

/// Where the two are.
#[derive(Debug)]
pub(super) struct Programs {
    peer: PathBuf,
    ours: PathBuf,
    our_commit: String,
}

impl Programs {
    /// Builds ours where none is given.
    pub(super) fn find(peer: &Path, ours: Option<&Path>) -> Result<Self> {
        let ours = match ours {
            Some(path) => path.to_owned(),
            None => cargo::build_ours()?,
        };
        Ok(Self { peer: find_peer(peer)?, ours, our_commit: our_commit() })
    }

    /// One turn: one repetition, in a process of its own.
    pub(super) fn measure(
        &self,
        engine: Engine,
        model: &Path,
        threads: usize,
        test: Workload,
        pair: usize,
    ) -> Result<Sample> {
        let mut command = match engine {
            Engine::Peer => peer_command(&self.peer),
            Engine::Ours => our_command(&self.ours),
        };
        let numbers =
            [("-t", threads), ("-p", test.n_prompt), ("-n", test.n_gen), ("-d", test.n_depth), ("-r", 1)];
        command.arg("-m").arg(model).args(["-o", "jsonl"]);
        command.args(numbers.iter().flat_map(|(flag, n)| [(*flag).to_owned(), n.to_string()]));
        let (lines, peak_bytes) = run(&mut command)?;
        let line = lines.lines().find(|line| line.starts_with('{')).context("there is no line of results")?;
        let results: Value = serde_json::from_str(line).context("the line of results is not JSON")?;
        let text = |key: &str| results[key].as_str().unwrap_or_default();
        Ok(Sample {
            model: model.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            threads,
            test,
            engine,
            commit: match engine {
                Engine::Peer => text("build_commit").to_owned(),
                Engine::Ours => self.our_commit.clone(),
            },
            date: text("test_time").chars().take(10).collect(),
            pair,
            tokens_per_second: results["avg_ts"].as_f64().context("the results have no avg_ts")?,
            peak_bytes,
        })
    }
}

fn find_peer(folder: &Path) -> Result<PathBuf> {
    let name = format!("llama-bench{}", std::env::consts::EXE_SUFFIX);
    let candidates = [folder.join(&name), folder.join("bin").join(&name)];
    match candidates.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!("there is no llama-bench in {}; build llama.cpp there first", folder.display()),
    }
}

/// What git says, where this is run in the repository.
fn our_commit() -> String {
    let output = Command::new("git").args(["describe", "--always", "--dirty", "--exclude=*"]).output();
    let commit = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    commit.ok().filter(|commit| !commit.is_empty()).unwrap_or_else(|| "unknown".to_owned())
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

/// Runs a program to its end; gives what it printed, and its peak resident memory.
fn run(command: &mut Command) -> Result<(String, u64)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot be run")?;
    let (mut printed, mut messages) = (String::new(), String::new());
    let pipes = (child.stdout.take(), child.stderr.take());
    let told = &mut messages;
    thread::scope(|scope| {
        if let Some(mut stderr) = pipes.1 {
            // What is no text is not worth an error here.
            scope.spawn(move || stderr.read_to_string(told));
        }
        pipes.0.map(|mut stdout| stdout.read_to_string(&mut printed))
    })
    .transpose()
    .context("what it printed cannot be read")?;
    let end = child.wait4().context("its end was missed")?;
    ensure!(end.status.success(), "failed: {messages}");
    Ok((printed, end.rusage.maxrss))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_to_its_end() {
        let shell = |script: &str| run(Command::new("sh").args(["-c", script]));
        let (printed, peak_bytes) = shell("echo out; echo err >&2").unwrap();
        assert_eq!(printed, "out\n");
        assert!((100 << 10..1 << 30).contains(&peak_bytes), "{peak_bytes} bytes");
        let error = shell("echo why >&2; exit 3").unwrap_err().to_string();
        assert!(error.contains("why"), "{error}");
        assert!(run(&mut Command::new("/no/such/program")).is_err());
    }
}
