//! The forward pass on the CPU: portable kernels, one worker pool, few barriers.
//!
//! At load every weight matrix is repacked once, without loss, into strips of 32 rows (`pack`), in the order in which a token
//! reads them (`layout`), in one arena with large pages. A vector that meets block-quantised weights is itself quantised to 8
//! bits in blocks of 32, once for all matrices that read it (`activations`); keys and values are kept in f16 (`kv`).
//!
//! A forward pass (`pass`) is one run of the worker pool (`pool`): a list of phases, each of which ends when its items are done,
//! whoever did them. Few rows are split by weights, in five phases a layer; many rows are split among the workers, in one.
//! Either way each number is one fixed chain of operations, so that logits are equal bit for bit for any thread count and any
//! split of a prompt.
//!
//! A kernel (`kernels`) is written once, over vectors of 16 lanes; `arch` has the instruction sets, and compiles every kernel
//! for each. The best is picked at load. No instruction set changes a bit.
#![deny(unsafe_code)]
#![allow(clippy::cast_possible_truncation, reason = "kernels narrow on purpose; sizes were checked at load")]

mod activations;
mod arch;
mod arena;
mod attention;
mod error;
mod forward;
mod kernels;
mod kv;
mod layout;
mod matrix;
mod pack;
mod pass;
mod pool;
mod scratch;
mod shared;
mod threads;
mod weights;

#[cfg(test)]
mod tests;

pub use error::CpuError;
pub use forward::{CpuForwardPass, CpuOptions};
