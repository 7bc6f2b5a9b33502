//! From errors to messages and exit codes.

use crate::console::Console;
use crate::stdout::StdoutError;
use metal_attention::{ChatError, ErrorKind, GenerateError, GgufError, LoadError};
use std::error::Error;
use std::io;
use std::process::ExitCode;

/// An error of the program itself, for where the engine has no error of its own.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct Failure {
    kind: ErrorKind,
    what: String,
    help: &'static str,
    #[source]
    source: Option<io::Error>,
}

impl Failure {
    /// The user asked for something that cannot be; `help` says what can.
    pub(crate) fn usage(what: impl Into<String>, help: &'static str) -> Self {
        Self { kind: ErrorKind::Usage, what: what.into(), help, source: None }
    }

    /// A file that is not what it should be.
    pub(crate) fn file(what: impl Into<String>, help: &'static str) -> Self {
        Self { kind: ErrorKind::File, what: what.into(), help, source: None }
    }

    /// A file that cannot be read.
    pub(crate) fn unreadable(what: impl Into<String>, source: io::Error) -> Self {
        Self { kind: ErrorKind::File, what: what.into(), help: "", source: Some(source) }
    }
}

/// Prints what the parser says of the command line: help on stdout, mistakes on stderr.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Somebody who reads only the beginning of the help has read enough.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { code(ErrorKind::Usage) } else { 0 })
}

/// Prints an error with its causes and the way out, and gives the exit code.
pub(crate) fn report(error: &anyhow::Error, console: &Console) -> ExitCode {
    if error.chain().filter_map(|cause| cause.downcast_ref::<StdoutError>()).any(StdoutError::is_closed_pipe)
    {
        return ExitCode::SUCCESS;
    }
    say(error, console);
    let failure = error.chain().find_map(|cause| cause.downcast_ref::<Failure>());
    ExitCode::from(code(failure.map_or_else(|| ErrorKind::of(error.as_ref()), |failure| failure.kind)))
}

/// Prints an error with its causes and the way out.
pub(crate) fn say(error: &anyhow::Error, console: &Console) {
    let mut said = error.to_string();
    console.error(&said);
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some errors have their cause in their own words.
        if !said.contains(&cause) {
            console.cause(&cause);
            said = cause;
        }
    }
    if let Some(help) = error.chain().find_map(help) {
        console.help(help);
    }
}

fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => 2,
        ErrorKind::File => 3,
        ErrorKind::Unsupported => 4,
        ErrorKind::Memory => 5,
        ErrorKind::Device => 6,
        _ => 1,
    }
}

/// The way out, in this program's words, where the error does not name it.
fn help(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.help).filter(|help| !help.is_empty());
    }
    match error.downcast_ref::<LoadError>() {
        Some(LoadError::NoGpuEngine) => return Some("use --device cpu, or leave --device out"),
        Some(LoadError::Gpu(_)) => {
            return Some(
                "use --device cpu, or leave --device out; metal-attention devices lists what there is",
            );
        }
        Some(LoadError::File(error)) => return file_help(error),
        _ => {}
    }
    if let Some(ChatError::BadTemplate(_) | ChatError::Template(_)) = error.downcast_ref::<ChatError>() {
        return Some("or take the prompt as it is, with run --raw");
    }
    match error.downcast_ref::<GenerateError>() {
        Some(GenerateError::EmptyPrompt) => Some("give a text with --prompt or --file, or on standard input"),
        Some(GenerateError::PromptTooLong { .. }) => Some("--ctx-size sets the size of the context"),
        _ => None,
    }
}

fn file_help(error: &GgufError) -> Option<&'static str> {
    let cause = error.source()?.downcast_ref::<io::Error>()?;
    (cause.kind() == io::ErrorKind::NotFound)
        .then_some("--model takes the path of a GGUF file; a prompt is given with --prompt")
}
