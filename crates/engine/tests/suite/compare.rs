//! The CPU against the reference.

use crate::common::{PROMPT, on_cpu, with_metadata};
use metal_attention::{CompareError, Comparison, ErrorKind, ModelSource, compare};
use testkit::TinyModel;

fn memory(bytes: Vec<u8>) -> ModelSource {
    ModelSource::Memory { name: "test".into(), bytes }
}

#[test]
fn logits_are_compared_where_a_backend_keeps_nothing_else() {
    let comparison = compare(memory(TinyModel::default().bytes()), PROMPT, &on_cpu()).unwrap();
    let [.., output] = comparison.results.as_slice() else { panic!("no results") };
    assert_eq!((output.summary.name.as_str(), output.summary.len), ("output", 273));
    assert!(output.distance.is_some_and(|distance| distance < Comparison::BOUND), "{output:?}");
    assert_eq!(comparison.first_wrong(), None);
    assert!(comparison.n_tokens > 3);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let refused = |bytes, prompt| compare(memory(bytes), prompt, &on_cpu()).unwrap_err();
    let error = refused(TinyModel::default().bytes(), "");
    assert_eq!(ErrorKind::of(&error), ErrorKind::Usage, "{error}");
    let wordless = with_metadata(TinyModel::default().bytes(), &[("tokenizer.ggml.model", None)]);
    let error = refused(wordless, PROMPT);
    assert!(matches!(error, CompareError::Generate(_)), "{error}");
    let error = refused(b"GGML".to_vec(), PROMPT);
    assert_eq!(ErrorKind::of(&error), ErrorKind::File, "{error}");
}
