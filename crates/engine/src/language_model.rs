//! A model on its device.

use crate::description::Description;
use crate::error::GenerateError;
use crate::gpu_plan::GpuPlan;
use crate::session::Session;
use model::{DeviceInfo, ForwardPass, MemoryUse, ModelSpec};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokenizer::{ChatTemplate, EncodeOptions, TemplateError, Tokenizer, TokenizerError};

/// A model on its device, ready to run. Made by [`Model::load`].
pub struct Model {
    pub(crate) forward: Box<dyn ForwardPass>,
    pub(crate) tokenizer: Option<Tokenizer>,
    pub(crate) template: Template,
    pub(crate) description: Description,
    pub(crate) notes: Vec<String>,
    pub(crate) plan: Option<GpuPlan>,
    pub(crate) load_time: Duration,
}

/// The chat template, if there is one.
pub(crate) enum Template {
    Missing,
    Usable(ChatTemplate),
    Broken(Arc<TemplateError>),
}

impl Model {
    /// Sizes and flags.
    #[must_use]
    pub fn spec(&self) -> &ModelSpec {
        self.forward.spec()
    }

    /// Name, kind, sizes: what to tell the user.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The vocabulary; a synthetic model has none.
    #[must_use]
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// The chat template, if there is one.
    ///
    /// # Errors
    /// The one in the file does not parse.
    pub fn chat_template(&self) -> Result<Option<&ChatTemplate>, Arc<TemplateError>> {
        match &self.template {
            Template::Missing => Ok(None),
            Template::Usable(template) => Ok(Some(template)),
            Template::Broken(error) => Err(Arc::clone(error)),
        }
    }

    /// What the user should know, a sentence each: what the file leaves out, what the device does differently.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What a GPU executes for a token; `None` on the CPU, which has no such list.
    #[must_use]
    pub fn gpu_plan(&self) -> Option<&GpuPlan> {
        self.plan.as_ref()
    }

    /// How long loading took.
    #[must_use]
    pub fn load_time(&self) -> Duration {
        self.load_time
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &DeviceInfo {
        self.forward.device()
    }

    /// Memory held.
    #[must_use]
    pub fn memory(&self) -> MemoryUse {
        self.forward.memory()
    }

    /// Bytes of the weights that lie in large pages of main memory; `None` on a GPU, and where the system does not tell.
    #[must_use]
    pub fn large_page_bytes(&self) -> Option<u64> {
        self.forward.large_page_bytes()
    }

    /// Positions that a session may hold.
    #[must_use]
    pub fn context_len(&self) -> usize {
        self.forward.context_len()
    }

    /// A session with nothing in it.
    pub fn session(&mut self) -> Session<'_> {
        Session::new(self)
    }

    /// The ids of a prompt: control tokens are taken for what they say, and BOS and EOS are added where the vocabulary
    /// asks for them, BOS never twice.
    ///
    /// # Errors
    /// There is no vocabulary, or it cannot spell the text.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, GenerateError> {
        let tokenizer = self.tokenizer.as_ref().ok_or(GenerateError::NoTokenizer)?;
        Ok(encode_prompt(tokenizer, text)?)
    }
}

/// As [`Model::encode_prompt`].
pub(crate) fn encode_prompt(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, TokenizerError> {
    let mut ids = tokenizer.encode(text, EncodeOptions { add_special: true, parse_special: true })?;
    // Many chat templates write BOS themselves.
    if tokenizer.adds_bos() && ids.len() > 1 && ids[0] == ids[1] && Some(ids[0]) == tokenizer.bos() {
        ids.remove(0);
    }
    Ok(ids)
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("description", &self.description)
            .field("device", self.device())
            .field("context_len", &self.context_len())
            .field("notes", &self.notes)
            .finish_non_exhaustive()
    }
}
