//! Decoding without waiting: tokens are submitted ahead of the host, and their ids read late.

use crate::error::GpuError;
use crate::machine::Machine;
use crate::persistent::{Drawing, Persistent, STATUS_WORDS, outcome};
use crate::plan::Plan;
use crate::token_plans::TokenPlans;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use wgpu::{BindGroup, Buffer, SubmissionIndex};

/// Tokens of a submit at most.
pub(crate) const MOST_TOKENS: usize = 8;
/// Ids, and the status of the persistent kernel.
const STAGING_BYTES: u64 = 4 * (MOST_TOKENS + STATUS_WORDS) as u64;
/// Submits on their way at a time: one at work, one behind it.
const MOST_AHEAD: usize = 2;
/// How long a submit should take: long against what it costs the host, short against what a reader notices.
const SUBMIT_TIME: Duration = Duration::from_millis(4);

/// Submits on their way, and the buffers that their ids come back in.
#[derive(Debug)]
pub(crate) struct Flight {
    staging: Vec<Buffer>,
    ahead: VecDeque<Submitted>,
    most_ahead: usize,
    most_tokens: usize,
    /// How many tokens the next submit takes.
    tokens: usize,
    landed: Option<Instant>,
}

#[derive(Debug)]
struct Submitted {
    staging: Buffer,
    /// The position of its first row.
    position: usize,
    n_tokens: usize,
    /// Whether the words say behind the ids how it went.
    persistent: bool,
    index: SubmissionIndex,
    mapped: Arc<AtomicBool>,
}

/// Ids that came back.
#[derive(Debug)]
pub(crate) struct Landed {
    /// The position of the row that chose the first.
    pub(crate) position: usize,
    pub(crate) ids: Vec<u32>,
    /// Whether the persistent kernel stopped behind them, and will not go on.
    pub(crate) stopped: bool,
}

/// What runs the tokens of a submit.
pub(crate) enum Way<'a> {
    Dispatches(Dispatches<'a>),
    Persistent(&'a mut Persistent, Drawing),
}

/// What a token runs, a dispatch for each step.
pub(crate) struct Dispatches<'a> {
    pub(crate) plans: &'a TokenPlans,
    pub(crate) choose: &'a Plan,
    pub(crate) scratch: &'a BindGroup,
}

impl Flight {
    /// Waiting for every token with `synced`.
    pub(crate) fn new(machine: &Machine, synced: bool) -> Self {
        let (most_ahead, most_tokens) = if synced { (1, 1) } else { (MOST_AHEAD, MOST_TOKENS) };
        let buffer = |_| machine.gpu.readback("ids", STAGING_BYTES);
        Self {
            staging: (0..most_ahead).map(buffer).collect(),
            ahead: VecDeque::new(),
            most_ahead,
            most_tokens,
            tokens: 1,
            landed: None,
        }
    }

    /// Bytes of the buffers that ids come back in.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.most_ahead as u64 * STAGING_BYTES
    }

    pub(crate) fn has_room(&self) -> bool {
        !self.staging.is_empty()
    }

    /// How many tokens the next submit takes.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }

    /// A decode begins: what was measured before does not count.
    pub(crate) fn start(&mut self) {
        self.landed = None;
    }

    /// Submits `n_tokens` tokens from the row at `position` on; `first` if its id was written by the host.
    pub(crate) fn submit(
        &mut self,
        machine: &Machine,
        way: Way<'_>,
        position: usize,
        n_tokens: usize,
        first: bool,
    ) {
        let Some(staging) = self.staging.pop() else { return };
        let persistent = matches!(way, Way::Persistent(..));
        let n_words = n_tokens + if persistent { STATUS_WORDS } else { 0 };
        let index = match way {
            Way::Dispatches(plans) => plans.submit(machine, position, n_tokens, first, &staging),
            Way::Persistent(kernel, drawing) => kernel.submit(machine, position, n_tokens, drawing, &staging),
        };
        let mapped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&mapped);
        staging.slice(..4 * n_words as u64).map_async(wgpu::MapMode::Read, move |outcome| {
            flag.store(outcome.is_ok(), Ordering::Release);
        });
        self.ahead.push_back(Submitted { staging, position, n_tokens, persistent, index, mapped });
    }

    /// Waits for the oldest submit; `None` if there is none.
    pub(crate) fn land(&mut self, machine: &Machine) -> Result<Option<Landed>, GpuError> {
        let Some(oldest) = self.ahead.pop_front() else { return Ok(None) };
        machine.gpu.wait_for(oldest.index)?;
        if !oldest.mapped.load(Ordering::Acquire) {
            return Err(GpuError::Lost { reason: "the ids of a decode could not be read back".to_owned() });
        }
        let n_words = oldest.n_tokens + if oldest.persistent { STATUS_WORDS } else { 0 };
        let slice = oldest.staging.slice(..4 * n_words as u64);
        let view = slice.get_mapped_range().map_err(|error| GpuError::Lost { reason: error.to_string() })?;
        let mut ids: Vec<u32> = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        oldest.staging.unmap();
        self.staging.push(oldest.staging);
        let (done, stopped) = match oldest.persistent {
            true => outcome(&ids, oldest.n_tokens),
            false => (oldest.n_tokens, false),
        };
        ids.truncate(done);
        self.pace(oldest.n_tokens);
        Ok(Some(Landed { position: oldest.position, ids, stopped }))
    }

    /// Waits for everything that is on its way, and drops it.
    pub(crate) fn drain(&mut self, machine: &Machine) -> Result<(), GpuError> {
        while self.land(machine)?.is_some() {}
        Ok(())
    }

    /// More tokens a submit where they are quick, fewer where they are slow.
    fn pace(&mut self, n_tokens: usize) {
        let now = Instant::now();
        if let Some(before) = self.landed.replace(now) {
            let token = (now - before).as_secs_f64() / n_tokens as f64;
            let wanted = (SUBMIT_TIME.as_secs_f64() / token.max(1e-6)) as usize;
            self.tokens = wanted.clamp(1, (2 * self.tokens).min(self.most_tokens));
        }
    }
}

impl Dispatches<'_> {
    /// Submits `n_tokens` tokens from the row at `position` on, whose ids come to `ids`.
    fn submit(
        &self,
        machine: &Machine,
        position: usize,
        n_tokens: usize,
        first: bool,
        ids: &Buffer,
    ) -> SubmissionIndex {
        machine.submit(
            |pass| {
                for at in position..position + n_tokens {
                    let embedding = (first && at == position).then_some(&self.plans.embedding);
                    for plan in embedding.into_iter().chain([self.plans.at(at), self.choose]) {
                        machine.record(pass, self.scratch, &plan.steps, at as u32);
                    }
                }
            },
            |encoder| {
                let (from, len) = (4 * (position + 1) as u64, 4 * n_tokens as u64);
                encoder.copy_buffer_to_buffer(&machine.tokens, from, ids, 0, len);
            },
        )
    }
}
