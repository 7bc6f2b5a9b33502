//! How well a model predicts a text, measured as llama.cpp's `llama-perplexity` does.

use crate::error::GenerateError;
use crate::language_model::Model;
use crate::session::SEQUENCE;
use model::{ForwardError, Row};
use std::ops::ControlFlow;
use tokenizer::EncodeOptions;

/// Rows whose logits are held at once.
const SCORED_BATCH: usize = 64;

/// How to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerplexityOptions {
    /// Tokens of a chunk, of which the second half is scored. The model's context must hold it.
    pub context: usize,
    /// Chunks to measure at most; `None`: all.
    pub chunks: Option<usize>,
    /// Tokens that are computed together at most; `None`: as many as the engine takes of a prompt. A GPU has other kernels for up
    /// to 8 tokens than for more, and one measures those that are used.
    pub batch: Option<usize>,
}

impl Default for PerplexityOptions {
    fn default() -> Self {
        Self { context: 512, chunks: None, batch: None }
    }
}

/// The perplexity over the chunks so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Perplexity {
    /// `e` to the mean of -ln p(token).
    pub perplexity: f64,
    /// Its standard error; 0 where it cannot be told.
    pub standard_error: f64,
    /// Chunks measured.
    pub chunks: usize,
    /// Chunks there are to measure.
    pub n_chunks: usize,
    /// Tokens scored.
    pub n_scored: usize,
}

/// A perplexity that cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PerplexityError {
    /// The text is too short.
    #[error(
        "the text has {tokens} tokens, but at least {needed} are needed to measure with a context of {context}; \
         take a longer text or a smaller context"
    )]
    TooShort {
        /// Tokens of the text.
        tokens: usize,
        /// Twice the context.
        needed: usize,
        /// Tokens of a chunk.
        context: usize,
    },
    /// A chunk is too short to score anything, or longer than the model's context.
    #[error(
        "a context of {context} is not possible here: it must be 4 to {most}, the context the model was loaded with"
    )]
    Context {
        /// Tokens of a chunk.
        context: usize,
        /// Positions of the model's context.
        most: usize,
    },
    /// No chunk is to be measured.
    #[error("no chunk is to be measured: ask for 1 or more")]
    NoChunks,
    /// The text could not be run through the model.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

/// Measures how well `model` predicts `text`: cut into chunks of `context` tokens, each begun with BOS where the vocabulary
/// adds it, the second half of each scored. `on_chunk` hears the result so far after each chunk and may end it there.
///
/// # Errors
/// [`PerplexityError`].
pub fn perplexity(
    model: &mut Model,
    text: &str,
    options: &PerplexityOptions,
    on_chunk: &mut dyn FnMut(&Perplexity) -> ControlFlow<()>,
) -> Result<Perplexity, PerplexityError> {
    let context = options.context;
    let batch = options.batch.unwrap_or(usize::MAX).max(1);
    let tokenizer = model.tokenizer.as_ref().ok_or(GenerateError::NoTokenizer)?;
    if context < 4 || context > model.context_len() {
        return Err(PerplexityError::Context { context, most: model.context_len() });
    }
    let encode = EncodeOptions { add_special: true, parse_special: false };
    let tokens = tokenizer.encode(text, encode).map_err(GenerateError::from)?;
    if tokens.len() < 2 * context {
        return Err(PerplexityError::TooShort { tokens: tokens.len(), needed: 2 * context, context });
    }
    let bos = tokenizer.bos().filter(|_| tokenizer.adds_bos());
    let n_chunks = options.chunks.unwrap_or(usize::MAX).min(tokens.len() / context);
    let mut score = Score::default();
    let mut result = Err(PerplexityError::NoChunks);
    for (i, chunk) in tokens.chunks_exact(context).take(n_chunks).enumerate() {
        score_chunk(model, chunk, bos, batch, &mut score).map_err(GenerateError::from)?;
        let so_far = score.result(i + 1, n_chunks);
        result = Ok(so_far);
        if on_chunk(&so_far).is_break() {
            break;
        }
    }
    model.forward.truncate(SEQUENCE, 0);
    result
}

fn score_chunk(
    model: &mut Model,
    chunk: &[u32],
    bos: Option<u32>,
    most: usize,
    score: &mut Score,
) -> Result<(), ForwardError> {
    let forward = &mut model.forward;
    forward.truncate(SEQUENCE, 0);
    let first = chunk.len() / 2;
    let mut rows = Row::prompt(SEQUENCE, 0, chunk);
    rows[0].token = bos.unwrap_or(chunk[0]);
    for (i, row) in rows.iter_mut().enumerate() {
        row.wants_logits = i >= first;
    }
    // The last token's logits would predict a token of the next chunk.
    let (context_rows, scored_rows) = rows[..chunk.len() - 1].split_at(first);
    for batch in context_rows.chunks(forward.batch_len().min(most)) {
        forward.forward(batch)?;
    }
    let n_vocab = forward.spec().n_vocab;
    let mut next = chunk[first + 1..].iter();
    for batch in scored_rows.chunks(SCORED_BATCH.min(most)) {
        let logits = forward.forward(batch)?;
        for (logits, &token) in logits.chunks_exact(n_vocab).zip(next.by_ref().take(batch.len())) {
            score.add(negative_log_likelihood(logits, token));
        }
    }
    Ok(())
}

/// `-ln p(token)`.
fn negative_log_likelihood(logits: &[f32], token: u32) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| libm::exp(f64::from(logit) - max)).sum();
    max + libm::log(sum) - f64::from(logits[token as usize])
}

/// Sums of the scores and of their squares.
#[derive(Debug, Default)]
struct Score {
    n: usize,
    sum: f64,
    sum_of_squares: f64,
}

impl Score {
    fn add(&mut self, nll: f64) {
        self.n += 1;
        self.sum += nll;
        self.sum_of_squares += nll * nll;
    }

    fn result(&self, chunks: usize, n_chunks: usize) -> Perplexity {
        let n = self.n as f64;
        let mean = self.sum / n;
        let variance = self.sum_of_squares / n - mean * mean;
        let error = if variance > 0.0 && n > 1.0 { (variance / (n - 1.0)).sqrt() } else { 0.0 };
        let perplexity = libm::exp(mean);
        Perplexity { perplexity, standard_error: error * perplexity, chunks, n_chunks, n_scored: self.n }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_that_worked_out_by_hand() {
        let mut score = Score::default();
        [1.0, 2.0, 3.0].into_iter().for_each(|nll| score.add(nll));
        let result = score.result(1, 2);
        // Mean 2, variance 2/3, error sqrt(2/3 / 2).
        assert!((result.perplexity - 2f64.exp()).abs() < 1e-12);
        assert!((result.standard_error - (1f64 / 3.0).sqrt() * 2f64.exp()).abs() < 1e-12);
        assert_eq!((result.chunks, result.n_chunks, result.n_scored), (1, 2, 3));
    }

    #[test]
    fn likelihoods_sum_to_one() {
        let logits = [0.5, -3.0, 100.0, 99.0, f32::NEG_INFINITY];
        let sum: f64 = (0..5).map(|token| (-negative_log_likelihood(&logits, token)).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }
}
