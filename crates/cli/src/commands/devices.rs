//! `devices`: what models can run on.

use crate::args::DevicesArgs;
use crate::stdout::{Stdout, StdoutError};
use crate::units;
use metal_attention::{Device, DeviceKind, GpuDetails};
use serde_json::{Map, Value, json};

pub(crate) fn devices(args: &DevicesArgs) -> anyhow::Result<()> {
    let devices = metal_attention::devices();
    let mut out = Stdout::new();
    match args.json {
        true => out.json(&json(&devices), true)?,
        false => list(&devices, &mut out)?,
    }
    Ok(out.flush()?)
}

/// A few lines for each device, the word for `--device` first.
pub(super) fn list(devices: &[Device], out: &mut Stdout) -> Result<(), StdoutError> {
    for device in devices {
        let choice = device.choice.to_string();
        let Some(gpu) = &device.gpu else {
            let threads = units::count(device.threads, "thread");
            out.line(format!("{choice:<9} {}: {}, {threads}", device.backend, device.name))?;
            continue;
        };
        out.line(format!("{choice:<9} {}: {}, {}", device.backend, device.name, gpu.kind))?;
        for line in details(gpu) {
            out.line(format!("{:9} {line}", ""))?;
        }
    }
    if !devices.iter().any(|device| device.kind == DeviceKind::Gpu) {
        let why = if cfg!(feature = "gpu") { "none found" } else { "none: this build has no GPU engine" };
        out.line(format!("{:<9} {why}", "gpu"))?;
    }
    Ok(())
}

fn details(gpu: &GpuDetails) -> Vec<String> {
    let (least, most) = gpu.subgroup_sizes;
    let subgroups = if least == most { format!("{most}") } else { format!("{least} to {most}") };
    let matrices = match gpu.cooperative_matrices.as_slice() {
        [] => "none".to_owned(),
        sizes => sizes.join(", "),
    };
    let mut lines = vec![
        format!("driver {}", gpu.driver),
        format!("memory {}", gpu.memory_bytes.map_or("unknown".to_owned(), units::bytes)),
        format!(
            "buffers up to {}, bindings up to {}, workgroups up to {} threads with {}",
            units::bytes(gpu.max_buffer_bytes),
            units::bytes(gpu.max_binding_bytes),
            gpu.max_workgroup_threads,
            units::bytes(gpu.workgroup_memory_bytes.into()),
        ),
        format!("subgroups of {subgroups}, f16 {}", if gpu.f16 { "yes" } else { "no" }),
        format!("cooperative matrices: {matrices}"),
    ];
    if !gpu.missing.is_empty() {
        lines.push(format!("cannot run models: it lacks {}", gpu.missing.join(", ")));
    } else if gpu.is_software() {
        lines.push("slow: taken only when asked for by its number".to_owned());
    }
    lines
}

/// An array of devices.
pub(super) fn json(devices: &[Device]) -> Value {
    devices.iter().map(entries).collect()
}

fn entries(device: &Device) -> Map<String, Value> {
    let kind = match device.kind {
        DeviceKind::Cpu => "cpu",
        DeviceKind::Gpu => "gpu",
    };
    let mut entries = vec![
        ("device", json!(device.choice.to_string())),
        ("kind", json!(kind)),
        ("backend", json!(device.backend)),
        ("name", json!(device.name)),
        ("threads", json!(device.threads)),
    ];
    if let Some(gpu) = &device.gpu {
        entries.extend([
            ("type", json!(gpu.kind)),
            ("driver", json!(gpu.driver)),
            ("memory_bytes", json!(gpu.memory_bytes)),
            ("max_buffer_bytes", json!(gpu.max_buffer_bytes)),
            ("max_binding_bytes", json!(gpu.max_binding_bytes)),
            ("workgroup_memory_bytes", json!(gpu.workgroup_memory_bytes)),
            ("max_workgroup_threads", json!(gpu.max_workgroup_threads)),
            ("subgroup_sizes", json!(gpu.subgroup_sizes)),
            ("f16", json!(gpu.f16)),
            ("cooperative_matrices", json!(gpu.cooperative_matrices)),
            ("missing", json!(gpu.missing)),
        ]);
    }
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
