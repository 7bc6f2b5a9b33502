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
//! and gives the same text for a seed on every platform; a GPU samples by itself, from random numbers of its own.
//! [`perplexity`] and [`bench()`] measure as llama.cpp's tools do.
//!
//! [`DeviceChoice`] says where a model runs, [`devices()`] lists what there is. With [`DeviceChoice::Auto`] a model goes to the
//! CPU where no GPU can run it, and its [notes](Model::notes) say why; any other choice fails rather than going elsewhere.
//! [`compare()`] finds the place where a device parts from the reference, [`examine()`] tells what a GPU does right and how fast. The feature `gpu`, on by default, is the GPU engine.
//!
//! [`inspect`] and [`load_tokenizer`] read a file without its weights, whether or not it could be run.
//!
//! Errors are typed and say what is wrong, where, and the way out; [`ErrorKind::of`] sorts any of them by what a caller
//! can do about it.
#![forbid(unsafe_code)]

mod bench;
mod compare;
mod conversation;
mod description;
mod device;
mod device_choice;
mod devices;
mod error;
mod error_kind;
mod examine;
mod file_type;
mod generate;
#[cfg_attr(not(feature = "gpu"), path = "no_gpu_engine.rs")]
mod gpu_engine;
mod gpu_plan;
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
mod system;
mod trace;
mod vocab;

pub use bench::{BenchError, BenchOptions, BenchTest, bench};
pub use compare::{CompareError, ComparedResult, Comparison, compare};
pub use conversation::{ChatError, Conversation};
pub use description::Description;
pub use device_choice::{Activations, DecodeMode, DeviceChoice, GpuBackend, ParseDeviceError};
pub use devices::{Device, GpuDetails, devices};
pub use error::{GenerateError, LoadError};
pub use error_kind::ErrorKind;
pub use examine::{Check, Examination, Measurement, examine, measure_kernels, profile_passes};
pub use generate::{FinishReason, GenerateOptions, Generation, Timings, Usage};
pub use gpu_plan::GpuPlan;
pub use inspect::{Inspection, inspect, load_tokenizer};
pub use language_model::Model;
pub use load::{LoadOptions, Progress};
pub use perplexity::{Perplexity, PerplexityError, PerplexityOptions, perplexity};
pub use sampling::{Sampler, SamplingError, SamplingOptions};
pub use session::{Prompt, Session};
pub use source::ModelSource;
pub use system::SystemInfo;
pub use trace::TapSummary;

// What the API above is made of, so that a program needs no other crate of the project.
pub use gguf::{Array, Gguf, GgufError, Metadata, TensorInfo, TensorType, Value};
pub use model::{
    DeviceInfo, DeviceKind, ForwardError, MemoryUse, ModelError, ModelSpec, SyntheticPreset, families,
};
pub use tokenizer::{
    ChatTemplate, DecodeOptions, Detokenizer, EncodeOptions, Message, RenderOptions, SpecialTokens,
    TemplateError, TokenKind, Tokenizer, TokenizerError,
};
