//! Cargo itself, for commands that are runs of it.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;
use std::process::Command;

/// Runs the cargo that runs us.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    run_with(arguments, &[])
}

/// The same, with variables in its environment.
pub(crate) fn run_with(arguments: &[&str], environment: &[(String, String)]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    let status = command.status().context("there is no cargo")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}

/// Builds the program for release; gives where it is: beside the profile that this command was built in.
pub(crate) fn build_ours() -> Result<PathBuf> {
    run(&["build", "--release", "--package", "metal-attention-cli"])?;
    let this = std::env::current_exe().context("where this program lies is unknown")?;
    let target = this.ancestors().nth(2).context("this program does not lie in a target folder")?;
    Ok(target.join("release").join(format!("metal-attention{}", std::env::consts::EXE_SUFFIX)))
}
