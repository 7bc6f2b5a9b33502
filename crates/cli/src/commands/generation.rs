//! What `run` and `chat` have in common: text as it comes, and how fast it came.

use crate::stdout::{Stdout, StdoutError};
use crate::units;
use metal_attention::Generation;
use std::ops::ControlFlow;

/// Shows text as it comes; a stdout that cannot be written breaks the generation off.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    out: &'a mut Stdout,
    /// Shown before the first piece: nothing, until it is clear that there is no mistake in the request.
    heading: Option<&'a str>,
    failed: Option<StdoutError>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(out: &'a mut Stdout, heading: Option<&'a str>) -> Self {
        Self { out, heading, failed: None }
    }

    pub(crate) fn piece(&mut self, piece: &str) -> ControlFlow<()> {
        match self.show(piece) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Ends the line.
    pub(crate) fn finish(mut self) -> Result<(), StdoutError> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.show("").and_then(|()| self.out.end_line()),
        }
    }

    fn show(&mut self, piece: &str) -> Result<(), StdoutError> {
        if let Some(heading) = self.heading.take() {
            self.out.write(heading)?;
        }
        self.out.write(piece)?;
        self.out.flush()
    }
}

/// How fast a text came, in a line.
pub(crate) fn timing_line(generation: &Generation) -> String {
    let Generation { usage, timings, finish_reason, seed, .. } = generation;
    let cached = match usage.cached_tokens {
        0 => String::new(),
        n => format!(" ({n} cached)"),
    };
    format!(
        "prefill {}{cached}, {:.1} tok/s | decode {}, {:.1} tok/s | ended by {finish_reason} | seed {seed}",
        units::count(usage.prompt_tokens, "token"),
        timings.prompt_per_second,
        units::count(usage.completion_tokens, "token"),
        timings.predicted_per_second,
    )
}
