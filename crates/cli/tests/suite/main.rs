//! The program from outside: what it prints where, and what it exits with.
#![expect(clippy::unwrap_used, reason = "in a test, and what it calls, a failed unwrap is a failed test")]

mod bench;
#[cfg(feature = "bundled-model")]
mod bundled;
mod chat;
mod common;
mod debug;
mod exits;
#[cfg(feature = "gpu")]
mod gpu;
mod help;
mod info;
mod perplexity;
mod run;
#[cfg(unix)]
mod signals;
mod tokenize;
