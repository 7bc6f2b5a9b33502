//! `debug`: a look into a model at work.

use super::tap_table;
use crate::args::{CompareArgs, DebugCommand};
use crate::console::Console;
use crate::stdout::Stdout;
use crate::units;
use anyhow::bail;
use metal_attention::{ComparedResult, Comparison};
use serde_json::{Value, json};

pub(crate) fn debug(command: &DebugCommand, console: &Console) -> anyhow::Result<()> {
    match command {
        DebugCommand::Compare(args) => compare(args, console),
    }
}

/// Fails where a result is wrong, after all of them were printed.
fn compare(args: &CompareArgs, console: &Console) -> anyhow::Result<()> {
    let comparison = metal_attention::compare(args.model.source()?, &args.prompt, &args.device.options())?;
    let device = &comparison.device;
    let tokens = units::count(comparison.n_tokens, "token");
    console.info(format_args!("the last of {tokens} on {}: {}", device.backend, device.name));
    let wrong = comparison.first_wrong();
    let mut out = Stdout::new();
    if args.json {
        out.json(&comparison.results.iter().map(object).collect::<Value>(), true)?;
    } else {
        out.line(tap_table::header())?;
        for (i, result) in comparison.results.iter().enumerate() {
            let mark = if Some(i) == wrong { "  <- the first that is wrong" } else { "" };
            out.line(tap_table::line(&result.summary, result.distance) + mark)?;
        }
    }
    out.flush()?;
    if let Some(result) = wrong.map(|i| &comparison.results[i]) {
        let (name, bound) = (&result.summary.name, Comparison::BOUND);
        bail!("{name} is the first result that is further than {bound:.0e} from the reference");
    }
    Ok(())
}

fn object(result: &ComparedResult) -> Value {
    let summary = &result.summary;
    json!({
        "name": summary.name,
        "shape": [summary.len],
        "min": summary.min,
        "max": summary.max,
        "mean": summary.mean,
        "first": summary.first,
        "n_nan": summary.n_nan,
        "distance": result.distance,
        "is_wrong": result.is_wrong(),
    })
}
