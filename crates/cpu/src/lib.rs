//! The forward pass on the CPU: portable kernels, one worker pool, few barriers.
//!
//! At load every weight matrix is repacked once, without loss, into groups of 16 rows (`pack`), in the order in which a
//! token reads them, in one arena with large pages. A vector that meets block-quantised weights is itself quantised to 8
//! bits in blocks of 32, once for all matrices that read it (`activations`); keys and values are kept in f16 (`kv`).
//!
//! A forward pass is one run of the worker pool (`pool`). Few rows are split by weight groups, with a barrier after each of
//! a layer's five phases; many rows are split among the workers, with one barrier a layer (`forward`). Either way each
//! number is one fixed chain of operations, so that logits are equal bit for bit for any thread count and any split of a
//! prompt.
//!
//! The kernels (`kernels`) are plain Rust over 16 lanes. `arch` compiles them once for each instruction set and picks
//! one at load.
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
mod layer;
mod matrix;
mod pack;
mod pool;
mod scratch;
mod shared;
mod weights;

#[cfg(test)]
mod tests;

pub use error::CpuError;
pub use forward::{CpuForwardPass, CpuOptions};
