//! `cargo xtask conformance`: vocabularies and models that others made, against what others say of them.

use anyhow::{Context, Result, ensure};
use cpu::{CpuForwardPass, CpuOptions};
use gguf::Gguf;
use metal_attention::{
    DeviceChoice, EncodeOptions, GenerateOptions, LoadOptions, Model, ModelSource, SamplingOptions,
    load_tokenizer,
};
use model::{ForwardPass, ModelSpec, Reference, Rounding, Row, SequenceId, Weights};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Largest error of a logit against the f64 reference, relative to the largest logit, for models without quantised weights.
const LOGIT_BOUND: f64 = 1e-4;
const SEPARATOR: &str = "\n__ggml_vocab_test__\n";

pub(crate) fn run(folder: &Path) -> Result<()> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    let (mut checked, mut failed) = (0, 0);
    for file in files.iter().filter(|f| f.extension().is_some_and(|e| e == "gguf")) {
        let result = match (vocabulary_of(file), expected_text_of(file, &files)) {
            (Some((inputs, ids)), _) => check_vocabulary(file, &inputs, &ids),
            (None, Some(text)) => check_model(file, &text),
            (None, None) => continue,
        };
        checked += 1;
        match result {
            Ok(what) => println!("ok    {}: {what}", file.display()),
            Err(error) => {
                failed += 1;
                println!("FAIL  {}: {error:#}", file.display());
            }
        }
    }
    ensure!(checked > 0, "nothing to check in {}", folder.display());
    ensure!(failed == 0, "{failed} of {checked} failed");
    println!("{checked} checked, all as expected");
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The inputs and ids files beside a vocabulary.
fn vocabulary_of(file: &Path) -> Option<(PathBuf, PathBuf)> {
    let beside = |ending: &str| {
        let mut name = file.as_os_str().to_owned();
        name.push(ending);
        Some(PathBuf::from(name)).filter(|path| path.exists())
    };
    Some((beside(".inp")?, beside(".out")?))
}

/// The text that a model must write: X-greedy.txt in the same folder, for a model X*.gguf.
fn expected_text_of(file: &Path, files: &[PathBuf]) -> Option<PathBuf> {
    let model = file.file_stem()?.to_str()?;
    let is_its = |path: &&PathBuf| {
        let stem = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix("-greedy.txt"));
        path.parent() == file.parent() && stem.is_some_and(|stem| model.starts_with(stem))
    };
    files.iter().find(is_its).cloned()
}

fn check_vocabulary(file: &Path, inputs: &Path, ids: &Path) -> Result<String> {
    let tokenizer = load_tokenizer(file)?;
    let (inputs, ids) = (fs::read_to_string(inputs)?, fs::read_to_string(ids)?);
    let inputs: Vec<&str> = inputs.split(SEPARATOR).collect();
    let ids: Vec<&str> = ids.lines().collect();
    // The inputs end with a separator, behind which there is nothing.
    ensure!(
        inputs.len() == ids.len() + 1 || inputs.len() == ids.len(),
        "{} inputs, {} lines of ids",
        inputs.len(),
        ids.len()
    );
    for (i, (input, line)) in inputs.iter().zip(&ids).enumerate() {
        let expected = line.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>()?;
        let options = EncodeOptions { add_special: false, parse_special: false };
        let got = tokenizer.encode(input, options)?;
        ensure!(got == expected, "input {} {input:?}: {got:?} instead of {expected:?}", i + 1);
    }
    Ok(format!("{} inputs give the expected ids", ids.len()))
}

fn check_model(file: &Path, expected: &Path) -> Result<String> {
    let expected = fs::read_to_string(expected)?;
    let expected = expected.trim_end();
    let prompt_len = expected.match_indices(' ').nth(3).map_or(expected.len(), |(at, _)| at);
    let prompt = &expected[..prompt_len];
    let on_cpu = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
    let mut model = Model::load(ModelSource::File(file.into()), &on_cpu, &mut |_| {})?;
    let options = GenerateOptions {
        max_tokens: Some(200),
        sampling: SamplingOptions { temperature: 0.0, ..SamplingOptions::default() },
        ..GenerateOptions::default()
    };
    let generation = model.session().generate(prompt, &options, &mut |_| ControlFlow::Continue(()))?;
    let text = format!("{prompt}{}", generation.text);
    let common = text.len().min(expected.len());
    ensure!(
        text.as_bytes()[..common] == expected.as_bytes()[..common],
        "another text at temperature 0:\n{text}\ninstead of\n{expected}"
    );
    let error = logit_error(file, &expected[..common])?;
    Ok(format!("{common} bytes of the expected text, logits within {error:.1e} of f64"))
}

/// The largest error of a logit at any position of `text`, relative to the largest logit. The reference has
/// the keys and values of the backend's f16 cache: one that falls to the other side of an f16 step would hide everything else.
fn logit_error(file: &Path, text: &str) -> Result<f64> {
    let tokenizer = load_tokenizer(file)?;
    let tokens = tokenizer.encode(text, EncodeOptions { add_special: true, parse_special: false })?;
    let rows: Vec<Row> = Row::prompt(SequenceId(0), 0, &tokens)
        .into_iter()
        .map(|row| Row { wants_logits: true, ..row })
        .collect();
    let file = Gguf::open(file)?;
    let spec = ModelSpec::new(file.metadata(), &file)?;
    let weights = Weights::new(&spec, &file)?;
    let options = CpuOptions { threads: None, context_len: tokens.len(), n_sequences: 1 };
    let mut cpu = CpuForwardPass::new(&spec, &weights, &options, &mut |_| ())?;
    let logits = cpu.forward(&rows)?.to_vec();
    let mut reference = Reference::new(&spec, &weights, tokens.len(), 1, Rounding::default());
    let exact = reference.forward_on(&rows, &mut |l, s, p| cpu.key_and_value(l, s, p))?.logits;
    let largest = exact.iter().fold(0f64, |m, &v| m.max(f64::from(v).abs()));
    let error =
        logits.iter().zip(&exact).map(|(g, e)| (f64::from(*g) - f64::from(*e)).abs()).fold(0f64, f64::max);
    let error = error / largest;
    let exact_types = weights.iter().all(|w| w.ty.block_len() == 1);
    ensure!(
        !exact_types || error < LOGIT_BOUND,
        "logits differ from f64 by {error:.1e}, bound {LOGIT_BOUND:.0e}"
    );
    Ok(error)
}
