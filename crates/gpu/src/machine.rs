//! A device with a model's buffers on it, which executes plans.

use crate::device::Gpu;
use crate::error::GpuError;
use crate::kv_cache::KvCache;
use crate::pipeline::{Pipelines, WeightsGroup};
use crate::plan::Step;
use crate::tables::Tables;
use wgpu::{BindGroup, Buffer, CommandEncoder, ComputePass, SubmissionIndex};

/// Steps of the first piece of a batch, and how many times as many the next one has: the host records a step in 2 to 5 us, and a
/// device takes some 9 for one of a prompt (SmolLM-135M of 512 rows on an H200).
const FIRST_STEPS: usize = 12;
const GROWTH: usize = 2;

/// The device, the kernels, and every buffer that plans share.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) gpu: Gpu,
    pub(crate) pipelines: Pipelines,
    pub(crate) weights: Vec<WeightsGroup>,
    /// What `weights` binds.
    pub(crate) weight_buffers: Vec<Buffer>,
    pub(crate) kv: KvCache,
    /// What the host tells the kernels.
    pub(crate) tables: Buffer,
    pub(crate) tables_at: Tables,
    /// Ids: those of sequence 0 by position, then those of a batch.
    pub(crate) tokens: Buffer,
}

impl Machine {
    /// Compiles what `steps` need and is not compiled yet.
    pub(crate) fn prepare<'a>(&mut self, steps: impl IntoIterator<Item = &'a Step>) -> Result<(), GpuError> {
        self.pipelines.prepare(&self.gpu, steps.into_iter().map(|step| step.kernel))
    }

    /// Records `steps`, which were prepared, for the row at `position`.
    pub(crate) fn record(
        &self,
        pass: &mut ComputePass<'_>,
        scratch: &BindGroup,
        steps: &[Step],
        position: u32,
    ) {
        self.record_each(pass, scratch, steps, position, &mut |_| ());
    }

    /// The same, with something `after` each step.
    pub(crate) fn record_each(
        &self,
        pass: &mut ComputePass<'_>,
        scratch: &BindGroup,
        steps: &[Step],
        position: u32,
        after: &mut dyn FnMut(&mut ComputePass<'_>),
    ) {
        let (mut weights, mut kv) = ((usize::MAX, false), usize::MAX);
        pass.set_bind_group(2, scratch, &[]);
        for step in steps {
            if (step.weights, step.kernel.orders_loads()) != weights {
                weights = (step.weights, step.kernel.orders_loads());
                pass.set_bind_group(0, self.weights[step.weights].of(&step.kernel), &[]);
            }
            if step.kv != kv {
                kv = step.kv;
                pass.set_bind_group(1, self.kv.group(kv), &[]);
            }
            pass.set_pipeline(self.pipelines.get(&step.kernel));
            let (params, n) = step.params(position);
            pass.set_immediates(0, bytemuck::cast_slice(&params[..n]));
            let [x, y, z] = step.grid;
            pass.dispatch_workgroups(x, y, z);
            after(pass);
        }
    }

    /// One submit: what `work` records in a pass, then what `after` copies.
    pub(crate) fn submit(
        &self,
        work: impl FnOnce(&mut ComputePass<'_>),
        after: impl FnOnce(&mut CommandEncoder),
    ) -> SubmissionIndex {
        let mut encoder = self.gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            work(&mut pass);
        }
        after(&mut encoder);
        self.gpu.queue.submit([encoder.finish()])
    }

    /// Submits `steps` in pieces, and what `after` copies with the last. The first is short, so that the device is at work while the
    /// host records the others, and none has so much work that a submit takes long.
    pub(crate) fn submit_in_pieces(
        &self,
        scratch: &BindGroup,
        steps: &[Step],
        after: impl FnOnce(&mut CommandEncoder),
    ) {
        let most_work = self.gpu.work_a_submit();
        let (mut rest, mut most_steps) = (steps, FIRST_STEPS);
        loop {
            let mut work = 0;
            let fits = |step: &&Step| {
                work += step.work;
                work <= most_work
            };
            let n = rest.iter().take(most_steps).take_while(fits).count().max(1).min(rest.len());
            let (piece, later) = rest.split_at(n);
            if later.is_empty() {
                self.submit(|pass| self.record(pass, scratch, piece, 0), after);
                return;
            }
            self.submit(|pass| self.record(pass, scratch, piece, 0), |_| ());
            (rest, most_steps) = (later, most_steps * GROWTH);
        }
    }

    /// Writes words to `tables` from word `at` on, for everything that is submitted later.
    pub(crate) fn write_tables(&self, at: u32, words: &[u32]) {
        self.gpu.queue.write_buffer(&self.tables, 4 * u64::from(at), bytemuck::cast_slice(words));
    }

    /// Writes ids to `tokens` from `at` on, for everything that is submitted later.
    pub(crate) fn write_tokens(&self, at: usize, ids: &[u32]) {
        self.gpu.queue.write_buffer(&self.tokens, 4 * at as u64, bytemuck::cast_slice(ids));
    }
}
