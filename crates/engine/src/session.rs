//! One text at a time, and the KV cache that it leaves behind.

use crate::error::GenerateError;
use crate::generate::{GenerateOptions, Generation, Timings, Usage};
use crate::language_model::{Model, encode_prompt};
use crate::output::Output;
use crate::sampling::Sampler;
use crate::trace::{self, TapSummary};
use model::{Choice, ForwardError, ForwardPass, Row, SequenceId};
use std::borrow::Cow;
use std::ops::ControlFlow;
use std::time::Instant;

/// The sequence that sessions use.
pub(crate) const SEQUENCE: SequenceId = SequenceId(0);

/// A text in the making: remembers what is in the model's KV cache, so that a prompt that begins in the same way (the
/// next turn of a chat) costs only what is new.
#[derive(Debug)]
pub struct Session<'m> {
    model: &'m mut Model,
    /// What the KV cache holds, from position 0.
    tokens: Vec<u32>,
}

/// What to go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt<'a> {
    /// Text, read as [`Model::encode_prompt`] does.
    Text(&'a str),
    /// Tokens, taken as they are.
    Tokens(&'a [u32]),
}

impl<'a> From<&'a str> for Prompt<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Prompt<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u32]> for Prompt<'a> {
    fn from(tokens: &'a [u32]) -> Self {
        Self::Tokens(tokens)
    }
}

impl<'a> From<&'a Vec<u32>> for Prompt<'a> {
    fn from(tokens: &'a Vec<u32>) -> Self {
        Self::Tokens(tokens)
    }
}

impl<'m> Session<'m> {
    pub(crate) fn new(model: &'m mut Model) -> Self {
        model.forward.truncate(SEQUENCE, 0);
        Self { model, tokens: Vec::new() }
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        self.model
    }

    /// The tokens in the KV cache.
    #[must_use]
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Empties the KV cache.
    pub fn clear(&mut self) {
        self.model.forward.truncate(SEQUENCE, 0);
        self.tokens.clear();
    }

    /// Generates what follows `prompt`, which is the whole text from its beginning. `on_piece` gets the text as it comes,
    /// in whole code points, and may break off.
    ///
    /// # Errors
    /// [`GenerateError`]. What is wrong with the prompt or the options is told before anything is computed.
    pub fn generate<'p>(
        &mut self,
        prompt: impl Into<Prompt<'p>>,
        options: &GenerateOptions,
        on_piece: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generation, GenerateError> {
        let tokenizer = self.model.tokenizer.as_ref().ok_or(GenerateError::NoTokenizer)?;
        let prompt = match prompt.into() {
            Prompt::Text(text) => Cow::Owned(encode_prompt(tokenizer, text)?),
            Prompt::Tokens(tokens) => Cow::Borrowed(tokens),
        };
        self.check(&prompt, options)?;
        let mut sampling = options.sampling.clone();
        if options.ignore_eos {
            sampling.logit_bias.extend(tokenizer.stop_ids().iter().map(|&id| (id, f32::NEG_INFINITY)));
        }
        let mut sampler = Sampler::new(&sampling, self.model.spec().n_vocab)?;
        prompt.iter().for_each(|&token| sampler.accept(token));
        let choice = sampling.choice(sampler.seed()).filter(|choice| self.model.forward.can_choose(choice));

        let started = Instant::now();
        let mut run = Run { forward: &mut *self.model.forward, held: &mut self.tokens };
        let mut output = Output::new(tokenizer, options, on_piece);
        let cached_tokens = run.keep_prefix(&prompt);
        let prompted = run.prompt(&prompt[cached_tokens..], &mut sampler, &mut output);
        let first_token_at = Instant::now();
        let outcome = match (prompted, choice) {
            (Ok(Some(first)), Some(choice)) => run.decode(first, &choice, &mut output),
            (Ok(Some(first)), None) => run.decode_by_sampler(first, &mut sampler, &mut output),
            (Ok(None), _) => Ok(()),
            (Err(error), _) => Err(error),
        };
        // Not when the backend returned: it may have been ahead, and have waited for what is of no use.
        let ended = output.last_token_at().unwrap_or(first_token_at);
        let (text, tokens, finish_reason) = output.finish();
        if let Err(error) = outcome {
            self.clear();
            return Err(error.into());
        }
        let n_computed = self.tokens.len() - cached_tokens;
        // What the backend computed past the end is dropped, and the last token was never put in.
        self.tokens.extend(&tokens);
        self.tokens.truncate(self.model.forward.sequence_len(SEQUENCE));
        let usage = Usage { prompt_tokens: prompt.len(), completion_tokens: tokens.len(), cached_tokens };
        let timings =
            Timings::new(n_computed, first_token_at - started, tokens.len(), ended - first_token_at);
        Ok(Generation { text, tokens, finish_reason, usage, timings, seed: sampler.seed() })
    }

    /// The intermediate results of the first token that follows `prompt`, the most likely one, in the order in which they come
    /// about: slow, for people. The session is empty afterwards.
    ///
    /// # Errors
    /// The prompt cannot be computed, or leaves no room in the context for a token more.
    pub fn trace<'p>(&mut self, prompt: impl Into<Prompt<'p>>) -> Result<Vec<TapSummary>, GenerateError> {
        let prompt = match prompt.into() {
            Prompt::Text(text) => Cow::Owned(self.model.encode_prompt(text)?),
            Prompt::Tokens(tokens) => Cow::Borrowed(tokens),
        };
        self.check(&prompt, &GenerateOptions::default())?;
        self.clear();
        let forward = &mut *self.model.forward;
        let taps = trace::next_token(forward, &prompt).and_then(|token| trace::results(forward, token));
        self.clear();
        Ok(taps?.iter().map(TapSummary::new).collect())
    }

    fn check(&self, prompt: &[u32], options: &GenerateOptions) -> Result<(), GenerateError> {
        if prompt.is_empty() {
            return Err(GenerateError::EmptyPrompt);
        }
        let context_len = self.model.context_len();
        if prompt.len() > context_len {
            return Err(GenerateError::PromptTooLong { prompt_tokens: prompt.len(), context_len });
        }
        let n_vocab = self.model.spec().n_vocab;
        if let Some(&token) = prompt.iter().find(|&&token| token as usize >= n_vocab) {
            return Err(ForwardError::TokenOutOfVocabulary { token, n_vocab }.into());
        }
        if options.stop.iter().any(String::is_empty) {
            return Err(GenerateError::EmptyStopString);
        }
        Ok(())
    }
}

/// A generation at work.
struct Run<'a> {
    forward: &'a mut dyn ForwardPass,
    /// The tokens in the KV cache, as far as the prompt goes.
    held: &'a mut Vec<u32>,
}

impl Run<'_> {
    /// Shortens the cache to what it has in common with `prompt`, but for the last token, whose logits are needed.
    fn keep_prefix(&mut self, prompt: &[u32]) -> usize {
        let common = self.held.iter().zip(prompt).take_while(|(held, wanted)| held == wanted).count();
        let kept = common.min(prompt.len() - 1);
        self.forward.truncate(SEQUENCE, kept);
        self.held.truncate(kept);
        kept
    }

    /// Computes the prompt and chooses the first token; `None` if none is wanted.
    fn prompt(
        &mut self,
        prompt: &[u32],
        sampler: &mut Sampler,
        output: &mut Output<'_>,
    ) -> Result<Option<u32>, ForwardError> {
        let mut first = None;
        let batch_len = self.forward.batch_len();
        for (i, batch) in prompt.chunks(batch_len).enumerate() {
            if output.check_cancelled().is_break() {
                return Ok(None);
            }
            let is_last = (i + 1) * batch_len >= prompt.len();
            let mut rows = Row::prompt(SEQUENCE, self.forward.next_position(), batch);
            rows.iter_mut().for_each(|row| row.wants_logits &= is_last);
            let logits = self.forward.forward(&rows)?;
            self.held.extend(batch);
            first = (is_last && output.check_limits().is_continue()).then(|| sampler.sample(logits));
        }
        Ok(first)
    }

    /// The backend chooses, which may run ahead then.
    fn decode(&mut self, first: u32, choice: &Choice, output: &mut Output<'_>) -> Result<(), ForwardError> {
        match output.push(first) {
            ControlFlow::Continue(()) => self.forward.decode(first, choice, &mut |token| output.push(token)),
            ControlFlow::Break(()) => Ok(()),
        }
    }

    /// The sampler chooses, from logits that the backend hands over.
    fn decode_by_sampler(
        &mut self,
        first: u32,
        sampler: &mut Sampler,
        output: &mut Output<'_>,
    ) -> Result<(), ForwardError> {
        let mut next = first;
        while output.push(next).is_continue()
            && self.forward.sequence_len(SEQUENCE) < self.forward.context_len()
        {
            next = sampler.sample(self.forward.forward_token(next)?);
        }
        Ok(())
    }
}
