//! Which text comes out.

use crate::common::{PROMPT, generate_cold, greedy, greedy_by_sampler, load, reference_tokens, seeded};
use metal_attention::{FinishReason, GenerateOptions, SamplingOptions};
use testkit::TinyModel;

#[test]
fn greedy_text_is_the_references() {
    for family in ["llama", "qwen2", "qwen3"] {
        let tiny = TinyModel { family, ..TinyModel::default() };
        let mut engine = load(&tiny);
        let generation = generate_cold(&mut engine, PROMPT, &greedy(40));
        assert_eq!(generation.tokens, reference_tokens(&tiny, &engine, 40), "{family}");
        assert_eq!(generation.text, engine.tokenizer().unwrap().decode(&generation.tokens), "{family}");
    }
}

#[test]
fn the_backend_and_the_sampler_agree_at_temperature_0() {
    for seed in 1..6 {
        let mut model = load(&TinyModel { seed, ..TinyModel::default() });
        let by_backend = generate_cold(&mut model, PROMPT, &greedy(60));
        let by_sampler = generate_cold(&mut model, PROMPT, &greedy_by_sampler(60));
        assert_eq!(by_backend.tokens, by_sampler.tokens);
        assert_eq!(by_backend.text, by_sampler.text);
        assert_eq!(by_backend.finish_reason, by_sampler.finish_reason);
    }
}

#[test]
fn a_seed_repeats_a_text_and_is_always_told() {
    let mut model = load(&TinyModel::default());
    let first =
        generate_cold(&mut model, PROMPT, &GenerateOptions { max_tokens: Some(40), ..Default::default() });
    let again = generate_cold(&mut model, PROMPT, &seeded(first.seed, 40));
    assert_eq!((&again.text, again.seed), (&first.text, first.seed));
    let others: Vec<String> =
        (0..3).map(|seed| generate_cold(&mut model, PROMPT, &seeded(seed, 40)).text).collect();
    assert!(others[0] != others[1] || others[1] != others[2]);
}

#[test]
fn text_of_broken_code_points_streams_whole() {
    // High temperature gives bytes at random: most are the middle or the half of a code point.
    let sampling =
        SamplingOptions { temperature: 5.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplingOptions::default() };
    let mut model = load(&TinyModel::default());
    for seed in 0..20 {
        let sampling = SamplingOptions { seed: Some(seed), ..sampling.clone() };
        let options =
            GenerateOptions { sampling, max_tokens: Some(60), ignore_eos: true, ..Default::default() };
        let generation = generate_cold(&mut model, PROMPT, &options);
        assert_eq!(generation.text, model.tokenizer().unwrap().decode(&generation.tokens));
        assert!(generation.text.contains('\u{FFFD}'));
    }
}

#[test]
fn penalties_see_the_prompt_and_the_text() {
    let mut model = load(&TinyModel::default());
    let sampling =
        SamplingOptions { presence_penalty: 1e6, repeat_last_n: 1000, ..SamplingOptions::greedy() };
    let options = GenerateOptions { sampling, max_tokens: Some(60), ignore_eos: true, ..Default::default() };
    let generation = generate_cold(&mut model, PROMPT, &options);
    let mut seen = model.encode_prompt(PROMPT).unwrap();
    for token in generation.tokens {
        assert!(!seen.contains(&token), "{token} came again");
        seen.push(token);
    }
}

#[test]
fn the_numbers_add_up() {
    let mut model = load(&TinyModel::default());
    let generation = generate_cold(&mut model, PROMPT, &GenerateOptions { ignore_eos: true, ..greedy(20) });
    assert_eq!(generation.finish_reason, FinishReason::Length);
    assert_eq!(generation.usage.prompt_tokens, model.encode_prompt(PROMPT).unwrap().len());
    assert_eq!(generation.usage.completion_tokens, 20);
    let t = generation.timings;
    assert!(t.prompt_ms > 0.0 && t.predicted_ms > 0.0);
    assert!((t.predicted_per_second * t.predicted_ms / 1e3 - 19.0).abs() < 1e-6, "{t:?}");
    let prompt = generation.usage.prompt_tokens as f64;
    assert!((t.prompt_per_second * t.prompt_ms / 1e3 - prompt).abs() < 1e-6, "{t:?}");
}
