//! Loading a model, and saying so.

use crate::args::LoadArgs;
use crate::console::Console;
use crate::exit::Failure;
use crate::prompt;
use crate::units;
use indicatif::{ProgressBar, ProgressStyle};
use metal_attention::{LoadError, LoadOptions, Model, ModelSource, Progress};
use std::time::{Duration, Instant};

/// Loads that take no longer than this show no progress bar.
const PATIENCE: Duration = Duration::from_millis(300);

impl LoadArgs {
    /// What the engine is to do.
    pub(crate) fn options(&self) -> Result<LoadOptions, Failure> {
        Ok(LoadOptions {
            threads: self.threads,
            context: self.ctx_size,
            chat_template: self.chat_template()?,
            ..self.device.options()
        })
    }

    fn chat_template(&self) -> Result<Option<String>, Failure> {
        let given = match &self.chat_template_file {
            Some(path) => Some(prompt::file(path)?),
            None => self.chat_template.clone(),
        };
        match given {
            // Any text is a template, one that says nothing but itself: more likely a name that llama.cpp knows.
            Some(text) if !text.contains("{{") && !text.contains("{%") => Err(Failure::usage(
                format!(
                    "the chat template {:?} has nothing to fill in",
                    text.chars().take(40).collect::<String>()
                ),
                "give the Jinja source, or its file with --chat-template-file; there are no built-in templates",
            )),
            given => Ok(given),
        }
    }
}

/// Loads a model, with a progress bar where there is somebody to see it, and tells what was loaded.
pub(crate) fn load(
    source: ModelSource,
    options: &LoadOptions,
    console: &Console,
) -> Result<Model, LoadError> {
    let started = Instant::now();
    let mut bar: Option<ProgressBar> = None;
    let loaded = Model::load(source, options, &mut |progress| {
        let Progress::Weights { fraction } = progress else { return };
        if bar.is_none() && console.shows_progress() && started.elapsed() > PATIENCE {
            bar = Some(new_bar());
        }
        if let Some(bar) = &bar {
            // A share of a hundred fits.
            #[expect(clippy::cast_possible_truncation, reason = "0 to 100")]
            bar.set_position((fraction.clamp(0.0, 1.0) * 100.0) as u64);
        }
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let model = loaded?;
    console.info(load_line(&model));
    for note in model.notes() {
        console.note(note);
    }
    let memory = model.memory();
    console.detail(format_args!(
        "memory: weights {}, KV cache {}, scratch {}",
        units::bytes(memory.weights_bytes),
        units::bytes(memory.kv_bytes),
        units::bytes(memory.scratch_bytes)
    ));
    if console.is_verbose()
        && let Some(large) = model.large_page_bytes()
    {
        console.detail(large_pages(large, memory.weights_bytes));
    }
    if let Some(Err(why)) = model.gpu_plan().map(|plan| &plan.one_dispatch) {
        console.detail(format_args!("greedy tokens: a dispatch for each step, because {why}"));
    }
    if let Some(tokenizer) = model.tokenizer() {
        let stops: Vec<_> = tokenizer.stop_ids().iter().filter_map(|&id| tokenizer.token_text(id)).collect();
        console.detail(format_args!("tokenizer: {}, stops at {}", tokenizer.kind(), stops.join(" ")));
    }
    Ok(model)
}

/// Without large pages decoding is slower, and this line is where it shows.
fn large_pages(granted: u64, of: u64) -> String {
    match granted {
        0 => format!("large pages: none granted for weights of {}", units::bytes(of)),
        _ => format!("large pages: {} granted for weights of {}", units::bytes(granted), units::bytes(of)),
    }
}

/// The device in a line: `CPU: x86_64 AVX-512, 2 threads`.
pub(crate) fn device(model: &Model) -> String {
    let device = model.device();
    let threads = match device.threads {
        0 => String::new(),
        n => format!(", {}", units::count(n, "thread")),
    };
    format!("{}: {}{threads}", device.backend, device.name)
}

fn load_line(model: &Model) -> String {
    let description = model.description();
    let plan = model.gpu_plan();
    let int8 = plan.is_some_and(|plan| plan.int8_activations);
    let one_dispatch = plan.is_some_and(|plan| plan.one_dispatch.is_ok());
    format!(
        "model {} ({}, {}) on {} | ctx {} (model {}) | KV {} f16{}{} | loaded in {:.2} s",
        description.name,
        description.model_type(),
        units::bytes(description.size_bytes),
        device(model),
        model.context_len(),
        model.spec().trained_context,
        units::bytes(model.memory().kv_bytes),
        if int8 { " | activations int8" } else { "" },
        if one_dispatch { " | decode persistent" } else { "" },
        model.load_time().as_secs_f64()
    )
}

fn new_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("loading {wide_bar} {percent}%");
    ProgressBar::new(100).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
