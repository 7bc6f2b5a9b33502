//! Which adapter runs a model, and what it can do.

use crate::device_memory;
use crate::error::GpuError;
use crate::integer_dot;
use crate::options::Activations;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wgpu::{Adapter, AdapterInfo, Backend, Backends, DeviceType, Features, Limits};

/// Bytes of immediates that every kernel may use; Vulkan promises 128.
pub(crate) const IMMEDIATE_BYTES: u32 = 128;

/// Interfaces to a GPU, in the words of `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpuBackend {
    /// macOS and iOS.
    Metal,
    /// Linux, Windows, Android.
    Vulkan,
    /// Windows.
    Dx12,
}

impl GpuBackend {
    /// How it is spelt in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Metal => "Metal",
            Self::Vulkan => "Vulkan",
            Self::Dx12 => "DX12",
        }
    }

    fn of(backend: Backend) -> Option<Self> {
        match backend {
            Backend::Metal => Some(Self::Metal),
            Backend::Vulkan => Some(Self::Vulkan),
            Backend::Dx12 => Some(Self::Dx12),
            _ => None,
        }
    }
}

/// What is asked of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdapterChoice {
    /// Only this interface.
    pub backend: Option<GpuBackend>,
    /// The adapter with this number in [`adapters`], among those of the interface; software adapters can be had in this way only.
    pub index: Option<usize>,
    /// Take a software adapter where there is no other: for tests.
    pub allow_software: bool,
}

/// An adapter, for the user to read.
#[derive(Debug, Clone)]
pub struct AdapterReport {
    /// Its number among the adapters of its interface.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// The interface.
    pub backend: GpuBackend,
    /// `discrete`, `integrated`, `virtual`, `software` or `other`.
    pub kind: &'static str,
    /// Driver and its version.
    pub driver: String,
    /// Memory that the driver has for this process, if it says so; the system's where the adapter has none of its own.
    pub memory_bytes: Option<u64>,
    /// The largest buffer.
    pub max_buffer_bytes: u64,
    /// The largest part of a buffer that a kernel sees.
    pub max_binding_bytes: u64,
    /// Memory that the threads of a workgroup share.
    pub workgroup_memory_bytes: u32,
    /// Threads of a workgroup.
    pub max_workgroup_threads: u32,
    /// Smallest and largest subgroup.
    pub subgroup_sizes: (u32, u32),
    /// Whether shaders can compute in f16.
    pub f16: bool,
    /// Sizes of cooperative matrices, as `MxNxK A->C`.
    pub cooperative_matrices: Vec<String>,
    /// What the kernels need and it lacks; empty where it can run them.
    pub missing: Vec<String>,
}

/// An adapter that was opened.
#[derive(Debug)]
pub(crate) struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(crate) backend: GpuBackend,
    pub(crate) name: String,
    pub(crate) info: AdapterInfo,
    pub(crate) caps: Caps,
    /// Whether it multiplies numbers of 8 bits four at a time.
    pub(crate) integer_dot: bool,
    /// Bytes that the driver has for this process, if it says so.
    pub(crate) memory_bytes: Option<u64>,
    /// Why the device was lost, once it is.
    pub(crate) lost: Arc<Mutex<Option<String>>>,
    /// Memory that the host last read through, for the next time.
    pub(crate) kept: Mutex<Option<wgpu::Buffer>>,
}

/// What the kernels may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Caps {
    pub(crate) subgroups: bool,
    pub(crate) max_threads: u32,
    pub(crate) workgroup_memory: u32,
    /// Bytes of a binding, a multiple of 256.
    pub(crate) max_binding: u64,
    /// Matrix units that multiply f16 and add in f32, for subgroups of 32 throughout.
    pub(crate) matrices: Option<MatrixSize>,
    /// Bytes of a layer's weights up to which they are worth bringing near while it attends; 0 where it was not measured.
    pub(crate) ahead_bytes: u32,
    /// Whether there are many more multiprocessors than a token of a small model has workgroups: there, making something several
    /// times costs no time.
    pub(crate) wide: bool,
    /// Whether products of many rows bind weights as if they wrote them: see `Kernel::orders_loads`.
    pub(crate) orders_loads: bool,
    /// Whether what threads of a subgroup store to workgroup memory all of them can load behind a subgroup's barrier. SPIR-V promises
    /// that for a workgroup's only, so it is for devices on which results were compared.
    pub(crate) in_step: bool,
}

/// Rows, columns and depth of the matrices that a subgroup multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum MatrixSize {
    Eight,
    Sixteen,
    /// In place of matrix units, for tests of everything else where there are none.
    #[cfg(test)]
    Emulated,
}

/// Every adapter of an interface that the kernels know, the numbers as `--device BACKEND:N` counts them.
#[must_use]
pub fn adapters() -> Vec<AdapterReport> {
    let mut counts = [0; 3];
    enumerate()
        .iter()
        .filter_map(|adapter| {
            let info = adapter.get_info();
            let backend = GpuBackend::of(info.backend)?;
            let count = &mut counts[backend as usize];
            *count += 1;
            Some(report(adapter, &info, backend, *count - 1))
        })
        .collect()
}

impl Gpu {
    /// Opens the best adapter that fits `choice`; its bindings are taken to be at most `binding_limit` bytes, if that is given.
    pub(crate) fn open(choice: AdapterChoice, binding_limit: Option<u64>) -> Result<Self, GpuError> {
        let adapter = choose(choice)?;
        let info = adapter.get_info();
        let backend = GpuBackend::of(info.backend).ok_or_else(|| GpuError::NoAdapter {
            why: format!("{} is not an interface known here", info.backend),
        })?;
        let missing = missing(&adapter);
        if !missing.is_empty() {
            return Err(GpuError::Features { adapter: info.name, missing: missing.join(", ") });
        }
        let wanted = Features::MEMORY_DECORATION_COHERENT
            | Features::SUBGROUP
            | Features::SUBGROUP_BARRIER
            | Features::PIPELINE_CACHE
            | Features::TIMESTAMP_QUERY
            | Features::TIMESTAMP_QUERY_INSIDE_ENCODERS
            | Features::TIMESTAMP_QUERY_INSIDE_PASSES
            | Features::SHADER_F16;
        let matrices = matrices(&adapter, &info);
        let (more, experimental) = match matrices {
            Some(_) => (Features::EXPERIMENTAL_COOPERATIVE_MATRIX, experimental()),
            None => (Features::empty(), wgpu::ExperimentalFeatures::disabled()),
        };
        let limits = adapter.limits();
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("metal-attention"),
            required_features: Features::IMMEDIATES | more | (adapter.features() & wanted),
            required_limits: Limits { max_immediate_size: IMMEDIATE_BYTES, ..limits.clone() },
            experimental_features: experimental,
            memory_hints: wgpu::MemoryHints::Performance,
            trace: wgpu::Trace::Off,
        }))
        .map_err(|source| GpuError::Device { adapter: info.name.clone(), source })?;

        let lost = Arc::new(Mutex::new(None));
        let reason = Arc::clone(&lost);
        device.set_device_lost_callback(move |why, message| {
            if let Ok(mut reason) = reason.lock() {
                reason.get_or_insert(format!("{why:?}: {message}"));
            }
        });
        let reason = Arc::clone(&lost);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            if let Ok(mut reason) = reason.lock() {
                reason.get_or_insert(error.to_string());
            }
        }));
        let max_binding = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
        let caps = Caps {
            subgroups: device.features().contains(Features::SUBGROUP),
            max_threads: limits
                .max_compute_invocations_per_workgroup
                .min(limits.max_compute_workgroup_size_x),
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_binding: binding_limit.map_or(max_binding, |limit| limit.min(max_binding)) / 256 * 256,
            matrices,
            ahead_bytes: ahead_bytes(&info, backend),
            wide: measured(&info, backend),
            orders_loads: measured(&info, backend),
            in_step: is_in_step(&info, backend) && device.features().contains(Features::SUBGROUP_BARRIER),
        };
        let integer_dot = integer_dot::accelerated(&adapter);
        let memory_bytes = device_memory::available(&adapter);
        Ok(Self {
            device,
            queue,
            backend,
            name: info.name.clone(),
            info,
            caps,
            integer_dot,
            memory_bytes,
            lost,
            kept: Mutex::default(),
        })
    }

    /// Activations as they are wanted; `Auto` is left where the device has instructions for 8 bits, which then are used where
    /// they pay.
    pub(crate) fn activations(&self, wanted: Activations) -> Activations {
        match wanted {
            Activations::Auto if !self.integer_dot => Activations::F32,
            wanted => wanted,
        }
    }

    /// Multiplications of a submit, so that it takes a slow device of this kind less than 100 ms: longer ones make a desktop
    /// stutter, and drivers kill them after seconds.
    pub(crate) fn work_a_submit(&self) -> u64 {
        match self.info.device_type {
            DeviceType::DiscreteGpu => 200_000_000_000,
            DeviceType::IntegratedGpu | DeviceType::VirtualGpu | DeviceType::Other => 25_000_000_000,
            DeviceType::Cpu => 1_000_000_000,
        }
    }

    /// Waits until everything that was submitted is done.
    pub(crate) fn wait(&self) -> Result<(), GpuError> {
        let asked_since = Instant::now();
        while self.info.device_type != DeviceType::Cpu && asked_since.elapsed() < MOST_ASKED {
            if self.poll(wgpu::PollType::Poll)?.is_queue_empty() {
                return Ok(());
            }
        }
        self.poll(wgpu::PollType::wait_indefinitely()).map(|_| ())
    }

    /// Waits until a submit is done, and all before it.
    pub(crate) fn wait_for(&self, index: wgpu::SubmissionIndex) -> Result<(), GpuError> {
        self.poll(wgpu::PollType::Wait { submission_index: Some(index), timeout: None }).map(|_| ())
    }

    fn poll(&self, until: wgpu::PollType) -> Result<wgpu::PollStatus, GpuError> {
        let polled = self.device.poll(until);
        if let Some(reason) = self.lost.lock().ok().and_then(|reason| reason.clone()) {
            return Err(GpuError::Lost { reason });
        }
        polled.map_err(|error| GpuError::Lost { reason: error.to_string() })
    }
}

#[allow(unsafe_code, reason = "matrix units count as experimental")]
fn experimental() -> wgpu::ExperimentalFeatures {
    // SAFETY: the experimental feature that is asked for is cooperative matrices. What may go wrong with them is operations in
    // flow that is not uniform, and places outside of arrays: the kernels have them in uniform flow only, at places that their
    // tiles bound, and the tests run them.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

/// The matrices that the kernels can use: f16 factors and f32 sums, of the larger size where there are two.
fn matrices(adapter: &Adapter, info: &AdapterInfo) -> Option<MatrixSize> {
    let needed = Features::EXPERIMENTAL_COOPERATIVE_MATRIX | Features::SHADER_F16 | Features::SUBGROUP;
    if !adapter.features().contains(needed) || (info.subgroup_min_size, info.subgroup_max_size) != (32, 32) {
        return None;
    }
    let offered = adapter.cooperative_matrix_properties();
    let has = |edge| {
        offered.iter().any(|m| {
            [m.m_size, m.n_size, m.k_size] == [edge; 3]
                && m.ab_type == wgpu::CooperativeScalarType::F16
                && m.cr_type == wgpu::CooperativeScalarType::F32
        })
    };
    match (has(16), has(8)) {
        (true, _) => Some(MatrixSize::Sixteen),
        (false, true) => Some(MatrixSize::Eight),
        (false, false) => None,
    }
}

/// How long a device that the host waits for is asked again and again before the host sleeps: to be woken takes 100 us and more (H200),
/// 5 to 8 % of a prompt of 2 to 7 ms. Software has its work done by the very cores that would ask.
const MOST_ASKED: Duration = Duration::from_millis(8);

/// PCI's number of NVIDIA.
pub(crate) const NVIDIA: u32 = 0x10de;

/// Whether it is of the kind that choices were measured on which other kinds may not like: an H200.
fn measured(info: &AdapterInfo, backend: GpuBackend) -> bool {
    backend == GpuBackend::Vulkan && info.vendor == NVIDIA && info.device_type == DeviceType::DiscreteGpu
}

/// The device on which the tests of kernels that need subgroups in step have passed. What others do nobody has tried, and wrong results are
/// not a matter of speed.
fn is_in_step(info: &AdapterInfo, backend: GpuBackend) -> bool {
    measured(info, backend) && info.name.contains("H200")
}

/// On an H200 a layer of 2 MB that waits in the cache makes a token of SmolLM-135M 6 % faster, and the first 8 to 40 MB of a layer of
/// 34 or 118 MB make one of Llama-1B or -8B 2 to 20 % slower.
fn ahead_bytes(info: &AdapterInfo, backend: GpuBackend) -> u32 {
    if measured(info, backend) { 4 << 20 } else { 0 }
}

fn enumerate() -> Vec<Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: Backends::METAL | Backends::VULKAN | Backends::DX12,
        // Validation layers cost time and are not there on users' machines; debug builds would ask for them.
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    pollster::block_on(instance.enumerate_adapters(Backends::METAL | Backends::VULKAN | Backends::DX12))
}

/// Discrete before integrated before anything else; software only by number or where it is allowed.
fn choose(choice: AdapterChoice) -> Result<Adapter, GpuError> {
    let of_backend = |adapter: &Adapter| {
        let backend = GpuBackend::of(adapter.get_info().backend);
        backend.is_some() && (choice.backend.is_none() || choice.backend == backend)
    };
    let mut fitting: Vec<Adapter> = enumerate().into_iter().filter(of_backend).collect();
    let found: Vec<String> = fitting.iter().map(|a| describe(&a.get_info())).collect();
    let wanted = choice.backend.map_or("GPU", GpuBackend::name);
    let none = |why: &str| {
        let found = if found.is_empty() { "none at all".to_owned() } else { found.join("; ") };
        GpuError::NoAdapter { why: format!("{why}; adapters found: {found}") }
    };
    if let Some(index) = choice.index {
        if index >= fitting.len() {
            return Err(none(&format!("there is no {wanted} adapter number {index}")));
        }
        return Ok(fitting.swap_remove(index));
    }
    let rank = |adapter: &Adapter| match adapter.get_info().device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    };
    fitting.retain(|adapter| choice.allow_software || rank(adapter) < 4);
    fitting
        .into_iter()
        .min_by_key(rank)
        .ok_or_else(|| none(&format!("there is no {wanted} adapter that is not software")))
}

fn describe(info: &AdapterInfo) -> String {
    format!("{} ({}, {})", info.name, info.backend, kind(info.device_type))
}

fn kind(device_type: DeviceType) -> &'static str {
    match device_type {
        DeviceType::DiscreteGpu => "discrete",
        DeviceType::IntegratedGpu => "integrated",
        DeviceType::VirtualGpu => "virtual",
        DeviceType::Cpu => "software",
        DeviceType::Other => "other",
    }
}

/// What the kernels need and the adapter lacks.
fn missing(adapter: &Adapter) -> Vec<String> {
    let (features, limits) = (adapter.features(), adapter.limits());
    let mut missing = Vec::new();
    if !features.contains(Features::IMMEDIATES) || limits.max_immediate_size < IMMEDIATE_BYTES {
        missing.push(format!("{IMMEDIATE_BYTES} bytes of immediates (push constants)"));
    }
    if limits.max_compute_invocations_per_workgroup < 256 {
        missing.push("workgroups of 256 threads".to_owned());
    }
    if limits.max_compute_workgroup_storage_size < 16 << 10 {
        missing.push("16 KiB of workgroup memory".to_owned());
    }
    #[cfg(target_os = "macos")]
    missing.extend(crate::metal_family::missing(adapter));
    missing
}

fn report(adapter: &Adapter, info: &AdapterInfo, backend: GpuBackend, index: usize) -> AdapterReport {
    let limits = adapter.limits();
    let matrices = adapter.cooperative_matrix_properties();
    AdapterReport {
        index,
        name: info.name.clone(),
        backend,
        kind: kind(info.device_type),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        memory_bytes: device_memory::available(adapter),
        max_buffer_bytes: limits.max_buffer_size,
        max_binding_bytes: limits.max_storage_buffer_binding_size,
        workgroup_memory_bytes: limits.max_compute_workgroup_storage_size,
        max_workgroup_threads: limits.max_compute_invocations_per_workgroup,
        subgroup_sizes: (info.subgroup_min_size, info.subgroup_max_size),
        f16: adapter.features().contains(Features::SHADER_F16),
        cooperative_matrices: matrices
            .iter()
            .map(|m| format!("{}x{}x{} {:?}->{:?}", m.m_size, m.n_size, m.k_size, m.ab_type, m.cr_type))
            .collect(),
        missing: missing(adapter),
    }
}
