//! `run`: a prompt in, text out.

use super::generation::{Stream, timing_line};
use super::tap_table;
use crate::args::RunArgs;
use crate::console::Console;
use crate::loading;
use crate::signals::Signals;
use crate::stdout::Stdout;
use anyhow::Context;
use metal_attention::{ChatError, Conversation, GenerateError, Generation, Message, Model};
use serde::Serialize;
use std::ops::ControlFlow;
use std::process::ExitCode;

pub(crate) fn run(args: &RunArgs, console: &Console) -> anyhow::Result<ExitCode> {
    let prompt = args.prompt.prompt()?;
    let mut model = loading::load(args.model.source()?, &args.load.options()?, console)?;
    let is_chat = wants_template(args, &model)?;
    let prompt = if is_chat { chat_prompt(args, &model, prompt)? } else { prompt };
    console.detail(format_args!("prompt: {prompt:?}"));
    tap_table::debug_gpu(&mut model, &prompt, console);

    let signals = Signals::listen().context("cannot listen for signals")?;
    let options =
        metal_attention::GenerateOptions { cancel: Some(signals.stop()), ..args.generate.options() };
    console.detail(format_args!("sampling: {:?}", options.sampling));
    let mut out = Stdout::new();
    if args.json {
        let generation = model.session().generate(&prompt, &options, &mut |_| ControlFlow::Continue(()))?;
        out.json(&Report::new(&generation, &model), false)?;
        out.flush()?;
        console.info(timing_line(&generation));
    } else {
        // Where text goes on from the prompt, the two are read together.
        let heading = (!is_chat && !args.no_display_prompt).then_some(prompt.as_str());
        let mut stream = Stream::new(&mut out, heading);
        let generation = model.session().generate(&prompt, &options, &mut |piece| stream.piece(piece))?;
        stream.finish()?;
        console.info(timing_line(&generation));
    }
    Ok(signals.work_ends().map_or(ExitCode::SUCCESS, |signal| signal.exit_code()))
}

/// Whether the prompt is for a chat model. A system prompt without a template is a mistake that rendering tells.
fn wants_template(args: &RunArgs, model: &Model) -> Result<bool, ChatError> {
    if args.raw || args.generate.system_prompt.is_some() {
        return Ok(!args.raw);
    }
    Ok(model.chat_template().map_err(ChatError::BadTemplate)?.is_some())
}

fn chat_prompt(args: &RunArgs, model: &Model, prompt: String) -> Result<String, ChatError> {
    if prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt.into());
    }
    let mut conversation = Conversation::new(args.generate.system_prompt.as_deref());
    conversation.push(Message::new("user", prompt));
    conversation.render(model)
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    text: &'a str,
    finish_reason: &'static str,
    usage: Usage,
    timings: Timings,
    device: String,
    seed: u64,
    model: &'a str,
}

#[derive(Debug, Serialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    cached_tokens: usize,
}

#[derive(Debug, Serialize)]
struct Timings {
    load_ms: f64,
    prompt_ms: f64,
    predicted_ms: f64,
    prompt_per_second: f64,
    predicted_per_second: f64,
}

impl<'a> Report<'a> {
    fn new(generation: &'a Generation, model: &'a Model) -> Self {
        let Generation { text, finish_reason, usage, timings, seed, .. } = generation;
        Self {
            text,
            finish_reason: finish_reason.as_str(),
            usage: Usage {
                prompt_tokens: usage.prompt_tokens,
                completion_tokens: usage.completion_tokens,
                cached_tokens: usage.cached_tokens,
            },
            timings: Timings {
                load_ms: model.load_time().as_secs_f64() * 1e3,
                prompt_ms: timings.prompt_ms,
                predicted_ms: timings.predicted_ms,
                prompt_per_second: timings.prompt_per_second,
                predicted_per_second: timings.predicted_per_second,
            },
            device: loading::device(model),
            seed: *seed,
            model: &model.description().name,
        }
    }
}
