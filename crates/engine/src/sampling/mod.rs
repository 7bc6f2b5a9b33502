//! Choosing the next token from logits.

mod candidates;
mod options;
mod pcg;
mod penalties;
mod sampler;
#[cfg(test)]
mod tests;

pub use options::{SamplingError, SamplingOptions};
pub(crate) use pcg::Pcg32;
pub use sampler::Sampler;
pub(crate) use sampler::argmax;
