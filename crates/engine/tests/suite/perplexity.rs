//! Perplexity against the definition, worked out from the reference's logits.

use crate::common::{load, load_bytes, with_metadata};
use metal_attention::{EncodeOptions, ErrorKind, PerplexityError, PerplexityOptions, perplexity};
use model::{ForwardPass, ModelSpec, Reference, Rounding, SequenceId, Weights};
use std::ops::ControlFlow;
use testkit::TinyModel;

const TEXT: &str = "In the beginning there was nothing, and then all at once there were the sea and the land, \
                    and on the land a mouse, who wondered about it all and in the end went to sleep again.";

#[test]
fn it_is_what_the_definition_says() {
    for add_bos in [false, true] {
        let changes = [("tokenizer.ggml.add_bos_token", Some(add_bos.into()))];
        let bytes = with_metadata(TinyModel::default().bytes(), &changes);
        let mut engine = load_bytes(bytes.clone());
        let tokenizer = engine.tokenizer().unwrap();
        let tokens =
            tokenizer.encode(TEXT, EncodeOptions { add_special: true, parse_special: false }).unwrap();
        let bos = tokenizer.bos().unwrap();

        let gguf = gguf::Gguf::from_vec(bytes).unwrap();
        let spec = ModelSpec::new(gguf.metadata(), &gguf).unwrap();
        let weights = Weights::new(&spec, &gguf).unwrap();
        let mut reference =
            Reference::new(&spec, &weights, 32, 1, Rounding { f16_kv: true, ..Rounding::default() });
        let context = 31;
        let mut nll = Vec::new();
        for chunk in tokens.chunks_exact(context) {
            reference.truncate(SequenceId(0), 0);
            for (i, &token) in chunk[..context - 1].iter().enumerate() {
                let logits = reference.forward_token(if i == 0 && add_bos { bos } else { token }).unwrap();
                if i >= 15 {
                    let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
                    nll.push(sum.ln() - f64::from(logits[chunk[i + 1] as usize]));
                }
            }
        }
        let n = nll.len() as f64;
        let mean = nll.iter().sum::<f64>() / n;
        let variance = nll.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let error = (variance / (n - 1.0)).sqrt() * mean.exp();

        let mut heard = Vec::new();
        let options = PerplexityOptions { context, ..PerplexityOptions::default() };
        let result = perplexity(&mut engine, TEXT, &options, &mut |so_far| {
            heard.push(*so_far);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!((result.perplexity / mean.exp() - 1.0).abs() < 1e-4, "{} {}", result.perplexity, mean.exp());
        assert!((result.standard_error / error - 1.0).abs() < 1e-3, "{} {error}", result.standard_error);
        assert_eq!((result.chunks, result.n_scored), (tokens.len() / context, nll.len()));
        assert_eq!(heard.last(), Some(&result));
        assert_eq!(
            heard.iter().map(|p| p.chunks).collect::<Vec<_>>(),
            (1..=result.chunks).collect::<Vec<_>>()
        );
    }
}

#[test]
fn chunks_can_be_limited() {
    let mut model = load(&TinyModel::default());
    let go = |_: &metal_attention::Perplexity| ControlFlow::Continue(());
    let two = perplexity(
        &mut model,
        TEXT,
        &PerplexityOptions { context: 16, chunks: Some(2), batch: None },
        &mut go.clone(),
    )
    .unwrap();
    assert_eq!((two.chunks, two.n_chunks, two.n_scored), (2, 2, 14));
    let mut end_at_two = |p: &metal_attention::Perplexity| match p.chunks {
        2 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let all = PerplexityOptions { context: 16, chunks: None, batch: Some(3) };
    let ended = perplexity(&mut model, TEXT, &all, &mut end_at_two).unwrap();
    assert_eq!((ended.perplexity, ended.chunks), (two.perplexity, 2));
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let mut model = load(&TinyModel::default());
    let mut refuse = |text: &str, context, chunks| {
        let options = PerplexityOptions { context, chunks, batch: None };
        let error = perplexity(&mut model, text, &options, &mut |_| ControlFlow::Continue(())).unwrap_err();
        assert_eq!(ErrorKind::of(&error), ErrorKind::Usage, "{error}");
        error
    };
    assert!(matches!(
        refuse("short", 16, None),
        PerplexityError::TooShort { tokens: 5, needed: 32, context: 16 }
    ));
    assert!(matches!(refuse(TEXT, 129, None), PerplexityError::Context { context: 129, most: 128 }));
    assert!(matches!(refuse(TEXT, 3, None), PerplexityError::Context { .. }));
    assert!(matches!(refuse(TEXT, 16, Some(0)), PerplexityError::NoChunks));
}
