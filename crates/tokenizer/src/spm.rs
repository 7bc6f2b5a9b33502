//! SentencePiece BPE: a text's characters, merged by score, with bytes for what the vocabulary cannot spell.
//!
//! In a file of `tokenizer.ggml.model = llama` there are no merges, only scores. As in llama.cpp (and unlike the
//! Unigram model that also has scores) two neighbours merge if their texts joined are a token: the highest score
//! first, the leftmost of equals. What is left over and is no token becomes the byte tokens `<0xXX>`.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::TokenizerError;
use crate::merge::{Merger, Ranked};
use crate::token_table::TokenTable;

/// What stands for a space in the vocabulary.
const SPACE: char = '▁';

/// Scores and byte tokens of a vocabulary.
#[derive(Debug)]
pub(crate) struct Spm {
    /// The order in which tokens come about; a higher score is a lower rank.
    ranks: Vec<u32>,
    /// `<0xXX>` of each byte; where that is missing, the byte's own character, or else the unknown token.
    byte_ids: Vec<Option<u32>>,
    /// The characters that come right before a `▁` within some token.
    ///
    /// Nothing merges across any other character and a `▁`, so the text falls into words there: each is merged
    /// alone, and only once.
    before_space: HashSet<char>,
}

impl Spm {
    pub(crate) fn new(
        tokens: &TokenTable,
        scores: &[f32],
        unk: Option<u32>,
        warnings: &mut Vec<String>,
    ) -> Result<Self, TokenizerError> {
        if scores.len() < tokens.len() {
            let key = "tokenizer.ggml.scores";
            return Err(TokenizerError::Length { key, got: scores.len(), tokens: tokens.len() });
        }
        let scores = &scores[..tokens.len()];
        if let Some((id, _)) = (0u32..).zip(scores).find(|(_, score)| score.is_nan()) {
            return Err(TokenizerError::BadScore { id });
        }
        let ranks = scores.iter().map(|&score| rank(score)).collect();
        let byte_ids: Vec<_> = (0u8..=255)
            .map(|byte| {
                let plain = char::from(byte);
                let plain = if plain.is_ascii() { tokens.id(plain.encode_utf8(&mut [0; 4])) } else { None };
                tokens.id(&format!("<0x{byte:02X}>")).or(plain).or(unk)
            })
            .collect();
        if byte_ids.iter().any(Option::is_none) {
            warnings
                .push("the vocabulary lacks byte tokens and an unknown token: not every text encodes".into());
        }
        let before_space = tokens
            .iter()
            .flat_map(|(_, text, _)| text.chars().zip(text.chars().skip(1)))
            .filter_map(|(before, c)| (c == SPACE).then_some(before))
            .collect();
        Ok(Self { ranks, byte_ids, before_space })
    }

    /// Appends the ids of `text`, which holds no added tokens; `prefix` puts a space before it.
    pub(crate) fn encode(
        &self,
        tokens: &TokenTable,
        text: &str,
        prefix: bool,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let mut escaped = String::with_capacity(text.len() + text.len() / 2);
        escaped.extend(prefix.then_some(SPACE));
        escaped.extend(text.chars().map(|c| if c == ' ' { SPACE } else { c }));

        let mut done: HashMap<&str, Range<usize>> = HashMap::new();
        let mut merger = Merger::default();
        for word in self.words(&escaped) {
            if let Some(known) = done.get(word) {
                ids.extend_from_within(known.clone());
                continue;
            }
            let start = ids.len();
            let token = |text: &str| tokens.id(text).map(|id| Ranked { id, rank: self.ranks[id as usize] });
            for (text, id) in merger.merge(word, token) {
                match id {
                    Some(id) => ids.push(id),
                    None => self.push_bytes(text, ids)?,
                }
            }
            done.insert(word, start..ids.len());
        }
        Ok(())
    }

    /// The words of `text`: it falls apart before each `▁` that no token holds together with what is before it.
    fn words<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let mut rest = text;
        std::iter::from_fn(move || {
            let mut before = rest.chars().next()?;
            let mut end = rest.len();
            for (at, c) in rest.char_indices().skip(1) {
                if c == SPACE && !self.before_space.contains(&before) {
                    end = at;
                    break;
                }
                before = c;
            }
            let (word, after) = rest.split_at(end);
            rest = after;
            Some(word)
        })
    }

    fn push_bytes(&self, piece: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        for byte in piece.bytes() {
            ids.push(self.byte_ids[usize::from(byte)].ok_or(TokenizerError::NoByteToken { byte })?);
        }
        Ok(())
    }
}

/// Writes a token's text as bytes: `▁` is a space.
pub(crate) fn spell(text: &str, bytes: &mut Vec<u8>) {
    for c in text.chars() {
        let c = if c == SPACE { ' ' } else { c };
        bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// Orders scores as numbers that fall as the score rises.
fn rank(score: f32) -> u32 {
    // Adding zero turns -0 into 0, which is no other score. Flipping the bits of negative numbers, and the sign of
    // others, makes the bits of floats ascend as integers.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    !ascending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_fall_as_scores_rise() {
        let scores = [f32::NEG_INFINITY, -1e9, -2.5, -1.0, -1e-40, 0.0, 1e-40, 1.0, 3e38, f32::INFINITY];
        for pair in scores.windows(2) {
            assert!(rank(pair[0]) > rank(pair[1]), "{pair:?}");
        }
        assert_eq!(rank(-0.0), rank(0.0));
    }

    /// A vocabulary of `texts`, the first with the highest score.
    fn spm(texts: &[&str]) -> (TokenTable, Spm) {
        let tokens =
            TokenTable::new(texts.iter().map(|text| (*text).to_owned()).collect(), &[]).expect("table");
        let scores: Vec<f32> = (0u8..).zip(texts).map(|(n, _)| -f32::from(n)).collect();
        let spm = Spm::new(&tokens, &scores, Some(0), &mut Vec::new()).expect("model");
        (tokens, spm)
    }

    #[test]
    fn words_end_before_a_space_unless_a_token_reaches_across() {
        let (_, spm) = spm(&["<unk>", "▁a", "▁▁", ".▁b"]);
        assert_eq!(spm.words("▁a▁▁ab.▁b▁").collect::<Vec<_>>(), ["▁a", "▁▁ab.▁b", "▁"]);
        assert_eq!(spm.words("").count(), 0);
    }

    #[test]
    fn what_is_no_token_becomes_bytes_then_plain_bytes_then_unknown() {
        let (tokens, spm) = spm(&["<unk>", "<0xC3>", "a", "b", "ab"]);
        let mut ids = Vec::new();
        spm.encode(&tokens, "abéa", false, &mut ids).expect("ids");
        assert_eq!(ids, [4, 1, 0, 2]); // é is C3 A9, and A9 has no token
    }

    #[test]
    fn scores_must_be_numbers_and_as_many_as_tokens() {
        let tokens = TokenTable::new(vec!["a".into(), "b".into()], &[]).expect("table");
        let error =
            |scores: &[f32]| Spm::new(&tokens, scores, None, &mut Vec::new()).expect_err("bad scores");
        assert!(matches!(error(&[0.0]), TokenizerError::Length { got: 1, tokens: 2, .. }));
        assert!(matches!(error(&[0.0, f32::NAN]), TokenizerError::BadScore { id: 1 }));
    }
}
