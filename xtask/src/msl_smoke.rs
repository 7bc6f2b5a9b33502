//! `cargo xtask msl-smoke`: the kernels' MSL, compiled as C++ and run on the CPU.
//!
//! The work is done by tests of the gpu crate that are ignored otherwise, since they need a C++ compiler.

use crate::{cargo, packages};
use anyhow::Result;

pub(crate) fn run() -> Result<()> {
    packages::ensure()?;
    cargo::run(&["test", "--package", "metal-attention-gpu", "--lib", "--", "--ignored", "msl_smoke"])
}
