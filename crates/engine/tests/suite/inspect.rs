//! Looking into files, also into those that cannot be run.

use crate::common::{CHAT_TEMPLATE, with_metadata};
use gguf::{Gguf, GgufWriter, TensorType};
use metal_attention::{EncodeOptions, ErrorKind, Inspection, inspect, load_tokenizer};
use testkit::TinyModel;

fn inspect_bytes(bytes: &[u8]) -> Inspection {
    let file = tempfile::Builder::new().prefix("peek").suffix(".gguf").tempfile().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    inspect(file.path()).unwrap()
}

/// The metadata of a file, and other tensors.
fn metadata_only(bytes: Vec<u8>, unsupported: usize) -> Vec<u8> {
    let gguf = Gguf::from_vec(bytes).unwrap();
    let mut writer = GgufWriter::new();
    for (key, value) in gguf.metadata().iter() {
        writer.set(key, value.clone()).unwrap();
    }
    for i in 0..unsupported {
        writer.add_tensor(format!("t{i}"), TensorType::IQ4_NL, &[2, 32], vec![0; 36]).unwrap();
    }
    writer.to_vec()
}

#[test]
fn a_sound_file_has_no_warnings() {
    let tiny = TinyModel { chat_template: Some(CHAT_TEMPLATE), ..TinyModel::default() };
    let found = inspect_bytes(&tiny.bytes());
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    assert_eq!(found.description.model_type(), "llama 79K F32");
    assert_eq!(found.spec.unwrap().n_layers, 2);
    assert_eq!(found.tokenizer.unwrap().n_vocab(), tiny.n_vocab());
    assert_eq!(found.chat_template.as_deref(), Some(CHAT_TEMPLATE));
    assert_eq!(found.gguf.tensors().len(), 2 + 9 * 2);
}

#[test]
fn what_is_not_supported_is_told_and_not_an_error() {
    let bytes = with_metadata(
        TinyModel { chat_template: Some("{% if %}"), ..TinyModel::default() }.bytes(),
        &[
            ("general.architecture", Some("mamba".into())),
            ("tokenizer.ggml.pre", Some("klingon".into())),
            ("general.name", Some(7u32.into())),
        ],
    );
    let found = inspect_bytes(&metadata_only(bytes, 3));
    assert!(found.spec.is_none());
    // A name that is no text is of no use to the vocabulary either.
    assert!(found.tokenizer.is_none());
    assert!(found.description.name.starts_with("peek"));
    assert_eq!(found.description.model_type(), "mamba 0.19K IQ4_NL");
    for word in ["mamba", "general.name", "chat template", "3 tensors have type IQ4_NL"] {
        assert!(found.warnings.iter().any(|w| w.contains(word)), "{word}: {:?}", found.warnings);
    }
}

#[test]
fn a_file_of_a_vocabulary_only_is_enough_for_a_tokenizer() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), metadata_only(TinyModel::default().bytes(), 0)).unwrap();
    let tokenizer = load_tokenizer(file.path()).unwrap();
    let ids = tokenizer.encode("the end", EncodeOptions::default()).unwrap();
    assert_eq!(tokenizer.decode(&ids), "the end");
    let found = inspect(file.path()).unwrap();
    assert!(found.tokenizer.is_some() && found.spec.is_none());
    assert_eq!(found.description.file_type, "no tensors");

    std::fs::write(file.path(), GgufWriter::new().to_vec()).unwrap();
    let error = load_tokenizer(file.path()).unwrap_err();
    assert_eq!(ErrorKind::of(&error), ErrorKind::File, "{error}");
    assert!(error.to_string().contains("tokenizer.ggml.model"), "{error}");
    assert_eq!(inspect(file.path()).unwrap().description.architecture, "unknown");
}

#[test]
fn a_tensor_type_without_a_decoder_is_told_once() {
    let gguf = TinyModel::default().gguf();
    let mut writer = GgufWriter::new();
    for (key, value) in gguf.metadata().iter() {
        writer.set(key, value.clone()).unwrap();
    }
    for info in gguf.tensors() {
        let is_up = info.name().contains("ffn_up");
        let ty = if is_up { TensorType::IQ4_NL } else { info.ty() };
        let data = if is_up { vec![0; 96 * 2 * 18] } else { gguf.tensor_data(info).to_vec() };
        writer.add_tensor(info.name(), ty, info.shape(), data).unwrap();
    }
    let found = inspect_bytes(&writer.to_vec());
    assert_eq!(found.warnings, ["2 tensors have type IQ4_NL, which is not supported"]);
    assert!(found.spec.is_some());
}
