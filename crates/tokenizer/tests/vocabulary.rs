//! What is checked in a vocabulary, and what is read out of it.

mod common;

use common::{Fixture, bytes_and};
use tokenizer::{Tokenizer, TokenizerError, Vocab, pre_tokenizer_names};

fn stop_texts(vocab: Vocab) -> Vec<String> {
    let tokenizer = Tokenizer::new(vocab).expect("tokenizer");
    tokenizer.stop_ids().iter().map(|&id| tokenizer.token_text(id).expect("text").to_owned()).collect()
}

#[test]
fn a_family_that_is_not_served_is_named_with_those_that_are() {
    for model in ["bert", "t5", "rwkv", "gemma4", ""] {
        let error = Tokenizer::new(Vocab { model: model.into(), ..bytes_and(&[]) }).expect_err("unsupported");
        assert!(matches!(&error, TokenizerError::UnsupportedModel { model: named } if named == model));
        assert!(error.to_string().contains("`gpt2`") && error.to_string().contains("`llama`"), "{error}");
    }
}

#[test]
fn an_unknown_pre_tokenizer_is_an_error_and_a_missing_one_a_warning() {
    let with_pre = |pre: Option<&str>| Tokenizer::new(Vocab { pre: pre.map(Into::into), ..bytes_and(&[]) });
    let error = with_pre(Some("gpt-3")).expect_err("unknown");
    assert!(error.to_string().contains("`gpt-3`") && error.to_string().contains("llama-bpe"), "{error}");

    let tokenizer = with_pre(None).expect("the default");
    assert!(tokenizer.warnings()[0].contains("tokenizer.ggml.pre"), "{:?}", tokenizer.warnings());
    assert_eq!(tokenizer.kind(), "BPE (default)");
    let default = with_pre(Some("default")).expect("the default");
    assert!(default.warnings().is_empty(), "{:?}", default.warnings());
}

#[test]
fn every_pre_tokenizer_loads_and_loses_no_text() {
    let fixture = Fixture::load("bpe.json");
    for pre in pre_tokenizer_names() {
        let tokenizer = fixture.tokenizer(Some(pre));
        for text in &fixture.texts {
            let ids = tokenizer.encode(text, Default::default()).expect("ids");
            assert_eq!(&tokenizer.decode(&ids), text, "{pre}");
        }
    }
}

#[test]
fn arrays_that_are_missing_or_do_not_fit_are_errors() {
    let spm = || Fixture::load("spm.json").vocab(None);
    let refused = |vocab| Tokenizer::new(vocab).expect_err("a bad vocabulary").to_string();
    assert!(refused(Vocab { merges: vec![], ..bytes_and(&[]) }).contains("tokenizer.ggml.merges"));
    assert!(refused(Vocab { tokens: vec![], ..bytes_and(&[]) }).contains("tokenizer.ggml.tokens"));
    assert!(refused(Vocab { scores: vec![], ..spm() }).contains("tokenizer.ggml.scores"));
    assert!(refused(Vocab { scores: vec![0.5], ..spm() }).contains("1 elements"));
    assert!(refused(Vocab { token_types: vec![1], ..spm() }).contains("tokenizer.ggml.token_type"));
    for merge in ["ab", "", " ", "a ", "é"] {
        let refused = refused(Vocab { merges: vec![merge.into()], ..bytes_and(&[]) });
        assert!(refused.contains("merge 0"), "{refused}");
    }
}

#[test]
fn merges_outside_the_vocabulary_are_ignored_with_a_warning() {
    let vocab = Vocab { merges: vec!["a b".into(), "x y".into(), "ab zz".into()], ..bytes_and(&[]) };
    let tokenizer = Tokenizer::new(vocab).expect("tokenizer");
    assert!(tokenizer.warnings()[0].starts_with("2 of 3 merges"), "{:?}", tokenizer.warnings());
}

#[test]
fn special_ids_outside_the_vocabulary_are_ignored_with_a_warning() {
    let vocab = Vocab { bos: Some(1_000_000), add_bos: Some(true), ..bytes_and(&[]) };
    let tokenizer = Tokenizer::new(vocab).expect("tokenizer");
    assert_eq!((tokenizer.bos(), tokenizer.adds_bos()), (None, false));
    assert!(tokenizer.warnings()[0].contains("bos_token_id"), "{:?}", tokenizer.warnings());
    assert!(tokenizer.warnings()[1].contains("BOS"), "{:?}", tokenizer.warnings());
}

#[test]
fn sentencepiece_has_special_ids_even_if_the_file_names_none() {
    let vocab = Vocab { bos: None, eos: None, unk: None, ..Fixture::load("spm.json").vocab(None) };
    let tokenizer = Tokenizer::new(vocab).expect("tokenizer");
    let special = tokenizer.special_tokens();
    assert_eq!((special.bos, special.eos, special.unk), (Some(1), Some(2), Some(0)));
}

#[test]
fn stop_ids_are_those_of_the_file_and_well_known_texts() {
    let chatml = bytes_and(&[("<|endoftext|>", 3), ("<|im_start|>", 3), ("<|im_end|>", 3), ("<stop>", 1)]);
    assert_eq!(stop_texts(chatml.clone()), ["<|endoftext|>", "<|im_end|>"]);
    let n = u32::try_from(chatml.tokens.len()).expect("size");
    assert_eq!(
        stop_texts(Vocab { eos: Some(n - 1), ..chatml.clone() }),
        ["<|endoftext|>", "<|im_end|>", "<stop>"]
    );
    assert_eq!(
        stop_texts(Vocab { eom: Some(n - 1), ..chatml.clone() }),
        ["<|endoftext|>", "<|im_end|>", "<stop>"]
    );

    let tokenizer = Tokenizer::new(chatml).expect("tokenizer");
    assert_eq!(tokenizer.special_tokens().eot, tokenizer.token_id("<|im_end|>"));
}

#[test]
fn a_stop_token_of_the_wrong_kind_becomes_a_control_token() {
    let tokenizer = Tokenizer::new(bytes_and(&[("<|im_end|>", 1)])).expect("tokenizer");
    let id = tokenizer.token_id("<|im_end|>").expect("id");
    assert!(tokenizer.is_control(id));
    assert_eq!(tokenizer.decode(&[id]), "");
}

#[test]
fn a_message_end_inside_a_turn_does_not_stop() {
    let harmony = [("<|end|>", 3), ("<|return|>", 3), ("<|call|>", 3), ("<|channel|>", 3)];
    assert_eq!(stop_texts(bytes_and(&harmony)), ["<|return|>", "<|call|>"]);
    assert_eq!(stop_texts(bytes_and(&harmony[..2])), ["<|end|>", "<|return|>"]);
    let tokenizer = Tokenizer::new(bytes_and(&harmony)).expect("tokenizer");
    for text in ["<|end|>", "<|channel|>"] {
        assert!(!tokenizer.is_control(tokenizer.token_id(text).expect("id")), "{text}");
    }
}

#[test]
fn tokenizers_go_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Tokenizer>();
    check::<TokenizerError>();
    check::<tokenizer::ChatTemplate>();
    check::<tokenizer::TemplateError>();
}
