//! How much memory a device has for a model.
#![allow(unsafe_code, reason = "only the drivers know, and wgpu asks them for nothing of the kind")]

use wgpu::{Adapter, Backend};

/// Bytes that this process can take on the device without driving others out, as its driver sees it; none where it does not
/// say. Software and integrated adapters speak of the system's memory.
pub(crate) fn available(adapter: &Adapter) -> Option<u64> {
    let bytes = match adapter.get_info().backend {
        #[cfg(target_os = "macos")]
        Backend::Metal => metal(adapter),
        #[cfg(not(target_vendor = "apple"))]
        Backend::Vulkan => vulkan(adapter),
        #[cfg(windows)]
        Backend::Dx12 => dx12(adapter),
        _ => None,
    };
    bytes.filter(|&bytes| bytes > 0)
}

/// What Metal recommends to stay below.
#[cfg(target_os = "macos")]
fn metal(adapter: &Adapter) -> Option<u64> {
    use objc2_metal::MTLDevice;
    // SAFETY: nothing of the adapter is destroyed, and the guard lives as long as what is read from it.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Metal>() }?;
    Some(adapter.raw_device().recommendedMaxWorkingSetSize())
}

/// The largest heap of the device's own memory, or what is left of it for this process where the driver reckons that.
#[cfg(not(target_vendor = "apple"))]
fn vulkan(adapter: &Adapter) -> Option<u64> {
    use ash::vk;
    // SAFETY: nothing of the adapter is destroyed, and the guard lives as long as what is read from it.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }?;
    let (instance, device) = (adapter.shared_instance(), adapter.raw_physical_device());
    let budgets = instance.instance_api_version() >= vk::API_VERSION_1_1
        && adapter.physical_device_capabilities().supports_extension(ash::ext::memory_budget::NAME);
    let mut budget = vk::PhysicalDeviceMemoryBudgetPropertiesEXT::default();
    let heaps = match budgets {
        true => {
            let mut properties = vk::PhysicalDeviceMemoryProperties2::default().push_next(&mut budget);
            // SAFETY: the device is one of this instance, which knows the function since Vulkan 1.1; the device knows the
            // structure that is chained to the result.
            unsafe {
                instance.raw_instance().get_physical_device_memory_properties2(device, &mut properties);
            }
            properties.memory_properties
        }
        // SAFETY: the device is one of this instance.
        false => unsafe { instance.raw_instance().get_physical_device_memory_properties(device) },
    };
    let own = |heap: &vk::MemoryHeap| heap.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL);
    let (i, heap) = heaps
        .memory_heaps_as_slice()
        .iter()
        .enumerate()
        .filter(|(_, heap)| own(heap))
        .max_by_key(|(_, heap)| heap.size)?;
    Some(match budgets {
        true => budget.heap_budget[i].min(heap.size).saturating_sub(budget.heap_usage[i]),
        false => heap.size,
    })
}

/// What is left of the budget in the device's own memory.
#[cfg(windows)]
fn dx12(adapter: &Adapter) -> Option<u64> {
    // SAFETY: nothing of the adapter is destroyed, and the guard lives as long as what is read from it.
    let adapter = unsafe { adapter.as_hal::<wgpu::hal::api::Dx12>() }?;
    // The group that is 0 is the local one.
    let memory = adapter.raw_adapter().query_video_memory_info(Default::default()).ok()?;
    Some(memory.Budget.saturating_sub(memory.CurrentUsage))
}
