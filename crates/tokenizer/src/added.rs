//! Tokens that are found in a text before anything else splits it.

use aho_corasick::AhoCorasick;

use crate::TokenizerError;
use crate::token_table::{TokenKind, TokenTable};

/// A stretch of a text: an added token, or what lies between two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fragment<'t> {
    Text(&'t str),
    Token(u32),
}

#[derive(Debug)]
struct Added {
    id: u32,
    text: String,
    /// Found even where control tokens are not to be parsed.
    always: bool,
    /// The white space after it belongs to it.
    swallows_space: bool,
}

/// All tokens of a vocabulary that are cut out of a text as a whole.
#[derive(Debug)]
pub(crate) struct AddedTokens {
    /// Longest first.
    tokens: Vec<Added>,
    finder: AhoCorasick,
}

impl AddedTokens {
    /// `swallows_space` says which of them (by text) take the white space that follows.
    pub(crate) fn new(
        table: &TokenTable,
        swallows_space: impl Fn(&str) -> bool,
    ) -> Result<Self, TokenizerError> {
        let mut tokens: Vec<Added> = table
            .iter()
            .filter(|&(_, _, kind)| kind.is_special() || kind == TokenKind::UserDefined)
            .map(|(id, text, kind)| Added {
                id,
                text: text.to_owned(),
                always: !kind.is_special(),
                swallows_space: swallows_space(text),
            })
            .collect();
        tokens.sort_by(|a, b| b.text.len().cmp(&a.text.len()).then(a.id.cmp(&b.id)));
        let finder = AhoCorasick::new(tokens.iter().map(|token| token.text.as_bytes()))
            .map_err(|error| TokenizerError::Compile(error.into()))?;
        Ok(Self { tokens, finder })
    }

    /// Cuts `text` at every added token; control tokens count only if `parse_special`.
    ///
    /// A longer token goes before a shorter one anywhere in the text, even where the shorter one begins earlier:
    /// llama.cpp looks for one token after the other, longest first, in what the ones before have left.
    pub(crate) fn split<'t>(&self, text: &'t str, parse_special: bool) -> Vec<Fragment<'t>> {
        if text.is_empty() {
            return Vec::new();
        }
        let mut fragments = vec![Fragment::Text(text)];
        for token in self.present(text, parse_special) {
            let mut next = Vec::with_capacity(fragments.len() + 2);
            for fragment in fragments {
                match fragment {
                    Fragment::Text(text) => token.cut(text, &mut next),
                    Fragment::Token(_) => next.push(fragment),
                }
            }
            fragments = next;
        }
        fragments
    }

    /// The tokens that occur in `text`, overlapping ones too, longest first; one pass finds them all.
    fn present(&self, text: &str, parse_special: bool) -> impl Iterator<Item = &Added> {
        let mut seen = vec![false; self.tokens.len()];
        for found in self.finder.find_overlapping_iter(text) {
            seen[found.pattern().as_usize()] = true;
        }
        self.tokens
            .iter()
            .zip(seen)
            .filter(move |(token, seen)| *seen && (token.always || parse_special))
            .map(|(token, _)| token)
    }
}

impl Added {
    fn cut<'t>(&self, text: &'t str, fragments: &mut Vec<Fragment<'t>>) {
        let mut rest = text;
        while let Some((before, after)) = rest.split_once(&self.text) {
            if !before.is_empty() {
                fragments.push(Fragment::Text(before));
            }
            fragments.push(Fragment::Token(self.id));
            rest = if self.swallows_space { after.trim_start_matches(is_c_space) } else { after };
        }
        if !rest.is_empty() {
            fragments.push(Fragment::Text(rest));
        }
    }
}

/// White space of C's `isspace`: the wider Unicode set would swallow what llama.cpp keeps.
fn is_c_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0B' | '\x0C' | '\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(tokens: &[(&str, i32)], swallowing: &str) -> AddedTokens {
        let texts = tokens.iter().map(|(text, _)| (*text).to_owned()).collect();
        let types: Vec<i32> = tokens.iter().map(|(_, kind)| *kind).collect();
        let table = TokenTable::new(texts, &types).expect("table");
        AddedTokens::new(&table, |text| text == swallowing).expect("added tokens")
    }

    #[test]
    fn control_tokens_count_only_on_request_and_user_defined_ones_always() {
        let added = added(&[("<s>", 3), ("  ", 4)], "");
        assert_eq!(
            added.split("a  <s>", false),
            [Fragment::Text("a"), Fragment::Token(1), Fragment::Text("<s>")]
        );
        assert_eq!(
            added.split("a  <s>", true),
            [Fragment::Text("a"), Fragment::Token(1), Fragment::Token(0)]
        );
    }

    #[test]
    fn a_longer_token_wins_even_where_a_shorter_one_begins_earlier() {
        let added = added(&[("ab", 4), ("bcd", 4)], "");
        assert_eq!(
            added.split("abcd ab", true),
            [Fragment::Text("a"), Fragment::Token(1), Fragment::Text(" "), Fragment::Token(0)]
        );
    }

    #[test]
    fn a_token_may_swallow_the_space_after_it() {
        let added = added(&[("<x>", 3)], "<x>");
        assert_eq!(
            added.split("<x> \n\u{A0}a<x>  ", true),
            [Fragment::Token(0), Fragment::Text("\u{A0}a"), Fragment::Token(0)]
        );
    }

    #[test]
    fn text_without_tokens_is_one_fragment_and_no_text_is_none() {
        let added = added(&[("x", 1)], "");
        assert_eq!(added.split("xyz", true), [Fragment::Text("xyz")]);
        assert_eq!(added.split("", true), []);
    }
}
