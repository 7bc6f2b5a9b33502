//! The examination passes on the device of the tests, and finds what there is to find.

use crate::doctor::examine;
use crate::{AdapterChoice, GpuOptions};
use gguf::TensorType;

#[test]
fn software_vulkan_is_well() {
    let adapter = AdapterChoice { allow_software: true, ..AdapterChoice::default() };
    // Software takes seconds to compile the kernels of a type; other tests have the rest.
    let types = [TensorType::Q4_0, TensorType::Q6_K, TensorType::F16];
    let report = examine(&GpuOptions { adapter, ..GpuOptions::default() }, &types).unwrap();
    assert_eq!(report.checks.len(), types.len());
    for check in &report.checks {
        assert!(check.fault.is_none() && check.distance > 0.0, "{check:?}");
    }
    let value = |name: &str, unit: &str| {
        let found = report.measurements.iter().find(|m| m.name.starts_with(name) && m.unit == unit);
        found.unwrap_or_else(|| panic!("{name} in {unit}")).value
    };
    for (name, unit) in [
        ("copy", "GB/s"),
        ("dispatch, dependent", "us"),
        ("dispatch, independent", "us"),
        ("dispatch, recorded", "us"),
        ("submit", "us"),
        ("1 row, blk.0.attn_qkv [576]->[960]", "GB/s"),
        ("1 row, output [576]->[49152]", "GB/s"),
        ("8 rows, all products, gain per row", "x"),
        ("512 rows, blk.0.ffn_down", "TFLOP/s"),
    ] {
        assert!(value(name, unit) > 0.0, "{name}: {}", value(name, unit));
    }
}
