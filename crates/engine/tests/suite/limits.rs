//! How a text ends where the model does not end it, and what is refused.

use crate::common::{
    PROMPT, generate, generate_cold, greedy, greedy_by_sampler, load, load_bytes, with_metadata,
};
use metal_attention::{
    ErrorKind, FinishReason, ForwardError, GenerateError, GenerateOptions, Model, SamplingOptions,
};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::TinyModel;

#[test]
fn max_tokens_is_kept_to_the_token() {
    let mut model = load(&TinyModel::default());
    for n in [0, 1, 2, 17] {
        for options in [greedy(n), greedy_by_sampler(n)] {
            let generation =
                generate_cold(&mut model, PROMPT, &GenerateOptions { ignore_eos: true, ..options });
            assert_eq!(generation.tokens.len(), n);
            assert_eq!(generation.finish_reason, FinishReason::Length);
        }
    }
}

/// A model whose vocabulary has no stop token.
fn endless() -> Model {
    let tiny = TinyModel::default();
    let gguf = tiny.gguf();
    let tokens = gguf.metadata().str_array("tokenizer.ggml.tokens").unwrap();
    let tokens: Vec<String> = tokens.into_iter().map(|token| token.replace("<|", "<")).collect();
    let changes = [
        ("tokenizer.ggml.tokens", Some(tokens.into())),
        ("tokenizer.ggml.eos_token_id", None),
        ("tokenizer.ggml.eot_token_id", None),
    ];
    load_bytes(with_metadata(tiny.bytes(), &changes))
}

#[test]
fn a_full_context_ends_the_text() {
    let mut model = endless();
    assert!(model.tokenizer().unwrap().stop_ids().is_empty());
    let context_len = model.context_len();
    for n_prompt in [100, context_len - 1, context_len] {
        let prompt: Vec<u32> = (0..n_prompt as u32).map(|i| 65 + i % 26).collect();
        let mut texts = Vec::new();
        for options in [greedy(0), greedy_by_sampler(0)] {
            let options = GenerateOptions { max_tokens: None, ..options };
            let mut session = model.session();
            let generation = session.generate(&prompt, &options, &mut |_| ControlFlow::Continue(())).unwrap();
            assert_eq!(generation.finish_reason, FinishReason::Length);
            assert_eq!(generation.tokens.len(), context_len - n_prompt + 1);
            assert_eq!(session.tokens().len(), context_len);
            texts.push(generation.text);
        }
        assert_eq!(texts[0], texts[1]);
    }
}

#[test]
fn a_callback_or_a_flag_breaks_off() {
    let mut model = load(&TinyModel::default());
    let options = GenerateOptions { ignore_eos: true, ..greedy(50) };
    let mut pieces = 0;
    let mut shown = String::new();
    let generation = model
        .session()
        .generate(PROMPT, &options, &mut |piece| {
            pieces += 1;
            shown.push_str(piece);
            if pieces == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((pieces, generation.finish_reason), (4, FinishReason::Cancelled));
    assert_eq!(generation.text, shown);

    let flag = Arc::new(AtomicBool::new(false));
    let options = GenerateOptions { cancel: Some(Arc::clone(&flag)), ..options };
    let mut pieces = 0;
    let generation = model
        .session()
        .generate(PROMPT, &options, &mut |_| {
            pieces += 1;
            flag.store(pieces == 4, Ordering::Relaxed);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((pieces, generation.finish_reason), (4, FinishReason::Cancelled));
}

#[test]
fn a_long_prompt_can_be_cancelled_before_it_is_computed() {
    let mut model = load(&TinyModel { context_len: 4096, ..TinyModel::default() });
    let options = GenerateOptions { cancel: Some(Arc::new(AtomicBool::new(true))), ..greedy(5) };
    let mut session = model.session();
    let prompt = vec![66; 2000];
    let generation = session.generate(&prompt, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(generation.finish_reason, FinishReason::Cancelled);
    assert!(generation.tokens.is_empty() && session.tokens().is_empty());
    // And in batches it is what it is at once.
    let whole = session.generate(&prompt, &greedy(5), &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(session.tokens()[..2000], prompt);
    assert!(!whole.tokens.is_empty());
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let mut model = load(&TinyModel::default());
    let n_vocab = model.spec().n_vocab;
    let mut session = model.session();
    let mut refuse = |prompt: &[u32], options: GenerateOptions| {
        let error = session.generate(prompt, &options, &mut |_| panic!("no text")).unwrap_err();
        assert_eq!(ErrorKind::of(&error), ErrorKind::Usage, "{error}");
        error
    };
    assert!(matches!(refuse(&[], greedy(1)), GenerateError::EmptyPrompt));
    assert!(matches!(
        refuse(&[1, n_vocab as u32], greedy(1)),
        GenerateError::Forward(ForwardError::TokenOutOfVocabulary { .. })
    ));
    let hot = SamplingOptions { temperature: f32::NAN, ..SamplingOptions::default() };
    assert!(matches!(
        refuse(&[1], GenerateOptions { sampling: hot, ..greedy(1) }),
        GenerateError::Sampling(_)
    ));
    let stop = vec!["x".to_owned(), String::new()];
    assert!(matches!(refuse(&[1], GenerateOptions { stop, ..greedy(1) }), GenerateError::EmptyStopString));
}

#[test]
fn bos_comes_once_where_the_vocabulary_adds_it() {
    let bytes =
        with_metadata(TinyModel::default().bytes(), &[("tokenizer.ggml.add_bos_token", Some(true.into()))]);
    let mut model = load_bytes(bytes);
    let bos = model.tokenizer().unwrap().bos().unwrap();
    let plain = model.encode_prompt("the end").unwrap();
    assert_eq!(plain.iter().filter(|&&id| id == bos).count(), 1);
    assert_eq!(plain[0], bos);
    assert_eq!(model.encode_prompt("<|endoftext|>the end").unwrap(), plain);
    assert_eq!(model.encode_prompt("").unwrap(), [bos]);
    // An empty text is a prompt then.
    assert_eq!(generate(&mut model.session(), "", &greedy(1)).usage.prompt_tokens, 1);
}
