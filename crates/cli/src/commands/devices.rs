//! `devices`: what models can run on.

use crate::args::DevicesArgs;
use crate::stdout::Stdout;
use crate::units;
use serde_json::json;

pub(crate) fn devices(args: &DevicesArgs) -> anyhow::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (kind, backend, name) = ("cpu", "CPU", std::env::consts::ARCH);
    let mut out = Stdout::new();
    if args.json {
        out.json(&json!([{"kind": kind, "backend": backend, "name": name, "threads": threads}]), true)?;
    } else {
        out.line(format!("{kind}  {backend}: {name}, {}", units::count(threads, "thread")))?;
        out.line("gpu  none: this build has no GPU engine")?;
    }
    Ok(out.flush()?)
}
