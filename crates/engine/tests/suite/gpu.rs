//! The engine on a GPU: software Vulkan where there is no other.

use crate::common::{
    PROMPT, generate, generate_cold, greedy, greedy_by_sampler, load, on_cpu, reference_tokens, seeded,
};
use metal_attention::{
    Activations, BenchOptions, BenchTest, Comparison, DeviceChoice, DeviceKind, ErrorKind, FinishReason,
    ForwardError, GenerateError, GenerateOptions, GpuBackend, LoadError, LoadOptions, Model, ModelSource,
    PerplexityOptions, SamplingOptions, TensorType, bench, compare, devices, perplexity,
};
use std::ops::ControlFlow;
use testkit::TinyModel;

static TALES: &[u8] = include_bytes!("../../../../models/tales/tales-q4_0.gguf");

fn on_gpu() -> LoadOptions {
    LoadOptions { device: DeviceChoice::Gpu, allow_software_gpu: true, ..LoadOptions::default() }
}

fn source(tiny: &TinyModel) -> ModelSource {
    ModelSource::Memory { name: "test".into(), bytes: tiny.bytes() }
}

fn try_load(tiny: &TinyModel, options: &LoadOptions) -> Result<Model, LoadError> {
    Model::load(source(tiny), options, &mut |_| {})
}

/// On a GPU, without which there is nothing to test here.
fn load_on_gpu(tiny: &TinyModel) -> Model {
    let model = try_load(tiny, &on_gpu())
        .expect("the tests need a GPU, or software Vulkan (Debian: mesa-vulkan-drivers)");
    assert_eq!(model.device().kind, DeviceKind::Gpu);
    model
}

#[test]
fn greedy_text_is_the_cpus() {
    for family in ["llama", "qwen2", "qwen3"] {
        let tiny = TinyModel { family, ..TinyModel::default() };
        let expected = generate_cold(&mut load(&tiny), PROMPT, &greedy(24));
        let got = generate_cold(&mut load_on_gpu(&tiny), PROMPT, &greedy(24));
        assert_eq!(got.tokens, expected.tokens, "{family}");
        assert_eq!((got.text, got.finish_reason), (expected.text, expected.finish_reason));
    }
}

/// The CPU rounds what meets quantised weights, which random weights are not sure enough of their next token to survive.
#[test]
fn greedy_text_of_quantised_weights_is_the_references() {
    for ty in [TensorType::F16, TensorType::Q4_0, TensorType::Q8_0, TensorType::Q4_K, TensorType::Q6_K] {
        let tiny = TinyModel::wide(ty);
        let mut engine = load_on_gpu(&tiny);
        let got = generate_cold(&mut engine, PROMPT, &greedy(24)).tokens;
        assert_eq!(got, reference_tokens(&tiny, &engine, 24), "{ty}");
    }
}

#[test]
fn the_bundled_model_tells_the_same_tale() {
    let mut texts = [on_cpu(), on_gpu()].map(|options| {
        let source = ModelSource::Static { name: "tales".into(), bytes: TALES };
        let mut model = Model::load(source, &options, &mut |_| {}).unwrap();
        generate_cold(&mut model, "Once upon a time", &greedy(32)).text
    });
    assert_eq!(std::mem::take(&mut texts[0]), texts[1]);
}

#[test]
fn a_prompt_is_what_its_tokens_are_one_by_one() {
    let mut model = load_on_gpu(&TinyModel::default());
    let at_once = generate_cold(&mut model, PROMPT, &greedy(16));
    let prompt = model.encode_prompt(PROMPT).unwrap();
    let mut session = model.session();
    for len in 1..prompt.len() {
        session.generate(&prompt[..len], &greedy(0), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(session.tokens(), &prompt[..len]);
    }
    let one_by_one = generate(&mut session, PROMPT, &greedy(16));
    assert_eq!(one_by_one.usage.cached_tokens, prompt.len() - 1);
    assert_eq!(one_by_one.tokens, at_once.tokens);
    // By the sampler on the host, a token at a time.
    assert_eq!(generate_cold(&mut model, PROMPT, &greedy_by_sampler(16)).tokens, at_once.tokens);
}

#[test]
fn a_seed_repeats_a_text() {
    let mut model = load_on_gpu(&TinyModel::default());
    let penalties = SamplingOptions { repeat_penalty: 1.3, frequency_penalty: 0.2, ..seeded(3, 0).sampling };
    for sampling in [seeded(3, 0).sampling, penalties] {
        let with_seed = |seed| GenerateOptions {
            sampling: SamplingOptions { seed: Some(seed), ..sampling.clone() },
            ..seeded(seed, 24)
        };
        let texts: Vec<Vec<u32>> =
            [3, 3, 4, 5].map(|seed| generate_cold(&mut model, PROMPT, &with_seed(seed)).tokens).into();
        assert_eq!(texts[0], texts[1]);
        assert!(texts[0] != texts[2] || texts[2] != texts[3], "{texts:?}");
    }
}

#[test]
fn penalties_see_the_prompt_and_the_text() {
    let mut model = load_on_gpu(&TinyModel::default());
    let sampling =
        SamplingOptions { presence_penalty: 1e6, repeat_last_n: 1000, ..SamplingOptions::greedy() };
    let options = GenerateOptions { sampling, ..greedy(30) };
    let generation = generate_cold(&mut model, PROMPT, &options);
    let mut seen = model.encode_prompt(PROMPT).unwrap();
    for token in generation.tokens {
        assert!(!seen.contains(&token), "{token} came again");
        seen.push(token);
    }
}

#[test]
fn tokens_without_a_chance_are_left_out_by_the_gpu_as_by_the_sampler() {
    let mut model = load_on_gpu(&TinyModel::default());
    let banned: Vec<_> = generate_cold(&mut model, PROMPT, &greedy(20))
        .tokens
        .into_iter()
        .take(3)
        .map(|token| (token, f32::NEG_INFINITY))
        .collect();
    let with = |more: &[(u32, f32)]| {
        let logit_bias = [&banned, more].concat();
        let sampling = SamplingOptions { logit_bias, ..SamplingOptions::greedy() };
        GenerateOptions { sampling, ..greedy(20) }
    };
    let generation = generate_cold(&mut model, PROMPT, &with(&[]));
    // A bias of nothing keeps the GPU from choosing.
    assert_eq!(generation.tokens, generate_cold(&mut model, PROMPT, &with(&[(0, 0.0)])).tokens);
    assert!(generation.tokens.iter().all(|token| banned.iter().all(|(id, _)| id != token)));
}

#[test]
fn what_was_computed_past_the_end_leaves_no_trace() {
    let mut model = load_on_gpu(&TinyModel::default());
    let whole = generate_cold(&mut model, PROMPT, &greedy(20));
    let mut session = model.session();
    let mut so_far = session.model().encode_prompt(PROMPT).unwrap();
    for n in [1, 3, 7] {
        let more = session.generate(&so_far, &greedy(n), &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(more.finish_reason, FinishReason::Length);
        so_far.extend(&more.tokens);
        assert_eq!(session.tokens(), &so_far[..so_far.len() - 1]);
    }
    let prompt_len = session.model().encode_prompt(PROMPT).unwrap().len();
    assert_eq!(so_far[prompt_len..], whole.tokens[..11]);
}

#[test]
fn a_full_context_ends_the_text() {
    let mut model = load_on_gpu(&TinyModel::default());
    let context_len = model.context_len();
    let prompt: Vec<u32> = (0..context_len as u32 - 9).map(|i| 65 + i % 26).collect();
    // The device chooses, and the sampler.
    for options in [greedy(100), GenerateOptions { ignore_eos: true, ..greedy(100) }] {
        let generation =
            model.session().generate(&prompt, &options, &mut |_| ControlFlow::Continue(())).unwrap();
        assert!(generation.tokens.len() <= 10, "{}", generation.tokens.len());
        assert!(!options.ignore_eos || generation.tokens.len() == 10);
    }
}

#[test]
fn a_model_that_does_not_fit_is_refused_or_goes_to_the_cpu_with_a_note() {
    let tiny = TinyModel { context_len: 100_000, ..TinyModel::default() };
    // Scratch for prompts is some megabytes whatever the model.
    let options = LoadOptions { context: Some(100_000), memory_limit: Some(1 << 20), ..on_gpu() };
    let error = try_load(&tiny, &options).unwrap_err();
    assert!(matches!(error, LoadError::DoesNotFit { device: DeviceKind::Gpu, .. }), "{error}");
    assert_eq!(ErrorKind::of(&error), ErrorKind::Memory);
    assert!(error.to_string().contains("the GPU's memory"), "{error}");

    let error = try_load(&tiny, &LoadOptions { device: DeviceChoice::Auto, ..options }).unwrap_err();
    assert!(matches!(error, LoadError::DoesNotFit { device: DeviceKind::Cpu, .. }), "{error}");
}

#[test]
fn auto_goes_to_the_cpu_where_a_model_fits_there_only() {
    let tiny = TinyModel::default();
    let bytes_on = |model: &Model| {
        let memory = model.memory();
        let prompts = model.gpu_plan().map_or(0, |plan| plan.prompt_bytes);
        memory.weights_bytes + memory.kv_bytes + memory.scratch_bytes + prompts
    };
    let (on_gpu, on_cpu) = (bytes_on(&load_on_gpu(&tiny)), bytes_on(&load(&tiny)));
    assert!(on_cpu + 100_000 < on_gpu, "{on_cpu} {on_gpu}");
    let options = LoadOptions {
        device: DeviceChoice::Auto,
        memory_limit: Some(on_gpu - 100_000),
        allow_software_gpu: true,
        ..LoadOptions::default()
    };
    let model = try_load(&tiny, &options).unwrap();
    assert_eq!(model.device().kind, DeviceKind::Cpu);
    let note = &model.notes()[0];
    assert!(note.starts_with("running on the CPU: ") && note.contains("the GPU's memory"), "{note}");
}

#[test]
fn perplexity_is_the_cpus() {
    let text = "the end and then all ".repeat(40);
    let options = PerplexityOptions { context: 64, chunks: Some(2), batch: None };
    let measure = |mut model: Model| {
        perplexity(&mut model, &text, &options, &mut |_| ControlFlow::Continue(())).unwrap().perplexity
    };
    let [on_cpu, on_gpu] = [load(&TinyModel::default()), load_on_gpu(&TinyModel::default())].map(measure);
    assert!((on_cpu / on_gpu - 1.0).abs() < 1e-3, "{on_cpu} {on_gpu}");
}

/// What makes it right that a GPU rounds activations without being asked.
#[test]
fn activations_in_8_bits_cost_the_bundled_model_no_quality() {
    let load = |options: &LoadOptions| {
        let source = ModelSource::Static { name: "tales".into(), bytes: TALES };
        Model::load(source, options, &mut |_| {}).unwrap()
    };
    let mut models =
        [Activations::F32, Activations::Int8].map(|a| load(&LoadOptions { activations: a, ..on_gpu() }));
    assert!(models[1].gpu_plan().unwrap().int8_activations);
    // Text of the kind that it knows; the processor writes it faster than it plays GPU.
    let mut writer = load(&LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() });
    let tale = |seed| generate_cold(&mut writer, "Once upon a time", &seeded(seed, 250)).text;
    let text: String = (1..=2).map(tale).collect();
    // Rows that the kernel rounds itself, and rows that are rounded before.
    for batch in [1, 8] {
        let options = PerplexityOptions { context: 128, chunks: None, batch: Some(batch) };
        let mut measure = |model: &mut Model| {
            perplexity(model, &text, &options, &mut |_| ControlFlow::Continue(())).unwrap().perplexity
        };
        let [floats, rounded] = models.each_mut().map(&mut measure);
        println!("{batch} at a time: {floats} with floats, {rounded} with 8 bits");
        assert!((rounded / floats - 1.0).abs() < 2e-3 && rounded != floats, "{floats} {rounded}");
    }
}

#[test]
fn auto_says_why_it_is_on_the_cpu() {
    let hidden = LoadOptions { allow_software_gpu: false, ..LoadOptions::default() };
    let has_gpu = devices().iter().filter_map(|device| device.gpu.as_ref()).any(|gpu| !gpu.is_software());
    let model = try_load(&TinyModel::default(), &hidden).unwrap();
    let told = model.notes().iter().any(|note| note.starts_with("running on the CPU: no usable GPU"));
    assert_eq!((model.device().kind == DeviceKind::Gpu, told), (has_gpu, !has_gpu), "{:?}", model.notes());
    let shown = try_load(&TinyModel::default(), &LoadOptions { allow_software_gpu: true, ..hidden }).unwrap();
    assert_eq!((shown.device().kind, shown.notes()), (DeviceKind::Gpu, &[][..]));
}

#[test]
fn a_gpu_is_had_by_its_number_or_not_at_all() {
    let with = |backend, index| LoadOptions {
        device: DeviceChoice::Backend { backend, index },
        ..LoadOptions::default()
    };
    for device in devices().iter().filter(|device| device.gpu.as_ref().is_some_and(|g| g.missing.is_empty()))
    {
        let options = LoadOptions { device: device.choice, ..LoadOptions::default() };
        let model = try_load(&TinyModel::default(), &options).unwrap();
        assert_eq!((model.device().backend, &model.device().name), (device.backend, &device.name));
    }
    for (backend, index) in
        [(GpuBackend::Vulkan, Some(99)), (GpuBackend::Metal, Some(99)), (GpuBackend::Dx12, Some(99))]
    {
        let error = try_load(&TinyModel::default(), &with(backend, index)).unwrap_err();
        assert_eq!(ErrorKind::of(&error), ErrorKind::Device);
        assert!(error.to_string().contains("99"), "{error}");
    }
}

#[test]
fn a_lost_device_is_an_error_of_the_device() {
    let lost = || ForwardError::DeviceLost { reason: "unplugged".into() };
    assert_eq!(ErrorKind::of(&GenerateError::Forward(lost())), ErrorKind::Device);
    assert_eq!(ErrorKind::of(&lost()), ErrorKind::Device);
}

#[test]
fn the_stopwatch_runs_and_leaves_nothing_behind() {
    let mut model = load_on_gpu(&TinyModel::default());
    let before = generate_cold(&mut model, PROMPT, &greedy(5)).text;
    let test = BenchTest { n_prompt: 32, n_gen: 32, n_depth: 64 };
    let options = BenchOptions { repetitions: 2, warmup: true };
    let samples = bench(&mut model, test, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(samples.len(), 2);
    assert_eq!(generate_cold(&mut model, PROMPT, &greedy(5)).text, before);
}

#[test]
fn the_plan_is_a_line_a_dispatch() {
    let model = load_on_gpu(&TinyModel::default());
    let plan = model.gpu_plan().unwrap();
    assert_eq!(plan.listing.lines().count(), plan.n_dispatches);
    assert!(plan.listing.contains("blk.1.attn_output"), "{}", plan.listing);
    assert!(plan.token_bytes > 0 && plan.readback_bytes > 0 && plan.prompt_bytes > 0, "{plan:?}");
    assert!(load(&TinyModel::default()).gpu_plan().is_none());
}

#[test]
fn every_result_of_a_token_is_the_references() {
    for tiny in [TinyModel::default(), TinyModel::wide(TensorType::Q4_0)] {
        let comparison = compare(source(&tiny), PROMPT, &on_gpu()).unwrap();
        let results = &comparison.results;
        let named = |name: &str| results.iter().find(|result| result.summary.name == name).unwrap();
        for name in ["token_embd", "blk.0.attn_q", "blk.1.ffn_residual", "output"] {
            let result = named(name);
            assert!(result.distance.is_some_and(|d| d < Comparison::BOUND), "{name}: {:?}", result.distance);
            assert_eq!(result.summary.n_nan, 0);
        }
        assert_eq!(comparison.first_wrong(), None, "{results:?}");
        assert_eq!(comparison.device.kind, DeviceKind::Gpu);
    }
}

#[test]
fn a_traced_token_is_told_and_forgotten() {
    let mut model = load_on_gpu(&TinyModel::default());
    let before = generate_cold(&mut model, PROMPT, &greedy(5)).text;
    let mut session = model.session();
    let taps = session.trace(PROMPT).unwrap();
    assert!(taps.iter().any(|tap| tap.name == "output" && tap.len == session.model().spec().n_vocab));
    assert!(session.tokens().is_empty());
    assert_eq!(generate(&mut session, PROMPT, &greedy(5)).text, before);
}
