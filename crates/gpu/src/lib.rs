//! The forward pass on the GPU: one set of WGSL kernels, through wgpu, on Metal, Vulkan and DX12.
//!
//! At load a [`model::ModelSpec`] becomes a [`plan`]: a plain list of steps (kernel, offsets, grid) that prints as a listing
//! and whose length is the number of dispatches a token takes. Weights are repacked once ([`layout`]) into few large buffers;
//! every step finds its numbers by offsets in its immediates, so that nothing but those changes from token to token.
//!
//! Each kernel is a pair of files in [`kernels`]: the shader, and beside it everything that the host does for it. Decoding of
//! block formats, reductions and the like are shared snippets; a kernel's variants are its skeleton with other snippets and
//! constants, composed by [`shader`] and compiled once by [`pipeline`].
//!
//! A greedy token needs nothing from the host: the last step of a token picks the id and writes that token's embedding where
//! the next one begins, so that several tokens are submitted ahead and their ids are read late.
#![deny(unsafe_code)]
#![allow(clippy::cast_possible_truncation, reason = "sizes are checked against the adapter's limits at load")]

mod batch;
mod buffer;
mod decode;
mod device;
mod device_memory;
mod doctor;
mod error;
mod forward;
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
pub use options::{DecodeMode, GpuOptions};
