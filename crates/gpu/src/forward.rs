//! The backend: a model on the GPU.

use crate::batch::BatchKey;
use crate::decode::{Dispatches, Flight, Landed, Way};
use crate::error::GpuError;
use crate::kernels::Kernel;
use crate::kernels::gemm_choice::Picks;
use crate::load::FEWER_ROWS;
use crate::machine::Machine;
use crate::memory_plan::MemoryPlan;
use crate::options::Activations;
use crate::persistent::{Drawing, Persistent};
use crate::plan::Plan;
use crate::planner::{Planner, can_choose, drawing};
use crate::regions::Regions;
use crate::scratch::Scratch;
use crate::tensors::Tensors;
use crate::token_plans::TokenPlans;
use model::{
    BLOCK_LEN, Choice, DeviceInfo, ForwardError, ForwardPass, KvBlocks, MemoryUse, ModelSpec, Row,
    SequenceId, Tap,
};
use std::ops::ControlFlow;
use wgpu::DeviceType;

/// The sequence that decodes by itself.
pub(crate) const OWN: SequenceId = SequenceId(0);

/// What the user is told when the persistent kernel has stopped.
const STOPPED: &str = "decoding in one dispatch stopped, since the GPU did not run all workgroups; a dispatch for each step goes on";

/// A loaded model.
#[derive(Debug)]
pub struct GpuForwardPass {
    pub(crate) spec: ModelSpec,
    pub(crate) tensors: Tensors,
    pub(crate) kv_places: Vec<(usize, u32)>,
    pub(crate) activations: Activations,
    pub(crate) picks: Picks,
    pub(crate) machine: Machine,
    pub(crate) memory: MemoryPlan,
    pub(crate) blocks: KvBlocks,
    /// The block table of sequence 0 that the kernels see.
    pub(crate) written_table: Vec<u32>,
    pub(crate) token: Scratch,
    pub(crate) plans: TokenPlans,
    pub(crate) batch_regions: Regions,
    /// Made when it is first needed.
    pub(crate) batch: Option<Scratch>,
    /// The plan of the last rows, and what it follows from.
    pub(crate) batch_plan: Option<(BatchKey, Plan)>,
    /// The last choice, and its plan.
    pub(crate) choose: Option<(Choice, Plan)>,
    pub(crate) flight: Flight,
    /// The kernel that decodes several tokens in one dispatch, where it is possible and has not failed.
    pub(crate) persistent: Option<Persistent>,
    /// Why there is none.
    pub(crate) why_dispatches: String,
    pub(crate) logits: Vec<f32>,
    pub(crate) device: DeviceInfo,
    pub(crate) notes: Vec<String>,
}

impl GpuForwardPass {
    /// What the user should know, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What the model takes of the device's memory.
    #[must_use]
    pub fn memory_plan(&self) -> MemoryPlan {
        self.memory
    }

    /// The steps of a greedy token at the beginning of a context, a line each: what it reads and writes, and its workgroups.
    #[must_use]
    pub fn listing(&self) -> String {
        let mut plan = self.plans.at(0).clone();
        plan.steps.extend(self.planner().choose(&Choice::GREEDY).into_iter().flat_map(|plan| plan.steps));
        plan.to_string()
    }

    /// How many dispatches a greedy token at `position` takes; the first of a decode takes one more.
    #[must_use]
    pub fn n_dispatches(&self, position: usize) -> usize {
        let choose = self.planner().choose(&Choice::GREEDY).map_or(0, |plan| plan.n_dispatches());
        self.plans.at(position).n_dispatches() + choose
    }

    /// Whether some products of a token are made of activations in 8 bits.
    #[must_use]
    pub fn rounds_activations(&self) -> bool {
        self.plans.steps().any(|step| matches!(step.kernel, Kernel::MatvecInt8(_)))
    }

    /// Whether several greedy tokens are one dispatch.
    ///
    /// # Errors
    /// Why they are not, in words that follow "because".
    pub fn decodes_in_one_dispatch(&self) -> Result<(), String> {
        if self.persistent.is_some() { Ok(()) } else { Err(self.why_dispatches.clone()) }
    }

    /// Plans of one row.
    pub(crate) fn planner(&self) -> Planner<'_> {
        Planner {
            spec: &self.spec,
            tensors: &self.tensors,
            caps: self.machine.gpu.caps,
            tables: self.machine.tables_at,
            kv: &self.kv_places,
            activations: self.activations,
            picks: &self.picks,
            regions: self.token.regions,
            apart: false,
        }
    }

    /// Makes what the kernels know of sequence 0's blocks true.
    pub(crate) fn write_table(&mut self) {
        let table = self.blocks.table(OWN);
        if !self.written_table.starts_with(table) {
            self.machine.write_tables(self.machine.tables_at.blocks, table);
            self.written_table = table.to_vec();
        }
    }

    /// One row of sequence 0, which the cache has room for.
    fn run_token(&mut self, row: Row) -> Result<(), GpuError> {
        self.write_table();
        self.machine.write_tokens(row.position as usize, &[row.token]);
        let Self { machine, token, plans, spec, logits: to, .. } = self;
        let at = token.regions.logits.at as usize;
        let logits = row.wants_logits.then(|| machine.gpu.staging(&token.buffer, at, spec.n_vocab));
        machine.submit(
            |pass| {
                for plan in [&plans.embedding, plans.at(row.position as usize)] {
                    machine.record(pass, &token.group, &plan.steps, row.position);
                }
            },
            |encoder| logits.iter().for_each(|logits| logits.record(encoder)),
        );
        let Some(logits) = logits else { return Ok(()) };
        machine.gpu.take(logits, |words| to.extend_from_slice(bytemuck::cast_slice(words)))
    }

    /// The plan of a choice, its kernels compiled: only where it is used, since that takes milliseconds.
    fn prepare_choice(&mut self, choice: &Choice) -> Result<(), ForwardError> {
        if self.choose.as_ref().is_none_or(|(last, _)| last != choice) {
            let plan = self.planner().choose(choice).ok_or(ForwardError::Choice)?;
            self.machine.prepare(&plan.steps).map_err(lost)?;
            self.choose = Some((*choice, plan));
        }
        Ok(())
    }

    /// Takes in the next tokens of a decode and submits them. Which tokens they are is not known yet.
    fn submit_ahead(&mut self, token: u32, choice: &Choice, first: bool) -> Result<(), ForwardError> {
        let can = |drawing: &Drawing| self.persistent.as_ref().is_some_and(|kernel| kernel.can(*drawing));
        let drawing = drawing(choice, self.spec.n_vocab).filter(can);
        if drawing.is_none() {
            self.prepare_choice(choice)?;
        }
        let position = self.blocks.len(OWN);
        let n_tokens = self.flight.tokens().min(self.blocks.context_len() - position);
        let n_tokens = match (&self.persistent, drawing) {
            (Some(kernel), Some(drawing)) => n_tokens.min(kernel.most_tokens(position, drawing)),
            _ => n_tokens,
        };
        self.blocks.append(&Row::prompt(OWN, position as u32, &vec![token; n_tokens]))?;
        self.write_table();
        if first {
            self.machine.write_tokens(position, &[token]);
        }
        let Self { machine, plans, token: scratch, choose, flight, persistent, .. } = self;
        let way = match (drawing, persistent, choose) {
            (Some(drawing), Some(kernel), _) => Way::Persistent(kernel, drawing),
            (_, _, Some((_, choose))) => {
                Way::Dispatches(Dispatches { plans, choose, scratch: &scratch.group })
            }
            _ => return Err(ForwardError::Choice),
        };
        flight.submit(machine, way, position, n_tokens, first);
        Ok(())
    }

    /// The persistent kernel has stopped and is done with for good: what it did not get to is taken out of the sequence.
    fn leave_persistent(&mut self, landed: &Landed) -> Result<(), ForwardError> {
        self.persistent = None;
        "it has stopped".clone_into(&mut self.why_dispatches);
        self.notes.push(STOPPED.to_owned());
        self.flight.drain(&self.machine).map_err(lost)?;
        self.blocks.truncate(OWN, landed.position + landed.ids.len());
        Ok(())
    }

    /// Keeps tokens on their way until `on_token` breaks or there is no more room.
    fn fly(
        &mut self,
        token: u32,
        choice: &Choice,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<(), ForwardError> {
        let (mut token, mut first) = (token, true);
        loop {
            while self.flight.has_room() && self.blocks.len(OWN) < self.blocks.context_len() {
                match self.submit_ahead(token, choice, first) {
                    // Other sequences hold the rest of the cache: what is on its way still counts.
                    Err(ForwardError::KvFull { .. }) if !first => break,
                    outcome => outcome?,
                }
                first = false;
            }
            let Some(landed) = self.flight.land(&self.machine).map_err(lost)? else { return Ok(()) };
            if landed.stopped {
                self.leave_persistent(&landed)?;
                first = true;
            }
            token = landed.ids.last().copied().unwrap_or(token);
            for (i, &id) in landed.ids.iter().enumerate() {
                if on_token(id).is_break() {
                    self.flight.drain(&self.machine).map_err(lost)?;
                    self.blocks.truncate(OWN, landed.position + i + 1);
                    return Ok(());
                }
            }
        }
    }
}

/// What a caller of the seam is told.
pub(crate) fn lost(error: GpuError) -> ForwardError {
    let reason = match error {
        GpuError::Lost { reason } => reason,
        other => other.to_string(),
    };
    ForwardError::DeviceLost { reason }
}

impl ForwardPass for GpuForwardPass {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> &DeviceInfo {
        &self.device
    }

    fn memory(&self) -> MemoryUse {
        let batch = self.batch.as_ref().map_or(0, |scratch| scratch.buffer.size());
        MemoryUse {
            weights_bytes: self.memory.weights_bytes,
            kv_bytes: self.memory.kv_bytes,
            scratch_bytes: self.memory.token_bytes + self.memory.readback_bytes + batch,
        }
    }

    fn batch_len(&self) -> usize {
        match self.machine.gpu.info.device_type {
            DeviceType::DiscreteGpu => self.batch_regions.n_rows,
            // Slower devices would take seconds for more.
            _ => self.batch_regions.n_rows.min(FEWER_ROWS),
        }
    }

    fn context_len(&self) -> usize {
        self.blocks.context_len()
    }

    fn sequence_len(&self, sequence: SequenceId) -> usize {
        self.blocks.len(sequence)
    }

    fn truncate(&mut self, sequence: SequenceId, len: usize) {
        self.blocks.truncate(sequence, len);
    }

    fn key_and_value(&mut self, layer: usize, sequence: SequenceId, position: usize) -> [Vec<f32>; 2] {
        if position >= self.blocks.len(sequence) || layer >= self.spec.n_layers {
            return [Vec::new(), Vec::new()];
        }
        let block = self.blocks.table(sequence)[position / BLOCK_LEN];
        let machine = &self.machine;
        machine.kv.read(&machine.gpu, &self.spec, layer, block, position).unwrap_or_default()
    }

    fn forward(&mut self, rows: &[Row]) -> Result<&[f32], ForwardError> {
        self.blocks.append(rows)?;
        self.logits.clear();
        match rows {
            [row] if row.sequence == OWN => self.run_token(*row),
            _ => self.run_batch(rows),
        }
        .map_err(lost)?;
        Ok(&self.logits)
    }

    fn forward_token_greedy(&mut self, token: u32) -> Result<u32, ForwardError> {
        let mut chosen = 0;
        self.decode(token, &Choice::GREEDY, &mut |id| {
            chosen = id;
            ControlFlow::Break(())
        })?;
        Ok(chosen)
    }

    fn can_choose(&self, choice: &Choice) -> bool {
        can_choose(choice, self.spec.n_vocab)
    }

    fn decode(
        &mut self,
        token: u32,
        choice: &Choice,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<(), ForwardError> {
        if !self.can_choose(choice) {
            return Err(ForwardError::Choice);
        }
        self.flight.start();
        let outcome = self.fly(token, choice, on_token);
        if outcome.is_err() {
            // Nothing that was on its way is of use, and it may never come back.
            let _ = self.flight.drain(&self.machine);
        }
        outcome
    }

    fn trace_token(&mut self, token: u32) -> Result<Vec<Tap>, ForwardError> {
        let position = self.next_position();
        self.blocks.append(&Row::prompt(OWN, position, &[token]))?;
        self.write_table();
        self.machine.write_tokens(position as usize, &[token]);
        self.trace(position).map_err(lost)
    }
}
