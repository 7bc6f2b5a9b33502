//! `cargo xtask mac-check`: the workspace type-checked for Macs, on any machine.

use crate::cargo;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

const TARGET: &str = "aarch64-apple-darwin";

pub(crate) fn run() -> Result<()> {
    if !has_library()? {
        println!("fetching the standard library for {TARGET}");
        let added = Command::new("rustup").args(["target", "add", TARGET]).status();
        let added = added.context(format!(
            "there is neither a standard library for {TARGET} nor a rustup to fetch it with"
        ))?;
        ensure!(
            added.success() && has_library()?,
            "rustup could not fetch the standard library for {TARGET}: `rustup target add {TARGET}` needs a network"
        );
    }
    let clippy = |what: &[&str]| {
        let arguments = [&["clippy", "--target", TARGET], what, &["--", "-D", "warnings"]];
        cargo::run(&arguments.concat())
    };
    clippy(&["--workspace"])?;
    // Tests of other crates have dependencies in C, which would take a C compiler for Macs.
    clippy(&["--package", "metal-attention-gpu", "--all-targets"])?;
    println!("the workspace type-checks for {TARGET}; nothing of it was run");
    Ok(())
}

/// Whether this compiler has one.
fn has_library() -> Result<bool> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let arguments = ["--print", "target-libdir", "--target", TARGET];
    let output = Command::new(rustc).args(arguments).output().context("there is no rustc")?;
    let folder = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(output.status.success() && Path::new(folder.trim()).is_dir())
}
