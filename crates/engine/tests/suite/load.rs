//! What loads, what does not, and what is said about it.

use crate::common::{load, on_cpu, with_metadata};
use metal_attention::{DeviceKind, ErrorKind, LoadError, LoadOptions, Model, ModelSource, Progress};
use testkit::TinyModel;

fn try_load(bytes: Vec<u8>, options: &LoadOptions) -> Result<Model, LoadError> {
    Model::load(ModelSource::Memory { name: "test".into(), bytes }, options, &mut |_| {})
}

fn refused(bytes: Vec<u8>, options: &LoadOptions) -> (ErrorKind, String) {
    let error = try_load(bytes, options).unwrap_err();
    (ErrorKind::of(&error), error.to_string())
}

#[test]
fn a_model_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some-model.gguf");
    let bytes = with_metadata(TinyModel::default().bytes(), &[("general.name", None)]);
    std::fs::write(&path, &bytes).unwrap();
    let mut heard = Vec::new();
    let model = Model::load(ModelSource::File(path), &on_cpu(), &mut |p| heard.push(p)).unwrap();
    assert_eq!(heard[0], Progress::Vocabulary);
    assert_eq!(heard.last(), Some(&Progress::Weights { fraction: 1.0 }));

    let description = model.description();
    assert_eq!(description.name, "some-model");
    assert_eq!(description.model_type(), "llama 79K F32");
    assert_eq!(description.size_bytes, 4 * description.n_params);
    assert_eq!(load(&TinyModel::default()).description().name, "tiny");
    assert_eq!(model.context_len(), 128);
    assert_eq!(model.spec().n_vocab, TinyModel::default().n_vocab());
    assert_eq!(model.device().kind, DeviceKind::Cpu);
    assert!(model.memory().weights_bytes >= description.size_bytes);
    assert!(model.load_time().as_nanos() > 0);
    assert!(model.notes().is_empty(), "{:?}", model.notes());
    assert!(model.chat_template().unwrap().is_none());
}

#[test]
fn the_file_type_is_what_the_file_says_or_what_most_of_it_is() {
    let q4 = TinyModel { matrices: gguf::TensorType::Q4_0, ..TinyModel::wide(gguf::TensorType::Q4_0) };
    assert_eq!(load(&q4).description().file_type, "Q4_0");
    let bytes = with_metadata(q4.bytes(), &[("general.file_type", Some(15u32.into()))]);
    assert_eq!(try_load(bytes, &on_cpu()).unwrap().description().file_type, "Q4_K_M");
}

#[test]
fn the_context_is_bounded_and_a_stretched_one_is_noted() {
    let load = |trained, context| {
        let bytes = TinyModel { context_len: trained, ..TinyModel::default() }.bytes();
        try_load(bytes, &LoadOptions { context, ..on_cpu() })
    };
    assert_eq!(load(100_000, None).unwrap().context_len(), 8192);
    assert_eq!(load(64, None).unwrap().context_len(), 64);
    assert_eq!(load(20_000, Some(0)).unwrap().context_len(), 20_000);
    assert_eq!(load(64, Some(32)).unwrap().context_len(), 32);
    let stretched = load(64, Some(96)).unwrap();
    assert_eq!(stretched.context_len(), 96);
    assert!(stretched.notes()[0].contains("64"), "{:?}", stretched.notes());
    let error = load(64, Some(usize::MAX)).unwrap_err();
    assert_eq!(ErrorKind::of(&error), ErrorKind::Usage, "{error}");
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_read() {
    let bytes = TinyModel { context_len: 100_000, ..TinyModel::default() }.bytes();
    let options = |limit| LoadOptions { memory_limit: Some(limit), ..on_cpu() };
    let (kind, message) = refused(bytes.clone(), &options(1 << 20));
    assert_eq!(kind, ErrorKind::Memory);
    assert!(message.contains("--ctx-size"), "{message}");
    let (kind, message) = refused(bytes.clone(), &options(1000));
    assert_eq!(kind, ErrorKind::Memory);
    assert!(message.contains("smaller model"), "{message}");
    assert!(try_load(bytes, &options(1 << 30)).is_ok());
}

#[cfg(not(feature = "gpu"))]
#[test]
fn a_build_without_the_gpu_engine_says_so() {
    use metal_attention::{DeviceChoice, GpuBackend};
    let vulkan = DeviceChoice::Backend { backend: GpuBackend::Vulkan, index: None };
    for device in [DeviceChoice::Gpu, vulkan] {
        let options = LoadOptions { device, ..on_cpu() };
        let (kind, message) = refused(TinyModel::default().bytes(), &options);
        assert_eq!(kind, ErrorKind::Device);
        assert!(message.contains("no GPU engine"), "{message}");
    }
    let model = try_load(TinyModel::default().bytes(), &LoadOptions::default()).unwrap();
    assert_eq!((model.device().kind, model.notes()), (DeviceKind::Cpu, &[][..]));
    assert_eq!(metal_attention::devices().len(), 1);
}

#[test]
fn files_that_cannot_be_run_are_sorted() {
    let change = |key, value| with_metadata(TinyModel::default().bytes(), &[(key, value)]);
    for (bytes, kind, word) in [
        (b"GGML and more".to_vec(), ErrorKind::File, "GGUF"),
        (TinyModel::default().bytes()[..200].to_vec(), ErrorKind::File, "incomplete"),
        (change("general.architecture", Some("mamba".into())), ErrorKind::Unsupported, "mamba"),
        (change("llama.expert_count", Some(8u32.into())), ErrorKind::Unsupported, "expert"),
        (change("llama.block_count", None), ErrorKind::File, "block_count"),
        (change("llama.block_count", Some(3u32.into())), ErrorKind::File, "blk.2"),
        (change("tokenizer.ggml.model", Some("bert".into())), ErrorKind::Unsupported, "bert"),
        (change("tokenizer.ggml.pre", Some("klingon".into())), ErrorKind::Unsupported, "klingon"),
        (change("tokenizer.ggml.tokens", Some(vec![1u32].into())), ErrorKind::File, "tokens"),
    ] {
        let (got, message) = refused(bytes, &on_cpu());
        assert_eq!(got, kind, "{message}");
        assert!(message.contains(word), "{message}");
    }
    let missing = Model::load(ModelSource::File("no/such.gguf".into()), &on_cpu(), &mut |_| {});
    let error = missing.unwrap_err();
    assert_eq!(ErrorKind::of(&error), ErrorKind::File);
    assert!(error.to_string().contains("no/such.gguf"), "{error}");
    assert_eq!(ErrorKind::of(&std::io::Error::other("strange")), ErrorKind::Other);
}

#[test]
fn a_vocabulary_larger_than_the_embedding_is_refused() {
    let tiny = TinyModel::default();
    let mut tokens: Vec<String> = tiny
        .gguf()
        .metadata()
        .str_array("tokenizer.ggml.tokens")
        .unwrap()
        .into_iter()
        .map(str::to_owned)
        .collect();
    tokens.push("one more".into());
    let types = vec![1i32; tokens.len()];
    let changes =
        [("tokenizer.ggml.tokens", Some(tokens.into())), ("tokenizer.ggml.token_type", Some(types.into()))];
    let (kind, message) = refused(with_metadata(tiny.bytes(), &changes), &on_cpu());
    assert_eq!(kind, ErrorKind::File);
    assert!(message.contains("274"), "{message}");
}
