//! Which device runs a model, and how a backend is made for it: the one place that knows the backends.

use crate::error::LoadError;
use crate::memory;
use cpu::{CpuForwardPass, CpuOptions};
use model::{ForwardPass, ModelSpec, Weights};
use std::num::NonZeroUsize;

/// Which device runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeviceChoice {
    /// The best there is.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A graphics processor, or an error if there is none.
    Gpu,
}

/// What a backend is made with.
pub(crate) struct Request {
    pub(crate) choice: DeviceChoice,
    pub(crate) threads: Option<NonZeroUsize>,
    pub(crate) context_len: usize,
    /// Bytes that may be used; `None` asks the system.
    pub(crate) memory_limit: Option<u64>,
}

/// A model on its device.
pub(crate) struct Placed {
    pub(crate) forward: Box<dyn ForwardPass>,
    /// What the user should know about it.
    pub(crate) notes: Vec<String>,
}

/// Picks a device, checks that the model fits there, and lays the weights out.
pub(crate) fn place(
    spec: &ModelSpec,
    weights: &Weights<'_>,
    request: &Request,
    progress: &mut dyn FnMut(f32),
) -> Result<Placed, LoadError> {
    match request.choice {
        DeviceChoice::Gpu => Err(LoadError::NoGpu),
        DeviceChoice::Auto | DeviceChoice::Cpu => on_cpu(spec, weights, request, progress),
    }
}

fn on_cpu(
    spec: &ModelSpec,
    weights: &Weights<'_>,
    request: &Request,
    progress: &mut dyn FnMut(f32),
) -> Result<Placed, LoadError> {
    // One session at a time, and so one sequence.
    let options = |context_len| CpuOptions { threads: request.threads, context_len, n_sequences: 1 };
    let need = |context_len| CpuForwardPass::memory_needed(spec, weights, &options(context_len));
    memory::check(request.memory_limit, request.context_len, &need)?;
    let forward = CpuForwardPass::new(spec, weights, &options(request.context_len), progress)?;
    let notes = forward.notes().to_vec();
    Ok(Placed { forward: Box::new(forward), notes })
}
