//! What a file holds, without its weights and whether or not it could be run.

use crate::description::Description;
use crate::error::LoadError;
use crate::source::stem;
use crate::vocab;
use gguf::Gguf;
use model::{ModelError, ModelSpec, Weights};
use std::collections::BTreeMap;
use std::path::Path;
use tokenizer::{Tokenizer, TokenizerError};

/// What a file holds. What is not supported is among the warnings, not an error.
#[derive(Debug)]
pub struct Inspection {
    /// Metadata and tensor table.
    pub gguf: Gguf,
    /// The model in short.
    pub description: Description,
    /// Sizes and flags; `None` if the architecture is not supported.
    pub spec: Option<ModelSpec>,
    /// The vocabulary; `None` if the file has none, or one that is not supported.
    pub tokenizer: Option<Tokenizer>,
    /// The Jinja source of the chat template, whether or not it parses.
    pub chat_template: Option<String>,
    /// What keeps the model from running, or makes it run badly, a sentence each.
    pub warnings: Vec<String>,
}

/// Reads metadata, vocabulary and tensor table of a file.
///
/// # Errors
/// The file is missing, damaged or no GGUF file.
pub fn inspect(path: &Path) -> Result<Inspection, LoadError> {
    let gguf = Gguf::open(path)?;
    let metadata = gguf.metadata();
    let mut warnings = Vec::new();
    let mut warn = |error: &dyn std::error::Error| warnings.push(error.to_string());

    let spec = ModelSpec::new(metadata, &gguf).map_err(|error| warn(&error)).ok();
    match spec.as_ref().map(|spec| Weights::new(spec, &gguf)) {
        // All of these are listed below.
        Some(Err(ModelError::TensorType { .. })) => {}
        Some(Err(error)) => warn(&error),
        Some(Ok(_)) | None => {}
    }
    let tokenizer = match vocab::read(metadata) {
        Ok(vocab) => vocab.and_then(|vocab| Tokenizer::new(vocab).map_err(|error| warn(&error)).ok()),
        Err(error) => {
            warn(&error);
            None
        }
    };
    let chat_template = vocab::chat_template_source(metadata).map_err(|error| warn(&error)).ok().flatten();
    if let Some(Err(error)) = chat_template.map(|source| vocab::chat_template(source, tokenizer.as_ref())) {
        warn(&error);
    }
    warnings.extend(tokenizer.iter().flat_map(|t| t.warnings().iter().cloned()));
    warnings.extend(unsupported_types(&gguf));
    Ok(Inspection {
        description: Description::new(&stem(path), None, Some(metadata), &gguf),
        spec,
        tokenizer,
        chat_template: chat_template.map(str::to_owned),
        warnings,
        gguf,
    })
}

/// The vocabulary of a file, which may be one of a vocabulary only.
///
/// # Errors
/// The file is missing, damaged or no GGUF file, or has no vocabulary or one that is not supported.
pub fn load_tokenizer(path: &Path) -> Result<Tokenizer, LoadError> {
    let gguf = Gguf::open(path)?;
    let vocab = vocab::read(gguf.metadata())?;
    let missing = || TokenizerError::Missing { key: "tokenizer.ggml.model", model: "none".into() };
    Ok(Tokenizer::new(vocab.ok_or_else(missing)?)?)
}

/// A sentence for each tensor type without a decoder.
fn unsupported_types(gguf: &Gguf) -> Vec<String> {
    let mut counts = BTreeMap::new();
    for info in gguf.tensors().filter(|info| !info.ty().is_supported()) {
        *counts.entry(info.ty()).or_insert(0u32) += 1;
    }
    counts.iter().map(|(ty, n)| format!("{n} tensors have type {ty}, which is not supported")).collect()
}
