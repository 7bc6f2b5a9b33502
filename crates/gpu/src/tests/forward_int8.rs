//! Whole passes whose products of few rows are made of activations in 8 bits, against the reference that rounds as they do.

use super::forward::{OWN, options};
use crate::kernels::matvec_int8::QUANTISED;
use crate::{Activations, GpuForwardPass, GpuOptions};
use gguf::TensorType;
use model::{ForwardPass, ModelSpec, Reference, Rounding, Row, Weights};
use testkit::{TinyModel, largest_relative_error};

const CONTEXT: usize = 64;

fn int8() -> GpuOptions {
    GpuOptions { activations: Activations::Int8, ..options(CONTEXT) }
}

fn tokens(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 37 + 11) % 250).collect()
}

/// Logits of all rows of a text that comes in the pieces that are given.
fn logits(forward: &mut dyn ForwardPass, pieces: &[usize]) -> Vec<f32> {
    let mut rows = Row::prompt(OWN, 0, &tokens(pieces.iter().sum()));
    rows.iter_mut().for_each(|row| row.wants_logits = true);
    let mut all = Vec::new();
    let mut rest = &rows[..];
    for &n in pieces {
        let (piece, later) = rest.split_at(n);
        all.extend(forward.forward(piece).unwrap());
        rest = later;
    }
    all
}

/// A number that falls to the other side of a step moves a logit far more than single precision does, and no constant bounds how
/// many do. What must hold: the backend is closer to the reference that rounds as it does than that one is to the one that does
/// not round.
#[test]
fn rounding_to_8_bits_costs_what_it_must_and_no_more() {
    // One by one, and several together: few numbers of them, since software takes seconds to compile each kernel.
    let pieces = [1, 1, 1, 3, 8, 1];
    let models = [
        TinyModel { family: "qwen2", ..TinyModel::wide(TensorType::Q4_0) },
        TinyModel { family: "qwen3", head: TensorType::F16, ..TinyModel::wide(TensorType::Q6_K) },
        // Heads that together are wider than the rest.
        TinyModel { head_dim: 128, n_heads: 8, ..TinyModel::wide(TensorType::Q4_K) },
    ];
    for model in models {
        let file = model.gguf();
        let spec = ModelSpec::new(file.metadata(), &file).unwrap();
        let weights = Weights::new(&spec, &file).unwrap();
        let reference =
            |rounding| logits(&mut Reference::new(&spec, &weights, CONTEXT, 1, rounding), &pieces);
        let rounded = reference(Rounding { q8_activations: &QUANTISED, f16_kv: true, ..Rounding::default() });
        let bound = largest_relative_error(&rounded, &reference(Rounding::default()));
        let mut gpu = GpuForwardPass::new(&spec, &weights, &int8(), &mut |_| ()).unwrap();
        assert!(gpu.rounds_activations() && gpu.listing().contains("matvec_int8"), "{}", gpu.listing());
        let error = largest_relative_error(&logits(&mut gpu, &pieces), &rounded);
        assert!(error < bound, "{model:?}: relative error {error:.1e}, bound {bound:.1e}");
    }
}

/// What a step leaves in 8 bits is told as numbers.
#[test]
fn a_trace_has_what_the_reference_has() {
    let file = TinyModel::wide(TensorType::Q4_0).gguf();
    let spec = ModelSpec::new(file.metadata(), &file).unwrap();
    let weights = Weights::new(&spec, &file).unwrap();
    let mut gpu = GpuForwardPass::new(&spec, &weights, &int8(), &mut |_| ()).unwrap();
    assert!(gpu.listing().contains("_rounding"), "{}", gpu.listing());
    let rounding = Rounding { q8_activations: &QUANTISED, f16_kv: true, ..Rounding::default() };
    let mut reference = Reference::new(&spec, &weights, CONTEXT, 1, rounding);
    logits(&mut gpu, &[9]);
    logits(&mut reference, &[9]);
    let (ours, exact) = (gpu.trace_token(5).unwrap(), reference.trace_token(5).unwrap());
    assert_eq!(ours.len(), exact.len());
    for (ours, exact) in ours.iter().zip(&exact) {
        assert_eq!(ours.name, exact.name);
        // Behind the first layer more and more numbers fall to other sides.
        let bound = if ours.name.starts_with("blk.0.") { 0.02 } else { 0.1 };
        assert!(ours.distance(exact) < bound, "{}: {}", ours.name, ours.distance(exact));
    }
}

#[test]
fn floats_are_multiplied_as_floats_and_so_is_everything_where_it_is_asked_for() {
    let listing = |matrices, activations| {
        let file = TinyModel { head: matrices, ..TinyModel::wide(matrices) }.gguf();
        let spec = ModelSpec::new(file.metadata(), &file).unwrap();
        let weights = Weights::new(&spec, &file).unwrap();
        let options = GpuOptions { activations, ..options(CONTEXT) };
        GpuForwardPass::new(&spec, &weights, &options, &mut |_| ()).unwrap().listing()
    };
    assert!(!listing(TensorType::F16, Activations::Int8).contains("int8"));
    assert!(!listing(TensorType::Q4_0, Activations::F32).contains("int8"));
    // Too small to pay, whatever the device.
    assert!(!listing(TensorType::Q4_0, Activations::Auto).contains("int8"));
}
