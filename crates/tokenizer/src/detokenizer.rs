//! Ids into text as they come.

use crate::tokenizer::DecodeOptions;
use crate::{Tokenizer, token_table::TokenKind};

/// What stands for an id outside the vocabulary.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// Turns ids into text one by one, holding bytes back until they are whole code points.
///
/// All that it returns, joined, is [`Tokenizer::decode_with`] of all ids under the same options.
#[derive(Debug, Clone)]
pub struct Detokenizer<'a> {
    tokenizer: &'a Tokenizer,
    show_special: bool,
    /// Nothing has been written yet, and the space that encoding put before the text is still to be taken away.
    at_start: bool,
    /// The beginning of a code point; at most three bytes between calls.
    held: Vec<u8>,
}

impl<'a> Detokenizer<'a> {
    /// For a text that begins here, control tokens left out.
    pub fn new(tokenizer: &'a Tokenizer) -> Self {
        Self::with_options(tokenizer, DecodeOptions::default())
    }

    /// As `options` say.
    pub fn with_options(tokenizer: &'a Tokenizer, options: DecodeOptions) -> Self {
        Self {
            tokenizer,
            show_special: options.show_special,
            at_start: tokenizer.adds_space_prefix() && !options.continues,
            held: Vec::new(),
        }
    }

    /// The text that `id` completes; empty while a code point is not whole.
    pub fn push(&mut self, id: u32) -> String {
        let piece = self.next_piece(id);
        self.held.extend_from_slice(piece);
        let whole = whole_len(&self.held);
        let text = String::from_utf8_lossy(&self.held[..whole]).into_owned();
        self.held.drain(..whole);
        text
    }

    /// What is left: U+FFFD if the ids end within a code point, else nothing.
    pub fn finish(self) -> String {
        String::from_utf8_lossy(&self.held).into_owned()
    }

    /// The bytes that `id` adds.
    pub(crate) fn next_piece(&mut self, id: u32) -> &'a [u8] {
        let piece = match self.tokenizer.token_kind(id) {
            None => REPLACEMENT,
            Some(kind) if kind.is_special() && !self.show_special => &[],
            Some(TokenKind::Unused | TokenKind::Undefined) => &[],
            Some(_) => self.tokenizer.piece(id).unwrap_or_default(),
        };
        if piece.is_empty() || !std::mem::take(&mut self.at_start) {
            return piece;
        }
        piece.strip_prefix(b" ").unwrap_or(piece)
    }
}

/// How many bytes from the start are decided: all but the beginning of a code point at the end.
fn whole_len(bytes: &[u8]) -> usize {
    let tail = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let begins_code_point = std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none());
    bytes.len() - if begins_code_point { tail.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_code_point_is_held_back() {
        let smile = "😀".as_bytes();
        for (bytes, whole) in [
            (&b""[..], 0),
            (b"a", 1),
            (&smile[..1], 0),
            (&smile[..3], 0),
            (smile, 4),
            (b"a\xF0\x9F", 1),
            (b"a\x80", 2),        // continues nothing
            (b"\xFF\xFE", 2),     // never valid
            (b"\xF0\x9Fa", 3),    // cut short by another character
            (b"\xE2\x28\xE2", 2), // cut short, then another beginning
            (b"\xED\xA0", 2),     // a surrogate is invalid from its second byte on
        ] {
            assert_eq!(whole_len(bytes), whole, "{bytes:?}");
        }
    }
}
