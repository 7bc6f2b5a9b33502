//! The result, on stdout.

use std::io::{self, BufWriter, ErrorKind, Write};

/// stdout, where writing fails with an error rather than a panic. Text is passed on at each [`flush`](Stdout::flush).
#[derive(Debug)]
pub(crate) struct Stdout {
    writer: BufWriter<io::Stdout>,
    /// Whether what was written last ended a line.
    at_line_start: bool,
}

/// Standard output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to standard output")]
pub(crate) struct StdoutError(#[from] io::Error);

impl StdoutError {
    /// Whether the reader has gone, as `head` does when it has seen enough.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        self.0.kind() == ErrorKind::BrokenPipe
    }
}

impl Stdout {
    pub(crate) fn new() -> Self {
        Self { writer: BufWriter::new(io::stdout()), at_line_start: true }
    }

    /// Text, or bytes that need not be text.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), StdoutError> {
        let bytes = bytes.as_ref();
        if let Some(&last) = bytes.last() {
            self.at_line_start = last == b'\n';
        }
        Ok(self.writer.write_all(bytes)?)
    }

    /// A whole line.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> Result<(), StdoutError> {
        self.write(line.as_ref())?;
        self.write("\n")
    }

    /// A value as JSON: one line, or several for people.
    pub(crate) fn json(&mut self, value: &impl serde::Serialize, pretty: bool) -> Result<(), StdoutError> {
        let written = match pretty {
            true => serde_json::to_writer_pretty(&mut self.writer, value),
            false => serde_json::to_writer(&mut self.writer, value),
        };
        written.map_err(io::Error::from)?;
        self.write("\n")
    }

    /// Ends the line, if one was begun.
    pub(crate) fn end_line(&mut self) -> Result<(), StdoutError> {
        if !self.at_line_start {
            self.write("\n")?;
        }
        self.flush()
    }

    pub(crate) fn flush(&mut self) -> Result<(), StdoutError> {
        Ok(self.writer.flush()?)
    }
}
