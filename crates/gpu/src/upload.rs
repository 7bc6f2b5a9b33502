//! Weights to the device: packed by all threads, in one of two ways.
//!
//! Staged, each thread packs some rows of a tensor at a time and copies them into a buffer that only the GPU sees. In place, each is packed where the GPU
//! will read it: `metal_import` does so, where host and GPU have one memory.

use crate::device::Gpu;
use crate::error::GpuError;
use crate::weights::{Job, Layout};
use std::sync::{Mutex, mpsc};
use std::thread;
use wgpu::Buffer;

/// Bytes of a copy; the driver has memory for as much beside the buffer.
#[cfg(target_os = "macos")]
const STAGED_BYTES: usize = 64 << 20;

/// Weights on the device.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) buffers: Vec<Buffer>,
    /// Which way they went, where there is more than one.
    pub(crate) note: Option<String>,
}

impl Layout<'_> {
    /// Makes the buffers and fills them; `progress` hears the share done.
    pub(crate) fn upload(&self, gpu: &Gpu, progress: &mut dyn FnMut(f32)) -> Result<Upload, GpuError> {
        #[cfg(target_os = "macos")]
        return crate::metal_import::weights(gpu, self, progress);
        #[cfg(not(target_os = "macos"))]
        Ok(Upload { buffers: self.stage(gpu, progress)?, note: None })
    }

    /// Into buffers that only the GPU sees.
    pub(crate) fn stage(&self, gpu: &Gpu, progress: &mut dyn FnMut(f32)) -> Result<Vec<Buffer>, GpuError> {
        let make = |&words: &usize| gpu.private("weights", 4 * words as u64);
        let buffers: Vec<Buffer> = self.lens().iter().map(make).collect();
        let put = |buffer: usize, start: usize, words: &[u32]| {
            gpu.queue.write_buffer(&buffers[buffer], 4 * start as u64, bytemuck::cast_slice(words));
        };
        for (buffer, start, values) in self.vectors() {
            put(*buffer, *start, bytemuck::cast_slice(values));
        }
        let mut progress = Progress::new(self, progress);
        on_all_threads(
            self.jobs().iter().flat_map(Job::pieces).collect(),
            |piece| {
                let len = piece.pack(put);
                // Staging memory is given back only by a submit that has finished.
                gpu.queue.submit([]);
                len
            },
            |len| progress.add(len),
        );
        gpu.wait()?;
        Ok(buffers)
    }

    /// Packs into the buffers' memory, zeroed and at least as long as they are.
    #[cfg_attr(
        not(any(test, target_os = "macos")),
        expect(dead_code, reason = "one memory for host and GPU")
    )]
    pub(crate) fn pack_into(&self, mut buffers: Vec<&mut [u32]>, progress: &mut dyn FnMut(f32)) {
        for (buffer, start, values) in self.vectors() {
            buffers[*buffer][*start..][..values.len()].copy_from_slice(bytemuck::cast_slice(values));
        }
        let mut progress = Progress::new(self, progress);
        on_all_threads(
            self.cut(buffers),
            |(job, words)| {
                job.pack(words);
                words.len()
            },
            |len| progress.add(len),
        );
    }

    /// The part of the buffers that each tensor has.
    fn cut<'b>(&self, buffers: Vec<&'b mut [u32]>) -> Vec<(&Job<'_>, &'b mut [u32])> {
        let mut rests: Vec<(usize, &mut [u32])> = buffers.into_iter().map(|words| (0, words)).collect();
        // In each buffer they lie in the order in which they were added.
        let part = |job: &'_ Job<'_>| {
            let (at, rest) = &mut rests[job.buffer()];
            let (_, from) = std::mem::take(rest).split_at_mut(job.start() - *at);
            let (own, behind) = from.split_at_mut(job.len_words());
            (*at, *rest) = (job.start() + job.len_words(), behind);
            own
        };
        let parts: Vec<_> = self.jobs().iter().map(part).collect();
        self.jobs().iter().zip(parts).collect()
    }
}

/// Does work on all threads, and hears of each piece on this one. Few results wait to be heard.
fn on_all_threads<J: Send, R: Send>(jobs: Vec<J>, work: impl Fn(J) -> R + Sync, mut done: impl FnMut(R)) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let queue = Mutex::new(jobs.into_iter());
    let (sender, results) = mpsc::sync_channel(threads);
    thread::scope(|scope| {
        for _ in 0..threads {
            let (queue, work, sender) = (&queue, &work, sender.clone());
            scope.spawn(move || {
                while let Some(job) = queue.lock().ok().and_then(|mut jobs| jobs.next()) {
                    if sender.send(work(job)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        results.into_iter().for_each(&mut done);
    });
}

/// The share of a layout's words that is done.
struct Progress<'p> {
    hear: &'p mut dyn FnMut(f32),
    done: usize,
    total: usize,
}

impl<'p> Progress<'p> {
    fn new(layout: &Layout<'_>, hear: &'p mut dyn FnMut(f32)) -> Self {
        let total = layout.jobs().iter().map(Job::len_words).sum::<usize>().max(1);
        Self { hear, done: 0, total }
    }

    fn add(&mut self, words: usize) {
        self.done += words;
        (self.hear)(self.done as f32 / self.total as f32);
    }
}

#[cfg(target_os = "macos")]
impl Gpu {
    /// A buffer with these bytes, that only the GPU sees.
    pub(crate) fn upload(&self, label: &str, bytes: &[u8]) -> Result<Buffer, GpuError> {
        let buffer = self.private(label, bytes.len() as u64);
        for (i, part) in bytes.chunks(STAGED_BYTES).enumerate() {
            self.queue.write_buffer(&buffer, (i * STAGED_BYTES) as u64, part);
            self.queue.submit([]);
            self.wait()?;
        }
        Ok(buffer)
    }
}
