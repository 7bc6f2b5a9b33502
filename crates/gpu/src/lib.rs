//! The forward pass on the GPU: one set of WGSL kernels, through wgpu, on Metal, Vulkan and DX12.
//!
//! At load a [`model::ModelSpec`] becomes plans (`plan.rs`, `planner/`): plain lists of steps (kernel, offsets, grid) that print
//! as listings and whose length is the number of dispatches. Weights are repacked once (`layout.rs`) into few large buffers;
//! every step finds its numbers by offsets in its immediates, so that nothing but those changes from token to token.
//!
//! Each kernel is a pair of files in `kernels/`: the shader, and beside it everything that the host does for it. Decoding of
//! block formats, reductions and the like are shared snippets; a kernel's variants are its skeleton with other snippets and
//! constants, composed by `shader.rs` and compiled once by `pipeline.rs`.
//!
//! One row takes a plan of products with vectors, everything around them fused in; two to eight rows read each weight once for
//! all of them, and both may be made of activations in 8 bits; more rows are products of matrices, on matrix units where the device has such.
//!
//! A greedy token needs nothing from the host: the last step of a token picks the id and writes that token's embedding where
//! the next one begins, so that several tokens are submitted ahead and their ids are read late (`decode.rs`). Where a trial at
//! load has shown that it can, a device does several tokens in one dispatch (`persistent/`).
#![deny(unsafe_code)]
#![allow(clippy::cast_possible_truncation, reason = "sizes are checked against the adapter's limits at load")]

mod batch;
mod buffer;
mod decode;
mod device;
mod device_memory;
mod doctor;
mod error;
mod files;
mod forward;
mod integer_dot;
mod kernels;
mod kv_cache;
mod layout;
mod limits;
mod load;
mod machine;
mod measure;
mod memory_plan;
#[cfg(target_os = "macos")]
mod metal_family;
#[cfg(target_os = "macos")]
mod metal_import;
mod options;
mod persistent;
mod pipeline;
mod pipeline_cache;
mod plan;
mod planner;
mod profile;
mod regions;
mod scratch;
mod shader;
mod tables;
mod tensors;
mod token_plans;
mod trace;
mod upload;
mod weights;

#[cfg(test)]
mod tests;

pub use device::{AdapterChoice, AdapterReport, GpuBackend, adapters};
pub use doctor::{Check, DoctorReport, doctor};
pub use error::GpuError;
pub use forward::GpuForwardPass;
pub use measure::{Measurement, measure};
pub use memory_plan::MemoryPlan;
pub use options::{Activations, DecodeMode, GpuOptions};
pub use profile::{Passes, profile};
