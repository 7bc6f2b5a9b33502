//! Byte-level BPE: the words of a text, spelled in bytes, merged by rank.
//!
//! `split` cuts the words, `alphabet` spells them, and the model of `tokenizers` merges each by itself; it keeps the
//! ids of up to 10 000 words that have occurred. What is done here makes its answers llama.cpp's where the two differ:
//! on letters and merges outside the vocabulary, and on merges that occur twice.

use std::collections::HashSet;
use std::collections::hash_map::Entry;

use tokenizers::Model as _;
use tokenizers::models::bpe::{BPE, Merges, Vocab};

use crate::TokenizerError;
use crate::alphabet::Alphabet;
use crate::pre_tokenizer::PreTokenizer;
use crate::split::Splitter;
use crate::token_table::TokenTable;

/// How a vocabulary cuts text into words and merges them.
#[derive(Debug)]
pub(crate) struct Bpe {
    splitter: Splitter,
    alphabet: Alphabet,
    model: BPE,
    /// The model's ids from here on are no tokens: they stand for the bytes that the vocabulary cannot spell.
    n_vocab: u32,
}

impl Bpe {
    pub(crate) fn new(
        pre: PreTokenizer,
        tokens: &TokenTable,
        merges: Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, TokenizerError> {
        let splitter = Splitter::new(pre)?;
        let alphabet = Alphabet::new();
        let (vocab, n_vocab) = with_all_bytes(tokens, &alphabet, warnings);
        let merges = usable_merges(&vocab, n_vocab, merges, warnings)?;
        let model = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(pre.ignore_merges)
            .build()
            .map_err(TokenizerError::Bpe)?;
        Ok(Self { splitter, alphabet, model, n_vocab })
    }

    /// Appends the ids of `text`, which holds no added tokens.
    ///
    /// Bytes that the vocabulary has no token for are dropped, as in llama.cpp; nothing merges across them.
    pub(crate) fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        let mut spelled = String::new();
        let mut result = Ok(());
        self.splitter.for_each_word(text, &mut |word| {
            spelled.clear();
            spelled.extend(word.bytes().map(|byte| self.alphabet.char(byte)));
            match self.model.tokenize(&spelled) {
                Ok(tokens) => {
                    ids.extend(tokens.iter().map(|token| token.id).filter(|&id| id < self.n_vocab));
                }
                Err(cause) => result = Err(TokenizerError::Bpe(cause)),
            }
        });
        result
    }

    /// Appends the bytes that a token's text spells.
    pub(crate) fn read(&self, text: &str, bytes: &mut Vec<u8>) {
        self.alphabet.read(text, bytes);
    }
}

/// The tokens, and after them one for each byte that none of them spells; and how many are tokens.
///
/// `tokenizers` skips a letter that it does not know as if it were not there, and then merges what stands on its
/// two sides.
fn with_all_bytes(tokens: &TokenTable, alphabet: &Alphabet, warnings: &mut Vec<String>) -> (Vocab, u32) {
    let mut vocab: Vocab = tokens.iter().map(|(id, text, _)| (text.to_owned(), id)).collect();
    let n_vocab = tokens.iter().last().map_or(0, |(id, ..)| id + 1);
    let mut n_unspelled = 0;
    for (byte, id) in (0u8..=255).zip(n_vocab..) {
        if let Entry::Vacant(entry) = vocab.entry(alphabet.char(byte).to_string()) {
            entry.insert(id);
            // The others never occur in UTF-8, and some vocabularies leave them out.
            n_unspelled += u32::from(!matches!(byte, 0xC0 | 0xC1 | 0xF5..=0xFF));
        }
    }
    if n_unspelled > 0 {
        warnings
            .push(format!("the vocabulary has no token for {n_unspelled} of 243 bytes: they are dropped"));
    }
    (vocab, n_vocab)
}

/// The merges that lead from tokens to a token; of equal ones the first, as in llama.cpp.
///
/// `tokenizers` refuses a vocabulary with any other merge, and takes the last of equal ones.
fn usable_merges(
    vocab: &Vocab,
    n_vocab: u32,
    merges: Vec<String>,
    warnings: &mut Vec<String>,
) -> Result<Merges, TokenizerError> {
    let token = |text: &str| vocab.get(text).copied().filter(|&id| id < n_vocab);
    let n_merges = merges.len();
    let mut usable = Merges::with_capacity(n_merges);
    let mut seen = HashSet::with_capacity(n_merges);
    let mut joined = String::new();
    let mut n_useless = 0;
    for (index, merge) in merges.into_iter().enumerate() {
        let Some((left, right)) = halves(&merge) else {
            return Err(TokenizerError::BadMerge { index, text: merge });
        };
        joined.clear();
        joined.extend([left, right]);
        match (token(left), token(right), token(&joined)) {
            (Some(left_id), Some(right_id), Some(_)) => {
                if seen.insert((left_id, right_id)) {
                    let right = right.to_owned();
                    let mut left = merge;
                    left.truncate(left.len() - right.len() - 1);
                    usable.push((left, right));
                }
            }
            _ => n_useless += 1,
        }
    }
    if n_useless > 0 {
        warnings.push(format!("{n_useless} of {n_merges} merges lead outside the vocabulary: ignored"));
    }
    Ok(usable)
}

/// What stands on both sides of the space of a merge; the first character may itself be a space.
fn halves(merge: &str) -> Option<(&str, &str)> {
    let (at, _) = merge.char_indices().skip(1).find(|&(_, c)| c == ' ')?;
    let (left, right) = (&merge[..at], &merge[at + 1..]);
    (!right.is_empty()).then_some((left, right))
}
