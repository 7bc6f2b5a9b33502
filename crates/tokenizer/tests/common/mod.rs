//! The fixtures that `fixtures/make_fixtures.py` makes, and vocabularies written down here.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokenizer::{Tokenizer, Vocab};

/// A trained vocabulary, texts, and what another implementation makes of them.
#[derive(Deserialize)]
pub(crate) struct Fixture {
    vocab: FixtureVocab,
    pub(crate) texts: Vec<String>,
    pub(crate) encodings: Vec<Encoding>,
}

#[derive(Deserialize)]
struct FixtureVocab {
    model: String,
    tokens: Vec<String>,
    token_types: Vec<i32>,
    #[serde(default)]
    merges: Vec<String>,
    #[serde(default)]
    scores: Vec<f32>,
    bos: Option<u32>,
    eos: Option<u32>,
    unk: Option<u32>,
}

/// The ids of every text under one pre-tokenizer.
#[derive(Deserialize)]
pub(crate) struct Encoding {
    pub(crate) pre: Option<String>,
    pub(crate) parse_special: bool,
    pub(crate) ids: Vec<Vec<u32>>,
}

impl Fixture {
    pub(crate) fn load(name: &str) -> Self {
        json(name)
    }

    pub(crate) fn vocab(&self, pre: Option<&str>) -> Vocab {
        let from = &self.vocab;
        Vocab {
            model: from.model.clone(),
            pre: pre.map(str::to_owned),
            tokens: from.tokens.clone(),
            token_types: from.token_types.clone(),
            merges: from.merges.clone(),
            scores: from.scores.clone(),
            bos: from.bos,
            eos: from.eos,
            unk: from.unk,
            ..Vocab::default()
        }
    }

    pub(crate) fn tokenizer(&self, pre: Option<&str>) -> Tokenizer {
        Tokenizer::new(self.vocab(pre)).expect("the fixture's vocabulary")
    }
}

/// Both fixtures, with a tokenizer.
pub(crate) fn both() -> [(Fixture, Tokenizer); 2] {
    [("bpe.json", Some("smollm")), ("spm.json", None)].map(|(name, pre)| {
        let fixture = Fixture::load(name);
        let tokenizer = fixture.tokenizer(pre);
        (fixture, tokenizer)
    })
}

pub(crate) fn json<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&read(name)).expect("a fixture is JSON of its shape")
}

pub(crate) fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read_to_string(path).expect("a fixture")
}

/// Byte-level BPE with all bytes, no merges but one, and `extra` tokens with their types after them.
pub(crate) fn bytes_and(extra: &[(&str, i32)]) -> Vocab {
    let fixture = Fixture::load("bpe.json");
    let mut tokens: Vec<String> =
        fixture.vocab.tokens.into_iter().filter(|token| token.chars().count() == 1).collect();
    tokens.push("ab".into());
    let mut token_types = vec![1; tokens.len()];
    tokens.extend(extra.iter().map(|(text, _)| (*text).to_owned()));
    token_types.extend(extra.iter().map(|(_, kind)| *kind));
    let merges = vec!["a b".to_owned()];
    Vocab { model: "gpt2".into(), pre: Some("gpt-2".into()), tokens, token_types, merges, ..Vocab::default() }
}
