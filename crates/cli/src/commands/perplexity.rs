//! `perplexity`: how well a model predicts a text.

use crate::args::{PerplexityArgs, count};
use crate::console::Console;
use crate::exit::Failure;
use crate::loading;
use crate::prompt;
use crate::stdout::Stdout;
use crate::units;
use metal_attention::{LoadOptions, PerplexityOptions};
use serde_json::json;
use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::time::Instant;

pub(crate) fn perplexity(args: &PerplexityArgs, console: &Console) -> anyhow::Result<()> {
    let text = match &args.file {
        Some(path) => prompt::file(path)?,
        None if std::io::stdin().is_terminal() => {
            return Err(Failure::usage("no text is given", "give a file with --file").into());
        }
        None => prompt::stdin()?,
    };
    let options =
        LoadOptions { threads: args.threads, context: Some(args.ctx_size), ..args.device.options() };
    let mut model = loading::load(args.model.source()?, &options, console)?;
    // 0 stands for the model's own, as at loading.
    let context = model.context_len();
    let options = PerplexityOptions {
        context,
        chunks: count(args.chunks),
        batch: args.batch_size.map(NonZeroUsize::get),
    };
    let started = Instant::now();
    let result = metal_attention::perplexity(&mut model, &text, &options, &mut |so_far| {
        if so_far.chunks == 1 {
            console.info(format_args!("{} of {context} tokens", units::count(so_far.n_chunks, "chunk")));
        }
        console.part(format_args!("[{}]{:.4},", so_far.chunks, so_far.perplexity));
        ControlFlow::Continue(())
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let rate = (result.chunks * context) as f64 / seconds;
    console
        .info(format_args!("\n{} in {seconds:.1} s, {rate:.1} tok/s", units::count(result.chunks, "chunk")));

    let mut out = Stdout::new();
    if args.json {
        let report = json!({
            "perplexity": result.perplexity,
            "standard_error": result.standard_error,
            "chunks": result.chunks,
            "n_ctx": context,
            "n_scored": result.n_scored,
            "seconds": seconds,
            "device": loading::device(&model),
            "model": model.description().name,
        });
        out.json(&report, false)?;
    } else {
        out.line(format!("Final estimate: PPL = {:.4} +/- {:.5}", result.perplexity, result.standard_error))?;
    }
    Ok(out.flush()?)
}
