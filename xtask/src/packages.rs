//! What the tests need of the system, beside Rust: asked for before any of them runs, so that none is left out silently.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What is needed, and how Debian and its kin call it.
struct Need {
    what: &'static str,
    packages: &'static [&'static str],
    is_there: fn() -> bool,
}

/// Of `cargo xtask test`.
const NEEDS: [Need; 2] = [
    Need {
        what: "a Vulkan driver, of a GPU or in software",
        packages: &["mesa-vulkan-drivers", "libvulkan1"],
        is_there: vulkan,
    },
    Need { what: "a C++ compiler", packages: &["g++"], is_there: compiler },
];

/// Of `cargo xtask arm-check`.
const ARM_NEEDS: [Need; 2] = [
    Need {
        what: "qemu's emulation of Arm processors",
        packages: &["qemu-user"],
        is_there: || succeeds("qemu-aarch64", &["--version"]),
    },
    Need {
        what: "a C compiler for 64-bit Arm, which links",
        packages: &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        is_there: || succeeds("aarch64-linux-gnu-gcc", &["--version"]),
    },
];

/// Installs what is missing, where that can be done without asking; says what to install otherwise. Only Linux is so sparing: the
/// other systems come with what the tests need.
pub(crate) fn ensure() -> Result<()> {
    if cfg!(target_os = "linux") { install_missing(&NEEDS) } else { Ok(()) }
}

/// The same for tests of Arm code, which only Linux can run on other processors.
pub(crate) fn ensure_for_arm() -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("Arm code runs under qemu on Linux only");
    }
    install_missing(&ARM_NEEDS)
}

fn install_missing(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().flat_map(|need| need.packages).copied().collect();
    let whats: Vec<&str> = missing.iter().map(|need| need.what).collect();
    let advice = format!(
        "the tests need {}; on Debian and Ubuntu: apt-get install {}",
        whats.join(" and "),
        packages.join(" ")
    );
    install(&packages).context(advice.clone())?;
    match missing.iter().all(|need| (need.is_there)()) {
        true => Ok(()),
        false => bail!("{advice}; the packages are installed, and yet it is not found"),
    }
}

/// With apt-get, as root or through a sudo that asks nothing.
fn install(packages: &[&str]) -> Result<()> {
    let prefix: &[&str] = match succeeds("test", &["-w", "/var/lib/dpkg"]) {
        true => &[],
        false if succeeds("sudo", &["-n", "true"]) => &["sudo", "-n"],
        false => bail!("this user may not install packages"),
    };
    println!("installing {}", packages.join(" "));
    for command in [&["update", "--quiet"][..], &["install", "--yes", "--quiet", "--no-install-recommends"]] {
        let mut words = prefix.iter().chain(&["apt-get"]).chain(command);
        let program = words.next().context("a command has a first word")?;
        let mut run = Command::new(program);
        run.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        if command[0] == "install" {
            run.args(packages);
        }
        let status = run.status().context("there is no apt-get")?;
        if !status.success() {
            bail!("apt-get {} failed", command[0]);
        }
    }
    Ok(())
}

/// A loader, and a description of at least one driver.
fn vulkan() -> bool {
    let listed = |program: &str| {
        let output = Command::new(program).arg("-p").stderr(Stdio::null()).output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("libvulkan.so.1"))
    };
    let named = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"].iter().any(|name| std::env::var_os(name).is_some());
    let folders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
    let described = folders.iter().any(|folder| {
        let mut files = fs::read_dir(Path::new(folder)).into_iter().flatten().flatten();
        files.any(|file| file.path().extension().is_some_and(|extension| extension == "json"))
    });
    (listed("ldconfig") || listed("/sbin/ldconfig")) && (named || described)
}

/// The one that the tests will call.
fn compiler() -> bool {
    let name = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    succeeds(&name, &["--version"])
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
