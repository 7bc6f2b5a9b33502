//! Texts into ids, compared with Hugging Face's and Google's implementations.

mod common;

use common::{Fixture, both, bytes_and};
use tokenizer::{EncodeOptions, Tokenizer};

const PLAIN: EncodeOptions = EncodeOptions { add_special: false, parse_special: false };
const PARSED: EncodeOptions = EncodeOptions { add_special: false, parse_special: true };

fn assert_matches(file: &str) {
    let fixture = Fixture::load(file);
    for encoding in &fixture.encodings {
        let tokenizer = fixture.tokenizer(encoding.pre.as_deref());
        assert_eq!(fixture.texts.len(), encoding.ids.len());
        for (text, expected) in fixture.texts.iter().zip(&encoding.ids) {
            let options = EncodeOptions { add_special: false, parse_special: encoding.parse_special };
            let ids = tokenizer.encode(text, options).expect("ids");
            assert_eq!(&ids, expected, "{} {options:?} {text:?}", tokenizer.kind());
        }
    }
}

#[test]
fn byte_level_bpe_gives_the_ids_of_hugging_face() {
    assert_matches("bpe.json");
}

#[test]
fn sentencepiece_bpe_gives_the_ids_of_sentencepiece() {
    assert_matches("spm.json");
}

#[test]
fn words_do_not_depend_on_what_was_encoded_before_them() {
    for (fixture, tokenizer) in both() {
        let doubled: Vec<String> = fixture.texts.iter().map(|text| format!("{text}<s>{text}")).collect();
        for (text, doubled) in fixture.texts.iter().zip(&doubled).filter(|(text, _)| !text.is_empty()) {
            let once = tokenizer.encode(text, PARSED).expect("ids");
            let twice = tokenizer.encode(doubled, PARSED).expect("ids");
            let bos = tokenizer.token_id("<s>").expect("<s>");
            assert_eq!(twice, [&once[..], &[bos], &once[..]].concat(), "{text:?}");
        }
    }
}

#[test]
fn control_tokens_in_a_text_count_only_on_request() {
    let tokenizer = Fixture::load("bpe.json").tokenizer(Some("gpt-2"));
    let end = tokenizer.token_id("<|end|>").expect("<|end|>");
    assert!(tokenizer.encode("a<|end|>", PARSED).expect("ids").contains(&end));
    assert!(!tokenizer.encode("a<|end|>", PLAIN).expect("ids").contains(&end));
}

#[test]
fn bos_and_eos_are_added_as_the_vocabulary_says() {
    let fixture = Fixture::load("spm.json");
    let special = EncodeOptions { add_special: true, parse_special: false };
    for (add_bos, add_eos, expected) in [
        (None, None, vec![1]), // SentencePiece begins with BOS by itself
        (Some(false), None, vec![]),
        (Some(true), Some(true), vec![1, 2]),
        (Some(false), Some(true), vec![2]),
    ] {
        let mut vocab = fixture.vocab(None);
        (vocab.add_bos, vocab.add_eos) = (add_bos, add_eos);
        let tokenizer = Tokenizer::new(vocab).expect("tokenizer");
        assert_eq!(tokenizer.encode("", special).expect("ids"), expected);
        assert!(tokenizer.encode("", PLAIN).expect("ids").is_empty());
    }
    for (pre, adds_bos) in [("gpt-2", false), ("llama-bpe", true), ("tekken", true), ("qwen2", false)] {
        assert_eq!(Fixture::load("bpe.json").tokenizer(Some(pre)).adds_bos(), adds_bos, "{pre}");
    }
}

#[test]
fn a_space_goes_before_a_sentencepiece_text_and_after_each_added_token() {
    let fixture = Fixture::load("spm.json");
    let with = fixture.tokenizer(None);
    let mut vocab = fixture.vocab(None);
    vocab.add_space_prefix = Some(false);
    let without = Tokenizer::new(vocab).expect("tokenizer");

    let spaced = without.encode(" fox<s> fox", PARSED).expect("ids");
    assert_eq!(with.encode("fox<s>fox", PARSED).expect("ids"), spaced);
    assert_ne!(without.encode("fox<s>fox", PARSED).expect("ids"), spaced);
}

#[test]
fn a_whole_word_goes_before_merges_only_where_the_pre_tokenizer_says() {
    let mut vocab = bytes_and(&[("abc", 1)]);
    let ids = |vocab| Tokenizer::new(vocab).expect("tokenizer").encode("abc", PLAIN).expect("ids").len();
    assert_eq!(ids(vocab.clone()), 2); // ab c
    vocab.pre = Some("llama-bpe".into());
    assert_eq!(ids(vocab), 1);
}

#[test]
fn phi3_tokens_swallow_the_space_after_them() {
    let mut vocab = bytes_and(&[("<|user|>", 3), ("<|endoftext|>", 3)]);
    let count =
        |vocab, text| Tokenizer::new(vocab).expect("tokenizer").encode(text, PARSED).expect("ids").len();
    assert_eq!(count(vocab.clone(), "<|user|>\n a"), 4);
    vocab.model_name = Some("Phi-3 mini".into());
    assert_eq!(count(vocab.clone(), "<|user|>\n a"), 2);
    assert_eq!(count(vocab, "<|endoftext|>\n a"), 4);
}

#[test]
fn bytes_without_a_token_are_dropped_and_nothing_merges_across_them() {
    let mut vocab = bytes_and(&[]);
    let gone = vocab.tokens.iter().position(|token| token == "-").expect("-");
    vocab.tokens[gone] = "unused".into();
    let tokenizer = Tokenizer::new(vocab).expect("tokenizer");
    assert!(tokenizer.warnings()[0].contains("no token for 1 of 243 bytes"), "{:?}", tokenizer.warnings());
    let ids = tokenizer.encode("ab a-b", PLAIN).expect("ids");
    assert_eq!(tokenizer.decode(&ids), "ab ab");
    assert_eq!(ids.len(), 4); // ab, space, a, b
}

#[test]
fn a_word_with_a_byte_that_has_no_token_may_be_a_token_itself() {
    let mut vocab = bytes_and(&[("abc", 1), ("zab", 1)]);
    vocab.pre = Some("llama-bpe".into());
    let gone = vocab.tokens.iter().position(|token| token == "z").expect("z");
    vocab.tokens[gone] = "unused".into();
    let tokenizer = Tokenizer::new(vocab).expect("tokenizer");
    let texts = |text| -> Vec<_> {
        let ids = tokenizer.encode(text, PLAIN).expect("ids");
        ids.iter().map(|&id| tokenizer.token_text(id).expect("a token").to_owned()).collect()
    };
    assert_eq!(texts("zab"), ["zab"]);
    // `abc` is a whole token, but not a whole word.
    assert_eq!(texts("abcz"), ["ab", "c"]);
    assert!(texts("z").is_empty() && texts("zzz").is_empty());
}

#[test]
fn the_first_of_equal_merges_counts() {
    let vocab = tokenizer::Vocab {
        merges: ["a b", "b c", "a b"].map(String::from).to_vec(),
        ..bytes_and(&[("bc", 1), ("abc", 1)])
    };
    let tokenizer = Tokenizer::new(vocab).expect("tokenizer");
    let [ab, c] = ["ab", "c"].map(|text| tokenizer.token_id(text).expect("a token"));
    assert_eq!(tokenizer.encode("abc", PLAIN).expect("ids"), [ab, c]);
}

#[test]
fn threads_that_share_a_tokenizer_get_the_same_ids() {
    let fixture = Fixture::load("bpe.json");
    let encode = |tokenizer: &Tokenizer, text| tokenizer.encode(text, PLAIN).expect("ids");
    let alone = fixture.tokenizer(Some("gpt-2"));
    let expected: Vec<_> = fixture.texts.iter().map(|text| encode(&alone, text)).collect();
    let shared = fixture.tokenizer(Some("gpt-2"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for (text, ids) in fixture.texts.iter().zip(&expected).cycle().take(2000) {
                    assert_eq!(&encode(&shared, text), ids, "{text:?}");
                }
            });
        }
    });
}

#[test]
fn a_byte_that_nothing_stands_for_is_an_error() {
    let vocab = tokenizer::Vocab {
        model: "llama".into(),
        tokens: vec!["<x>".into(), "▁".into(), "a".into()],
        scores: vec![0.0, -1.0, -2.0],
        ..Default::default()
    };
    let tokenizer = Tokenizer::new(vocab.clone()).expect("tokenizer");
    assert!(!tokenizer.warnings().is_empty());
    assert_eq!(tokenizer.encode("a", PLAIN).expect("ids"), [1, 2]);
    let error = tokenizer.encode("aé", PLAIN).expect_err("no byte tokens");
    assert!(error.to_string().contains("0xC3"), "{error}");

    let tokenizer = Tokenizer::new(tokenizer::Vocab { unk: Some(0), ..vocab }).expect("tokenizer");
    assert_eq!(tokenizer.encode("aé", PLAIN).expect("ids"), [1, 2, 0, 0]);
}
