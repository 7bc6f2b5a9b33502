//! `cargo xtask test`: the one command that runs all tests, here and in CI.

use crate::{cargo, msl_smoke, packages};
use anyhow::Result;

pub(crate) fn run() -> Result<()> {
    packages::ensure()?;
    cargo::run(&["test", "--workspace"])?;
    msl_smoke::run()
}
