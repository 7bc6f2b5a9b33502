//! What can be wrong with a model file whose container is sound.

use gguf::{MetadataError, TensorType};

/// A model that cannot be run, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A metadata key is missing or of another type.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The architecture has no row in the family table.
    #[error("architecture `{name}` is not supported (supported: {supported})")]
    Architecture {
        /// What `general.architecture` says.
        name: String,
        /// The names in the table.
        supported: String,
    },
    /// A feature of a supported architecture that this program does not compute.
    #[error("{key} = {value} is not supported: {why}")]
    Feature {
        /// The metadata key.
        key: String,
        /// Its value in the file.
        value: String,
        /// What is supported instead.
        why: &'static str,
    },
    /// A size that no model can have, or that contradicts another one.
    #[error("{key} = {value} is not possible: {why}")]
    Size {
        /// The metadata key or what was derived from it.
        key: String,
        /// Its value.
        value: u64,
        /// The rule that it breaks.
        why: String,
    },
    /// A tensor that the architecture needs is not in the file.
    #[error("tensor `{name}` is missing from the file, and {family} models need it")]
    MissingTensor {
        /// The tensor's name.
        name: String,
        /// The architecture.
        family: &'static str,
    },
    /// A tensor has another shape than the metadata says.
    #[error("tensor `{name}` has shape {got:?}, but the metadata asks for {expected:?}")]
    Shape {
        /// The tensor's name.
        name: String,
        /// `[n_out, n_in]`, or `[n]`, by the metadata.
        expected: Vec<u64>,
        /// The shape in the file.
        got: Vec<u64>,
    },
    /// A tensor is stored in a type that has no decoder here.
    #[error("tensor `{name}` has type {ty}, which is not supported (supported: {supported})")]
    TensorType {
        /// The tensor's name.
        name: String,
        /// Its type.
        ty: TensorType,
        /// The types that have decoders.
        supported: String,
    },
    /// A tensor that the architecture, as known here, does not use. Leaving it out could change what the model says.
    #[error(
        "tensor `{name}` is not a part of {family} models as this program knows them; \
         running without it could give wrong text, so the file is refused"
    )]
    UnknownTensor {
        /// The tensor's name.
        name: String,
        /// The architecture.
        family: &'static str,
    },
}
