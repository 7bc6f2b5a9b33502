//! Spellings of llama.cpp that the parser does not know.

use std::ffi::OsString;

/// Gives words that llama.cpp spells with one dash their two, up to a `--`.
pub(crate) fn normalise(args: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut only_values = false;
    args.map(move |arg| {
        only_values |= arg == "--";
        if arg == "-sys" && !only_values { "--system-prompt".into() } else { arg }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_with_one_dash_are_understood() {
        let normal = |args: &[&str]| -> Vec<OsString> { normalise(args.iter().map(Into::into)).collect() };
        assert_eq!(
            normal(&["x", "-sys", "be brief", "-s", "1"]),
            ["x", "--system-prompt", "be brief", "-s", "1"]
        );
        assert_eq!(normal(&["x", "--", "-sys"]), ["x", "--", "-sys"]);
    }
}
