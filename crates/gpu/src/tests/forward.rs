//! The whole pass against the f64 reference and against itself: one by one, as prompts, ahead of the host, in batches.

use crate::{Activations, AdapterChoice, GpuForwardPass, GpuOptions};
use gguf::TensorType;
use model::{Choice, ForwardError, ForwardPass, ModelSpec, Reference, Rounding, Row, SequenceId, Weights};
use std::ops::ControlFlow;
use testkit::TinyModel;

pub(super) const OWN: SequenceId = SequenceId(0);
/// What logits may differ by, relative to the largest.
const LOGITS: f64 = 2e-3;
/// The same where prompts go through matrix units, which round both factors to f16: every product is 2^-11 off, and random models
/// make more of that than trained ones.
const LOGITS_OF_HALVES: f64 = 5e-3;

pub(super) fn options(context_len: usize) -> GpuOptions {
    let adapter = AdapterChoice { allow_software: true, ..AdapterChoice::default() };
    // What is compared with the reference here is floats, whatever the device would choose; `forward_int8` has the rest.
    GpuOptions { adapter, context_len, activations: Activations::F32, ..GpuOptions::default() }
}

/// The backend and the oracle, for `model`.
fn pair(model: &TinyModel, options: &GpuOptions) -> (GpuForwardPass, Reference) {
    let file = model.gguf();
    let spec = ModelSpec::new(file.metadata(), &file).unwrap();
    let weights = Weights::new(&spec, &file).unwrap();
    let gpu = GpuForwardPass::new(&spec, &weights, options, &mut |_| ()).unwrap();
    let rounding = Rounding { f16_kv: true, ..Rounding::default() };
    let sequences = options.n_sequences.max(1);
    (gpu, Reference::new(&spec, &weights, options.context_len, sequences, rounding))
}

fn bound(gpu: &GpuForwardPass) -> f64 {
    if gpu.machine.gpu.caps.matrices.is_some() { LOGITS_OF_HALVES } else { LOGITS }
}

fn distance(logits: &[f32], exact: &[f32]) -> f64 {
    assert_eq!(logits.len(), exact.len());
    let largest = exact.iter().fold(0f32, |m, v| m.max(v.abs()));
    let apart = logits.iter().zip(exact).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(logits.iter().all(|v| v.is_finite()));
    f64::from(apart / largest)
}

fn greedy(forward: &mut dyn ForwardPass, token: u32, n: usize) -> Vec<u32> {
    let mut ids = Vec::new();
    let mut take = |id| {
        ids.push(id);
        if ids.len() == n { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    forward.decode_greedy(token, &mut take).unwrap();
    ids
}

fn prompt(n: usize) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 37 + 11) % 250).collect()
}

#[test]
fn prompts_of_every_length_give_the_logits_of_the_reference() {
    for model in [
        TinyModel::default(),
        TinyModel {
            matrices: TensorType::Q4_0,
            head: TensorType::Q8_0,
            tied_head: false,
            ..TinyModel::wide(TensorType::Q4_0)
        },
        TinyModel { family: "qwen2", head_dim: 18, n_embd: 72, ..TinyModel::default() },
        TinyModel { family: "qwen3", ..TinyModel::default() },
    ] {
        let (mut gpu, mut reference) = pair(&model, &options(128));
        for n in [1, 2, 5, 8, 9, 33, 70] {
            gpu.truncate(OWN, 0);
            reference.truncate(OWN, 0);
            let apart = distance(
                gpu.forward_prompt(&prompt(n)).unwrap(),
                reference.forward_prompt(&prompt(n)).unwrap(),
            );
            assert!(apart < bound(&gpu), "{model:?}, {n} tokens: {apart}");
            // The same by two calls, the second of which is a token.
            let apart = distance(gpu.forward_token(7).unwrap(), reference.forward_token(7).unwrap());
            assert!(apart < bound(&gpu), "{model:?}, a token after {n}: {apart}");
        }
    }
}

/// A model that is sure of its tokens, with the layout of the real ones.
fn sure() -> TinyModel {
    TinyModel { gain: 4.0, context_len: 256, ..TinyModel::wide(TensorType::Q4_0) }
}

#[test]
fn ahead_of_the_host_or_waiting_one_by_one_or_prompted_the_tokens_are_the_same() {
    let (mut ahead, mut reference) = pair(&sure(), &options(256));
    let (mut waiting, _) = pair(&sure(), &GpuOptions { synced: true, ..options(256) });
    let start = prompt(40);
    let mut texts = Vec::new();
    for forward in [&mut ahead as &mut dyn ForwardPass, &mut waiting, &mut reference] {
        for _ in 0..2 {
            forward.truncate(OWN, 0);
            forward.forward_prompt(&start).unwrap();
            texts.push(greedy(forward, 3, 100));
            assert_eq!(forward.sequence_len(OWN), 140, "the token and every choice but the last");
        }
    }
    // One token a call; and the prompt token by token.
    ahead.truncate(OWN, 0);
    for &token in &start {
        ahead.forward_token(token).unwrap();
    }
    let mut next = 3;
    let singly = std::iter::repeat_with(|| {
        next = ahead.forward_token_greedy(next).unwrap();
        next
    });
    texts.push(singly.take(100).collect());
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
}

#[test]
fn a_decode_ends_where_the_context_does() {
    let (mut gpu, _) = pair(&TinyModel::default(), &options(40));
    gpu.forward_prompt(&prompt(30)).unwrap();
    let mut n = 0;
    gpu.decode_greedy(3, &mut |_| {
        n += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((n, gpu.sequence_len(OWN)), (10, 40));
    assert!(matches!(gpu.forward_token(1), Err(ForwardError::ContextFull { .. })));
    gpu.decode_greedy(3, &mut |_| panic!("there is no room")).unwrap();
}

#[test]
fn what_cannot_be_computed_is_refused_and_changes_nothing() {
    let (mut gpu, mut reference) = pair(&TinyModel::default(), &options(64));
    gpu.forward_prompt(&prompt(5)).unwrap();
    reference.forward_prompt(&prompt(5)).unwrap();
    assert!(matches!(gpu.forward_prompt(&[]), Err(ForwardError::NoRows)));
    assert!(matches!(
        gpu.forward_prompt(&[1, 9999]),
        Err(ForwardError::TokenOutOfVocabulary { token: 9999, .. })
    ));
    assert!(matches!(
        gpu.forward_prompt(&[1; 60]),
        Err(ForwardError::ContextFull { held: 5, added: 60, .. })
    ));
    let mut never = |_| panic!("nothing is chosen");
    assert!(matches!(gpu.decode_greedy(9999, &mut never), Err(ForwardError::TokenOutOfVocabulary { .. })));
    let strange = Choice { temperature: 1.0, top_k: 0, top_p: 0.5, ..Choice::GREEDY };
    assert!(!gpu.can_choose(&strange));
    assert!(matches!(gpu.decode(1, &strange, &mut never), Err(ForwardError::Choice)));
    assert_eq!(gpu.sequence_len(OWN), 5);
    let apart = distance(gpu.forward_token(9).unwrap(), reference.forward_token(9).unwrap());
    assert!(apart < bound(&gpu), "{apart}");
}

#[test]
fn rows_of_several_sequences_are_computed_together() {
    let options = GpuOptions { n_sequences: 3, ..options(128) };
    let (mut gpu, mut reference) = pair(&TinyModel::wide(TensorType::Q8_0), &options);
    let [a, b, c] = [SequenceId(0), SequenceId(4), SequenceId(9)];
    let row = |sequence, position, token| Row { sequence, position, token, wants_logits: true };
    // A prompt, rows by turns, a few of one in between, and one of each.
    let batches: Vec<Vec<Row>> = vec![
        [Row::prompt(a, 0, &prompt(20)), Row::prompt(b, 0, &prompt(3)), Row::prompt(c, 0, &prompt(11))]
            .concat(),
        vec![row(a, 20, 1), row(b, 3, 2), row(a, 21, 3), row(c, 11, 4), row(b, 4, 5)],
        [vec![row(b, 5, 6)], Row::prompt(a, 22, &prompt(40)), vec![row(c, 12, 7)]].concat(),
        vec![row(c, 13, 8)],
    ];
    for rows in &batches {
        let apart = distance(gpu.forward(rows).unwrap(), reference.forward(rows).unwrap());
        assert!(apart < bound(&gpu), "{apart}");
    }
    gpu.truncate(b, 0);
    reference.truncate(b, 0);
    let again = Row::prompt(b, 0, &prompt(100));
    let apart = distance(gpu.forward(&again).unwrap(), reference.forward(&again).unwrap());
    assert!(apart < bound(&gpu), "{apart}");
    let (layer, position) = (1, 50);
    let [cached, exact] =
        [gpu.key_and_value(layer, b, position), reference.key_and_value(layer, b, position)];
    for (cached, exact) in cached.iter().zip(&exact) {
        // f16 in the cache; those of a prompt have come through matrix units, where there are such.
        let bound = if gpu.machine.gpu.caps.matrices.is_some() { LOGITS_OF_HALVES } else { 2f64.powi(-10) };
        assert!(distance(cached, exact) < bound, "{cached:?} {exact:?}");
    }
    assert!(gpu.key_and_value(layer, b, 100)[0].is_empty());
}

#[test]
fn logits_of_many_rows_come_in_order() {
    let (mut gpu, mut reference) = pair(&TinyModel::default(), &options(128));
    let mut rows = Row::prompt(OWN, 0, &prompt(90));
    for (i, row) in rows.iter_mut().enumerate() {
        row.wants_logits = i >= 45 || i % 7 == 0;
    }
    let apart = distance(gpu.forward(&rows).unwrap(), reference.forward(&rows).unwrap());
    assert!(apart < bound(&gpu), "{apart}");
}

#[test]
fn small_bindings_split_weights_and_cache() {
    // The embedding alone is larger; layers fit, but not together.
    let model = TinyModel { n_layers: 3, head: TensorType::F32, ..sure() };
    let (mut gpu, mut reference) =
        pair(&model, &GpuOptions { binding_limit: Some(256 << 10), ..options(64) });
    assert!(gpu.machine.weights.len() > 3, "{}", gpu.machine.weights.len());
    assert!(gpu.tensors.embedding.len() > 1);
    let apart =
        distance(gpu.forward_prompt(&prompt(20)).unwrap(), reference.forward_prompt(&prompt(20)).unwrap());
    assert!(apart < bound(&gpu), "{apart}");
    assert_eq!(greedy(&mut gpu, 5, 30), greedy(&mut reference, 5, 30));
}

#[test]
fn a_trace_has_what_the_reference_has() {
    let apart = TinyModel { family: "qwen2", ..TinyModel::wide(TensorType::Q6_K) };
    for model in [TinyModel::default(), apart] {
        let (mut gpu, mut reference) = pair(&model, &options(64));
        gpu.forward_prompt(&prompt(10)).unwrap();
        reference.forward_prompt(&prompt(10)).unwrap();
        let (ours, exact) = (gpu.trace_token(5).unwrap(), reference.trace_token(5).unwrap());
        let names = |taps: &[model::Tap]| taps.iter().map(|tap| tap.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&ours), names(&exact));
        for (ours, exact) in ours.iter().zip(&exact) {
            assert!(ours.distance(exact) < bound(&gpu), "{}: {}", ours.name, ours.distance(exact));
        }
        assert_eq!(gpu.sequence_len(OWN), 11);
    }
}

#[test]
fn long_contexts_are_attended_to_by_parts() {
    for model in
        [TinyModel { n_layers: 1, ..sure() }, TinyModel { head_dim: 18, n_embd: 72, ..TinyModel::default() }]
    {
        let (mut gpu, mut reference) = pair(&model, &options(700));
        assert!(gpu.plans.splits(650) > 1);
        gpu.forward_prompt(&prompt(650)).unwrap();
        reference.forward_prompt(&prompt(650)).unwrap();
        let few = [1, 2, 3, 4, 5];
        let apart = distance(gpu.forward_prompt(&few).unwrap(), reference.forward_prompt(&few).unwrap());
        assert!(apart < bound(&gpu), "{apart}");
        let apart = distance(gpu.forward_token(7).unwrap(), reference.forward_token(7).unwrap());
        assert!(apart < bound(&gpu), "{apart}");
        for (ours, exact) in gpu.trace_token(8).unwrap().iter().zip(&reference.trace_token(8).unwrap()) {
            assert!(ours.name == exact.name && ours.distance(exact) < bound(&gpu), "{}", ours.name);
        }
    }
}

#[test]
fn draws_repeat_by_their_seed_and_follow_their_options() {
    let (mut gpu, mut reference) = pair(&sure(), &options(256));
    let hot = Choice { temperature: 1.5, top_k: 40, top_p: 0.95, min_p: 0.05, seed: 5, ..Choice::GREEDY };
    let noisy = Choice { temperature: 1.0, top_k: 0, seed: 5, ..Choice::GREEDY };
    let cold = Choice { temperature: 1.0, top_k: 1, ..Choice::GREEDY };
    let penalised = Choice { repeat_penalty: 1.3, repeat_last_n: 64, ..Choice::GREEDY };
    let mut run = |choice: &Choice| {
        assert!(gpu.can_choose(choice));
        gpu.truncate(OWN, 0);
        gpu.forward_prompt(&prompt(10)).unwrap();
        let mut ids = Vec::new();
        gpu.decode(3, choice, &mut |id| {
            ids.push(id);
            if ids.len() == 60 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        ids
    };
    for choice in [hot, noisy] {
        assert_eq!(run(&choice), run(&choice));
        assert_ne!(run(&choice), run(&Choice { seed: 6, ..choice }));
    }
    reference.forward_prompt(&prompt(10)).unwrap();
    let plain = greedy(&mut reference, 3, 60);
    assert_eq!(run(&cold), plain);
    // The host's way with the same penalties, on the reference's logits.
    let mut held: Vec<u32> = prompt(10).into_iter().chain([3]).collect();
    reference.truncate(OWN, 10);
    for _ in 0..60 {
        let mut logits = reference.forward_token(held[held.len() - 1]).unwrap().to_vec();
        for (id, logit) in (0..).zip(&mut logits) {
            if held[held.len().saturating_sub(64)..].contains(&id) {
                *logit = if *logit <= 0.0 { *logit * 1.3 } else { *logit / 1.3 };
            }
        }
        let best = (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
        held.push(best as u32);
    }
    assert_eq!(run(&penalised), held[11..]);
    assert_ne!(run(&penalised), plain);
}

#[test]
fn a_lost_device_is_an_error_and_not_a_panic() {
    let (mut gpu, _) = pair(&TinyModel::default(), &options(64));
    gpu.forward_prompt(&prompt(5)).unwrap();
    gpu.machine.gpu.device.destroy();
    let lost = |outcome: Result<(), ForwardError>| match outcome {
        Err(ForwardError::DeviceLost { reason }) => assert!(!reason.is_empty()),
        other => panic!("{other:?}"),
    };
    lost(gpu.forward_token(1).map(drop));
    lost(gpu.forward_prompt(&prompt(20)).map(drop));
    lost(gpu.decode_greedy(1, &mut |_| ControlFlow::Continue(())));
    lost(gpu.trace_token(1).map(drop));
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_uploaded() {
    let file = TinyModel::default().gguf();
    let spec = ModelSpec::new(file.metadata(), &file).unwrap();
    let weights = Weights::new(&spec, &file).unwrap();
    let options = GpuOptions { memory_limit: Some(100_000), ..options(64) };
    let error = GpuForwardPass::new(&spec, &weights, &options, &mut |_| panic!("uploaded")).unwrap_err();
    assert!(matches!(error, crate::GpuError::Memory { need, have: 100_000 } if need > 100_000), "{error}");
}

#[test]
fn a_second_start_finds_its_pipelines_on_disk() {
    let folder = std::env::temp_dir().join(format!("metal-attention-pipelines-{}", std::process::id()));
    let cached = GpuOptions { pipeline_cache: Some(folder.clone()), ..options(64) };
    let mut logits = Vec::new();
    let mut files = Vec::new();
    for _ in 0..2 {
        let (mut gpu, _) = pair(&TinyModel::default(), &cached);
        logits.push(gpu.forward_prompt(&prompt(5)).unwrap().to_vec());
        let listed: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.push((listed.len(), std::fs::metadata(&listed[0]).unwrap().len()));
    }
    assert_eq!(files[0].0, 1, "a file for an adapter");
    assert!(files[0].1 > 64, "a driver stores something: {files:?}");
    assert_eq!(logits[0], logits[1]);
    std::fs::remove_dir_all(folder).unwrap();
}
