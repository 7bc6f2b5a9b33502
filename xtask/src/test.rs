//! `cargo xtask test`: the one command that runs all tests, here and in CI.

use anyhow::{Result, ensure};
use std::process::Command;

pub(crate) fn run() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo).args(["test", "--workspace"]).status()?;
    ensure!(status.success(), "tests failed");
    Ok(())
}
