//! How a backend is made for a model: the one place that knows the backends, with `gpu_engine`.

use crate::device_choice::{Activations, DecodeMode, DeviceChoice};
use crate::error::LoadError;
use crate::gpu_engine;
use crate::gpu_plan::GpuPlan;
use crate::load::LoadOptions;
use crate::memory;
use crate::system;
use cpu::{CpuForwardPass, CpuOptions};
use model::{DeviceKind, ForwardPass, ModelSpec, Weights};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// What a backend is made with.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) choice: DeviceChoice,
    pub(crate) allow_software_gpu: bool,
    #[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "of the GPU engine"))]
    pub(crate) decode: DecodeMode,
    #[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "of the GPU engine"))]
    pub(crate) activations: Activations,
    #[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "of the GPU engine"))]
    pub(crate) pipeline_cache: Option<PathBuf>,
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
    /// Of a GPU.
    pub(crate) plan: Option<GpuPlan>,
}

impl Request {
    pub(crate) fn new(options: &LoadOptions, context_len: usize) -> Self {
        Self {
            choice: options.device,
            allow_software_gpu: options.allow_software_gpu,
            decode: options.decode,
            activations: options.activations,
            pipeline_cache: options.pipeline_cache.clone(),
            threads: options.threads,
            context_len,
            memory_limit: options.memory_limit,
        }
    }
}

/// Picks a device, checks that the model fits there, and lays the weights out.
pub(crate) fn place(
    spec: &ModelSpec,
    weights: &Weights<'_>,
    request: &Request,
    progress: &mut dyn FnMut(f32),
) -> Result<Placed, LoadError> {
    match request.choice {
        DeviceChoice::Cpu => on_cpu(spec, weights, request, progress),
        DeviceChoice::Gpu => gpu_engine::place(spec, weights, request, None, progress),
        DeviceChoice::Backend { backend, index } => {
            gpu_engine::place(spec, weights, request, Some((backend, index)), progress)
        }
        DeviceChoice::Auto if needs_no_search(request) => {
            let mut placed = on_cpu(spec, weights, request, progress)?;
            placed.notes.insert(0, format!("running on the CPU: no usable GPU: {NO_GPU}"));
            Ok(placed)
        }
        DeviceChoice::Auto => match gpu_engine::place(spec, weights, request, None, progress) {
            // Nothing to tell: nobody who has built it so waits for a GPU.
            Err(LoadError::NoGpuEngine) => on_cpu(spec, weights, request, progress),
            Err(why) => {
                let mut placed = on_cpu(spec, weights, request, progress)?;
                placed.notes.insert(0, note(&why));
                Ok(placed)
            }
            placed => placed,
        },
    }
}

const NO_GPU: &str = "the system has no device of one (/dev/dri and the like)";

/// Whether it is plain that there is no GPU: drivers take longer to find out than a small model takes to load.
fn needs_no_search(request: &Request) -> bool {
    cfg!(feature = "gpu") && !request.allow_software_gpu && !system::may_have_gpu()
}

/// Why it is the CPU. What a driver has to say of a shader fills a page, of which the first line must do.
fn note(why: &LoadError) -> String {
    let why = why.to_string();
    match why.split_once('\n') {
        Some((first, _)) => format!("running on the CPU: {first} ... (--gpu tells all of it)"),
        None => format!("running on the CPU: {why}"),
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
    let have = request.memory_limit.unwrap_or_else(system::available_bytes);
    memory::check(DeviceKind::Cpu, have, request.context_len, &need)?;
    let forward = CpuForwardPass::new(spec, weights, &options(request.context_len), progress)?;
    let notes = forward.notes().to_vec();
    Ok(Placed { forward: Box::new(forward), notes, plan: None })
}
