//! The byte-level alphabet: the character that spells each byte in the tokens of a byte-level BPE vocabulary.

use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// Bytes to characters and back.
#[derive(Debug)]
pub(crate) struct Alphabet {
    /// By byte.
    chars: Vec<char>,
    /// By the character's code.
    bytes: Vec<Option<u8>>,
}

impl Alphabet {
    pub(crate) fn new() -> Self {
        let letters = ByteLevel::alphabet();
        // `tokenizers` gives the set alone, but not more is needed: a letter below U+0100 spells the byte of its
        // code, and the letters above, in order, the bytes that are left.
        let mut substitutes: Vec<char> = letters.iter().copied().filter(|&c| c > '\u{FF}').collect();
        substitutes.sort_unstable();
        let mut chars: Vec<char> = (0u8..=255).map(char::from).collect();
        let unprintable = chars.iter_mut().filter(|c| !letters.contains(c));
        for (c, substitute) in unprintable.zip(substitutes) {
            *c = substitute;
        }

        let codes = chars.iter().max().map_or(0, |&c| c as usize + 1);
        let mut bytes = vec![None; codes];
        for (byte, &c) in (0u8..=255).zip(&chars) {
            bytes[c as usize] = Some(byte);
        }
        Self { chars, bytes }
    }

    /// The character that spells `byte`.
    pub(crate) fn char(&self, byte: u8) -> char {
        self.chars[usize::from(byte)]
    }

    /// Appends the bytes that the characters of `text` spell.
    ///
    /// A character that spells no byte stands for itself: some files hold plain text in normal tokens.
    pub(crate) fn read(&self, text: &str, bytes: &mut Vec<u8>) {
        for c in text.chars() {
            match self.byte(c) {
                Some(byte) => bytes.push(byte),
                None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }

    fn byte(&self, c: char) -> Option<u8> {
        self.bytes.get(c as usize).copied().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_own_character_and_comes_back() {
        let alphabet = Alphabet::new();
        for byte in 0u8..=255 {
            assert_eq!(alphabet.byte(alphabet.char(byte)), Some(byte), "{byte:#04x}");
        }
        let spelled =
            [b'\0', b'\n', b' ', b'!', b'~', 0x7F, 0xA0, 0xA1, 0xAD, 0xFF].map(|b| alphabet.char(b));
        assert_eq!(spelled, ['Ā', 'Ċ', 'Ġ', '!', '~', 'ġ', 'ł', '¡', 'Ń', 'ÿ']);
        assert_eq!(alphabet.byte('\u{144}'), None);
        assert_eq!(alphabet.byte(' '), None);
    }

    #[test]
    fn text_that_spells_no_bytes_stands_for_itself() {
        let mut bytes = Vec::new();
        Alphabet::new().read("Ġa▁", &mut bytes);
        assert_eq!(bytes, " a▁".as_bytes());
    }
}
