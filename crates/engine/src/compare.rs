//! A device against the reference, result by result: where do they part?

use crate::description::Description;
use crate::device::{self, Request};
use crate::error::{GenerateError, LoadError};
use crate::language_model::encode_prompt;
use crate::load::{self, LoadOptions};
use crate::memory;
use crate::source::ModelSource;
use crate::system;
use crate::trace::{self, TapSummary};
use gguf::TensorType;
use model::{
    DeviceInfo, DeviceKind, ForwardPass, ModelSpec, Reference, Rounding, Tap, TensorSource, Weights,
};

/// What a device's results were found to be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Comparison {
    /// The device.
    pub device: DeviceInfo,
    /// Tokens of the prompt; the results are those of the last.
    pub n_tokens: usize,
    /// The device's results, in the order in which they come about.
    pub results: Vec<ComparedResult>,
}

/// One result of a device, beside the reference's.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ComparedResult {
    /// The device's.
    pub summary: TapSummary,
    /// The largest distance of an element from the reference's, relative to the reference's largest; infinite where there is NaN
    /// or another number of elements. `None`: the reference has no such result.
    pub distance: Option<f64>,
}

/// A comparison that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The prompt cannot be computed.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

impl Comparison {
    /// Results further than this from the reference's are wrong.
    pub const BOUND: f64 = 2e-3;

    /// Where in [`results`](Self::results) the first is that is wrong.
    #[must_use]
    pub fn first_wrong(&self) -> Option<usize> {
        self.results.iter().position(ComparedResult::is_wrong)
    }
}

impl ComparedResult {
    /// Whether it is further from the reference than [`Comparison::BOUND`].
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        self.distance.is_some_and(|distance| distance > Comparison::BOUND)
    }
}

/// Computes the last token of `prompt` on a device and by the reference, which is slow, keeps every weight in 4 bytes, and counts
/// in `f64` but for what the device rounds on purpose: keys and values to f16, and on the CPU what meets quantised weights to
/// 8 bits. Rounding of that kind goes either way at will, so that on the CPU such models may be beyond the bound.
///
/// # Errors
/// See [`CompareError`].
pub fn compare(source: ModelSource, prompt: &str, options: &LoadOptions) -> Result<Comparison, CompareError> {
    let opened = source.open().map_err(LoadError::from)?;
    let spec = opened.spec().map_err(LoadError::from)?;
    let weights = Weights::new(&spec, opened.tensors()).map_err(LoadError::from)?;
    let tokenizer = load::tokenizer(&opened, &spec, &mut Vec::new())?.ok_or(GenerateError::NoTokenizer)?;
    let tokens = encode_prompt(&tokenizer, prompt).map_err(GenerateError::from)?;
    let Some((&last, before)) = tokens.split_last() else { return Err(GenerateError::EmptyPrompt.into()) };

    let need = memory_needed(&spec, opened.tensors(), tokens.len());
    memory::check(DeviceKind::Cpu, system::available_bytes(), tokens.len(), &|_| need)?;
    let request = Request::new(options, tokens.len());
    let mut forward = device::place(&spec, &weights, &request, &mut |_| ())?.forward;
    let rounding = rounding(forward.device().kind);
    let mut reference = Reference::new(&spec, &weights, tokens.len(), 1, rounding);

    let taps = trace(&mut *forward, before, last)?;
    let exact = trace(&mut reference, before, last)?;
    let results = taps.iter().map(|tap| ComparedResult {
        summary: TapSummary::new(tap),
        distance: exact.iter().find(|exact| exact.name == tap.name).map(|exact| tap.distance(exact)),
    });
    Ok(Comparison { device: forward.device().clone(), n_tokens: tokens.len(), results: results.collect() })
}

/// The results of `last` behind `before`, in a backend that is empty.
fn trace(forward: &mut dyn ForwardPass, before: &[u32], last: u32) -> Result<Vec<Tap>, GenerateError> {
    trace::next_token(forward, before)?;
    Ok(trace::results(forward, last)?)
}

fn rounding(device: DeviceKind) -> Rounding {
    use TensorType::{Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0};
    let q8_activations: &[_] = match device {
        DeviceKind::Cpu => &[Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K],
        DeviceKind::Gpu => &[],
    };
    Rounding { q8_activations, f16_kv: true, ..Rounding::default() }
}

/// Bytes that the reference takes: a weight in 4, a key or value in 8.
fn memory_needed(spec: &ModelSpec, tensors: &dyn TensorSource, context_len: usize) -> u64 {
    let n_params = Description::new("", None, None, tensors).n_params;
    let kv = 4u64.saturating_mul(spec.kv_bytes_per_position()).saturating_mul(context_len as u64);
    n_params.saturating_mul(4).saturating_add(kv)
}
