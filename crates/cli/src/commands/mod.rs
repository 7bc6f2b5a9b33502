//! The commands, one file each.

mod bench;
mod chat;
mod completions;
mod debug;
mod devices;
mod doctor;
mod generation;
mod info;
mod perplexity;
mod run;
mod tap_table;
mod tokenize;

use crate::args::Command;
use crate::console::Console;
use std::process::ExitCode;

/// Does what the user asked for.
pub(crate) fn run(command: Command, console: &Console) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(args) => return run::run(&args, console),
        Command::Chat(args) => return chat::chat(&args, console),
        Command::Bench(args) => bench::bench(&args, console)?,
        Command::Info(args) => info::info(&args, console)?,
        Command::Tokenize(args) => tokenize::tokenize(&args, console)?,
        Command::Perplexity(args) => perplexity::perplexity(&args, console)?,
        Command::Devices(args) => devices::devices(&args)?,
        Command::Doctor(args) => doctor::doctor(&args, console)?,
        Command::Debug(command) => debug::debug(&command, console)?,
        Command::Completions(args) => completions::completions(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
