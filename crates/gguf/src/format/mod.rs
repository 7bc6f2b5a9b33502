//! The block formats of weights, bit by bit: where each is laid out, decoded and, for some, encoded.
//!
//! A tensor's row is whole blocks, one after another, and a tensor is its rows, one after another. In each module
//! `BLOCK_LEN` is the number of weights in a block, `BLOCK_BYTES` its size and `decode` its meaning; the `_AT`
//! constants say at which byte a field begins. All fields are little-endian, bit 0 is the lowest.
//!
//! Decoded weights are `f32`, bit for bit those of ggml's `dequantize_row_*` in plain C: each multiplication and
//! each addition rounds by itself, in the order the module gives; no fused multiply-add. Encoded blocks are those
//! of ggml's `quantize_row_*_ref`.
//!
//! [`TensorType::decode`](crate::TensorType::decode) and [`TensorType::encode`](crate::TensorType::encode) do whole
//! rows of a type that is known only at run time.
//!
//! Source of the definitions: `ggml-common.h` and `ggml-quants.c` of llama.cpp commit de3ff815ea7d.

pub mod bf16;
mod codec;
mod error;
pub mod f16;
pub mod f32;
pub mod q2_k;
pub mod q3_k;
pub mod q4_0;
pub mod q4_1;
pub mod q4_k;
pub mod q5_0;
pub mod q5_1;
pub mod q5_k;
pub mod q6_k;
pub mod q8_0;
mod unit;

pub use error::FormatError;
pub use unit::{UNIT_LEN, Unit, bits, has_min, offset};
