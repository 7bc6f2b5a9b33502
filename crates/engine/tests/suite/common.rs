//! What the tests share.

use gguf::{Gguf, GgufWriter, Value};
use metal_attention::{
    DeviceChoice, GenerateOptions, Generation, LoadOptions, Model, ModelSource, SamplingOptions, Session,
};
use model::{ForwardPass, ModelSpec, Reference, Rounding, Weights};
use std::ops::ControlFlow;
use testkit::TinyModel;

pub(crate) const PROMPT: &str = "the end and then all";

/// A template in the manner of ChatML.
pub(crate) const CHAT_TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
     {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// Whatever else the machine has: results of the CPU are the same everywhere.
pub(crate) fn on_cpu() -> LoadOptions {
    LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() }
}

pub(crate) fn load_bytes(bytes: Vec<u8>) -> Model {
    let source = ModelSource::Memory { name: "test".into(), bytes };
    Model::load(source, &on_cpu(), &mut |_| {}).unwrap()
}

pub(crate) fn load(tiny: &TinyModel) -> Model {
    load_bytes(tiny.bytes())
}

/// A copy of a file in which some metadata keys have other values, or none, and others are new.
pub(crate) fn with_metadata(bytes: Vec<u8>, changes: &[(&str, Option<Value>)]) -> Vec<u8> {
    let gguf = Gguf::from_vec(bytes).unwrap();
    let mut writer = GgufWriter::new();
    for (key, value) in
        gguf.metadata().iter().filter(|(key, _)| changes.iter().all(|(changed, _)| changed != key))
    {
        writer.set(key, value.clone()).unwrap();
    }
    for (key, value) in changes {
        if let Some(value) = value {
            writer.set(*key, value.clone()).unwrap();
        }
    }
    for info in gguf.tensors() {
        writer.add_tensor(info.name(), info.ty(), info.shape(), gguf.tensor_data(info)).unwrap();
    }
    writer.to_vec()
}

pub(crate) fn greedy(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        sampling: SamplingOptions::greedy(),
        max_tokens: Some(max_tokens),
        ..GenerateOptions::default()
    }
}

/// Greedy by way of the sampler: a bias of nothing keeps the backend from choosing by itself.
pub(crate) fn greedy_by_sampler(max_tokens: usize) -> GenerateOptions {
    let sampling = SamplingOptions { logit_bias: vec![(0, 0.0)], ..SamplingOptions::greedy() };
    GenerateOptions { sampling, ..greedy(max_tokens) }
}

pub(crate) fn seeded(seed: u64, max_tokens: usize) -> GenerateOptions {
    let sampling = SamplingOptions { seed: Some(seed), ..SamplingOptions::default() };
    GenerateOptions { sampling, max_tokens: Some(max_tokens), ..GenerateOptions::default() }
}

/// Generates and checks that the pieces, joined, are the text.
pub(crate) fn generate(session: &mut Session<'_>, prompt: &str, options: &GenerateOptions) -> Generation {
    let mut streamed = String::new();
    let generation = session
        .generate(prompt, options, &mut |piece| {
            assert!(!piece.is_empty());
            streamed.push_str(piece);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(streamed, generation.text);
    assert_eq!(generation.usage.completion_tokens, generation.tokens.len());
    generation
}

/// As [`generate`], with nothing in the cache.
pub(crate) fn generate_cold(model: &mut Model, prompt: &str, options: &GenerateOptions) -> Generation {
    let generation = generate(&mut model.session(), prompt, options);
    assert_eq!(generation.usage.cached_tokens, 0);
    generation
}

/// The most likely tokens after [`PROMPT`] by the reference, with keys and values in f16 as every backend has them: `n`, or fewer
/// where one ends the text.
pub(crate) fn reference_tokens(tiny: &TinyModel, engine: &Model, n: usize) -> Vec<u32> {
    let gguf = tiny.gguf();
    let spec = ModelSpec::new(gguf.metadata(), &gguf).unwrap();
    let weights = Weights::new(&spec, &gguf).unwrap();
    let rounding = Rounding { f16_kv: true, ..Rounding::default() };
    let mut reference = Reference::new(&spec, &weights, 128, 1, rounding);
    let logits = reference.forward_prompt(&engine.encode_prompt(PROMPT).unwrap()).unwrap();
    let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap();
    let mut tokens = vec![best.0 as u32];
    while let [.., last] = tokens[..]
        && tokens.len() < n
        && !engine.tokenizer().unwrap().stop_ids().contains(&last)
    {
        tokens.push(reference.forward_token_greedy(last).unwrap());
    }
    tokens
}
