//! `doctor`: a report on this machine, to be pasted where something does not work.

use super::devices;
use crate::args::{DoctorArgs, allows_software};
use crate::console::Console;
use crate::stdout::{Stdout, StdoutError};
use crate::units;
use anyhow::bail;
use metal_attention::{Device, DeviceChoice, Examination, LoadError, SystemInfo};
use serde_json::{Value, json};

/// What there is to say.
struct Report {
    system: SystemInfo,
    devices: Vec<Device>,
    examined: Vec<Examined>,
}

/// A device, and what an examination found.
struct Examined {
    choice: DeviceChoice,
    outcome: Result<Examination, LoadError>,
}

/// Fails where a device does, after everything was printed.
pub(crate) fn doctor(args: &DoctorArgs, console: &Console) -> anyhow::Result<()> {
    let devices = metal_attention::devices();
    let mut examined = Vec::new();
    for choice in wanted(args, &devices) {
        console.info(format_args!("examining {choice}; that takes a while"));
        examined.push(Examined { choice, outcome: metal_attention::examine(choice, allows_software()) });
    }
    let report = Report { system: SystemInfo::new(), devices, examined };
    let mut out = Stdout::new();
    match args.json {
        true => out.json(&report.json(), true)?,
        false => report.print(&mut out)?,
    }
    out.flush()?;
    report.verdict()
}

/// The one that is named, else those that are worth it.
fn wanted(args: &DoctorArgs, devices: &[Device]) -> Vec<DeviceChoice> {
    if let Some(choice) = args.device {
        return Vec::from_iter((choice != DeviceChoice::Cpu).then_some(choice));
    }
    let is_wanted = |device: &&Device| {
        device
            .gpu
            .as_ref()
            .is_some_and(|gpu| gpu.missing.is_empty() && (allows_software() || !gpu.is_software()))
    };
    devices.iter().filter(is_wanted).map(|device| device.choice).collect()
}

impl Report {
    fn print(&self, out: &mut Stdout) -> Result<(), StdoutError> {
        let system = &self.system;
        let size = |bytes: Option<u64>| bytes.map_or("unknown".to_owned(), units::bytes);
        let (memory, free) = (size(system.memory_bytes), size(system.free_memory_bytes));
        out.line(format!("metal-attention {}, {}", env!("CARGO_PKG_VERSION"), build().join(", ")))?;
        out.line(format!("system    {}, kernel {}, {}", system.os, system.kernel, system.architecture))?;
        out.line(format!("memory    {memory}, {free} free"))?;
        devices::list(&self.devices, out)?;
        if self.examined.is_empty() {
            out.line("no GPU was examined; --device examines the one that it names")?;
        }
        self.examined.iter().try_for_each(|examined| examined.print(out))
    }

    fn json(&self) -> Value {
        let system = &self.system;
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "build": build(),
            "os": system.os,
            "kernel": system.kernel,
            "architecture": system.architecture,
            "cpu": system.cpu,
            "threads": system.threads,
            "memory_bytes": system.memory_bytes,
            "free_memory_bytes": system.free_memory_bytes,
            "devices": devices::json(&self.devices),
            "examined": self.examined.iter().map(Examined::json).collect::<Value>(),
        })
    }

    /// The first failure.
    fn verdict(self) -> anyhow::Result<()> {
        for Examined { choice, outcome } in self.examined {
            let wrong = outcome?.checks.into_iter().find_map(|check| Some((check.name, check.fault?)));
            if let Some((name, fault)) = wrong {
                bail!("{choice} computes {name} wrongly: {fault}");
            }
        }
        Ok(())
    }
}

impl Examined {
    fn print(&self, out: &mut Stdout) -> Result<(), StdoutError> {
        let choice = self.choice;
        match &self.outcome {
            Err(error) => out.line(format!("{choice} cannot be examined: {error}")),
            Ok(found) => {
                out.line(format!("{choice} examined: {}", found.device.name))?;
                for check in &found.checks {
                    let verdict =
                        check.fault.as_ref().map_or("right".to_owned(), |fault| format!("WRONG: {fault}"));
                    let distance = format!("logits within {:.1e} of f64", check.distance);
                    out.line(format!("  {:<6} {distance}, {verdict}", check.name))?;
                }
                found.measurements.iter().try_for_each(|measured| {
                    out.line(format!("  {:<60} {:>10.3} {}", measured.name, measured.value, measured.unit))
                })
            }
        }
    }

    fn json(&self) -> Value {
        let device = self.choice.to_string();
        match &self.outcome {
            Err(error) => json!({"device": device, "error": error.to_string()}),
            Ok(found) => json!({
                "device": device,
                "name": found.device.name,
                "checks": found.checks.iter().map(|check| json!({
                    "name": check.name,
                    "distance": check.distance,
                    "fault": check.fault,
                })).collect::<Value>(),
                "measurements": found.measurements.iter().map(|measured| json!({
                    "name": measured.name,
                    "value": measured.value,
                    "unit": measured.unit,
                })).collect::<Value>(),
            }),
        }
    }
}

/// How this program was built.
fn build() -> Vec<&'static str> {
    let mut build = vec![if cfg!(debug_assertions) { "debug build" } else { "release build" }];
    build.push(if cfg!(feature = "gpu") { "with GPU engine" } else { "without GPU engine" });
    build.push(if cfg!(feature = "bundled-model") { "with bundled model" } else { "without bundled model" });
    build
}
