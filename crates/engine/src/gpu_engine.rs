//! The GPU engine, in the terms of this crate: nothing of its own types goes further than this file.

use crate::device::{Placed, Request};
use crate::device_choice::{Activations, DecodeMode, DeviceChoice, GpuBackend};
use crate::devices::{Device, GpuDetails};
use crate::error::LoadError;
use crate::examine::{Check, Examination, Measurement};
use crate::gpu_plan::GpuPlan;
use crate::memory;
use gpu::{AdapterChoice, AdapterReport, GpuError, GpuForwardPass, GpuOptions};
use model::{DeviceKind, ModelSpec, Weights};

/// A GPU of an interface, by its number there; whichever is the best where that is left out.
type Wanted = Option<(GpuBackend, Option<usize>)>;

/// A model on a GPU.
pub(crate) fn place(
    spec: &ModelSpec,
    weights: &Weights<'_>,
    request: &Request,
    wanted: Wanted,
    progress: &mut dyn FnMut(f32),
) -> Result<Placed, LoadError> {
    let options = options(request, wanted);
    let forward = GpuForwardPass::new(spec, weights, &options, progress)
        .map_err(|error| load_error(error, spec, request.context_len))?;
    let memory = forward.memory_plan();
    let plan = GpuPlan {
        listing: forward.listing(),
        n_dispatches: forward.n_dispatches(0),
        int8_activations: forward.rounds_activations(),
        one_dispatch: forward.decodes_in_one_dispatch(),
        token_bytes: memory.token_bytes,
        readback_bytes: memory.readback_bytes,
        prompt_bytes: memory.batch_bytes,
    };
    let notes = forward.notes().to_vec();
    Ok(Placed { forward: Box::new(forward), notes, plan: Some(plan) })
}

fn options(request: &Request, wanted: Wanted) -> GpuOptions {
    GpuOptions {
        adapter: adapter(wanted, request.allow_software_gpu),
        context_len: request.context_len,
        // One session at a time.
        n_sequences: 1,
        decode: match request.decode {
            DecodeMode::Auto => gpu::DecodeMode::Auto,
            DecodeMode::Dispatch => gpu::DecodeMode::Dispatch,
            DecodeMode::Persistent => gpu::DecodeMode::Persistent,
        },
        activations: activations(request.activations),
        memory_limit: request.memory_limit,
        pipeline_cache: request.pipeline_cache.clone(),
        ..GpuOptions::default()
    }
}

/// Every adapter, usable or not.
pub(crate) fn devices() -> Vec<Device> {
    gpu::adapters().into_iter().map(device).collect()
}

/// A GPU examined.
pub(crate) fn examine(wanted: Wanted, allow_software: bool) -> Result<Examination, LoadError> {
    let options = GpuOptions { adapter: adapter(wanted, allow_software), ..GpuOptions::default() };
    let report = gpu::doctor(&options).map_err(|error| LoadError::Gpu(Box::new(error)))?;
    let check = |check: gpu::Check| Check { name: check.name, distance: check.distance, fault: check.fault };
    Ok(Examination {
        device: device(report.adapter),
        checks: report.checks.into_iter().map(check).collect(),
        measurements: report.measurements.into_iter().map(measurement).collect(),
    })
}

/// The parts of a model timed on a GPU.
pub(crate) fn measure(
    spec: &ModelSpec,
    weights: &Weights<'_>,
    wanted: Wanted,
    allow_software: bool,
    rounded: Activations,
) -> Result<Vec<Measurement>, LoadError> {
    let options = GpuOptions {
        adapter: adapter(wanted, allow_software),
        activations: activations(rounded),
        ..GpuOptions::default()
    };
    let found = gpu::measure(spec, weights, &options).map_err(|error| load_error(error, spec, 0))?;
    Ok(found.into_iter().map(measurement).collect())
}

/// Whole passes of a model timed on a GPU.
pub(crate) fn profile(
    spec: &ModelSpec,
    weights: &Weights<'_>,
    request: &Request,
    wanted: Wanted,
    prompts: &[usize],
    depths: &[usize],
) -> Result<Vec<Measurement>, LoadError> {
    let passes = gpu::Passes { prompts: prompts.to_vec(), depths: depths.to_vec() };
    let found = gpu::profile(spec, weights, &options(request, wanted), &passes);
    let found = found.map_err(|error| load_error(error, spec, 0))?;
    Ok(found.into_iter().map(measurement).collect())
}

fn measurement(found: gpu::Measurement) -> Measurement {
    Measurement { name: found.name, value: found.value, unit: found.unit }
}

fn activations(wanted: Activations) -> gpu::Activations {
    match wanted {
        Activations::Auto => gpu::Activations::Auto,
        Activations::F32 => gpu::Activations::F32,
        Activations::Int8 => gpu::Activations::Int8,
    }
}

fn adapter(wanted: Wanted, allow_software: bool) -> AdapterChoice {
    AdapterChoice {
        backend: wanted.map(|(backend, _)| inward(backend)),
        index: wanted.and_then(|(_, index)| index),
        allow_software,
    }
}

fn load_error(error: GpuError, spec: &ModelSpec, context_len: usize) -> LoadError {
    // The KV cache is what shrinks with the context; the little else that does is for good measure.
    let (need, have, position) = match error {
        GpuError::Memory { need, have } => (need, have, spec.kv_bytes_per_position()),
        GpuError::KvBinding { need, have } => {
            (need, have, spec.kv_bytes_per_position() / spec.n_layers as u64)
        }
        error => return LoadError::Gpu(Box::new(error)),
    };
    let need_of =
        |len: usize| need.saturating_sub(position.saturating_mul(context_len.saturating_sub(len) as u64));
    memory::does_not_fit(DeviceKind::Gpu, have, context_len, &need_of)
}

fn device(report: AdapterReport) -> Device {
    let backend = outward(report.backend);
    Device {
        choice: DeviceChoice::Backend { backend, index: Some(report.index) },
        kind: DeviceKind::Gpu,
        backend: report.backend.name(),
        name: report.name,
        threads: 0,
        gpu: Some(GpuDetails {
            kind: report.kind,
            driver: report.driver,
            memory_bytes: report.memory_bytes,
            max_buffer_bytes: report.max_buffer_bytes,
            max_binding_bytes: report.max_binding_bytes,
            workgroup_memory_bytes: report.workgroup_memory_bytes,
            max_workgroup_threads: report.max_workgroup_threads,
            subgroup_sizes: report.subgroup_sizes,
            f16: report.f16,
            cooperative_matrices: report.cooperative_matrices,
            missing: report.missing,
        }),
    }
}

fn inward(backend: GpuBackend) -> gpu::GpuBackend {
    match backend {
        GpuBackend::Metal => gpu::GpuBackend::Metal,
        GpuBackend::Vulkan => gpu::GpuBackend::Vulkan,
        GpuBackend::Dx12 => gpu::GpuBackend::Dx12,
    }
}

fn outward(backend: gpu::GpuBackend) -> GpuBackend {
    match backend {
        gpu::GpuBackend::Metal => GpuBackend::Metal,
        gpu::GpuBackend::Vulkan => GpuBackend::Vulkan,
        gpu::GpuBackend::Dx12 => GpuBackend::Dx12,
    }
}
