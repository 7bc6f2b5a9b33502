//! What is said on stderr: everything but the result.

use crate::args::OutputArgs;
use anstream::ColorChoice;
use clap::builder::styling::{AnsiColor, Style};
use std::fmt::Display;
use std::io::{IsTerminal, Write};

const ERROR: Style = AnsiColor::Red.on_default().bold();
const NOTE: Style = AnsiColor::Yellow.on_default().bold();
const HELP: Style = AnsiColor::Green.on_default().bold();
const FAINT: Style = Style::new().dimmed();

/// stderr, and how much to say there. Nothing is done about a stderr that cannot be written: there is nobody to tell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    quiet: bool,
    verbose: bool,
}

impl Console {
    pub(crate) fn new(args: &OutputArgs) -> Self {
        let colour = match args.color {
            clap::ColorChoice::Auto => ColorChoice::Auto,
            clap::ColorChoice::Always => ColorChoice::Always,
            clap::ColorChoice::Never => ColorChoice::Never,
        };
        colour.write_global();
        Self { quiet: args.quiet, verbose: args.verbose }
    }

    /// Whether a progress bar may be shown.
    pub(crate) fn shows_progress(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// Whether [`detail`](Self::detail) says anything.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// A line that the user wants to see, unless asked to be quiet.
    pub(crate) fn info(&self, line: impl Display) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{line}");
        }
    }

    /// What the user asked for and is no result, such as a list of commands.
    pub(crate) fn answer(&self, line: impl Display) {
        let _ = writeln!(anstream::stderr(), "{line}");
    }

    /// A part of a line, such as a prompt for input.
    pub(crate) fn part(&self, text: impl Display) {
        if !self.quiet {
            let mut stderr = anstream::stderr();
            let _ = write!(stderr, "{text}").and_then(|()| stderr.flush());
        }
    }

    /// A line for the curious.
    pub(crate) fn detail(&self, line: impl Display) {
        if self.verbose {
            let _ = writeln!(anstream::stderr(), "{FAINT}{line}{FAINT:#}");
        }
    }

    /// Something that the user should know.
    pub(crate) fn note(&self, line: impl Display) {
        self.info(format_args!("{NOTE}note:{NOTE:#} {line}"));
    }

    /// Something that is wrong.
    pub(crate) fn error(&self, line: impl Display) {
        let _ = writeln!(anstream::stderr(), "{ERROR}error:{ERROR:#} {line}");
    }

    /// What led to the error.
    pub(crate) fn cause(&self, line: impl Display) {
        let _ = writeln!(anstream::stderr(), "  because: {line}");
    }

    /// A way out of the error.
    pub(crate) fn help(&self, line: impl Display) {
        let _ = writeln!(anstream::stderr(), "{HELP}help:{HELP:#} {line}");
    }
}
