//! The persistent kernel against the plan of dispatches. One group needs nobody else, so that any adapter can run it; for more of them
//! see `persistent_groups`.

use super::forward::{OWN, options};
use crate::kernels::matvec_int8::QUANTISED;
use crate::persistent::{Compiled, Drawing, Geometry, InHalves, Persistent, Shape, confirms, text, tried};
use crate::{Activations, DecodeMode, GpuError, GpuForwardPass, GpuOptions};
use gguf::TensorType;
use model::{Choice, ForwardPass, ModelSpec, Q8Layout, Reference, RopePairing, Rounding, Row, Weights};
use std::ops::ControlFlow;
use testkit::TinyModel;

/// Tokens that are compared.
pub(super) const N: usize = 40;
pub(super) const ALONE: Geometry = Geometry {
    groups: 1,
    helpers: 0,
    threads: 128,
    lanes: 0,
    splits: 1,
    copies: 1,
    keys: 2,
    one_chunk: false,
    batch: 32,
    holds_layer: true,
    in_halves: InHalves::NONE,
    draws: false,
    in_turns: true,
};

/// As small as the kernel takes it; with as many layers that parities turn from token to token.
pub(super) fn small() -> TinyModel {
    TinyModel {
        n_layers: 3,
        n_heads: 2,
        n_kv_heads: 1,
        head_dim: 32,
        matrices: TensorType::Q4_0,
        head: TensorType::Q8_0,
        gain: 4.0,
        ..TinyModel::default()
    }
}

pub(super) fn pass(model: &TinyModel, pairing: RopePairing) -> GpuForwardPass {
    pass_with(model, pairing, &options(64))
}

pub(super) fn pass_with(model: &TinyModel, pairing: RopePairing, options: &GpuOptions) -> GpuForwardPass {
    let file = model.gguf();
    let mut spec = ModelSpec::new(file.metadata(), &file).unwrap();
    spec.rope.pairing = pairing;
    let weights = Weights::new(&spec, &file).unwrap();
    GpuForwardPass::new(&spec, &weights, options, &mut |_| ()).unwrap()
}

/// Gives `pass` a kernel of `geometries`, its text changed by `edit`.
pub(super) fn equip(
    pass: &mut GpuForwardPass,
    geometries: &[(usize, Geometry)],
    edit: impl Fn(String) -> String,
) {
    let lanes = pass.machine.gpu.info.subgroup_min_size as usize;
    let geometries: Vec<_> = geometries.iter().map(|&(from, g)| (from, Geometry { lanes, ..g })).collect();
    let shape = Shape::of(&pass.planner()).unwrap();
    let texts: Vec<_> = geometries.iter().map(|(_, geometry)| edit(text(&shape, geometry))).collect();
    let machine = &pass.machine;
    let compiled = Compiled::new(&machine.gpu, &machine.pipelines, &shape, &geometries, &texts).unwrap();
    pass.persistent = Some(Persistent::new(machine, compiled));
}

/// `n` tokens from where the sequence is.
pub(super) fn decode(pass: &mut GpuForwardPass, token: u32, n: usize) -> Vec<u32> {
    decode_by(pass, &Choice::GREEDY, token, n)
}

pub(super) fn decode_by(pass: &mut GpuForwardPass, choice: &Choice, token: u32, n: usize) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut take = |id| {
        ids.push(id);
        if ids.len() == n { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    pass.decode(token, choice, &mut take).unwrap();
    ids
}

/// The ids of `N` tokens from the beginning, and the last layer's keys and values. The cache holds something else before.
fn run(pass: &mut GpuForwardPass) -> (Vec<u32>, Vec<f32>) {
    pass.truncate(OWN, 0);
    let other: Vec<u32> = (0..N as u32 + 8).map(|i| (i * 37 + 11) % 250).collect();
    pass.forward_prompt(&other).unwrap();
    pass.truncate(OWN, 0);
    let ids = decode(pass, 5, N);
    assert_eq!(pass.sequence_len(OWN), N);
    (ids, cache(pass))
}

/// The last layer's keys and values.
pub(super) fn cache(pass: &mut GpuForwardPass) -> Vec<f32> {
    let layer = pass.spec().n_layers - 1;
    (0..N).flat_map(|at| pass.key_and_value(layer, OWN, at)).flatten().collect()
}

pub(super) fn assert_same(found: &(Vec<u32>, Vec<f32>), expected: &(Vec<u32>, Vec<f32>), what: &str) {
    assert_near(found, expected, 2e-3, what);
}

/// The same ids, and keys and values no further apart than `most` of the largest.
pub(super) fn assert_near(
    (ids, cached): &(Vec<u32>, Vec<f32>),
    expected: &(Vec<u32>, Vec<f32>),
    most: f32,
    what: &str,
) {
    assert_eq!(*ids, expected.0, "{what}");
    let largest = expected.1.iter().fold(0f32, |m, v| m.max(v.abs()));
    let apart = cached.iter().zip(&expected.1).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(apart < most * largest, "{what}: keys and values {apart} apart, of {largest}");
}

#[test]
fn one_group_gives_the_tokens_of_the_plan() {
    let other = TinyModel { matrices: TensorType::Q8_0, head: TensorType::Q4_0, tied_head: false, ..small() };
    let wide = TinyModel { head: TensorType::Q6_K, ..TinyModel::wide(TensorType::Q4_0) };
    // From one variant to the next, the latter for the rest of the tokens.
    for (model, pairing, splits) in [
        (small(), RopePairing::Adjacent, vec![(0, 1), (20, 3)]),
        (other, RopePairing::Halves, vec![(0, 2)]),
        (wide, RopePairing::Adjacent, vec![(0, 1)]),
        (TinyModel { family: "qwen2", ..small() }, RopePairing::Halves, vec![(0, 1)]),
        (TinyModel { family: "qwen3", ..small() }, RopePairing::Halves, vec![(0, 2)]),
        (TinyModel { family: "qwen3", ..small() }, RopePairing::Adjacent, vec![(0, 1)]),
    ] {
        let mut pass = pass(&model, pairing);
        let expected = run(&mut pass);
        let distinct = expected.0.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert!(distinct > 5, "a test of ids needs different ones: {:?}", expected.0);
        // A group alone has so much of a wider model that its text would be long.
        let (batch, holds_layer) = if model.n_embd > 64 { (4, false) } else { (ALONE.batch, true) };
        let variant = |(from, splits)| (from, Geometry { splits, batch, holds_layer, ..ALONE });
        equip(&mut pass, &splits.into_iter().map(variant).collect::<Vec<_>>(), |text| text);
        for _ in 0..2 {
            assert_same(&run(&mut pass), &expected, "persistent");
            assert!(pass.persistent.is_some(), "{:?}", pass.notes());
        }
    }
}

/// A group alone looks at the first copy of what all wait for; here at one of the others.
#[test]
fn any_copy_gives_the_tokens_of_the_plan() {
    let mut pass = pass(&small(), RopePairing::Adjacent);
    let expected = run(&mut pass);
    for (holds_layer, batch, copy) in [(true, ALONE.batch, 1), (false, 4, 2)] {
        equip(&mut pass, &[(0, Geometry { copies: 3, holds_layer, batch, ..ALONE })], |text| {
            assert!(text.contains("wg % 3u"));
            text.replace("wg % 3u", &format!("{copy}u"))
        });
        assert_same(&run(&mut pass), &expected, &format!("copy {copy}"));
        assert!(pass.persistent.is_some(), "{:?}", pass.notes());
    }
}

/// More keys than a group has in hand, in an odd and in an even number of chunks, and a last one that is not whole.
#[test]
fn keys_in_chunks_give_the_tokens_of_the_plan() {
    let mut pass = pass(&small(), RopePairing::Adjacent);
    let expected = run(&mut pass);
    // 8 keys a chunk, or 16: four threads have a key.
    for (keys, splits) in [(1, 1), (1, 3), (2, 1)] {
        let geometry = Geometry { threads: 32, keys, splits, batch: 4, holds_layer: false, ..ALONE };
        equip(&mut pass, &[(0, geometry)], |text| text);
        assert_same(&run(&mut pass), &expected, &format!("{keys} keys a team, {splits} parts"));
        assert!(pass.persistent.is_some(), "{:?}", pass.notes());
    }
}

/// As many keys as a group has in hand, up to where the next variant begins: no submit goes beyond, whatever it has in hand then.
#[test]
fn keys_in_one_chunk_give_the_tokens_of_the_plan() {
    let mut pass = pass(&small(), RopePairing::Adjacent);
    let expected = run(&mut pass);
    let of =
        |splits| Geometry { threads: 32, splits, one_chunk: true, batch: 4, holds_layer: false, ..ALONE };
    assert_eq!(of(1).chunk(Shape::of(&pass.planner()).unwrap().heads), 16);
    equip(&mut pass, &[(0, of(1)), (17, of(3))], |text| text);
    let kernel = pass.persistent.as_ref().unwrap();
    let most = [0, 16, 17, 40].map(|position| kernel.most_tokens(position, Drawing::BEST));
    assert_eq!(most, [17, 1, usize::MAX, usize::MAX]);
    assert_same(&run(&mut pass), &expected, "one chunk");
    assert!(pass.persistent.is_some(), "{:?}", pass.notes());
    // With more they are others: the test would notice.
    equip(&mut pass, &[(0, of(1))], |text| text);
    assert_ne!(run(&mut pass).0, expected.0);
}

/// Groups that only help change nothing, whether they are at work beside or behind the others.
#[test]
fn helpers_change_nothing() {
    let mut pass = pass(&small(), RopePairing::Adjacent);
    let expected = run(&mut pass);
    equip(&mut pass, &[(0, ALONE), (12, Geometry { helpers: 3, splits: 2, ..ALONE })], |text| text);
    for _ in 0..2 {
        assert_same(&run(&mut pass), &expected, "with helpers");
        assert!(pass.persistent.is_some(), "{:?}", pass.notes());
    }
}

/// Of a model whose layers registers do not hold a thread loads batch after batch, ahead from phase to phase and from layer to layer;
/// and its weights may lie in two buffers.
#[test]
fn weights_in_batches_give_the_tokens_of_the_plan() {
    let model = TinyModel { n_layers: 9, ..small() };
    let mut binding_limit = None;
    for (n_buffers, batch, splits) in [(1, 1, 1), (1, 3, 2), (2, 3, 1)] {
        let options = GpuOptions { binding_limit, ..options(64) };
        let mut pass = pass_with(&model, RopePairing::Adjacent, &options);
        assert_eq!(pass.machine.weights.len(), n_buffers);
        let expected = run(&mut pass);
        equip(&mut pass, &[(0, Geometry { batch, holds_layer: false, splits, ..ALONE })], |text| text);
        assert_same(&run(&mut pass), &expected, &format!("batches of {batch}, {n_buffers} buffers"));
        assert!(pass.persistent.is_some(), "{:?}", pass.notes());
        if batch == 3 {
            binding_limit = Some(pass.memory_plan().weights_bytes * 6 / 10);
        }
    }
}

/// In 8 bits against the reference that rounds as the kernel does, on the kernel's own keys and values: each token is its best, or as
/// near to it as a number makes it that fell to the other side of a step; and keys and values are much nearer to its than to those of
/// references that round in another way, or not at all.
#[test]
fn numbers_in_8_bits_are_those_of_the_reference() {
    let q8_0 = TinyModel { matrices: TensorType::Q8_0, head: TensorType::Q4_0, tied_head: false, ..small() };
    let wide = |tied_head| TinyModel {
        head: TensorType::Q6_K,
        tied_head,
        gain: 1.0,
        ..TinyModel::wide(TensorType::Q4_0)
    };
    let none = InHalves::NONE;
    let gated = InHalves { gated: true, ..none };
    for (model, batch, holds_layer, in_halves, splits, copies) in [
        (small(), 4, false, none, 1, 1),
        (TinyModel { n_ff: 128, ..small() }, 1, false, InHalves::ALL, 1, 2),
        (small(), 32, true, none, 2, 2),
        (TinyModel { n_ff: 192, ..q8_0.clone() }, 2, false, InHalves::ALL, 3, 1),
        (q8_0, 2, false, none, 3, 1),
        (wide(true), 4, false, none, 1, 3),
        (wide(true), 4, false, gated, 1, 3),
        (wide(true), 2, false, InHalves::ALL, 1, 3),
        // Words of which a thread has different ones.
        (TinyModel { n_ff: 1024, ..wide(false) }, 4, false, none, 2, 1),
        (TinyModel { n_ff: 1024, ..wide(false) }, 4, false, InHalves { middle: true, ..gated }, 2, 1),
    ] {
        let options = GpuOptions { activations: Activations::Int8, ..options(64) };
        let mut pass = pass_with(&model, RopePairing::Adjacent, &options);
        assert!(in_halves == none || Shape::of(&pass.planner()).unwrap().can_halve());
        let geometry = Geometry { batch, holds_layer, in_halves, splits, copies, ..ALONE };
        equip(&mut pass, &[(0, geometry)], |text| {
            text.replace(&format!("wg % {copies}u"), &format!("{}u", copies - 1))
        });
        let ids = run(&mut pass).0;
        assert!(pass.persistent.take().is_some(), "{:?}", pass.notes());
        let distinct = ids.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert!(distinct > 5, "a test of ids needs different ones: {ids:?}");
        let file = model.gguf();
        let spec = pass.spec().clone();
        let weights = Weights::new(&spec, &file).unwrap();
        let exact = Rounding { f16_kv: true, ..Rounding::default() };
        let reference = |rounding| Reference::new(&spec, &weights, 64, 1, rounding);
        let mut rounding =
            reference(Rounding { q8_activations: &QUANTISED, q8_layout: Q8Layout::Words, ..exact });
        let mut coarser = reference(Rounding { q8_activations: &QUANTISED, ..exact });
        let mut exact = reference(exact);
        let (mut far, mut distances) = (0f32, [0f64; 3]);
        for (position, (&token, &next)) in std::iter::once(&5).chain(&ids).zip(&ids).enumerate() {
            let mut row = Row::prompt(OWN, position as u32, &[token]);
            row[0].wants_logits = true;
            let mut cache = |layer, sequence, at| pass.key_and_value(layer, sequence, at);
            let mut on_cache = |reference: &mut Reference| reference.forward_on(&row, &mut cache).unwrap();
            let [found, other, unrounded] = [&mut rounding, &mut coarser, &mut exact].map(&mut on_cache);
            for (sum, found) in distances.iter_mut().zip([&found, &other, &unrounded]) {
                *sum += found.kv_distance;
            }
            let [low, high] = [f32::min, f32::max].map(|f| found.logits.iter().copied().reduce(f).unwrap());
            far = far.max((high - found.logits[next as usize]) / (high - low));
        }
        assert!(far < 0.01, "batches of {batch}: a token is {far} of the logits' range from the best");
        let [own, coarser, exact] = distances;
        assert!(20.0 * own < exact && 20.0 * own < coarser, "batches of {batch}: {distances:?}");
    }
}

/// What a trial in 8 bits takes for right: what the plan of dispatches chooses, and not that with another token in it. What the kernel
/// chooses of a model as small as these may be neither, since it rounds in smaller blocks.
#[test]
fn a_trial_in_8_bits_knows_a_wrong_token() {
    let decode = DecodeMode::Dispatch;
    let options = GpuOptions { activations: Activations::Int8, decode, ..options(64) };
    let mut pass = pass_with(&small(), RopePairing::Adjacent, &options);
    assert!(pass.rounds_activations());
    let ids = run(&mut pass).0;
    assert!(confirms(&mut pass, (0, 5), &ids).unwrap(), "{ids:?}");
    for at in [0, N / 2, N - 1] {
        let mut wrong = ids.clone();
        wrong[at] = (wrong[at] + 1) % 250;
        assert!(!confirms(&mut pass, (0, 5), &wrong).unwrap(), "{at}: {ids:?}");
    }
}

/// Wherever the kernel stops, no token is lost, none comes twice, and decoding goes on by dispatches.
#[test]
fn a_kernel_that_stops_is_left_at_the_token_where_it_was() {
    let mut pass = pass(&small(), RopePairing::Adjacent);
    let expected = run(&mut pass);
    for position in [13, N - 1] {
        let stop = format!(
            "    if (position == {position}u) {{ atomicStore(&stopped, 1u); atomicStore(&exchange[STOPPED], 1u); }}\n    token = phase_output(i);"
        );
        equip(&mut pass, &[(0, ALONE)], |text| {
            assert!(text.contains("    token = phase_output(i);"));
            text.replace("    token = phase_output(i);", &stop)
        });
        let notes = pass.notes().len();
        assert_same(&run(&mut pass), &expected, &format!("stopped at {position}"));
        assert!(pass.persistent.is_none());
        assert_eq!(pass.notes().len(), notes + 1, "the user is told once");
    }
}

/// A trial leaves no trace, however it ends: of a kernel that is right, one that stops, and one that is wrong.
#[test]
fn a_trial_leaves_the_sequence_empty() {
    let mut pass = pass(&small(), RopePairing::Adjacent);
    let expected = run(&mut pass);
    let mut after = |edit: fn(String) -> String, geometry: Geometry, limit: Option<u32>| {
        equip(&mut pass, &[(0, geometry)], edit);
        let mut kernel = pass.persistent.take().unwrap();
        kernel.limit = limit.unwrap_or(kernel.limit);
        let found = tried(&mut pass, kernel).map(|(kernel, _)| kernel);
        assert!(pass.persistent.is_none() && pass.sequence_len(OWN) == 0 && pass.notes().is_empty());
        found
    };
    let right = after(|text| text, ALONE, None).unwrap();
    let stopped = after(|text| text, Geometry { groups: 12, ..ALONE }, Some(3));
    assert!(stopped.unwrap_err().contains("in vain"));
    let silent = |text: String| {
        assert!(text.contains("fn silu(x: f32) -> f32 { return x /"));
        text.replace("fn silu(x: f32) -> f32 { return x /", "fn silu(x: f32) -> f32 { return -x /")
    };
    assert!(after(silent, ALONE, None).unwrap_err().contains("not those of the other way"));
    pass.persistent = Some(right);
    assert_same(&run(&mut pass), &expected, "after trials");
}

/// Variants are tried where they are used, at the beginning and at the end: this text is wrong from the second block of keys on.
#[test]
fn a_trial_knows_what_is_wrong_far_on() {
    let mut pass = pass(&small(), RopePairing::Adjacent);
    let two = Geometry { splits: 2, ..ALONE };
    for variants in [vec![(0, ALONE)], vec![(0, ALONE), (12, two)], vec![(0, ALONE), (36, two)]] {
        let mut tried_with = |right: bool| {
            equip(&mut pass, &variants, |text| {
                assert!(text.contains("blocks[i] = tables[TABLE + i];"));
                if right { text } else { text.replace("tables[TABLE + i]", "tables[TABLE]") }
            });
            let kernel = pass.persistent.take().unwrap();
            tried(&mut pass, kernel).map(|_| ())
        };
        assert_eq!(tried_with(true), Ok(()), "{variants:?}");
        let wrong = tried_with(false).unwrap_err();
        let position: usize = wrong.split(' ').find_map(|word| word.parse().ok()).expect(&wrong);
        assert!(wrong.contains("not those of the other way") && position > 20, "{wrong}");
    }
}

/// Groups that are not all at work at a time wait in vain, but not for ever.
#[test]
fn groups_that_miss_each_other_give_up() {
    let mut pass = pass(&small(), RopePairing::Adjacent);
    let expected = run(&mut pass);
    equip(&mut pass, &[(0, Geometry { groups: 12, ..ALONE })], |text| text);
    pass.persistent.as_mut().unwrap().limit = 3;
    assert_same(&run(&mut pass), &expected, "given up");
    assert!(pass.persistent.is_none());
}

#[test]
fn it_is_for_certain_devices_and_models() {
    let model = small();
    let file = model.gguf();
    let spec = ModelSpec::new(file.metadata(), &file).unwrap();
    let weights = Weights::new(&spec, &file).unwrap();
    let asked = GpuOptions { decode: DecodeMode::Persistent, ..options(64) };
    let made = GpuForwardPass::new(&spec, &weights, &asked, &mut |_| ());
    match made {
        Ok(pass) => assert!(pass.persistent.is_some()),
        Err(GpuError::Unsupported { what }) => assert!(what.contains("NVIDIA"), "{what}"),
        Err(other) => panic!("{other}"),
    }
    for (model, why) in [
        (TinyModel { matrices: TensorType::F16, ..small() }, "F16"),
        (TinyModel { head_dim: 16, ..small() }, "16 elements"),
    ] {
        let pass = pass(&model, RopePairing::Adjacent);
        assert!(pass.decodes_in_one_dispatch().is_err());
        let refusal = Shape::of(&pass.planner()).unwrap_err();
        assert!(refusal.contains(why), "{refusal}");
    }
}
