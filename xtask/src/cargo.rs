//! Cargo itself, for commands that are runs of it.

use anyhow::{Context, Result, ensure};
use std::process::Command;

/// Runs the cargo that runs us.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(arguments).status().context("there is no cargo")?;
    ensure!(status.success(), "cargo {} failed", arguments.join(" "));
    Ok(())
}
