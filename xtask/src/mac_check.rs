//! `cargo xtask mac-check`: the workspace type-checked for Macs, on any machine.

use crate::{cargo, target};
use anyhow::Result;

const TARGET: &str = "aarch64-apple-darwin";

pub(crate) fn run() -> Result<()> {
    target::ensure(TARGET)?;
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
