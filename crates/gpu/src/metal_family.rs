//! Whether a GPU is of a family that Metal's side of the kernels is made for.
#![allow(unsafe_code, reason = "wgpu does not tell families")]

use objc2_metal::{MTLDevice, MTLGPUFamily};

/// What the adapter lacks.
pub(crate) fn missing(adapter: &wgpu::Adapter) -> Option<String> {
    // SAFETY: nothing of the adapter is destroyed, and the guard lives as long as what is read from it.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Metal>() }?;
    let fits = adapter.raw_device().supportsFamily(MTLGPUFamily::Apple7);
    (!fits).then(|| "the GPU family Apple7 (M1 and later: reductions over SIMD groups of 32)".to_owned())
}
