//! A device examined: every kernel against the f64 reference, and what the device can do.

use crate::device::{AdapterReport, adapters};
use crate::error::GpuError;
use crate::forward::GpuForwardPass;
use crate::measure::{Measurement, measure};
use crate::options::GpuOptions;
use gguf::TensorType;
use model::{
    Choice, ForwardError, ForwardPass, Reference, Rounding, Row, SequenceId, Synthetic, SyntheticPreset,
    Weights,
};
use std::ops::ControlFlow;

/// What logits may differ by from the reference's, relative to the largest; and where prompts go through matrix units, which
/// round to f16.
const TOLERANCE: f64 = 2e-3;
const TOLERANCE_OF_HALVES: f64 = 5e-3;
/// Positions that the checks use.
const CONTEXT: usize = 256;
/// Prompts of one row, of a few, and of many.
const PROMPTS: [usize; 4] = [1, 5, 33, 160];

/// What an examination found.
#[derive(Debug, Clone)]
pub struct DoctorReport {
    /// The adapter.
    pub adapter: AdapterReport,
    /// The checks, a tensor type each.
    pub checks: Vec<Check>,
    /// Overheads and the steps of a SmolLM-135M layer.
    pub measurements: Vec<Measurement>,
}

/// One check.
#[derive(Debug, Clone)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// The largest distance of a logit from the reference's, relative to the largest logit.
    pub distance: f64,
    /// What is wrong, if anything is.
    pub fault: Option<String>,
}

/// Examines the adapter that `options` choose: a model of each tensor type against the f64 reference, with prompts of every
/// kernel's size, greedy decoding ahead of the host, and draws; then what the device can do.
///
/// # Errors
/// The device cannot be opened, or is lost. A wrong result is not an error, but a fault in the report.
pub fn doctor(options: &GpuOptions) -> Result<DoctorReport, GpuError> {
    let types: Vec<_> = (0..64).filter_map(TensorType::from_ggml_id).filter(|ty| ty.is_supported()).collect();
    examine(options, &types)
}

/// The same with models of these types only.
pub(crate) fn examine(options: &GpuOptions, types: &[TensorType]) -> Result<DoctorReport, GpuError> {
    let options = GpuOptions { context_len: CONTEXT, n_sequences: 1, ..options.clone() };
    let mut checks = Vec::new();
    let mut name = None;
    for &ty in types {
        let source = Synthetic::with_types(SyntheticPreset::TINY, [ty, ty], 1);
        let spec = SyntheticPreset::TINY.spec();
        let weights = Weights::new(&spec, &source).map_err(|error| broken(&error))?;
        let mut gpu = GpuForwardPass::new(&spec, &weights, &options, &mut |_| ())?;
        let rounding = Rounding { f16_kv: true, ..Rounding::default() };
        let mut exact = Reference::new(&spec, &weights, CONTEXT, 1, rounding);
        name.get_or_insert((gpu.device().name.clone(), gpu.device().backend));
        checks.push(check(ty, &mut gpu, &mut exact).map_err(|error| broken(&error))?);
    }
    let preset = SyntheticPreset::ALL[0];
    let (spec, source) = (preset.spec(), Synthetic::new(preset, 1));
    let weights = Weights::new(&spec, &source).map_err(|error| broken(&error))?;
    let measurements = measure(&spec, &weights, &options)?;
    let adapter = adapters()
        .into_iter()
        .find(|a| {
            name.as_ref().is_some_and(|(name, backend)| a.name == *name && a.backend.name() == *backend)
        })
        .ok_or_else(|| GpuError::NoAdapter { why: "it went away while it was examined".to_owned() })?;
    Ok(DoctorReport { adapter, checks, measurements })
}

fn broken(error: &dyn std::error::Error) -> GpuError {
    GpuError::Lost { reason: error.to_string() }
}

fn check(ty: TensorType, gpu: &mut GpuForwardPass, exact: &mut Reference) -> Result<Check, ForwardError> {
    let own = SequenceId(0);
    let n_vocab = gpu.spec().n_vocab as u32;
    let prompt = |n: usize| (0..n as u32).map(|i| (i * 389 + 7) % n_vocab).collect::<Vec<_>>();
    let halves = gpu.machine.gpu.caps.matrices.is_some();
    let tolerance = if halves { TOLERANCE_OF_HALVES } else { TOLERANCE };
    let mut distance = 0f64;
    let mut faults = Vec::new();
    for n in PROMPTS {
        gpu.truncate(own, 0);
        exact.truncate(own, 0);
        let rows = Row::prompt(own, 0, &prompt(n));
        let apart = furthest(gpu.forward(&rows)?, exact.forward(&rows)?);
        if apart > tolerance {
            faults.push(format!("logits after {n} tokens are {apart:.1e} off"));
        }
        distance = distance.max(apart);
    }
    let [ahead, plain] = [decode(gpu, &Choice::GREEDY)?, decode(exact, &Choice::GREEDY)?];
    if ahead != plain {
        faults.push("greedy tokens differ from the reference's".to_owned());
    }
    for (what, choice) in [
        (
            "top-k draws",
            Choice { temperature: 0.8, top_k: 40, top_p: 0.95, min_p: 0.05, seed: 3, ..Choice::GREEDY },
        ),
        (
            "draws",
            Choice {
                temperature: 0.8,
                top_k: 0,
                repeat_penalty: 1.1,
                repeat_last_n: 16,
                seed: 3,
                ..Choice::GREEDY
            },
        ),
    ] {
        let runs = [decode_again(gpu, &choice)?, decode_again(gpu, &choice)?];
        if runs[0] != runs[1] || runs[0].iter().any(|&id| id >= n_vocab) {
            faults.push(format!("{what} do not repeat"));
        }
    }
    let fault = (!faults.is_empty()).then(|| faults.join("; "));
    Ok(Check { name: ty.name().to_owned(), distance, fault })
}

fn furthest(logits: &[f32], exact: &[f32]) -> f64 {
    let largest = exact.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(f64::from(v.abs())));
    let apart = |(a, b): (&f32, &f32)| {
        let apart = (f64::from(*a) - f64::from(*b)).abs();
        if apart.is_nan() { f64::INFINITY } else { apart }
    };
    logits.iter().zip(exact).map(apart).fold(0.0, f64::max) / largest
}

/// Some tokens from where the cache is.
fn decode(forward: &mut dyn ForwardPass, choice: &Choice) -> Result<Vec<u32>, ForwardError> {
    let mut ids = Vec::new();
    forward.decode(5, choice, &mut |id| {
        ids.push(id);
        if ids.len() == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(ids)
}

/// Some tokens from the beginning.
fn decode_again(forward: &mut dyn ForwardPass, choice: &Choice) -> Result<Vec<u32>, ForwardError> {
    forward.truncate(SequenceId(0), 0);
    decode(forward, choice)
}
