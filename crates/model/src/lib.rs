//! What a language model is, apart from any machine that runs it.
//!
//! A GGUF file becomes a checked [`ModelSpec`] (sizes and flags; an architecture is a row of a table, not code), its
//! tensors become [`Weights`] by role, and every request to compute becomes [`Row`]s: (sequence, position, token,
//! wants logits?). A prompt is many rows of one sequence, decoding is one row, a batch is one row from each of many.
//!
//! [`ForwardPass`] is the seam of the project: a backend takes rows and gives logits, and nothing above it knows which
//! backend it is. [`Reference`] implements it in `f64`, as plainly as the mathematics reads; it is the oracle that every
//! backend is tested against.
//!
//! [`KvBlocks`] is the bookkeeping that every backend shares: blocks of [`BLOCK_LEN`] positions, a table of them for each
//! sequence. The numbers in the blocks belong to the backends.
//!
//! Shapes are row-major, slowest first, everywhere: a weight is `[n_out, n_in]`, hidden states are `[n_rows, n_embd]`.
#![forbid(unsafe_code)]

mod choice;
mod error;
mod family;
mod forward;
mod kv;
mod reference;
mod rope;
mod rows;
mod source;
mod spec;
mod synthetic;
mod tap;
mod weights;

pub use choice::{Choice, MOST_NEVER, NO_TOKEN};
pub use error::ModelError;
pub use family::{Family, families};
pub use forward::{DeviceInfo, DeviceKind, ForwardError, ForwardPass, MemoryUse};
pub use kv::{BLOCK_LEN, KvBlocks};
pub use reference::{OnCache, Q8Layout, Reference, Rounding};
pub use rope::{RopePairing, RopeTable};
pub use rows::{Row, SequenceId};
pub use source::{TensorMeta, TensorSource};
pub use spec::ModelSpec;
pub use synthetic::{Synthetic, SyntheticPreset, random_blocks};
pub use tap::Tap;
pub use weights::{LayerWeights, Weight, Weights};
