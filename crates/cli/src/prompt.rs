//! The text to work on: from the command line, a file, or standard input.

use crate::args::PromptArgs;
use crate::exit::Failure;
use std::io::{self, IsTerminal, Read};
use std::path::Path;

const STDIN: &str = "-";

impl PromptArgs {
    /// The text exactly as it is.
    pub(crate) fn text(&self) -> Result<String, Failure> {
        match (&self.prompt, &self.file) {
            (Some(text), _) if text != STDIN => Ok(text.clone()),
            (None, Some(path)) => file(path),
            (None, None) if io::stdin().is_terminal() => Err(Failure::usage(
                "no text is given",
                "give one with --prompt or --file, or on standard input",
            )),
            _ => stdin(),
        }
    }

    /// The text as a prompt: the line break that ends a file, or what `echo` prints, is no part of it.
    pub(crate) fn prompt(&self) -> Result<String, Failure> {
        let mut text = self.text()?;
        let is_typed = self.prompt.as_ref().is_some_and(|prompt| prompt != STDIN);
        if !is_typed && let Some(rest) = text.strip_suffix('\n') {
            text.truncate(rest.strip_suffix('\r').unwrap_or(rest).len());
        }
        Ok(text)
    }
}

/// The text of a file, or of standard input for `-`.
pub(crate) fn file(path: &Path) -> Result<String, Failure> {
    if path.as_os_str() == STDIN {
        return stdin();
    }
    let name = path.display().to_string();
    let bytes = std::fs::read(path)
        .map_err(|source| Failure::unreadable(format!("{name}: cannot be read"), source))?;
    utf8(bytes, &name)
}

/// All of standard input.
pub(crate) fn stdin() -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = io::stdin().read_to_end(&mut bytes);
    read.map_err(|source| Failure::unreadable("standard input: cannot be read", source))?;
    utf8(bytes, "standard input")
}

fn utf8(bytes: Vec<u8>, name: &str) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        Failure::file(format!("{name}: no UTF-8 text (at byte {offset})"), "convert the text to UTF-8")
    })
}
