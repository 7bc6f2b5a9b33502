//! Text into words by the regexes of a pre-tokenizer.
//!
//! `tokenizers` can split too, but not long runs: its `fancy-regex` keeps a stack entry a character, a million at most,
//! and its `Split` takes the error for the end of the matches. Measured with tokenizers 0.22.2 and the regex of GPT-2: up
//! to 999 998 spaces (999 997 letters) in a row come out right; with one more, they and the whole text after them are
//! one word, and nothing tells. Llama 3's regex ends at 999 983 spaces. And for 1 MB of English these regexes alone
//! take 60 to 70 ms there, as against 40 to 50 ms for all of the encoding here.

use regex::Regex;

use crate::TokenizerError;
use crate::pre_tokenizer::PreTokenizer;

/// Compiled regexes, applied in order.
///
/// Each regex cuts every piece that the ones before have left into its matches and what lies between matches;
/// nothing is dropped. A look-ahead therefore sees the end of the piece as the end of the text, as in llama.cpp's
/// `unicode_regex_split` and in a `Sequence` of `Split(Isolated)` of Hugging Face.
#[derive(Debug)]
pub(crate) struct Splitter {
    rules: Vec<Rule>,
}

impl Splitter {
    pub(crate) fn new(pre: PreTokenizer) -> Result<Self, TokenizerError> {
        Ok(Self { rules: pre.regexes.iter().map(|regex| Rule::new(regex)).collect::<Result<_, _>>()? })
    }

    /// Calls `word` with each word of `text`, in order; joined, the words are `text`.
    pub(crate) fn for_each_word<'t>(&self, text: &'t str, word: &mut impl FnMut(&'t str)) {
        split(&self.rules, text, word);
    }
}

fn split<'t>(rules: &[Rule], piece: &'t str, word: &mut impl FnMut(&'t str)) {
    let Some((rule, rest)) = rules.split_first() else {
        return word(piece);
    };
    let mut done = 0;
    while let Some((start, end)) = rule.find(piece, done) {
        if start > done {
            split(rest, &piece[done..start], word);
        }
        split(rest, &piece[start..end], word);
        done = end;
    }
    if done < piece.len() {
        split(rest, &piece[done..], word);
    }
}

/// The look-ahead that most pre-tokenizers end with: white space, but not the last before a word.
const SPACE_NOT_BEFORE_WORD: &str = r"|\s+(?!\S)";

/// One regex, in linear time.
///
/// The engine has no look-ahead, and one that has takes a stack entry a character and gives up on long runs. So
/// `\s+(?!\S)` is matched as `\s+` and shortened: white space that is followed by something else, which can only be
/// a word, leaves its last character to it. That also covers `|\s+` after it, which is for a single one.
#[derive(Debug)]
struct Rule {
    regex: Regex,
    /// White space that it matches is to be shortened.
    shortens: bool,
    /// White space that ends a line is another alternative's, which is not to be shortened.
    keeps_lines: bool,
}

impl Rule {
    fn new(source: &str) -> Result<Self, TokenizerError> {
        let without = source.strip_suffix(r"|\s+").unwrap_or(source).strip_suffix(SPACE_NOT_BEFORE_WORD);
        let regex = match without {
            Some(rest) => Regex::new(&format!(r"{rest}|\s+")),
            None => Regex::new(source),
        };
        Ok(Self {
            regex: regex.map_err(|error| TokenizerError::Compile(error.into()))?,
            shortens: without.is_some(),
            keeps_lines: source.contains(r"|\s*[\r\n]"),
        })
    }

    /// The next match of `piece` from the byte `from` on.
    fn find(&self, piece: &str, from: usize) -> Option<(usize, usize)> {
        let found = self.regex.find_at(piece, from)?;
        let mut end = found.end();
        if self.shortens && end < piece.len() {
            let mut chars = found.as_str().chars();
            if let Some(last) = chars.next_back()
                && last.is_whitespace()
                && !(self.keeps_lines && matches!(last, '\r' | '\n'))
                && !chars.as_str().is_empty()
                && chars.all(char::is_whitespace)
            {
                end -= last.len_utf8();
            }
        }
        Some((found.start(), end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pre_tokenizer::pre_tokenizer_names;

    /// The words by an engine that has look-ahead.
    fn by_look_ahead<'t>(regexes: &[fancy_regex::Regex], piece: &'t str, words: &mut Vec<&'t str>) {
        let Some((regex, rest)) = regexes.split_first() else {
            return words.push(piece);
        };
        let mut done = 0;
        for found in regex.find_iter(piece) {
            let found = found.expect("a short text");
            if found.start() > done {
                by_look_ahead(rest, &piece[done..found.start()], words);
            }
            by_look_ahead(rest, found.as_str(), words);
            done = found.end();
        }
        if done < piece.len() {
            by_look_ahead(rest, &piece[done..], words);
        }
    }

    /// Texts that look random, out of what the regexes tell apart.
    fn texts() -> impl Iterator<Item = String> {
        const PARTS: [&str; 36] = [
            " ",
            "  ",
            "\n",
            "\r\n",
            "\t",
            "\u{A0}",
            "\u{3000}",
            "\u{85}",
            "\u{2028}",
            "a",
            "Word",
            "WORD",
            "camelCase",
            "é",
            "e\u{301}",
            "ß",
            "Ж",
            "日本",
            "カ",
            "한",
            "1",
            "23",
            "4567",
            "٣",
            "½",
            "!",
            "...",
            "$",
            "+=",
            "_",
            "'s",
            "'LL",
            "'",
            "😀",
            "\u{200D}",
            "\u{E000}",
        ];
        let mut state = 1u64;
        let mut next = move |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from((state >> 33) % n).expect("small")
        };
        (0..3000).map(move |_| (0..=next(9)).map(|_| PARTS[next(36)]).collect())
    }

    #[test]
    fn words_are_those_that_look_ahead_gives() {
        let texts: Vec<String> = texts().collect();
        for name in pre_tokenizer_names() {
            let pre = PreTokenizer::named(name).expect("a name of the table");
            let splitter = Splitter::new(pre).expect("regexes");
            let regexes: Vec<_> = pre
                .regexes
                .iter()
                .map(|regex| {
                    // As llama.cpp has them.
                    let regex = regex.replace(r"[\p{L}&&[^a-z]]", r"((?=[\p{L}])([^a-z]))");
                    let regex = regex.replace(r"[\p{L}&&[^A-Z]]", r"((?=[\p{L}])([^A-Z]))");
                    fancy_regex::Regex::new(&regex).expect("a regex with look-ahead")
                })
                .collect();
            for text in &texts {
                let (mut words, mut expected) = (Vec::new(), Vec::new());
                splitter.for_each_word(text, &mut |word| words.push(word));
                by_look_ahead(&regexes, text, &mut expected);
                assert_eq!(words, expected, "{name}");
                assert_eq!(&words.concat(), text);
            }
        }
    }

    #[test]
    fn white_space_leaves_its_last_character_to_the_word_after_it() {
        let words = |name: &str, text: &'static str| {
            let mut words = Vec::new();
            let pre = PreTokenizer::named(name).expect("name");
            Splitter::new(pre).expect("regexes").for_each_word(text, &mut |word| words.push(word));
            words
        };
        assert_eq!(words("gpt-2", "a   b  "), ["a", "  ", " b", "  "]);
        assert_eq!(words("gpt-2", "a\n\nb"), ["a", "\n", "\n", "b"]);
        assert_eq!(words("llama-bpe", "a \n\n  b"), ["a", " \n\n", " ", " b"]);
        assert_eq!(words("smollm", "a 12 "), ["a", " ", "1", "2", " "]);
    }
}
