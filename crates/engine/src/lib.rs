//! Run GGUF language models: load, open a session, generate.
//!
//! ```no_run
//! use metal_attention::{GenerateOptions, LoadOptions, Model, ModelSource};
//! use std::ops::ControlFlow;
//!
//! let source = ModelSource::File("model.gguf".into());
//! let mut model = Model::load(source, &LoadOptions::default(), &mut |_progress| {})?;
//! let mut session = model.session();
//! let generation = session.generate("Once upon a time", &GenerateOptions::default(), &mut |piece| {
//!     print!("{piece}");
//!     ControlFlow::Continue(())
//! })?;
//! eprintln!("{:.1} tokens/s", generation.timings.predicted_per_second);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Model::load`] checks a file, plans its memory, picks a device and lays the weights out there. A [`Session`] holds
//! the tokens that are in the model's KV cache, and computes of each prompt only what follows the part that is in it
//! already; a [`Conversation`] renders a chat into such prompts. [`Sampler`] has llama.cpp's options, defaults and order,
//! and gives the same text for a seed on every platform. [`perplexity`] and [`bench()`] measure as llama.cpp's tools do.
//!
//! [`inspect`] and [`load_tokenizer`] read a file without its weights, whether or not it could be run.
//!
//! Errors are typed and say what is wrong, where, and the way out; [`ErrorKind::of`] sorts any of them by what a caller
//! can do about it.
#![forbid(unsafe_code)]

mod bench;
mod conversation;
mod description;
mod device;
mod error;
mod error_kind;
mod file_type;
mod generate;
mod inspect;
mod language_model;
mod load;
mod memory;
mod output;
mod perplexity;
mod sampling;
mod session;
mod source;
mod stop_strings;
mod vocab;

pub use bench::{BenchError, BenchOptions, BenchTest, bench};
pub use conversation::{ChatError, Conversation};
pub use description::Description;
pub use device::DeviceChoice;
pub use error::{GenerateError, LoadError};
pub use error_kind::ErrorKind;
pub use generate::{FinishReason, GenerateOptions, Generation, Timings, Usage};
pub use inspect::{Inspection, inspect, load_tokenizer};
pub use language_model::Model;
pub use load::{LoadOptions, Progress};
pub use perplexity::{Perplexity, PerplexityError, PerplexityOptions, perplexity};
pub use sampling::{Sampler, SamplingError, SamplingOptions};
pub use session::{Prompt, Session};
pub use source::ModelSource;

// What the API above is made of, so that a program needs no other crate of the project.
pub use gguf::{Array, Gguf, GgufError, Metadata, TensorInfo, TensorType, Value};
pub use model::{
    DeviceInfo, DeviceKind, ForwardError, MemoryUse, ModelError, ModelSpec, SyntheticPreset, families,
};
pub use tokenizer::{
    ChatTemplate, DecodeOptions, Detokenizer, EncodeOptions, Message, RenderOptions, SpecialTokens,
    TemplateError, TokenKind, Tokenizer, TokenizerError,
};
