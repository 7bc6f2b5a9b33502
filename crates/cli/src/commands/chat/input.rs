//! Lines from a terminal, with editing and history, or from a pipe.

use crate::console::Console;
use crate::exit::Failure;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;
use std::io::{self, BufRead, IsTerminal};

const PROMPT: &str = "> ";

/// Where lines come from.
pub(crate) enum Input {
    /// A terminal.
    Editor(Box<DefaultEditor>),
    /// Standard input as it is; with a terminal there, somebody types and waits for a prompt.
    Lines { is_terminal: bool },
}

/// What came.
pub(crate) enum Line {
    Text(String),
    /// Ctrl-C, twice.
    Interrupted,
    /// Ctrl-D, or the end of the file.
    End,
}

impl Input {
    pub(crate) fn new() -> Result<Self, ReadlineError> {
        let is_terminal = io::stdin().is_terminal();
        // The editor draws on stdout, which is for answers alone when it goes elsewhere.
        if is_terminal && io::stdout().is_terminal() {
            return Ok(Self::Editor(Box::new(DefaultEditor::new()?)));
        }
        Ok(Self::Lines { is_terminal })
    }

    /// Whether there is somebody to see what goes wrong and try again.
    pub(crate) fn is_interactive(&self) -> bool {
        match self {
            Self::Editor(_) => true,
            Self::Lines { is_terminal } => *is_terminal,
        }
    }

    pub(crate) fn next(&mut self, console: &Console) -> anyhow::Result<Line> {
        match self {
            Self::Editor(editor) => edited(editor, console),
            Self::Lines { is_terminal } => {
                if *is_terminal {
                    console.part(PROMPT);
                }
                Ok(plain()?)
            }
        }
    }
}

fn edited(editor: &mut DefaultEditor, console: &Console) -> anyhow::Result<Line> {
    let mut was_interrupted = false;
    loop {
        match editor.readline(PROMPT) {
            Ok(line) => {
                editor.add_history_entry(&line)?;
                return Ok(Line::Text(line));
            }
            Err(ReadlineError::Eof) => return Ok(Line::End),
            Err(ReadlineError::Interrupted) if was_interrupted => return Ok(Line::Interrupted),
            Err(ReadlineError::Interrupted) => {
                console.info("Ctrl-C again leaves, and so do Ctrl-D and /exit");
                was_interrupted = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn plain() -> Result<Line, Failure> {
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(0) => Ok(Line::End),
        Ok(_) => Ok(Line::Text(line)),
        Err(error) => Err(Failure::unreadable("standard input: cannot be read", error)),
    }
}
