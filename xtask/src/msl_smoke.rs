//! `cargo xtask msl-smoke`: the kernels' MSL, compiled as C++ and run on the CPU.
//!
//! The work is done by tests of the gpu crate that are ignored otherwise, since they need a C++ compiler.

use crate::{cargo, packages};
use anyhow::Result;

pub(crate) fn run() -> Result<()> {
    packages::ensure()?;
    // Of the whole workspace, though one crate has them: alone it would be built once more, with fewer features of what it uses.
    cargo::run(&["test", "--workspace", "--lib", "--", "--ignored", "msl_smoke"])
}
