//! Buffers: the one place where they are made.
//!
//! None of them can be mapped but the small ones for reading back, so that on Metal all others are private to the GPU.

use crate::device::Gpu;
use crate::error::GpuError;
use wgpu::{Buffer, BufferUsages};

/// Bytes of read-back memory that are kept for the next time: enough for the logits of a row.
const MOST_KEPT: u64 = 1 << 20;

/// Words of a buffer on their way to the host.
#[derive(Debug)]
pub(crate) struct Readback {
    from: Buffer,
    /// In bytes.
    start: u64,
    staging: Buffer,
    len_words: usize,
}

impl Readback {
    pub(crate) fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.copy_buffer_to_buffer(&self.from, self.start, &self.staging, 0, 4 * self.len_words as u64);
    }
}

impl Gpu {
    /// A buffer that only kernels and copies touch, zeroed.
    pub(crate) fn private(&self, label: &str, len_bytes: u64) -> Buffer {
        self.make(label, len_bytes, BufferUsages::STORAGE | BufferUsages::COPY_DST | BufferUsages::COPY_SRC)
    }

    /// A buffer that results are copied to, to be read by the host.
    pub(crate) fn readback(&self, label: &str, len_bytes: u64) -> Buffer {
        self.make(label, len_bytes, BufferUsages::MAP_READ | BufferUsages::COPY_DST)
    }

    /// A buffer for `n` looks at the device's clock.
    pub(crate) fn ticks(&self, n: u32) -> Buffer {
        self.make("ticks", 8 * u64::from(n), BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC)
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
        let readback = self.staging(buffer, start, len_words);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        readback.record(&mut encoder);
        self.queue.submit([encoder.finish()]);
        let mut copied = Vec::new();
        self.take(readback, |words| copied.extend_from_slice(words))?;
        Ok(copied)
    }

    /// A copy to the host, to be recorded. The last one's memory is used again, if there is enough of it.
    pub(crate) fn staging(&self, buffer: &Buffer, start: usize, len_words: usize) -> Readback {
        let len_bytes = 4 * len_words as u64;
        let kept = self.kept.lock().ok().and_then(|mut kept| kept.take());
        let staging = kept.filter(|kept| kept.size() >= len_bytes);
        let staging = staging.unwrap_or_else(|| self.readback("read", len_bytes));
        Readback { from: buffer.clone(), start: 4 * start as u64, staging, len_words }
    }

    /// Hands what was copied to `to`, once everything submitted is done.
    pub(crate) fn take(&self, readback: Readback, to: impl FnOnce(&[u32])) -> Result<(), GpuError> {
        self.map_to(&readback.staging, readback.len_words, to)?;
        if readback.staging.size() <= MOST_KEPT
            && let Ok(mut kept) = self.kept.lock()
        {
            *kept = Some(readback.staging);
        }
        Ok(())
    }

    /// The first `len_words` words of a read-back buffer, once everything submitted is done.
    pub(crate) fn map(&self, staging: &Buffer, len_words: usize) -> Result<Vec<u32>, GpuError> {
        let mut copied = Vec::new();
        self.map_to(staging, len_words, |words| copied.extend_from_slice(words))?;
        Ok(copied)
    }

    /// The same, to `to` as they lie there.
    fn map_to(&self, staging: &Buffer, len_words: usize, to: impl FnOnce(&[u32])) -> Result<(), GpuError> {
        let slice = staging.slice(..4 * len_words as u64);
        slice.map_async(wgpu::MapMode::Read, |_| {});
        self.wait()?;
        let view = slice.get_mapped_range().map_err(|error| GpuError::Lost { reason: error.to_string() })?;
        // It is aligned but where it is empty.
        match bytemuck::try_cast_slice(&view) {
            Ok(words) => to(words),
            Err(_) => to(&bytemuck::pod_collect_to_vec::<u8, u32>(&view)),
        }
        drop(view);
        staging.unmap();
        Ok(())
    }
}
