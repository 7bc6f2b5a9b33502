//! The stopwatch.

use crate::common::{generate_cold, greedy, load, on_cpu};
use metal_attention::{
    BenchError, BenchOptions, BenchTest, GenerateError, LoadOptions, Model, ModelSource, SyntheticPreset,
    bench,
};
use std::ops::ControlFlow;
use std::time::Duration;
use testkit::TinyModel;

#[test]
fn each_repetition_has_a_time() {
    let mut model = load(&TinyModel::default());
    let before = generate_cold(&mut model, "the", &greedy(5)).text;
    for test in [
        BenchTest { n_prompt: 32, ..BenchTest::default() },
        BenchTest { n_gen: 8, ..BenchTest::default() },
        BenchTest { n_prompt: 32, n_gen: 32, n_depth: 64 },
    ] {
        let mut heard = Vec::new();
        let options = BenchOptions { repetitions: 3, warmup: true };
        let samples = bench(&mut model, test, &options, &mut |time| {
            heard.push(time);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(samples, heard);
        assert_eq!(samples.len(), 3);
        assert!(samples.iter().all(|&time| time > Duration::ZERO));
    }
    let mut one = |_| ControlFlow::Break(());
    let test = BenchTest { n_gen: 1, ..BenchTest::default() };
    assert_eq!(bench(&mut model, test, &BenchOptions::default(), &mut one).unwrap().len(), 1);
    // The cache is left empty.
    assert_eq!(generate_cold(&mut model, "the", &greedy(5)).text, before);
}

#[test]
fn what_cannot_be_timed_is_refused() {
    let mut model = load(&TinyModel::default());
    let mut refuse = |test| bench(&mut model, test, &BenchOptions::default(), &mut |_| panic!()).unwrap_err();
    assert!(matches!(refuse(BenchTest { n_depth: 5, ..BenchTest::default() }), BenchError::Nothing));
    let error = refuse(BenchTest { n_prompt: 64, n_gen: 64, n_depth: 1 });
    assert!(matches!(error, BenchError::Context { tokens: 129, context_len: 128 }), "{error}");
}

#[test]
fn a_synthetic_model_can_be_timed_but_has_no_text() {
    let source = ModelSource::Synthetic(SyntheticPreset::find("smollm-135m").unwrap());
    let options = LoadOptions { context: Some(64), ..on_cpu() };
    let mut model = Model::load(source, &options, &mut |_| {}).unwrap();
    assert_eq!(model.description().model_type(), "llama 135M Q4_0");
    assert_eq!(model.description().name, "synthetic smollm-135m");
    assert!(model.tokenizer().is_none());
    let test = BenchTest { n_gen: 1, ..BenchTest::default() };
    let options = BenchOptions { repetitions: 1, warmup: false };
    let samples = bench(&mut model, test, &options, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(samples.len(), 1);
    let error = model.session().generate("hi", &greedy(1), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, GenerateError::NoTokenizer), "{error}");
}
