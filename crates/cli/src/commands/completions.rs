//! `completions`: what a shell needs to complete our command line.

use crate::args::{Cli, CompletionsArgs};
use crate::stdout::Stdout;
use clap::CommandFactory;

pub(crate) fn completions(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    // Writing to memory cannot fail; the generator would panic where stdout does.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    let mut out = Stdout::new();
    out.write(script)?;
    Ok(out.flush()?)
}
