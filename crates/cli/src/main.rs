//! `metal-attention`, the command-line program: run GGUF language models on this machine.
//!
//! Results go to stdout, everything else to stderr. [`args`] is what the user types, [`commands`] has one file a command,
//! [`exit`] turns errors into messages and exit codes.
#![forbid(unsafe_code)]

mod args;
mod cache;
mod commands;
mod console;
mod exit;
mod loading;
mod model_source;
mod prompt;
mod signals;
mod stdout;
mod units;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(error) => return exit::usage(&error),
    };
    let console = console::Console::new(&cli.output);
    match commands::run(cli.command, &console) {
        Ok(code) => code,
        Err(error) => exit::report(&error, &console),
    }
}
