//! What stands for `gpu_engine` in a build without the feature `gpu`.

use crate::device::{Placed, Request};
use crate::device_choice::{Activations, GpuBackend};
use crate::devices::Device;
use crate::error::LoadError;
use crate::examine::{Examination, Measurement};
use model::{ModelSpec, Weights};

pub(crate) fn place(
    _: &ModelSpec,
    _: &Weights<'_>,
    _: &Request,
    _: Option<(GpuBackend, Option<usize>)>,
    _: &mut dyn FnMut(f32),
) -> Result<Placed, LoadError> {
    Err(LoadError::NoGpuEngine)
}

pub(crate) fn examine(_: Option<(GpuBackend, Option<usize>)>, _: bool) -> Result<Examination, LoadError> {
    Err(LoadError::NoGpuEngine)
}

pub(crate) fn measure(
    _: &ModelSpec,
    _: &Weights<'_>,
    _: Option<(GpuBackend, Option<usize>)>,
    _: bool,
    _: Activations,
) -> Result<Vec<Measurement>, LoadError> {
    Err(LoadError::NoGpuEngine)
}

pub(crate) fn profile(
    _: &ModelSpec,
    _: &Weights<'_>,
    _: &Request,
    _: Option<(GpuBackend, Option<usize>)>,
    _: &[usize],
    _: &[usize],
) -> Result<Vec<Measurement>, LoadError> {
    Err(LoadError::NoGpuEngine)
}

pub(crate) fn devices() -> Vec<Device> {
    Vec::new()
}
