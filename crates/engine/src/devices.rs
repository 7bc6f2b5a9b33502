//! What models can run on.

use crate::device_choice::DeviceChoice;
use crate::gpu_engine;
use crate::system;
use model::DeviceKind;

/// A device of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// What asks for this one and no other.
    pub choice: DeviceChoice,
    /// What kind of device it is.
    pub kind: DeviceKind,
    /// The interface to it: `CPU`, `Metal`, `Vulkan`, `DX12`.
    pub backend: &'static str,
    /// Its own name.
    pub name: String,
    /// Threads of this process that can run at once (0 on a GPU).
    pub threads: usize,
    /// More about a GPU.
    pub gpu: Option<GpuDetails>,
}

/// What a GPU's driver says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuDetails {
    /// `discrete`, `integrated`, `virtual`, `software` or `other`. A software adapter is taken only if it is asked for by its
    /// number, or where [`LoadOptions`](crate::LoadOptions) allow it.
    pub kind: &'static str,
    /// Driver and its version.
    pub driver: String,
    /// Bytes of memory that the driver has for this process, where it says so; the system's, of a GPU without memory of its own.
    pub memory_bytes: Option<u64>,
    /// Bytes of the largest buffer.
    pub max_buffer_bytes: u64,
    /// Bytes that a kernel sees of a buffer at most.
    pub max_binding_bytes: u64,
    /// Bytes that the threads of a workgroup share.
    pub workgroup_memory_bytes: u32,
    /// Threads of a workgroup at most.
    pub max_workgroup_threads: u32,
    /// Threads of the smallest and the largest subgroup.
    pub subgroup_sizes: (u32, u32),
    /// Whether kernels can compute in f16.
    pub f16: bool,
    /// Sizes of cooperative matrices, as `MxNxK A->C`.
    pub cooperative_matrices: Vec<String>,
    /// What the kernels need and it lacks; empty where it can run models.
    pub missing: Vec<String>,
}

impl GpuDetails {
    /// Whether it is the processor that plays GPU.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.kind == "software"
    }
}

/// Every device of this machine, the CPU first; GPUs are listed whether or not they can run models.
#[must_use]
pub fn devices() -> Vec<Device> {
    let cpu = Device {
        choice: DeviceChoice::Cpu,
        kind: DeviceKind::Cpu,
        backend: "CPU",
        name: system::cpu_name(),
        threads: system::threads(),
        gpu: None,
    };
    std::iter::once(cpu).chain(gpu_engine::devices()).collect()
}
