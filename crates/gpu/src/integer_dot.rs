//! Whether a device multiplies whole numbers of 8 bits four at a time.
#![allow(
    unsafe_code,
    reason = "only the driver knows whether it does so in one instruction, and wgpu does not ask"
)]

use wgpu::{Adapter, DeviceType};

/// Whether `dot4I8Packed` is an instruction of the device, as its driver says. Elsewhere it is many, and floats are better.
pub(crate) fn accelerated(adapter: &Adapter) -> bool {
    adapter.get_info().device_type != DeviceType::Cpu && says_so(adapter)
}

#[cfg(not(target_vendor = "apple"))]
fn says_so(adapter: &Adapter) -> bool {
    use ash::vk;
    if adapter.get_info().backend != wgpu::Backend::Vulkan {
        return false;
    }
    // SAFETY: nothing of the adapter is destroyed, and the guard lives as long as what is read from it.
    let Some(adapter) = (unsafe { adapter.as_hal::<wgpu::hal::api::Vulkan>() }) else { return false };
    let (instance, device) = (adapter.shared_instance(), adapter.raw_physical_device());
    let has_1_1 = instance.instance_api_version() >= vk::API_VERSION_1_1;
    let extensions = adapter.physical_device_capabilities();
    if !has_1_1 || !extensions.supports_extension(ash::khr::shader_integer_dot_product::NAME) {
        return false;
    }
    let mut dot = vk::PhysicalDeviceShaderIntegerDotProductProperties::default();
    let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut dot);
    // SAFETY: the device is one of this instance, which knows the function since Vulkan 1.1; the device knows the structure that
    // is chained to the result.
    unsafe { instance.raw_instance().get_physical_device_properties2(device, &mut properties) };
    dot.integer_dot_product4x8_bit_packed_signed_accelerated != 0
}

#[cfg(target_vendor = "apple")]
fn says_so(_: &Adapter) -> bool {
    false
}
