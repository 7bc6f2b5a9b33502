//! Memory of this process as a buffer of Metal's, without a copy: on Apple's chips both are the same.
//!
//! Weights are repacked at load, so what is imported is not the file but memory into which the threads have packed them.
#![allow(unsafe_code, reason = "wgpu imports no memory by itself")]

use crate::device::Gpu;
use crate::error::GpuError;
use crate::upload::Upload;
use crate::weights::Layout;
use memmap2::MmapMut;
use objc2_metal::{MTLDevice, MTLResourceOptions};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use wgpu::hal::api::Metal;
use wgpu::{Buffer, BufferDescriptor, BufferUsages};

/// Metal takes whole pages; Apple's chips have pages of 16 KiB.
const PAGE: usize = 16 << 10;

/// Why memory did not become a buffer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error("the memory is not of whole pages")]
    Pages,
    #[error("{len_bytes} bytes are more than a buffer may have here, {most_bytes}")]
    Length { len_bytes: usize, most_bytes: usize },
    #[error("the GPU has memory of its own")]
    OwnMemory,
    #[error("Metal refused the memory")]
    Refused,
    #[error("there is no memory to pack into")]
    Allocation(#[from] std::io::Error),
}

/// A buffer for kernels to read that is `memory`, which lives as long as Metal has it.
pub(crate) fn import(gpu: &Gpu, memory: &Arc<MmapMut>) -> Result<Buffer, ImportError> {
    let bytes: &[u8] = memory;
    let (start, len_bytes) = (NonNull::from(bytes).cast::<c_void>(), bytes.len());
    if len_bytes == 0 || !len_bytes.is_multiple_of(PAGE) || !start.addr().get().is_multiple_of(PAGE) {
        return Err(ImportError::Pages);
    }
    let raw = {
        // SAFETY: nothing of the device is destroyed, and the guard is dropped before wgpu needs the device again.
        let device = unsafe { gpu.device.as_hal::<Metal>() }.ok_or(ImportError::Refused)?;
        let device = device.raw_device();
        if !device.hasUnifiedMemory() {
            return Err(ImportError::OwnMemory);
        }
        let most_bytes = device.maxBufferLength();
        if len_bytes > most_bytes {
            return Err(ImportError::Length { len_bytes, most_bytes });
        }
        // Metal has the block until it gives the memory back, and with it this share of the memory. Any thread may do so.
        let keep = Arc::clone(memory);
        let give_back = block2::RcBlock::new(move |_: NonNull<c_void>, _: usize| {
            let _ = &keep;
        });
        // SAFETY: the range is whole pages of a mapping that lives and stays where it is until the block is dropped. Nobody
        // writes to it: the process has shared references only, and the buffer's usage below lets the GPU read alone.
        unsafe {
            device.newBufferWithBytesNoCopy_length_options_deallocator(
                start,
                len_bytes,
                MTLResourceOptions::StorageModeShared,
                Some(&give_back),
            )
        }
        .ok_or(ImportError::Refused)?
    };
    let descriptor = BufferDescriptor {
        label: Some("weights"),
        size: len_bytes as u64,
        usage: BufferUsages::STORAGE | BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    };
    // SAFETY: the raw buffer is of this device, `len_bytes` long, initialised by the process, and fit for these usages.
    Ok(unsafe {
        let buffer = wgpu::hal::metal::Device::buffer_from_raw(raw, descriptor.size);
        gpu.device.create_buffer_from_hal::<Metal>(buffer, &descriptor)
    })
}

/// Packs weights into memory and makes that the buffers; where Metal will not have it, copies it.
pub(crate) fn weights(
    gpu: &Gpu,
    layout: &Layout<'_>,
    progress: &mut dyn FnMut(f32),
) -> Result<Upload, GpuError> {
    let lens = layout.lens().iter().map(|words| (4 * words).next_multiple_of(PAGE).max(PAGE));
    let mut memories = match lens.map(MmapMut::map_anon).collect::<Result<Vec<_>, _>>() {
        Ok(memories) => memories,
        Err(error) => {
            let error = ImportError::from(error);
            return Ok(Upload { buffers: layout.stage(gpu, progress)?, note: Some(copied(&error)) });
        }
    };
    let parts = memories.iter_mut().map(|memory| bytemuck::cast_slice_mut(memory)).collect();
    layout.pack_into(parts, progress);
    let mut note = "the weights lie where the GPU reads them: nothing was copied".to_owned();
    let mut buffers = Vec::new();
    for memory in memories {
        let memory = Arc::new(memory);
        buffers.push(match import(gpu, &memory) {
            Ok(buffer) => buffer,
            Err(error) => {
                note = copied(&error);
                gpu.upload("weights", &memory)?
            }
        });
    }
    Ok(Upload { buffers, note: Some(note) })
}

fn copied(why: &ImportError) -> String {
    format!("the weights were copied to the GPU: {why}")
}
