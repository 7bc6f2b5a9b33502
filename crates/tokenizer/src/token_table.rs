//! Ids, their texts and kinds, and the bytes they stand for.

use std::collections::HashMap;

use crate::TokenizerError;

/// What a token is for, as `tokenizer.ggml.token_type` numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// 0 and any other number: never written as text.
    Undefined,
    /// 1: a piece of text.
    Normal,
    /// 2: stands for what the vocabulary cannot spell.
    Unknown,
    /// 3: structure (`<s>`, `<|im_end|>`), not text.
    Control,
    /// 4: text of its own, found before any other splitting.
    UserDefined,
    /// 5: a reserved id.
    Unused,
    /// 6: one byte, spelled `<0xXX>`.
    Byte,
}

impl TokenKind {
    fn from_number(number: i32) -> Self {
        match number {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Undefined,
        }
    }

    /// Whether the token is hidden in decoded text and found in a text only on request.
    pub(crate) fn is_special(self) -> bool {
        matches!(self, Self::Control | Self::Unknown)
    }
}

/// The tokens of a checked vocabulary: every id has one text, every text one id.
#[derive(Debug)]
pub(crate) struct TokenTable {
    texts: Vec<String>,
    kinds: Vec<TokenKind>,
    ids: HashMap<String, u32>,
}

impl TokenTable {
    pub(crate) fn new(mut texts: Vec<String>, types: &[i32]) -> Result<Self, TokenizerError> {
        if !types.is_empty() && types.len() < texts.len() {
            let key = "tokenizer.ggml.token_type";
            return Err(TokenizerError::Length { key, got: types.len(), tokens: texts.len() });
        }
        let mut ids = HashMap::with_capacity(texts.len());
        for (id, text) in (0u32..).zip(&mut texts) {
            if text.is_empty() {
                // llama.cpp's name for it: an empty text would be found everywhere.
                *text = format!("[EMPTY_{id}]");
            }
            if let Some(first) = ids.insert(text.clone(), id) {
                return Err(TokenizerError::DuplicateToken { text: text.clone(), first, second: id });
            }
        }
        let kinds = match types {
            [] => vec![TokenKind::Normal; texts.len()],
            types => types[..texts.len()].iter().map(|&n| TokenKind::from_number(n)).collect(),
        };
        Ok(Self { texts, kinds, ids })
    }

    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    pub(crate) fn text(&self, id: u32) -> Option<&str> {
        self.texts.get(id as usize).map(String::as_str)
    }

    pub(crate) fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    pub(crate) fn set_kind(&mut self, id: u32, kind: TokenKind) {
        if let Some(slot) = self.kinds.get_mut(id as usize) {
            *slot = kind;
        }
    }

    pub(crate) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied()
    }

    /// Every token in order of its id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &str, TokenKind)> {
        (0u32..).zip(&self.texts).zip(&self.kinds).map(|((id, text), &kind)| (id, text.as_str(), kind))
    }
}

/// The bytes that each id stands for, in one buffer.
#[derive(Debug)]
pub(crate) struct Pieces {
    bytes: Vec<u8>,
    /// Ends of the pieces; piece `i` begins where piece `i - 1` ends.
    ends: Vec<usize>,
}

impl Pieces {
    /// Spells every token; `spell` writes a normal token's text as bytes.
    pub(crate) fn new(tokens: &TokenTable, spell: impl Fn(&str, &mut Vec<u8>)) -> Self {
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(tokens.len());
        for (_, text, kind) in tokens.iter() {
            match kind {
                TokenKind::Normal => spell(text, &mut bytes),
                TokenKind::Byte => match byte_of(text) {
                    Some(byte) => bytes.push(byte),
                    None => spell(text, &mut bytes),
                },
                TokenKind::Control | TokenKind::Unknown | TokenKind::UserDefined => {
                    bytes.extend_from_slice(text.as_bytes());
                }
                TokenKind::Unused | TokenKind::Undefined => {}
            }
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    pub(crate) fn get(&self, id: u32) -> Option<&[u8]> {
        let index = id as usize;
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }
}

/// The byte that `<0xXX>` spells.
fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    let is_byte = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_byte { u8::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_tokens_are_two_hex_digits() {
        assert_eq!(byte_of("<0x0A>"), Some(10));
        assert_eq!(byte_of("<0xff>"), Some(255));
        for text in ["<0x>", "<0xA>", "<0x+A>", "<0x100>", "0x0A", "<0xG0>", "<0xé>"] {
            assert_eq!(byte_of(text), None, "{text}");
        }
    }

    #[test]
    fn two_ids_with_one_text_are_refused() {
        let error = TokenTable::new(vec!["a".into(), "b".into(), "a".into()], &[]).expect_err("duplicate");
        assert!(matches!(error, TokenizerError::DuplicateToken { first: 0, second: 2, .. }), "{error}");
    }

    #[test]
    fn too_few_types_are_refused() {
        let error = TokenTable::new(vec!["a".into(), "b".into()], &[1]).expect_err("one type");
        assert!(matches!(error, TokenizerError::Length { got: 1, tokens: 2, .. }), "{error}");
    }
}
