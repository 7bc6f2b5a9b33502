//! What the tests of several crates share: tiny seeded models of every family and tensor type, as real GGUF files in memory,
//! and the named tolerances of the project.
#![forbid(unsafe_code)]

mod random;
mod tiny_model;
mod tolerance;

pub use random::Random;
pub use tiny_model::{TinyModel, random_matrix};
pub use tolerance::{dot_bound, largest_relative_error};
