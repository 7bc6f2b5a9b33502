//! The crate's tests from outside, one binary.
#![expect(clippy::unwrap_used, reason = "in a test, and what it calls, a failed unwrap is a failed test")]

mod damage;
mod formats;
mod getters;
mod golden;
mod refusal;
mod round_trip;
mod sample;
mod split_model;
mod tensor_table;
