//! From a source to a model that runs.

use crate::description::Description;
use crate::device::{self, Placed, Request};
use crate::device_choice::{Activations, DecodeMode, DeviceChoice};
use crate::error::LoadError;
use crate::language_model::{Model, Template};
use crate::source::{ModelSource, Opened};
use crate::vocab;
use model::{ModelSpec, Weights};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;
use tokenizer::Tokenizer;

/// Positions of the context where nobody asks for more.
const DEFAULT_CONTEXT: usize = 8192;
/// More positions than this are a mistake.
const MOST_CONTEXT: usize = 1 << 26;

/// The share of the weights after which the file's pages are let go.
const FORGET_EVERY: f32 = 0.01;

/// How to load a model.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// The device. [`DeviceChoice::Auto`] takes the CPU where there is no GPU that can run the model, and says why among the
    /// model's [notes](Model::notes); every other choice is an error where it cannot be had.
    pub device: DeviceChoice,
    /// Take a GPU that the processor plays (llvmpipe, WARP) where there is no other: slow, for tests.
    pub allow_software_gpu: bool,
    /// How a GPU decodes.
    pub decode: DecodeMode,
    /// What a GPU rounds activations to.
    pub activations: Activations,
    /// Folder for compiled GPU kernels, so that a later load need not compile them; made where it is missing. `None`: nowhere.
    /// Of use with Vulkan, the other interfaces keep them by themselves.
    pub pipeline_cache: Option<PathBuf>,
    /// Threads that compute on a CPU. `None`: one for each physical core that this process may use.
    pub threads: Option<NonZeroUsize>,
    /// Positions of the KV cache. `None`: what the model was trained for, 8192 at most; `Some(0)`: what it was trained for.
    pub context: Option<usize>,
    /// A Jinja chat template to use in place of the file's.
    pub chat_template: Option<String>,
    /// Bytes of memory that the model may take. `None`: what the system has free.
    pub memory_limit: Option<u64>,
}

/// How far loading is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// The vocabulary is being read.
    Vocabulary,
    /// The weights are being laid out.
    Weights {
        /// The share that is done, 0 to 1.
        fraction: f32,
    },
}

impl Model {
    /// Opens, checks and places a model, and calls `progress` on the way.
    ///
    /// # Errors
    /// [`LoadError`]; a model that does not fit is refused before its weights are read.
    pub fn load(
        source: ModelSource,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, LoadError> {
        let started = Instant::now();
        let name = source.name();
        let opened = source.open()?;
        let spec = opened.spec()?;
        let weights = Weights::new(&spec, opened.tensors())?;
        let mut notes = Vec::new();
        let context_len = context_len(options.context, &spec, &mut notes)?;

        progress(Progress::Vocabulary);
        let tokenizer = tokenizer(&opened, &spec, &mut notes)?;
        let template = template(&opened, tokenizer.as_ref(), options.chat_template.as_deref(), &mut notes)?;

        let description =
            Description::new(&name, Some(spec.family.name), opened.metadata(), opened.tensors());
        let request = Request::new(options, context_len);
        // What a backend has laid out need not be in memory twice.
        let mut forgotten = 0.0;
        let placed = device::place(&spec, &weights, &request, &mut |fraction| {
            if fraction - forgotten >= FORGET_EVERY {
                opened.tensors().forget();
                forgotten = fraction;
            }
            progress(Progress::Weights { fraction });
        })?;
        opened.tensors().forget();
        let Placed { forward, notes: device_notes, plan } = placed;
        notes.extend(device_notes);
        Ok(Self { forward, tokenizer, template, description, notes, plan, load_time: started.elapsed() })
    }
}

pub(crate) fn context_len(
    asked: Option<usize>,
    spec: &ModelSpec,
    notes: &mut Vec<String>,
) -> Result<usize, LoadError> {
    let trained = spec.trained_context;
    let context_len = match asked {
        None => trained.min(DEFAULT_CONTEXT),
        Some(0) => trained,
        Some(len) => len,
    };
    if context_len > MOST_CONTEXT {
        return Err(LoadError::Context { context_len, trained });
    }
    if context_len > trained {
        notes.push(format!(
            "the context of {context_len} tokens is longer than the {trained} that the model was trained for: \
             text beyond them may be poor"
        ));
    }
    Ok(context_len)
}

pub(crate) fn tokenizer(
    opened: &Opened,
    spec: &ModelSpec,
    notes: &mut Vec<String>,
) -> Result<Option<Tokenizer>, LoadError> {
    let Some(vocab) = opened.metadata().map(vocab::read).transpose()?.flatten() else { return Ok(None) };
    let tokenizer = Tokenizer::new(vocab)?;
    if tokenizer.n_vocab() > spec.n_vocab {
        return Err(LoadError::Vocabulary { tokens: tokenizer.n_vocab(), n_vocab: spec.n_vocab });
    }
    notes.extend(tokenizer.warnings().iter().cloned());
    Ok(Some(tokenizer))
}

/// The template that was given, or the file's. A bad one in the file is an error only for who uses it.
fn template(
    opened: &Opened,
    tokenizer: Option<&Tokenizer>,
    given: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<Template, LoadError> {
    if let Some(source) = given {
        return Ok(Template::Usable(
            vocab::chat_template(source, tokenizer).map_err(LoadError::ChatTemplate)?,
        ));
    }
    let Some(source) = opened.metadata().map(vocab::chat_template_source).transpose()?.flatten() else {
        return Ok(Template::Missing);
    };
    Ok(match vocab::chat_template(source, tokenizer) {
        Ok(template) => Template::Usable(template),
        Err(error) => {
            notes.push(error.to_string());
            Template::Broken(error.into())
        }
    })
}
