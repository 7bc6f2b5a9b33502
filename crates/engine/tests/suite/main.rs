//! The engine on tiny models, end to end.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a panic is how a test fails")]

mod bench;
mod common;
mod compare;
mod conversation;
mod generate;
#[cfg(feature = "gpu")]
mod gpu;
mod inspect;
mod limits;
mod load;
mod perplexity;
mod prefix;
mod stops;
