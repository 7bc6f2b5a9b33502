//! `cargo xtask arm-check`: the tests of the CPU backend as code for 64-bit Arm, on any Linux machine, under qemu.

use crate::{cargo, packages, target};
use anyhow::Result;

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// Processors as qemu knows them, and which tests they run: none named, all. Tests run every instruction set that the processor has,
/// so that the first runs all; the others show that what they lack is neither detected nor run.
const PROCESSORS: [(&str, &str, &[&str]); 3] = [
    ("max", "NEON, dot products, matrix products of bytes", &[]),
    ("neoverse-n1", "NEON, dot products", SOME),
    ("cortex-a53", "NEON", SOME),
];
/// Every kernel, and some whole passes.
const SOME: &[&str] =
    &["tests::kernels", "tests::bits::greedy", "tests::bits::a_short", "tests::oracle::two"];

/// Tells the tests that they are emulated: whole passes are compared for up to three threads then, not four.
const EMULATED: &str = "METAL_ATTENTION_TEST_EMULATED";

pub(crate) fn run() -> Result<()> {
    packages::ensure_for_arm()?;
    target::ensure(TARGET)?;
    let variable = |name: &str| format!("CARGO_TARGET_{}_{name}", TARGET.replace('-', "_").to_uppercase());
    for (processor, has, tests) in PROCESSORS {
        println!("{processor}: {has}");
        let runner = format!("qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu {processor}");
        let environment = [
            (variable("LINKER"), "aarch64-linux-gnu-gcc".to_owned()),
            (variable("RUNNER"), runner),
            (EMULATED.to_owned(), "1".to_owned()),
        ];
        // One test at a time: most have threads of their own, which wait for one another in loops that are emulated.
        let test = ["test", "--package", "metal-attention-cpu", "--lib", "--target", TARGET, "--"];
        let test = [&test[..], &["--test-threads", "1"]].concat();
        cargo::run_with(&[&test[..], tests].concat(), &environment)?;
    }
    println!("the tests of the CPU backend pass for {TARGET}, under qemu");
    Ok(())
}
