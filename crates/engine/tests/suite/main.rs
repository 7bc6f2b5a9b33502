//! The engine on tiny models, end to end.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a panic is how a test fails")]

mod bench;
mod common;
mod conversation;
mod generate;
mod inspect;
mod limits;
mod load;
mod perplexity;
mod prefix;
mod stops;
