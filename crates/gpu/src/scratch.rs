//! Intermediate results of a kind of plan, and the buffers that go with them.

use crate::device::Gpu;
use crate::pipeline::Pipelines;
use crate::regions::Regions;
use wgpu::{BindGroup, Buffer};

/// A buffer for the regions of a plan.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) buffer: Buffer,
    pub(crate) group: BindGroup,
    pub(crate) regions: Regions,
}

impl Scratch {
    /// Bound with the two buffers that all plans share.
    pub(crate) fn new(
        gpu: &Gpu,
        pipelines: &Pipelines,
        regions: Regions,
        tables: &Buffer,
        tokens: &Buffer,
    ) -> Self {
        let buffer = gpu.private("scratch", 4 * regions.len as u64);
        let group = pipelines.scratch(gpu, &buffer, tables, tokens);
        Self { buffer, group, regions }
    }
}
