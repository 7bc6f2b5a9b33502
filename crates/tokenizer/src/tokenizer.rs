//! The tokenizer: a vocabulary that has been checked, with everything derived from it.

use std::collections::BTreeSet;

use crate::added::{AddedTokens, Fragment};
use crate::bpe::Bpe;
use crate::pre_tokenizer::PreTokenizer;
use crate::special::SpecialTokens;
use crate::spm::{self, Spm};
use crate::token_table::{Pieces, TokenKind, TokenTable};
use crate::{Detokenizer, TokenizerError, Vocab};

/// How to read a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Put BOS before and EOS after the text where the vocabulary asks for them.
    pub add_special: bool,
    /// Take control tokens that are spelled out in the text (`<|im_end|>`) for what they say. Without it they are
    /// plain text; set it for templates, never for text from a user.
    pub parse_special: bool,
}

/// How to write ids as text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Write control and unknown tokens by their names; they are left out otherwise.
    pub show_special: bool,
    /// The ids go on from earlier text, so a space that begins them is kept. Otherwise the first space is dropped
    /// where the vocabulary's `add_space_prefix` has put one before the text.
    pub continues: bool,
}

#[derive(Debug)]
enum Model {
    Bpe(Box<Bpe>),
    Spm(Spm),
}

/// Text to ids and back, under one vocabulary. Immutable, to be shared between threads.
#[derive(Debug)]
pub struct Tokenizer {
    tokens: TokenTable,
    pieces: Pieces,
    added: AddedTokens,
    model: Model,
    special: SpecialTokens,
    stop_ids: BTreeSet<u32>,
    pre: Option<String>,
    add_bos: bool,
    add_eos: bool,
    add_space_prefix: bool,
    warnings: Vec<String>,
}

impl Tokenizer {
    /// Checks `vocab` and derives what encoding and decoding need.
    ///
    /// # Errors
    /// [`TokenizerError`] if the model or pre-tokenizer is not supported or the arrays do not fit each other.
    pub fn new(vocab: Vocab) -> Result<Self, TokenizerError> {
        let is_spm = match vocab.model.as_str() {
            "llama" => true,
            "gpt2" => false,
            _ => return Err(TokenizerError::UnsupportedModel { model: vocab.model }),
        };
        let missing = |key| TokenizerError::Missing { key, model: vocab.model.clone() };
        if vocab.tokens.is_empty() {
            return Err(missing("tokenizer.ggml.tokens"));
        }
        let mut warnings = Vec::new();
        let pre = if is_spm { None } else { Some(pre_tokenizer(vocab.pre.as_deref(), &mut warnings)?) };
        if is_spm && vocab.scores.is_empty() {
            return Err(missing("tokenizer.ggml.scores"));
        }
        if !is_spm && vocab.merges.is_empty() {
            return Err(missing("tokenizer.ggml.merges"));
        }

        let mut vocab = vocab;
        let mut tokens = TokenTable::new(std::mem::take(&mut vocab.tokens), &vocab.token_types)?;
        let special = SpecialTokens::resolve(&vocab, &mut tokens, &mut warnings);
        let stop_ids = special.stop_ids(&mut tokens);
        let added = AddedTokens::new(&tokens, swallows_space(vocab.model_name.as_deref()))?;
        let (model, pieces) = match pre {
            Some(pre) => {
                let bpe = Bpe::new(pre, &tokens, std::mem::take(&mut vocab.merges), &mut warnings)?;
                let pieces = Pieces::new(&tokens, |text, bytes| bpe.read(text, bytes));
                (Model::Bpe(Box::new(bpe)), pieces)
            }
            None => {
                // The default id may be any token; then nothing stands for what the vocabulary cannot spell.
                let is_unknown =
                    |id: &u32| vocab.unk.is_some() || tokens.kind(*id) == Some(TokenKind::Unknown);
                let unk = special.unk.filter(is_unknown);
                (
                    Model::Spm(Spm::new(&tokens, &vocab.scores, unk, &mut warnings)?),
                    Pieces::new(&tokens, spm::spell),
                )
            }
        };
        let mut wanted = |name: &str, wanted: bool, id: Option<u32>| {
            if wanted && id.is_none() {
                warnings.push(format!(
                    "texts are to have {name}, but the vocabulary names no such token: left out"
                ));
            }
            wanted && id.is_some()
        };
        let add_bos = vocab.add_bos.unwrap_or(is_spm || pre.is_some_and(|pre| pre.add_bos));
        Ok(Self {
            add_bos: wanted("BOS", add_bos, special.bos),
            add_eos: wanted("EOS", vocab.add_eos.unwrap_or(false), special.eos),
            add_space_prefix: vocab.add_space_prefix.unwrap_or(is_spm),
            tokens,
            pieces,
            added,
            model,
            special,
            stop_ids,
            pre: vocab.pre.filter(|_| !is_spm),
            warnings,
        })
    }

    /// The ids of `text`.
    ///
    /// # Errors
    /// [`TokenizerError::NoByteToken`] if a SentencePiece vocabulary can neither spell nor replace a byte of it.
    /// [`TokenizerError::Bpe`] if the BPE model fails, for which no cause is known.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 2);
        if options.add_special && self.add_bos {
            ids.extend(self.special.bos);
        }
        let mut after_token = true;
        for fragment in self.added.split(text, options.parse_special) {
            match fragment {
                Fragment::Token(id) => ids.push(id),
                Fragment::Text(text) => match &self.model {
                    Model::Bpe(bpe) => bpe.encode(text, &mut ids)?,
                    Model::Spm(spm) => {
                        spm.encode(&self.tokens, text, self.add_space_prefix && after_token, &mut ids)?;
                    }
                },
            }
            after_token = matches!(fragment, Fragment::Token(_));
        }
        if options.add_special && self.add_eos {
            ids.extend(self.special.eos);
        }
        Ok(ids)
    }

    /// The text of `ids` as a whole text of its own, control tokens left out.
    ///
    /// Bytes that are no UTF-8, and ids outside the vocabulary, become U+FFFD. Nothing else is changed: spaces before
    /// punctuation, which llama.cpp's `llama_detokenize` takes out for some vocabularies, stay.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.decode_with(ids, DecodeOptions::default())
    }

    /// The text of `ids`; see [`Tokenizer::decode`].
    pub fn decode_with(&self, ids: &[u32], options: DecodeOptions) -> String {
        String::from_utf8_lossy(&self.decode_bytes(ids, options)).into_owned()
    }

    /// The bytes of `ids`, which need not be whole code points.
    pub fn decode_bytes(&self, ids: &[u32], options: DecodeOptions) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut detokenizer = Detokenizer::with_options(self, options);
        for &id in ids {
            bytes.extend_from_slice(detokenizer.next_piece(id));
        }
        bytes
    }

    /// The bytes of one token; of a control token, its name. `None` outside the vocabulary.
    pub fn piece(&self, id: u32) -> Option<&[u8]> {
        self.pieces.get(id)
    }

    /// The text of a token as the vocabulary spells it (`Ġthe`, `▁the`, `<0x0A>`).
    pub fn token_text(&self, id: u32) -> Option<&str> {
        self.tokens.text(id)
    }

    /// The id of a token by the text that the vocabulary spells it with.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        self.tokens.id(text)
    }

    /// What a token is for.
    pub fn token_kind(&self, id: u32) -> Option<TokenKind> {
        self.tokens.kind(id)
    }

    /// Whether a token is structure rather than text, and hidden in decoded text.
    pub fn is_control(&self, id: u32) -> bool {
        self.tokens.kind(id).is_some_and(TokenKind::is_special)
    }

    /// How many ids there are.
    pub fn n_vocab(&self) -> usize {
        self.tokens.len()
    }

    /// The ids with a role.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// Begin of text.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos
    }

    /// End of text.
    pub fn eos(&self) -> Option<u32> {
        self.special.eos
    }

    /// Whether [`EncodeOptions::add_special`] puts BOS before a text. Who encodes a rendered chat template, which
    /// often begins with BOS itself, asks this so as not to have two.
    pub fn adds_bos(&self) -> bool {
        self.add_bos
    }

    /// Whether [`EncodeOptions::add_special`] puts EOS after a text.
    pub fn adds_eos(&self) -> bool {
        self.add_eos
    }

    /// Whether a text gets a space in front, which decoding takes away again.
    pub fn adds_space_prefix(&self) -> bool {
        self.add_space_prefix
    }

    /// The ids that end generation: EOS, end of turn, end of message, and what well-known families use.
    pub fn stop_ids(&self) -> &BTreeSet<u32> {
        &self.stop_ids
    }

    /// The family in a word, with the pre-tokenizer: `BPE (llama-bpe)`, `SPM`.
    pub fn kind(&self) -> String {
        match &self.model {
            Model::Spm(_) => "SPM".to_owned(),
            Model::Bpe(_) => format!("BPE ({})", self.pre.as_deref().unwrap_or("default")),
        }
    }

    /// What the file leaves out or gets wrong without being useless, a sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn pre_tokenizer(name: Option<&str>, warnings: &mut Vec<String>) -> Result<PreTokenizer, TokenizerError> {
    match name {
        None | Some("") => {
            warnings.push(
                "`tokenizer.ggml.pre` is missing: the default pre-tokenizer may not be the one that the model was \
                 trained with; convert the model again"
                    .into(),
            );
            Ok(PreTokenizer::DEFAULT)
        }
        Some(name) => PreTokenizer::named(name)
            .ok_or_else(|| TokenizerError::UnsupportedPreTokenizer { name: name.to_owned() }),
    }
}

/// Phi-3's added tokens swallow the white space after them, except three; no key says so, only the model's name.
fn swallows_space(model_name: Option<&str>) -> impl Fn(&str) -> bool {
    let name = model_name.unwrap_or_default().to_ascii_lowercase();
    let is_phi3 = name.contains("phi-3") || name.contains("phi3");
    move |text| is_phi3 && !matches!(text, "<unk>" | "<s>" | "<|endoftext|>")
}
