//! Standard libraries of other targets.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// Fetches the standard library for `target` where this compiler has none.
pub(crate) fn ensure(target: &str) -> Result<()> {
    if has_library(target)? {
        return Ok(());
    }
    println!("fetching the standard library for {target}");
    let added = Command::new("rustup").args(["target", "add", target]).status();
    let added = added
        .context(format!("there is neither a standard library for {target} nor a rustup to fetch it with"))?;
    ensure!(
        added.success() && has_library(target)?,
        "rustup could not fetch the standard library for {target}: `rustup target add {target}` needs a network"
    );
    Ok(())
}

/// Whether this compiler has one.
fn has_library(target: &str) -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let arguments = ["--print", "target-libdir", "--target", target];
    let output = Command::new(rustc).args(arguments).output().context("there is no rustc")?;
    let folder = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(output.status.success() && Path::new(folder.trim()).is_dir())
}
