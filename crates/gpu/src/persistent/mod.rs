//! Decoding several tokens in one dispatch.
//!
//! A token of a small model is a chain of a hundred and more short steps, and between two dispatches a GPU idles longer than a step
//! takes. Here all workgroups stay at work through all layers of all tokens of a submit, and tell each other their results through
//! memory. What is exchanged is words whose lowest bit is the parity of their use: whoever needs a word looks at it until its
//! parity is right. There is no counter, no flag and no fence in the way of a result.
//!
//! Words are used again by every layer. That is sound because every group has a part in every layer's gates and ups, and nobody gets
//! beyond them before all groups have read what came before. Of a vector that is told in halves the first is told when all of what it is
//! made of has been taken, as the second is.
//!
//! Keys and values are no such words: a group reads what others appended for the tokens before. Each group fences before it tells of
//! its best row, or, where it draws, how many rows its list has, and again when it has heard of all, so that the choice of a token orders
//! what came before it, those lists too; and the cache is bound as coherent, without which a group was seen to read old keys from a cache of its own, fence or no fence.
//!
//! All workgroups must be at work at a time, which no interface promises. So this is for devices where a trial at load has shown it
//! (`trial`), and every wait ends after a while: then the group stops for good, the others see it, and the host
//! goes on with the plan of dispatches from the token where it happened.

mod geometries;
mod shape;
mod share;
mod source;
mod trial;
mod trials;

#[cfg(test)]
pub(crate) use geometries::geometries;
#[cfg(test)]
pub(crate) use shape::InHalves;
pub(crate) use shape::{Geometry, Shape};
pub(crate) use source::source as text;
pub(crate) use trial::{Candidate, Target, for_mode};
#[cfg(test)]
pub(crate) use trial::{confirms, tried};

use crate::device::Gpu;
use crate::error::GpuError;
use crate::kernels::sampling::{DrawOptions, PHILOX_ROUNDS};
use crate::machine::Machine;
use crate::pipeline::{MoreWeights, Pipelines, joined};
use bytemuck::{Pod, Zeroable};
use model::{MOST_NEVER, NO_TOKEN};
use source::{DONE, STOPPED, exchange_words};
use std::thread;
use wgpu::{BindGroup, Buffer, ComputePipeline, SubmissionIndex};

/// Looks at a word before it is given up: tens of milliseconds.
const MOST_LOOKS: u32 = 1 << 16;
/// Words of status behind the ids that come back.
pub(crate) const STATUS_WORDS: usize = 2;

#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Params {
    position: u32,
    /// 0 is a roll call.
    n_tokens: u32,
    /// How often words were used before this submit: their parity, and what progress is counted from.
    layer_uses: u32,
    token_uses: u32,
    limit: u32,
    drawing: Drawing,
    n_groups: u32,
    philox_rounds: u32,
}

/// How a token is chosen: the best one, or one of the best, as [`draw`](crate::kernels::draw) has them.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(crate) struct Drawing {
    /// With a `k` of 0 it is the best.
    pub(crate) options: DrawOptions,
    /// Ids that are not chosen while there are others; none where it is the best of all.
    pub(crate) never: [u32; MOST_NEVER],
}

impl Drawing {
    /// No drawing, but the best of all.
    pub(crate) const BEST: Self = Self {
        options: DrawOptions { k: 0, min_keep: 0, top_p: 1.0, log_min_p: 0.0, sharpness: 1.0, seed: [0; 2] },
        never: [NO_TOKEN; MOST_NEVER],
    };

    fn draws(self) -> bool {
        self.options.k > 0
    }
}

/// The kernel for some positions, which takes the best token or draws one.
#[derive(Debug)]
struct Variant {
    /// The first position that it is for.
    from: usize,
    geometry: Geometry,
    pipeline: ComputePipeline,
}

impl Variant {
    fn is_for(&self, drawing: Drawing) -> bool {
        self.geometry.draws == drawing.draws()
    }
}

/// The kernel for a model, compiled, for which weights need not be on the device yet.
#[derive(Debug)]
pub(crate) struct Compiled {
    variants: Vec<Variant>,
    /// Words that its groups exchange.
    len: usize,
    n_layers: u32,
    n_buffers: usize,
    more_weights: Option<MoreWeights>,
}

impl Compiled {
    /// Of geometries, each with the position from which on it is used, the first of those that draw, and of the others, 0, and the text of
    /// each variant.
    pub(crate) fn new(
        gpu: &Gpu,
        pipelines: &Pipelines,
        shape: &Shape,
        geometries: &[(usize, Geometry)],
        texts: &[String],
    ) -> Result<Self, GpuError> {
        let n_buffers = shape.n_buffers();
        let more_weights = pipelines.more_weights(gpu, n_buffers - 1);
        let compile = |(from, geometry): (usize, Geometry), text: &String| {
            let draws = if geometry.draws { "_draws" } else { "" };
            let name = format!("persistent_{}x{}{draws}", geometry.threads, geometry.splits);
            let pipeline = pipelines.compile_text(gpu, &name, text.clone(), more_weights.as_ref())?;
            Ok(Variant { from, geometry, pipeline })
        };
        let variants = thread::scope(|scope| {
            let jobs = geometries.iter().zip(texts);
            let workers: Vec<_> =
                jobs.map(|(&geometry, text)| scope.spawn(move || compile(geometry, text))).collect();
            workers.into_iter().map(joined).collect::<Result<Vec<_>, GpuError>>()
        })?;
        let len = geometries.iter().map(|(_, geometry)| exchange_words(shape, geometry)).max().unwrap_or(0);
        Ok(Self { variants, len, n_layers: shape.n_layers as u32, n_buffers, more_weights })
    }
}

/// The kernel, and the words that its groups exchange.
#[derive(Debug)]
pub(crate) struct Persistent {
    n_layers: u32,
    variants: Vec<Variant>,
    exchange: Buffer,
    len: usize,
    group: BindGroup,
    /// What it reads weights from but the first buffer.
    more_weights: Option<BindGroup>,
    /// The variant that used the words last; none if they must be cleared.
    last: Option<usize>,
    layer_uses: u32,
    token_uses: u32,
    /// Looks at a word before it is given up.
    pub(crate) limit: u32,
}

impl Persistent {
    /// For the model on a device.
    pub(crate) fn new(machine: &Machine, compiled: Compiled) -> Self {
        let Compiled { variants, len, n_layers, n_buffers, more_weights } = compiled;
        let gpu = &machine.gpu;
        let exchange = gpu.private("exchange", 4 * len as u64);
        let group = machine.pipelines.scratch(gpu, &exchange, &machine.tables, &machine.tokens);
        Self {
            n_layers,
            variants,
            exchange,
            len,
            group,
            more_weights: more_weights.map(|more| more.bind(gpu, &machine.weight_buffers[1..n_buffers])),
            last: None,
            layer_uses: 0,
            token_uses: 0,
            limit: MOST_LOOKS,
        }
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        4 * self.len as u64
    }

    /// Whether it can choose so.
    pub(crate) fn can(&self, drawing: Drawing) -> bool {
        self.variants.iter().any(|variant| variant.is_for(drawing))
    }

    /// The last variant that is for `position` and this choice.
    fn variant_at(&self, position: usize, drawing: Drawing) -> usize {
        let is_for = |variant: &Variant| variant.from <= position && variant.is_for(drawing);
        self.variants.iter().rposition(is_for).unwrap_or(0)
    }

    /// Tokens from `position` on that one variant is for, all in one submit.
    pub(crate) fn most_tokens(&self, position: usize, drawing: Drawing) -> usize {
        let later = self.variants.iter().filter(|variant| variant.from > position && variant.is_for(drawing));
        later.map(|variant| variant.from - position).min().unwrap_or(usize::MAX)
    }

    /// Submits at most [`Self::most_tokens`] tokens, `n_tokens`, from the row at `position` on. Their ids come to `ids`, with the status behind them.
    pub(crate) fn submit(
        &mut self,
        machine: &Machine,
        position: usize,
        n_tokens: usize,
        drawing: Drawing,
        ids: &Buffer,
    ) -> SubmissionIndex {
        let variant = self.variant_at(position, drawing);
        self.submit_variant(machine, variant, (position, n_tokens, drawing), ids)
    }

    fn submit_variant(
        &mut self,
        machine: &Machine,
        variant: usize,
        (position, n_tokens, drawing): (usize, usize, Drawing),
        ids: &Buffer,
    ) -> SubmissionIndex {
        if self.last != Some(variant) {
            // Its words are elsewhere, and not of the parity that it expects.
            self.write_exchange(machine, &vec![0; self.len]);
            (self.layer_uses, self.token_uses) = (0, 0);
            self.last = Some(variant);
        }
        let params = Params {
            position: position as u32,
            n_tokens: n_tokens as u32,
            layer_uses: self.layer_uses,
            token_uses: self.token_uses,
            limit: self.limit,
            drawing,
            n_groups: self.variants[variant].geometry.groups as u32,
            philox_rounds: PHILOX_ROUNDS as u32,
        };
        self.layer_uses = self.layer_uses.wrapping_add(n_tokens as u32 * self.n_layers);
        self.token_uses = (self.token_uses + n_tokens as u32) % 2;
        let Variant { geometry, pipeline, .. } = &self.variants[variant];
        machine.submit(
            |pass| {
                pass.set_pipeline(pipeline);
                pass.set_bind_group(0, &machine.weights[0].read, &[]);
                pass.set_bind_group(1, machine.kv.group(0), &[]);
                pass.set_bind_group(2, &self.group, &[]);
                if let Some(more) = &self.more_weights {
                    pass.set_bind_group(3, more, &[]);
                }
                pass.set_immediates(0, bytemuck::bytes_of(&params));
                pass.dispatch_workgroups((geometry.groups + geometry.helpers) as u32, 1, 1);
            },
            |encoder| {
                let (from, len) = (4 * (position + 1) as u64, 4 * n_tokens as u64);
                encoder.copy_buffer_to_buffer(&machine.tokens, from, ids, 0, len);
                let status = 4 * STATUS_WORDS as u64;
                encoder.copy_buffer_to_buffer(&self.exchange, 0, ids, len, status);
            },
        )
    }

    /// Writes words from the first on, for everything that is submitted later.
    pub(crate) fn write_exchange(&self, machine: &Machine, words: &[u32]) {
        machine.gpu.queue.write_buffer(&self.exchange, 0, bytemuck::cast_slice(words));
    }
}

/// What became of a submit of `n_tokens` tokens, whose ids and status these are: how many tokens are done, and whether the kernel has
/// stopped behind them.
pub(crate) fn outcome(words: &[u32], n_tokens: usize) -> (usize, bool) {
    let status = &words[n_tokens..];
    let done = (status[DONE] as usize).min(n_tokens);
    (done, status[STOPPED] != 0 || done < n_tokens)
}
