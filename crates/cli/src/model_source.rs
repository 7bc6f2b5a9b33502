//! Which model to use: the one named, or the one that is compiled in.

use crate::args::ModelArgs;
use crate::exit::Failure;
use metal_attention::ModelSource;
use std::path::PathBuf;

/// The tales model, for when no model is named.
#[cfg(feature = "bundled-model")]
static TALES: &[u8] = include_bytes!("../../../models/tales/tales-q4_0.gguf");

impl ModelArgs {
    /// The model named by flag, argument or environment, else the bundled one.
    pub(crate) fn source(&self) -> Result<ModelSource, Failure> {
        match self.path()? {
            Some(path) => Ok(ModelSource::File(path)),
            None => bundled(),
        }
    }

    fn path(&self) -> Result<Option<PathBuf>, Failure> {
        let from_environment = std::env::var_os(crate::args::MODEL_VARIABLE);
        let model = self.model.clone().filter(|path| !path.as_os_str().is_empty());
        match (&self.positional, model) {
            (Some(_), Some(model)) if from_environment.as_deref() != Some(model.as_os_str()) => {
                Err(Failure::usage("two models are given", "name it once, with --model or without"))
            }
            (Some(path), _) => Ok(Some(path.clone())),
            (None, model) => Ok(model),
        }
    }
}

#[cfg(feature = "bundled-model")]
fn bundled() -> Result<ModelSource, Failure> {
    Ok(ModelSource::Static { name: "tales".to_owned(), bytes: TALES })
}

#[cfg(not(feature = "bundled-model"))]
fn bundled() -> Result<ModelSource, Failure> {
    Err(Failure::usage(
        "no model is given, and this build has none of its own",
        "give a GGUF file with --model",
    ))
}
