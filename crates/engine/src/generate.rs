//! What a generation is asked for, and what it gives.

use crate::sampling::SamplingOptions;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// How to generate.
#[derive(Debug, Clone, Default)]
pub struct GenerateOptions {
    /// How to choose tokens.
    pub sampling: SamplingOptions,
    /// How many tokens to make at most. `None`: until the model stops or the context is full.
    pub max_tokens: Option<usize>,
    /// Texts that end the generation. They are not part of the text, whole or begun.
    pub stop: Vec<String>,
    /// Never choose a token that would end the generation.
    pub ignore_eos: bool,
    /// Ends the generation soon after somebody sets it, from any thread; looked at after each token and each batch of
    /// the prompt.
    pub cancel: Option<Arc<AtomicBool>>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model chose a stop token, or a stop string came.
    Stop,
    /// As many tokens as were asked for, or as the context holds.
    Length,
    /// The caller broke it off.
    Cancelled,
}

impl FinishReason {
    /// The word for it in APIs: `stop`, `length` or `cancelled`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What came of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The text: all pieces, joined.
    pub text: String,
    /// The tokens that were chosen, the stop token included.
    pub tokens: Vec<u32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Tokens in and out.
    pub usage: Usage,
    /// How long it took.
    pub timings: Timings,
    /// The seed of the draws. The same prompt with the same options and this seed gives the same text on the same device.
    pub seed: u64,
}

/// Tokens in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens that were chosen.
    pub completion_tokens: usize,
    /// Tokens of the prompt that were in the KV cache already.
    pub cached_tokens: usize,
}

/// How long a generation took. Rates are 0 where nothing was computed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timings {
    /// Milliseconds for the part of the prompt that was not cached, to its logits: the time to the first token.
    pub prompt_ms: f64,
    /// Tokens of the prompt that were computed, by the second.
    pub prompt_per_second: f64,
    /// Milliseconds from the first token to the last.
    pub predicted_ms: f64,
    /// Tokens after the first by the second: the first comes with the prompt.
    pub predicted_per_second: f64,
}

impl Timings {
    /// `n_prompt` tokens of the prompt were computed, and `n_predicted` tokens chosen, the first with the prompt.
    pub(crate) fn new(n_prompt: usize, prompt: Duration, n_predicted: usize, predicted: Duration) -> Self {
        let rate = |n: usize, time: Duration| match time.as_secs_f64() {
            seconds if n > 0 && seconds > 0.0 => n as f64 / seconds,
            _ => 0.0,
        };
        Self {
            prompt_ms: prompt.as_secs_f64() * 1e3,
            prompt_per_second: rate(n_prompt, prompt),
            predicted_ms: predicted.as_secs_f64() * 1e3,
            predicted_per_second: rate(n_predicted.saturating_sub(1), predicted),
        }
    }
}
