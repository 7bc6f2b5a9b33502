//! Texts that end a generation, found as the text comes.

/// Holds text back while it might begin a stop string.
#[derive(Debug)]
pub(crate) struct StopStrings<'a> {
    stops: &'a [String],
    /// Not let through yet: shorter than the longest stop string, between calls.
    held: String,
}

/// What to do with the text so far.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Passed {
    /// This much is safe to show.
    Text(String),
    /// A stop string came; this was before it.
    Stop(String),
}

impl<'a> StopStrings<'a> {
    /// None of `stops` is empty.
    pub(crate) fn new(stops: &'a [String]) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes the next piece of text. The result does not depend on how the text is cut into pieces: the stop string
    /// that is whole first wins, the longest if several are.
    pub(crate) fn push(&mut self, piece: &str) -> Passed {
        self.held.push_str(piece);
        let held = self.held.as_str();
        let found = self.stops.iter().filter_map(|stop| held.find(stop).map(|at| (at + stop.len(), at)));
        if let Some((_, at)) = found.min() {
            self.held.truncate(at);
            return Passed::Stop(std::mem::take(&mut self.held));
        }
        let begun = self.stops.iter().map(|stop| begun_len(held, stop)).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - begun);
        Passed::Text(std::mem::replace(&mut self.held, rest))
    }

    /// What was held back, now that no more text comes.
    pub(crate) fn finish(self) -> String {
        self.held
    }
}

/// Bytes at the end of `text` that are a proper beginning of `stop`.
fn begun_len(text: &str, stop: &str) -> usize {
    let longest = text.len().min(stop.len() - 1);
    (1..=longest).rev().find(|&n| text.as_bytes().ends_with(&stop.as_bytes()[..n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, bool) {
        let stops: Vec<String> = stops.iter().map(|s| (*s).to_owned()).collect();
        let mut matcher = StopStrings::new(&stops);
        let mut shown = String::new();
        for piece in pieces {
            match matcher.push(piece) {
                Passed::Text(text) => shown.push_str(&text),
                Passed::Stop(text) => return (shown + &text, true),
            }
        }
        (shown + &matcher.finish(), false)
    }

    #[test]
    fn a_stop_string_is_found_across_pieces_and_never_shown() {
        assert_eq!(run(&["END"], &["on", "e E", "N", "D two"]), ("one ".into(), true));
        assert_eq!(run(&["END"], &["one E", "N", "ough"]), ("one ENough".into(), false));
        assert_eq!(run(&["END"], &["one EN"]), ("one EN".into(), false));
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".into(), true));
        assert_eq!(run(&["é"], &["caf", "é!"]), ("caf".into(), true));
        assert_eq!(run(&["éa"], &["è", "é", "b"]), ("èéb".into(), false));
        assert_eq!(run(&[], &["any", "thing"]), ("anything".into(), false));
    }

    #[test]
    fn text_is_held_back_only_while_it_might_begin_a_stop_string() {
        let stops = ["\nUser:".to_owned()];
        let mut matcher = StopStrings::new(&stops);
        assert_eq!(matcher.push("hi\n"), Passed::Text("hi".into()));
        assert_eq!(matcher.push("U"), Passed::Text(String::new()));
        assert_eq!(matcher.push("p"), Passed::Text("\nUp".into()));
    }

    proptest! {
        #[test]
        fn the_cut_into_pieces_does_not_matter(
            text in "[abc]{0,24}",
            stops in prop::collection::vec("[abc]{1,4}", 0..4),
            cuts in prop::collection::vec(0usize..25, 0..6),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let pieces: Vec<&str> = cuts.windows(2).map(|w| &text[w[0]..w[1]]).collect();
            let letters: Vec<&str> = text.split("").collect();
            // Naively: the shortest beginning of the text that ends in a stop string, less the longest such string.
            let expected = (0..=text.len())
                .find_map(|end| {
                    let stop = stops.iter().filter(|s| text[..end].ends_with(**s)).map(|s| s.len()).max()?;
                    Some((text[..end - stop].to_owned(), true))
                })
                .unwrap_or((text.clone(), false));
            prop_assert_eq!(run(&stops, &pieces), expected.clone());
            prop_assert_eq!(run(&stops, &letters), expected);
        }
    }
}
