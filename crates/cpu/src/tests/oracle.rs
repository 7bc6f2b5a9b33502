//! Logits of whole passes against the f64 reference.

use super::{load, models, prompt, wanting_all};
use crate::arch::Kernels;
use crate::pack::QUANTISED;
use gguf::TensorType;
use model::{ForwardPass, ModelSpec, Reference, Rounding, Row, SequenceId, Weights};
use testkit::{TinyModel, largest_relative_error};

/// Largest error of a logit, relative to the largest logit, where no activation is quantised and the reference has the
/// backend's keys and values: single against double precision.
const BOUND: f64 = 1e-5;
/// Largest distance of a key or value from the exact one, relative to the largest of its vector: f16 makes 2^-11, and the layers
/// before have their own errors of that size.
const KV_BOUND: f64 = 2e-3;

#[test]
fn logits_of_every_position_agree_with_the_reference() {
    for (name, tiny) in models().into_iter().filter(|(_, tiny)| !quantises(tiny)) {
        let file = tiny.gguf();
        let spec = ModelSpec::new(file.metadata(), &file).unwrap();
        let weights = Weights::new(&spec, &file).unwrap();
        let rows = wanting_all(Row::prompt(SequenceId(0), 0, &prompt(40, tiny.n_vocab())));
        let mut cpu = load(&file, 2, 64, Kernels::detect());
        let logits = cpu.forward(&rows).unwrap().to_vec();
        let mut reference = Reference::new(&spec, &weights, 64, 1, Rounding::default());
        let expected = reference.forward_on(&rows, &mut |l, s, p| cpu.key_and_value(l, s, p)).unwrap();
        let error = largest_relative_error(&logits, &expected.logits);
        assert!(error < BOUND, "{name}: relative error {error:.1e}");
        assert!(
            expected.kv_distance < KV_BOUND,
            "{name}: keys or values off by {:.1e}",
            expected.kv_distance
        );
    }
}

/// Where activations are quantised, one that falls to the other side of an 8-bit step moves a logit far more than single
/// precision does, and no constant bounds how many do. What must hold: the backend is closer to the reference that rounds as it
/// does than that one is to the reference that does not round. (The kernels by themselves are held to f64 in `kernels`.)
#[test]
fn quantised_activations_cost_no_more_than_their_rounding() {
    for (name, tiny) in models().into_iter().filter(|(_, tiny)| quantises(tiny)) {
        let file = tiny.gguf();
        let spec = ModelSpec::new(file.metadata(), &file).unwrap();
        let weights = Weights::new(&spec, &file).unwrap();
        let rows = wanting_all(Row::prompt(SequenceId(0), 0, &prompt(40, tiny.n_vocab())));
        let logits = |rounding| {
            let mut reference = Reference::new(&spec, &weights, 64, 1, rounding);
            reference.forward(&rows).unwrap().to_vec()
        };
        let rounded = logits(Rounding { q8_activations: QUANTISING, f16_kv: true, ..Rounding::default() });
        let bound = largest_relative_error(&rounded, &logits(Rounding::default()));
        let mut cpu = load(&file, 2, 64, Kernels::detect());
        let error = largest_relative_error(cpu.forward(&rows).unwrap(), &rounded);
        assert!(error < bound, "{name}: relative error {error:.1e}, bound {bound:.1e}");
    }
}

/// Types whose kernels read quantised activations.
const QUANTISING: &[TensorType] = &QUANTISED;

fn quantises(tiny: &TinyModel) -> bool {
    [tiny.matrices, tiny.head].iter().any(|ty| QUANTISING.contains(ty))
}

#[test]
fn two_sequences_in_one_batch_are_as_two_alone() {
    let tiny = TinyModel::default();
    let file = tiny.gguf();
    let tokens = prompt(9, tiny.n_vocab());
    let mut together = load(&file, 2, 32, Kernels::detect());
    let mut rows = Vec::new();
    for (i, &token) in tokens.iter().enumerate() {
        let position = u32::try_from(i).unwrap();
        rows.push(Row { sequence: SequenceId(0), position, token, wants_logits: true });
        rows.push(Row { sequence: SequenceId(5), position, token: token / 2, wants_logits: true });
    }
    let mixed = together.forward(&rows).unwrap().to_vec();
    for (which, divisor) in [(0, 1), (1, 2)] {
        let tokens: Vec<u32> = tokens.iter().map(|t| t / divisor).collect();
        let mut alone = load(&file, 2, 32, Kernels::detect());
        let expected = alone.forward(&wanting_all(Row::prompt(SequenceId(0), 0, &tokens))).unwrap();
        let got: Vec<f32> =
            mixed.chunks_exact(tiny.n_vocab()).skip(which).step_by(2).flatten().copied().collect();
        assert!(got.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()), "sequence {which}");
    }
}
