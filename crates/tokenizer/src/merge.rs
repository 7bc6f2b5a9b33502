//! Merging neighbours, the best token first: the core of SentencePiece's BPE.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A token and when it comes about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ranked {
    pub(crate) id: u32,
    /// The lowest merges first, the leftmost of equals.
    pub(crate) rank: u32,
}

/// A stretch of a word; merging widens it to the right and empties its neighbour.
#[derive(Debug, Clone, Copy)]
struct Symbol {
    /// Offset in the word, in bytes.
    start: usize,
    /// Length in bytes; 0 once merged into the left neighbour.
    len: usize,
    /// The token that spells it, if one does.
    id: Option<u32>,
    prev: Option<usize>,
    next: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    rank: u32,
    left: usize,
    right: usize,
    /// Length of both when they were found; another length now means that one of them has merged since.
    len: usize,
    id: u32,
}

impl Ord for Candidate {
    /// The greatest is the one to merge first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.rank, other.left).cmp(&(self.rank, self.left))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Merges one word after the other; kept between words for its buffers.
///
/// Takes `O(n log n)` for `n` characters, however they merge.
#[derive(Debug, Default)]
pub(crate) struct Merger {
    symbols: Vec<Symbol>,
    queue: BinaryHeap<Candidate>,
}

impl Merger {
    /// Merges the characters of `word` as long as two neighbours joined are a `token`, and returns what is left, each
    /// with its id if it is a token.
    pub(crate) fn merge<'w>(
        &mut self,
        word: &'w str,
        token: impl Fn(&str) -> Option<Ranked>,
    ) -> impl Iterator<Item = (&'w str, Option<u32>)> {
        self.symbols.clear();
        for (index, (start, c)) in word.char_indices().enumerate() {
            let len = c.len_utf8();
            let id = token(&word[start..start + len]).map(|token| token.id);
            self.symbols.push(Symbol { start, len, id, prev: index.checked_sub(1), next: Some(index + 1) });
        }
        if let Some(last) = self.symbols.last_mut() {
            last.next = None;
        }
        for right in 1..self.symbols.len() {
            self.consider(right - 1, right, word, &token);
        }
        while let Some(best) = self.queue.pop() {
            let (left, right) = (self.symbols[best.left], self.symbols[best.right]);
            if left.len == 0 || right.len == 0 || left.len + right.len != best.len {
                continue;
            }
            self.symbols[best.left] = Symbol { len: best.len, id: Some(best.id), next: right.next, ..left };
            self.symbols[best.right].len = 0;
            if let Some(prev) = left.prev {
                self.consider(prev, best.left, word, &token);
            }
            if let Some(next) = right.next {
                self.symbols[next].prev = Some(best.left);
                self.consider(best.left, next, word, &token);
            }
        }
        let left = self.symbols.iter().filter(|symbol| symbol.len > 0);
        left.map(|symbol| (&word[symbol.start..symbol.start + symbol.len], symbol.id))
    }

    fn consider(&mut self, left: usize, right: usize, word: &str, token: impl Fn(&str) -> Option<Ranked>) {
        let (start, len) = (self.symbols[left].start, self.symbols[left].len + self.symbols[right].len);
        if let Some(Ranked { id, rank }) = token(&word[start..start + len]) {
            self.queue.push(Candidate { rank, left, right, len, id });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Merges the letters of `word` into `tokens`: a text and its rank.
    fn merge<'w>(word: &'w str, tokens: &[(&str, u32)]) -> Vec<&'w str> {
        let token = |text: &str| {
            tokens.iter().find(|(token, _)| *token == text).map(|&(_, rank)| Ranked { id: 0, rank })
        };
        Merger::default().merge(word, token).map(|(text, _)| text).collect()
    }

    #[test]
    fn the_lowest_rank_goes_first_and_the_leftmost_of_equals() {
        assert_eq!(merge("abc", &[("ab", 1), ("bc", 0)]), ["a", "bc"]);
        assert_eq!(merge("abc", &[("ab", 0), ("bc", 0)]), ["ab", "c"]);
        assert_eq!(merge("aaaaa", &[("aa", 0), ("aaaa", 1)]), ["aaaa", "a"]);
    }

    #[test]
    fn a_pair_whose_half_has_merged_elsewhere_is_forgotten() {
        assert_eq!(merge("abcd", &[("bc", 0), ("ab", 1), ("cd", 2), ("abc", 3)]), ["abc", "d"]);
    }

    #[test]
    fn nothing_to_merge_leaves_the_characters() {
        assert_eq!(merge("é日", &[]), ["é", "日"]);
        assert!(merge("", &[]).is_empty());
    }

    #[test]
    fn what_is_a_token_has_its_id() {
        let token = |text: &str| match text {
            "a" => Some(Ranked { id: 5, rank: 0 }),
            "bc" => Some(Ranked { id: 6, rank: 1 }),
            _ => None,
        };
        let left: Vec<_> = Merger::default().merge("abcd", token).collect();
        assert_eq!(left, [("a", Some(5)), ("bc", Some(6)), ("d", None)]);
    }
}
