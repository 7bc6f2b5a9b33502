//! Buffers: the one place where they are made.
//!
//! None of them can be mapped but the small ones for reading back, so that on Metal all others are private to the GPU.

use crate::device::Gpu;
use crate::error::GpuError;
use wgpu::{Buffer, BufferUsages};

impl Gpu {
    /// A buffer that only kernels and copies touch, zeroed.
    pub(crate) fn private(&self, label: &str, len_bytes: u64) -> Buffer {
        self.make(label, len_bytes, BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC)
    }

    /// A buffer that results are copied to, to be read by the host.
    pub(crate) fn readback(&self, label: &str, len_bytes: u64) -> Buffer {
        self.make(label, len_bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where buffers are made")]
    fn make(&self, label: &str, len_bytes: u64, usage: BufferUsages) -> Buffer {
        let size = len_bytes.next_multiple_of(16).max(16);
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    /// Copies `len_words` words from word `start` of `buffer` to the host; waits for everything submitted before.
    pub(crate) fn read(&self, buffer: &Buffer, start: usize, len_words: usize) -> Result<Vec<u32>, GpuError> {
        let len_bytes = 4 * len_words as u64;
        let staging = self.readback("read", len_bytes);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.copy_buffer_to_buffer(buffer, 4 * start as u64, &staging, 0, len_bytes);
        self.queue.submit([encoder.finish()]);
        self.map(&staging, len_words)
    }

    /// The first `len_words` words of a read-back buffer, once everything submitted is done.
    pub(crate) fn map(&self, staging: &Buffer, len_words: usize) -> Result<Vec<u32>, GpuError> {
        let slice = staging.slice(..4 * len_words as u64);
        slice.map_async(wgpu::MapMode::Read, |_| {});
        self.wait()?;
        let view = slice.get_mapped_range().map_err(|error| GpuError::Lost { reason: error.to_string() })?;
        let words = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        staging.unmap();
        Ok(words)
    }
}
