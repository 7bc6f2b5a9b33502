//! What can go wrong between a file and its text.

use crate::memory;
use crate::sampling::SamplingError;
use cpu::CpuError;
use gguf::{GgufError, MetadataError};
use model::{DeviceKind, ForwardError, ModelError};
use std::error::Error;
use tokenizer::{TemplateError, TokenizerError};

/// A model that cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The file is missing, damaged or no GGUF file.
    #[error(transparent)]
    File(#[from] GgufError),
    /// A metadata key is missing or of another type.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The model is of a kind that is not supported, or contradicts itself.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The vocabulary is of a kind that is not supported, or contradicts itself.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template that the caller gave does not parse.
    #[error("the chat template that was given cannot be used")]
    ChatTemplate(#[source] TemplateError),
    /// The file has a vocabulary for another model.
    #[error(
        "the vocabulary has {tokens} tokens, but the model has embeddings for {n_vocab} only; \
         the file is damaged or was converted wrongly"
    )]
    Vocabulary {
        /// Tokens in the vocabulary.
        tokens: usize,
        /// Rows of the embedding.
        n_vocab: usize,
    },
    /// The context is longer than any model's.
    #[error("a context of {context_len} tokens is not possible; the model was trained for {trained}")]
    Context {
        /// What was asked for.
        context_len: usize,
        /// Positions that the model was trained for.
        trained: usize,
    },
    /// Weights and KV cache need more memory than there is.
    #[error(
        "the model does not fit in {}: it needs {} and {} are free; {advice}",
        memory::place(*device),
        memory::format_bytes(*need),
        memory::format_bytes(*have)
    )]
    DoesNotFit {
        /// Whose memory it is.
        device: DeviceKind,
        /// Bytes needed.
        need: u64,
        /// Bytes free.
        have: u64,
        /// The way out.
        advice: String,
    },
    /// The CPU backend got no memory or no threads.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// There is no such GPU, or it cannot run this model.
    #[error(transparent)]
    Gpu(Box<dyn Error + Send + Sync>),
    /// A GPU was asked for, of a build without the feature `gpu`.
    #[error(
        "there is no GPU to run on: this build has no GPU engine; choose the CPU or let the device be picked"
    )]
    NoGpuEngine,
}

/// A text that cannot be generated. The session is usable still, but for [`ForwardError::DeviceLost`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The prompt has no tokens.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The prompt is longer than the context.
    #[error(
        "the prompt has {prompt_tokens} tokens and the context holds {context_len}; \
         shorten the prompt or load the model with a larger context"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Positions of the context.
        context_len: usize,
    },
    /// The model has no vocabulary, so there is no text.
    #[error("the model has no vocabulary: it can be measured, but not read or write text")]
    NoTokenizer,
    /// A stop string is empty, which is found everywhere.
    #[error("a stop string is empty: leave it out")]
    EmptyStopString,
    /// A sampling option has a value that it cannot have.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The vocabulary cannot encode the prompt.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The backend failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}
