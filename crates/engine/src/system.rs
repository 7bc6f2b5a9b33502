//! The machine, as far as reports and plans need it.

use sysinfo::{CpuRefreshKind, MemoryRefreshKind, RefreshKind, System};

/// The machine in words: what a report on a defect must say.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SystemInfo {
    /// Operating system and its version.
    pub os: String,
    /// Version of the kernel.
    pub kernel: String,
    /// Instruction set of this build: `x86_64`, `aarch64`.
    pub architecture: &'static str,
    /// The processor's own name.
    pub cpu: String,
    /// Threads of this process that can run at once.
    pub threads: usize,
    /// Bytes of main memory, where the system tells.
    pub memory_bytes: Option<u64>,
    /// Bytes of it that are free for this process.
    pub free_memory_bytes: Option<u64>,
}

impl SystemInfo {
    /// Asks the system.
    #[must_use]
    pub fn new() -> Self {
        let unknown = |_| "unknown".to_owned();
        let memory = memory();
        Self {
            os: System::long_os_version().unwrap_or_else(unknown),
            kernel: System::kernel_version().unwrap_or_else(unknown),
            architecture: std::env::consts::ARCH,
            cpu: cpu_name(),
            threads: threads(),
            memory_bytes: memory.as_ref().map(System::total_memory),
            free_memory_bytes: memory.as_ref().map(free),
        }
    }
}

impl Default for SystemInfo {
    fn default() -> Self {
        Self::new()
    }
}

/// The processor's own name; that of the instruction set where it has none.
pub(crate) fn cpu_name() -> String {
    let cpus = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
    let name = System::new_with_specifics(cpus)
        .ok()
        .and_then(|system| Some(system.cpus().first()?.brand().trim().to_owned()));
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Threads of this process that can run at once.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes that a new allocation can get without swapping, in this process's control group too; no bound where the system
/// does not tell.
pub(crate) fn available_bytes() -> u64 {
    memory().as_ref().map_or(u64::MAX, free)
}

/// Whether a driver could find a GPU. On Linux each talks to its GPU through a node in /dev; of other systems nothing is known here.
pub(crate) fn may_have_gpu() -> bool {
    // In this order: nearly all, NVIDIA's own driver, Windows' GPUs in WSL, Adreno and Mali with their makers' drivers.
    const NODES: [&str; 5] = ["/dev/dri", "/dev/nvidiactl", "/dev/dxg", "/dev/kgsl-3d0", "/dev/mali0"];
    !cfg!(target_os = "linux") || NODES.iter().any(|node| std::path::Path::new(node).exists())
}

fn memory() -> Option<System> {
    let ram = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    System::new_with_specifics(ram).ok()
}

fn free(system: &System) -> u64 {
    // Not `free_memory`: that counts cached pages of files, the model's own among them, as taken.
    let group = system.cgroup_limits().map_or(u64::MAX, |group| group.total_memory.saturating_sub(group.rss));
    system.available_memory().min(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_something() {
        assert!(available_bytes() > 1 << 20);
        let info = SystemInfo::new();
        assert!(info.threads > 0 && !info.cpu.is_empty() && !info.os.is_empty(), "{info:?}");
        assert!(info.memory_bytes >= info.free_memory_bytes, "{info:?}");
    }
}
