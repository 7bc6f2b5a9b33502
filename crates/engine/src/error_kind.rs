//! Errors by what a caller can do about them.

use crate::bench::BenchError;
use crate::compare::CompareError;
use crate::conversation::ChatError;
use crate::error::{GenerateError, LoadError};
use crate::perplexity::PerplexityError;
use crate::sampling::SamplingError;
use cpu::CpuError;
use gguf::{GgufError, GgufErrorKind, MetadataError};
use model::{ForwardError, ModelError};
use std::error::Error;
use tokenizer::{TemplateError, TokenizerError};

/// What kind of thing went wrong. A program's exit code may follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// None of the others.
    Other,
    /// The caller asked for something that cannot be: another request would do.
    Usage,
    /// A file is missing, damaged, or no GGUF file.
    File,
    /// The architecture, tensor type, tokenizer or chat template is not supported.
    Unsupported,
    /// The model does not fit in memory.
    Memory,
    /// There is no usable device, or it was lost.
    Device,
}

impl ErrorKind {
    /// The kind of any error of this crate, also as the cause of another one; [`ErrorKind::Other`] for a stranger.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(kind) = Self::of_one(error) {
                return kind;
            }
            next = error.source();
        }
        Self::Other
    }

    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        macro_rules! first_of {
            ($($ty:ty => $kind:expr),* $(,)?) => {{
                $(if let Some(error) = error.downcast_ref::<$ty>() {
                    let kind: fn(&$ty) -> Self = $kind;
                    return Some(kind(error));
                })*
                None
            }};
        }
        first_of! {
            LoadError => load,
            GenerateError => generate,
            ChatError => chat,
            PerplexityError => perplexity,
            BenchError => bench,
            CompareError => compare,
            SamplingError => |_| Self::Usage,
            GgufError => |error| gguf(error.kind()),
            MetadataError => |_| Self::File,
            ModelError => model_error,
            TokenizerError => tokenizer,
            TemplateError => |_| Self::Unsupported,
            ForwardError => forward,
        }
    }
}

fn load(error: &LoadError) -> ErrorKind {
    match error {
        LoadError::File(error) => gguf(error.kind()),
        LoadError::Metadata(_) | LoadError::Vocabulary { .. } => ErrorKind::File,
        LoadError::Model(error) => model_error(error),
        LoadError::Tokenizer(error) => tokenizer(error),
        LoadError::ChatTemplate(_) => ErrorKind::Unsupported,
        LoadError::Context { .. } => ErrorKind::Usage,
        LoadError::DoesNotFit { .. } | LoadError::Cpu(CpuError::Memory { .. }) => ErrorKind::Memory,
        LoadError::Cpu(_) => ErrorKind::Other,
        LoadError::Gpu(_) | LoadError::NoGpuEngine => ErrorKind::Device,
    }
}

fn gguf(kind: &GgufErrorKind) -> ErrorKind {
    match kind {
        GgufErrorKind::BigEndian { .. }
        | GgufErrorKind::UnsupportedVersion { .. }
        | GgufErrorKind::UnknownTensorType { .. }
        | GgufErrorKind::WithdrawnTensorType { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::File,
    }
}

fn model_error(error: &ModelError) -> ErrorKind {
    match error {
        ModelError::Architecture { .. }
        | ModelError::Feature { .. }
        | ModelError::TensorType { .. }
        | ModelError::UnknownTensor { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::File,
    }
}

fn tokenizer(error: &TokenizerError) -> ErrorKind {
    match error {
        TokenizerError::UnsupportedModel { .. } | TokenizerError::UnsupportedPreTokenizer { .. } => {
            ErrorKind::Unsupported
        }
        TokenizerError::NoByteToken { .. } => ErrorKind::Other,
        _ => ErrorKind::File,
    }
}

fn generate(error: &GenerateError) -> ErrorKind {
    match error {
        GenerateError::EmptyPrompt
        | GenerateError::PromptTooLong { .. }
        | GenerateError::NoTokenizer
        | GenerateError::EmptyStopString
        | GenerateError::Sampling(_) => ErrorKind::Usage,
        GenerateError::Tokenizer(error) => tokenizer(error),
        GenerateError::Forward(error) => forward(error),
    }
}

fn forward(error: &ForwardError) -> ErrorKind {
    match error {
        ForwardError::DeviceLost { .. } => ErrorKind::Device,
        ForwardError::NoRows
        | ForwardError::TokenOutOfVocabulary { .. }
        | ForwardError::ContextFull { .. } => ErrorKind::Usage,
        _ => ErrorKind::Other,
    }
}

fn chat(error: &ChatError) -> ErrorKind {
    match error {
        ChatError::NoTemplate | ChatError::Template(_) | ChatError::BadTemplate(_) => ErrorKind::Unsupported,
        ChatError::Generate(error) => generate(error),
    }
}

fn perplexity(error: &PerplexityError) -> ErrorKind {
    match error {
        PerplexityError::Generate(error) => generate(error),
        _ => ErrorKind::Usage,
    }
}

fn bench(error: &BenchError) -> ErrorKind {
    match error {
        BenchError::Forward(error) => forward(error),
        _ => ErrorKind::Usage,
    }
}

fn compare(error: &CompareError) -> ErrorKind {
    match error {
        CompareError::Load(error) => load(error),
        CompareError::Generate(error) => generate(error),
    }
}
