//! A device examined: every kernel against the f64 reference, and what the device can do.

use crate::device::{AdapterReport, adapters};
use crate::error::GpuError;
use crate::forward::GpuForwardPass;
use crate::kernels::matvec_int8::{MOST_TOKENS, QUANTISED};
use crate::measure::{Measurement, measure};
use crate::options::{Activations, GpuOptions};
use gguf::TensorType;
use model::{
    Choice, ForwardError, ForwardPass, ModelSpec, Q8Layout, Reference, Rounding, Row, SequenceId, Synthetic,
    SyntheticPreset, Weights,
};
use std::ops::ControlFlow;

/// What logits may differ by from the reference's, relative to the largest; and where prompts go through matrix units, which
/// round to f16.
const TOLERANCE: f64 = 2e-3;
const TOLERANCE_OF_HALVES: f64 = 5e-3;
/// How many times further from the exact reference than the one that rounds logits in 8 bits may be. Where other numbers fall to the
/// other side of a step, the largest of some hundred distances is a few tenths more or less.
const MOST_TIMES_ROUNDING: f64 = 2.0;
/// How the references round.
pub(crate) const EXACT: Rounding = Rounding { f16_kv: true, q8_activations: &[], q8_layout: Q8Layout::Units };
const ROUNDED: Rounding = Rounding { q8_activations: &QUANTISED, ..EXACT };
const OWN: SequenceId = SequenceId(0);
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
    let (name, checks) = check_types(options, types)?;
    let preset = SyntheticPreset::ALL[0];
    let (spec, source) = (preset.spec(), Synthetic::new(preset, 1));
    let weights = Weights::new(&spec, &source).map_err(|error| broken(&error))?;
    let options = GpuOptions { context_len: CONTEXT, n_sequences: 1, ..options.clone() };
    let measurements = measure(&spec, &weights, &options)?;
    let adapter = adapters()
        .into_iter()
        .find(|a| {
            name.as_ref().is_some_and(|(name, backend)| a.name == *name && a.backend.name() == *backend)
        })
        .ok_or_else(|| GpuError::NoAdapter { why: "it went away while it was examined".to_owned() })?;
    Ok(DoctorReport { adapter, checks, measurements })
}

type NameAndBackend = (String, &'static str);

/// The adapter, and the checks of these types.
pub(crate) fn check_types(
    options: &GpuOptions,
    types: &[TensorType],
) -> Result<(Option<NameAndBackend>, Vec<Check>), GpuError> {
    let options = GpuOptions { context_len: CONTEXT, n_sequences: 1, ..options.clone() };
    let mut checks = Vec::new();
    let mut name = None;
    for &ty in types {
        let source = Synthetic::with_types(SyntheticPreset::TINY, [ty, ty], 1);
        let spec = SyntheticPreset::TINY.spec();
        let weights = Weights::new(&spec, &source).map_err(|error| broken(&error))?;
        let with = |activations| {
            let options = GpuOptions { activations, ..options.clone() };
            GpuForwardPass::new(&spec, &weights, &options, &mut |_| ())
        };
        let reference = |rounding| Reference::new(&spec, &weights, CONTEXT, 1, rounding);
        // Floats against the reference, and what the device makes of 8 bits against the one that rounds as it does.
        let mut gpu = with(Activations::F32)?;
        name.get_or_insert((gpu.device().name.clone(), gpu.device().backend));
        let found = check(ty, &mut gpu, &mut reference(EXACT));
        checks.push(found.map_err(|error| broken(&error))?);
        let in_8_bits = options.activations == Activations::Int8
            || options.activations == Activations::Auto && gpu.machine.gpu.integer_dot;
        if in_8_bits && QUANTISED.contains(&ty) {
            let mut gpu = with(Activations::Int8)?;
            let found = check_rounded(ty, &mut gpu, [EXACT, ROUNDED].map(reference));
            checks.push(found.map_err(|error| broken(&error))?);
        }
    }
    Ok((name, checks))
}

fn broken(error: &dyn std::error::Error) -> GpuError {
    GpuError::Lost { reason: error.to_string() }
}

/// Products of few rows in 8 bits. A number that falls to the other side of a step, as one in some thousands does for sums in another
/// order, moves all that is rounded after it: the device is as right as the reference that rounds as it does, if it is hardly further
/// from the exact one.
pub(crate) fn check_rounded(
    ty: TensorType,
    gpu: &mut GpuForwardPass,
    [mut exact, mut rounded]: [Reference; 2],
) -> Result<Check, ForwardError> {
    let mut distance = 0f64;
    let mut faults = Vec::new();
    for n in PROMPTS.into_iter().filter(|&n| n <= MOST_TOKENS) {
        let rows = Row::prompt(OWN, 0, &prompt(n, exact.spec()));
        let logits = |forward: &mut dyn ForwardPass| {
            forward.truncate(OWN, 0);
            forward.forward(&rows).map(<[f32]>::to_vec)
        };
        let exact = logits(&mut exact)?;
        let costs = furthest(&logits(&mut rounded)?, &exact);
        let apart = furthest(&logits(gpu)?, &exact);
        if apart > MOST_TIMES_ROUNDING * costs {
            faults.push(format!("logits after {n} tokens are {apart:.1e} off, rounding costs {costs:.1e}"));
        }
        distance = distance.max(apart);
    }
    let fault = (!faults.is_empty()).then(|| faults.join("; "));
    Ok(Check { name: format!("{} in 8 bits", ty.name()), distance, fault })
}

fn prompt(n: usize, spec: &ModelSpec) -> Vec<u32> {
    (0..n as u32).map(|i| (i * 389 + 7) % spec.n_vocab as u32).collect()
}

fn check(ty: TensorType, gpu: &mut GpuForwardPass, exact: &mut Reference) -> Result<Check, ForwardError> {
    let n_vocab = gpu.spec().n_vocab as u32;
    let halves = gpu.machine.gpu.caps.matrices.is_some();
    let tolerance = if halves { TOLERANCE_OF_HALVES } else { TOLERANCE };
    let mut distance = 0f64;
    let mut faults = Vec::new();
    for n in PROMPTS {
        gpu.truncate(OWN, 0);
        exact.truncate(OWN, 0);
        let rows = Row::prompt(OWN, 0, &prompt(n, exact.spec()));
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
    forward.truncate(OWN, 0);
    decode(forward, choice)
}
