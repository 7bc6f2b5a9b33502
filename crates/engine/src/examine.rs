//! A GPU examined, for a report on how it does.

use crate::device::Request;
use crate::device_choice::{DeviceChoice, GpuBackend};
use crate::devices::Device;
use crate::error::LoadError;
use crate::gpu_engine;
use crate::load::LoadOptions;
use crate::source::ModelSource;
use model::Weights;

/// What an examination of a GPU found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Examination {
    /// The GPU.
    pub device: Device,
    /// Whether it computes what it should, by tensor type.
    pub checks: Vec<Check>,
    /// How fast it is at the parts of a model.
    pub measurements: Vec<Measurement>,
}

/// One check of an [`Examination`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// The largest distance of a logit from that of a computation in `f64`, relative to the largest logit.
    pub distance: f64,
    /// What is wrong, if anything is.
    pub fault: Option<String>,
}

/// One measurement of an [`Examination`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// How much it was.
    pub value: f64,
    /// `us`, `GB/s`, ...
    pub unit: &'static str,
}

/// Runs tiny models of every tensor type on a GPU and by a computation in `f64`, and times the parts of a model. Takes seconds on
/// a GPU, minutes where the processor plays GPU, which `allow_software` lets it where there is no other.
///
/// # Errors
/// There is no such GPU, or it is lost on the way. That it computes what it should not is no error, but a fault in a check.
pub fn examine(device: DeviceChoice, allow_software: bool) -> Result<Examination, LoadError> {
    gpu_engine::examine(wanted(device), allow_software)
}

/// Times a GPU's overheads (copies, dispatches, waits) and every step of a layer of this model: for a token, for 2, 4 and 8 rows,
/// and for a prompt.
///
/// # Errors
/// [`LoadError`].
pub fn measure_kernels(source: ModelSource, options: &LoadOptions) -> Result<Vec<Measurement>, LoadError> {
    let opened = source.open()?;
    let spec = opened.spec()?;
    let weights = Weights::new(&spec, opened.tensors())?;
    let LoadOptions { device, allow_software_gpu, activations, .. } = *options;
    gpu_engine::measure(&spec, &weights, wanted(device), allow_software_gpu, activations)
}

/// Times whole passes of this model on a GPU: for each kind of step what all of them take where they stand in a prompt (of so many
/// tokens each) or in a token (behind contexts of so many), and what the host does meanwhile.
///
/// # Errors
/// [`LoadError`].
pub fn profile_passes(
    source: ModelSource,
    options: &LoadOptions,
    prompts: &[usize],
    depths: &[usize],
) -> Result<Vec<Measurement>, LoadError> {
    let opened = source.open()?;
    let spec = opened.spec()?;
    let weights = Weights::new(&spec, opened.tensors())?;
    let wanted = wanted(options.device);
    gpu_engine::profile(&spec, &weights, &Request::new(options, 0), wanted, prompts, depths)
}

fn wanted(device: DeviceChoice) -> Option<(GpuBackend, Option<usize>)> {
    match device {
        DeviceChoice::Backend { backend, index } => Some((backend, index)),
        _ => None,
    }
}
