//! How a model is to be run.

use crate::device::AdapterChoice;
use std::path::PathBuf;

/// How tokens are decoded one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DecodeMode {
    /// In one dispatch where the device has shown at load that it can, and is faster so; else by a dispatch for each step.
    #[default]
    Auto,
    /// By a dispatch for each step.
    Dispatch,
    /// In one dispatch for several greedy tokens, or not at all: an error says why it is not possible.
    Persistent,
}

/// What numbers the products of up to 8 rows with quantised weights are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Activations {
    /// Of activations in 8 bits where the device multiplies such four at a time and that is faster, else of floats.
    #[default]
    Auto,
    /// Of floats.
    F32,
    /// Of activations rounded to 8 bits in units of 32, as on a CPU.
    Int8,
}

/// How a model is to be run.
#[derive(Debug, Clone, Default)]
pub struct GpuOptions {
    /// Which adapter.
    pub adapter: AdapterChoice,
    /// Positions that a sequence may hold.
    pub context_len: usize,
    /// Sequences that the KV cache has room for, each of `context_len` positions; 0 is 1.
    pub n_sequences: usize,
    /// Bytes of the device's memory that the model may take. `None`: what the driver says there is.
    pub memory_limit: Option<u64>,
    /// Bytes that a kernel may see of a buffer, where that is to be less than what the adapter has: for tests.
    pub binding_limit: Option<u64>,
    /// How tokens are decoded.
    pub decode: DecodeMode,
    /// What products of few rows are made of.
    pub activations: Activations,
    /// A wait after every token of a decode instead of several tokens in flight: for tests.
    pub synced: bool,
    /// Folder where compiled pipelines are kept from run to run, on interfaces that allow it; `None`: nowhere.
    pub pipeline_cache: Option<PathBuf>,
}
