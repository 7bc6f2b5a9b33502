//! `bench`: how fast a model is, told as llama-bench tells it.

mod printer;
mod record;

use super::tap_table;
use crate::args::{BenchArgs, BenchFormat};
use crate::console::Console;
use crate::exit::Failure;
use crate::loading;
use crate::stdout::Stdout;
use anyhow::Context;
use metal_attention::{
    BenchOptions, BenchTest, DeviceChoice, LoadOptions, Measurement, Model, ModelSource, SyntheticPreset,
};
use printer::Printer;
use record::{Record, test_name};
use serde_json::{Value, json};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

pub(crate) fn bench(args: &BenchArgs, console: &Console) -> anyhow::Result<()> {
    if args.kernels || args.profile {
        if args.device.choice() == DeviceChoice::Cpu {
            let help = "--gpu takes the best one, or say which by --device";
            return Err(Failure::usage("the steps of a GPU cannot be timed on the CPU", help).into());
        }
        return if args.kernels { print_kernels(args) } else { print_profile(args) };
    }
    let tests = tests(args);
    let Some(context) = tests.iter().map(tokens).max() else {
        return Err(Failure::usage("there is nothing to measure", "ask for --n-prompt or --n-gen").into());
    };
    let threads: Vec<Option<NonZeroUsize>> = match args.threads.as_slice() {
        [] => vec![None],
        threads => threads.iter().copied().map(Some).collect(),
    };
    let options = BenchOptions { repetitions: args.repetitions.get(), warmup: !args.no_warmup };
    let mut printer = Printer::new(args.output);
    for (i, &threads) in threads.iter().enumerate() {
        let source = source(args)?;
        let file = file_name(&source);
        let load = LoadOptions { threads, context: Some(context), ..args.device.options() };
        let mut model = loading::load(source, &load, console)?;
        if args.plan {
            return print_plan(&model);
        }
        // Any token will do.
        tap_table::debug_gpu(&mut model, &vec![0], console);
        if i == 0 {
            printer.header()?;
        }
        for (j, &test) in tests.iter().enumerate() {
            console.info(format_args!("bench {}/{}: {}", j + 1, tests.len(), test_name(test)));
            printer.record(&measure(&mut model, test, &options, &file, console)?)?;
        }
    }
    Ok(printer.footer()?)
}

/// A line for each number: what it is of, how much, in what.
fn print_kernels(args: &BenchArgs) -> anyhow::Result<()> {
    print_measured(args, &metal_attention::measure_kernels(source(args)?, &args.device.options())?)
}

/// The prompts and the depths of generations that are asked for.
fn print_profile(args: &BenchArgs) -> anyhow::Result<()> {
    let prompts: Vec<usize> = args.n_prompt.iter().copied().filter(|&n| n > 0).collect();
    let generates = args.n_gen.iter().any(|&n| n > 0);
    let depths = if generates { &args.n_depth[..] } else { &[] };
    print_measured(
        args,
        &metal_attention::profile_passes(source(args)?, &args.device.options(), &prompts, depths)?,
    )
}

fn print_measured(args: &BenchArgs, found: &[Measurement]) -> anyhow::Result<()> {
    let mut out = Stdout::new();
    match args.output {
        BenchFormat::Md => found.iter().try_for_each(|measured| {
            out.line(format!("{:<70} {:>10.3} {}", measured.name, measured.value, measured.unit))
        })?,
        _ => {
            let one = |m: &Measurement| json!({"name": m.name, "value": m.value, "unit": m.unit});
            out.json(&found.iter().map(one).collect::<Value>(), true)?;
        }
    }
    Ok(out.flush()?)
}

fn print_plan(model: &Model) -> anyhow::Result<()> {
    let help = "--gpu runs the model where there is one";
    let plan = model.gpu_plan().ok_or_else(|| Failure::usage("the CPU has no plan to print", help))?;
    let mut out = Stdout::new();
    out.write(&plan.listing)?;
    Ok(out.end_line()?)
}

/// Every test, in llama-bench's order: at each depth the prompts, then the generations.
fn tests(args: &BenchArgs) -> Vec<BenchTest> {
    let mut tests = Vec::new();
    for &n_depth in &args.n_depth {
        let prompts = args.n_prompt.iter().map(|&n_prompt| BenchTest { n_prompt, n_gen: 0, n_depth });
        let generations = args.n_gen.iter().map(|&n_gen| BenchTest { n_prompt: 0, n_gen, n_depth });
        tests.extend(prompts.chain(generations).filter(|test| test.n_prompt + test.n_gen > 0));
    }
    tests
}

fn tokens(test: &BenchTest) -> usize {
    test.n_depth.saturating_add(test.n_prompt).saturating_add(test.n_gen)
}

fn source(args: &BenchArgs) -> anyhow::Result<ModelSource> {
    let Some(name) = &args.synthetic else { return Ok(args.model.source()?) };
    let preset = SyntheticPreset::find(name).with_context(|| format!("no synthetic model {name}"))?;
    Ok(ModelSource::Synthetic(preset))
}

fn file_name(source: &ModelSource) -> String {
    match source {
        ModelSource::File(path) => path.display().to_string(),
        other => other.name(),
    }
}

fn measure(
    model: &mut Model,
    test: BenchTest,
    options: &BenchOptions,
    file: &str,
    console: &Console,
) -> anyhow::Result<Record> {
    let n_tokens = test.n_prompt + test.n_gen;
    let samples = metal_attention::bench(model, test, options, &mut |sample| {
        console.detail(format_args!("{:.2} tok/s", n_tokens as f64 / sample.as_secs_f64()));
        ControlFlow::Continue(())
    })?;
    Ok(Record::new(model, test, &samples, file))
}
