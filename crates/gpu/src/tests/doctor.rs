//! The examination passes on the device of the tests, and finds what there is to find.

use crate::doctor::{EXACT, check_rounded, check_types, examine};
use crate::{Activations, AdapterChoice, GpuForwardPass, GpuOptions};
use gguf::TensorType;
use model::{Reference, Synthetic, SyntheticPreset, Weights};

#[test]
fn software_vulkan_is_well() {
    let adapter = AdapterChoice { allow_software: true, ..AdapterChoice::default() };
    // Software takes seconds to compile the kernels of a type; other tests have the rest.
    let types = [TensorType::Q4_0, TensorType::Q6_K, TensorType::F16];
    let options = GpuOptions { adapter, activations: Activations::F32, ..GpuOptions::default() };
    let report = examine(&options, &types).unwrap();
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
        ("1 row, blk.0.attn [576]->[576]", "us"),
        ("1 row, blk.0.ffn_down [1536]->[576]", "GB/s"),
        ("1 row, output [576]->[49152]", "GB/s"),
        ("1 row, all steps of a layer in turns", "us"),
        ("512 rows, all steps of a layer in turns", "us"),
        ("8 rows, all products, gain per row", "x"),
        ("512 rows, blk.0.ffn_down", "TFLOP/s"),
    ] {
        let value = value(name, unit);
        assert!(value > 0.0 && value.is_finite(), "{name}: {value}");
    }
}

#[test]
fn what_is_made_in_8_bits_is_compared_with_what_rounds_alike() {
    let adapter = AdapterChoice { allow_software: true, ..AdapterChoice::default() };
    let options = GpuOptions { adapter, activations: Activations::Int8, ..GpuOptions::default() };
    // Numbers of the second fall to other sides of steps than the reference's.
    let checks = check_types(&options, &[TensorType::Q4_0, TensorType::Q5_1]).unwrap().1;
    let names: Vec<_> = checks.iter().map(|check| &check.name[..]).collect();
    assert_eq!(names, ["Q4_0", "Q4_0 in 8 bits", "Q5_1", "Q5_1 in 8 bits"]);
    assert!(checks.iter().all(|check| check.fault.is_none()), "{checks:?}");
    // What is rounded is further off, even where floats are halves (8 to 13 times on an H200).
    assert!(checks.chunks(2).all(|pair| pair[1].distance > 3.0 * pair[0].distance), "{checks:?}");
}

#[test]
fn eight_bits_that_cost_more_than_they_should_are_a_fault() {
    let adapter = AdapterChoice { allow_software: true, ..AdapterChoice::default() };
    let options =
        GpuOptions { adapter, activations: Activations::Int8, context_len: 32, ..GpuOptions::default() };
    let spec = SyntheticPreset::TINY.spec();
    let source = Synthetic::with_types(SyntheticPreset::TINY, [TensorType::Q4_0; 2], 1);
    let weights = Weights::new(&spec, &source).unwrap();
    let mut gpu = GpuForwardPass::new(&spec, &weights, &options, &mut |_| ()).unwrap();
    // Against a reference that rounds the cache only, what the device rounds is too much.
    let exact = || Reference::new(&spec, &weights, 32, 1, EXACT);
    let check = check_rounded(TensorType::Q4_0, &mut gpu, [exact(), exact()]).unwrap();
    assert!(check.fault.is_some() && check.distance > 0.0, "{check:?}");
}
