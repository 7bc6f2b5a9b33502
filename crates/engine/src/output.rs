//! From chosen tokens to the text that the caller sees.

use crate::generate::{FinishReason, GenerateOptions};
use crate::stop_strings::{Passed, StopStrings};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Instant;
use tokenizer::{DecodeOptions, Detokenizer, Tokenizer};

/// Takes tokens, shows their text, and knows when to end.
pub(crate) struct Output<'a> {
    options: &'a GenerateOptions,
    stop_ids: &'a BTreeSet<u32>,
    detokenizer: Detokenizer<'a>,
    /// `None` once one was found.
    stop_strings: Option<StopStrings<'a>>,
    on_piece: &'a mut dyn FnMut(&str) -> ControlFlow<()>,
    finish_reason: Option<FinishReason>,
    tokens: Vec<u32>,
    last_token_at: Option<Instant>,
    text: String,
}

impl<'a> Output<'a> {
    pub(crate) fn new(
        tokenizer: &'a Tokenizer,
        options: &'a GenerateOptions,
        on_piece: &'a mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Self {
        // The text goes on from the prompt's, so a space that begins it is a part of it.
        let decode = DecodeOptions { continues: true, ..DecodeOptions::default() };
        Self {
            options,
            stop_ids: tokenizer.stop_ids(),
            detokenizer: Detokenizer::with_options(tokenizer, decode),
            stop_strings: Some(StopStrings::new(&options.stop)),
            on_piece,
            finish_reason: None,
            tokens: Vec::new(),
            last_token_at: None,
            text: String::new(),
        }
    }

    /// Ends where somebody has asked for it.
    pub(crate) fn check_cancelled(&mut self) -> ControlFlow<()> {
        match self.options.cancel.as_ref().is_some_and(|cancel| cancel.load(Ordering::Relaxed)) {
            true => self.end(FinishReason::Cancelled),
            false => ControlFlow::Continue(()),
        }
    }

    /// Ends where no more tokens are wanted.
    pub(crate) fn check_limits(&mut self) -> ControlFlow<()> {
        match self.options.max_tokens.is_some_and(|most| self.tokens.len() >= most) {
            true => self.end(FinishReason::Length),
            false => self.check_cancelled(),
        }
    }

    /// Takes the next token.
    pub(crate) fn push(&mut self, token: u32) -> ControlFlow<()> {
        self.tokens.push(token);
        self.last_token_at = Some(Instant::now());
        if self.stop_ids.contains(&token) && !self.options.ignore_eos {
            return self.end(FinishReason::Stop);
        }
        let piece = self.detokenizer.push(token);
        self.pass(&piece)?;
        self.check_limits()
    }

    /// When the last token came.
    pub(crate) fn last_token_at(&self) -> Option<Instant> {
        self.last_token_at
    }

    /// Shows what was held back and gives text, tokens and reason. Without a reason so far, the context was full.
    pub(crate) fn finish(mut self) -> (String, Vec<u32>, FinishReason) {
        if self.finish_reason != Some(FinishReason::Cancelled) {
            // Nothing follows, so it does not matter whether the caller wants more.
            let _ = self.pass(&self.detokenizer.clone().finish());
            let held = self.stop_strings.take().map(StopStrings::finish).unwrap_or_default();
            let _ = self.show(&held);
        }
        (self.text, self.tokens, self.finish_reason.unwrap_or(FinishReason::Length))
    }

    /// Shows `piece` as far as no stop string may begin there.
    fn pass(&mut self, piece: &str) -> ControlFlow<()> {
        match self.stop_strings.as_mut().map(|stop_strings| stop_strings.push(piece)) {
            None => ControlFlow::Continue(()),
            Some(Passed::Text(text)) => self.show(&text),
            Some(Passed::Stop(text)) => {
                self.stop_strings = None;
                let end = self.end(FinishReason::Stop);
                let _ = self.show(&text);
                end
            }
        }
    }

    fn show(&mut self, text: &str) -> ControlFlow<()> {
        if text.is_empty() {
            return ControlFlow::Continue(());
        }
        self.text.push_str(text);
        match (self.on_piece)(text) {
            ControlFlow::Continue(()) => ControlFlow::Continue(()),
            ControlFlow::Break(()) => self.end(FinishReason::Cancelled),
        }
    }

    fn end(&mut self, reason: FinishReason) -> ControlFlow<()> {
        self.finish_reason.get_or_insert(reason);
        ControlFlow::Break(())
    }
}
