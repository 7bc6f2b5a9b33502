//! Many rows at once: prompts, rows of several sequences, the few rows of a speculation.

use crate::buffer::Readback;
use crate::error::GpuError;
use crate::forward::{GpuForwardPass, OWN};
use crate::kernels::attend;
use crate::plan::Step;
use crate::planner::{Batch, Planner, Run};
use crate::regions::{Regions, heads};
use crate::scratch::Scratch;
use crate::tables::ROW_WORDS;
use model::{BLOCK_LEN, Row, SequenceId};
use std::ops::Range;

/// What a batch's plan follows from: its rows, in how many parts their keys are attended to, and the rows whose logits come with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchKey {
    batch: Batch,
    splits: usize,
    logits: Option<Range<usize>>,
}

impl GpuForwardPass {
    /// Computes rows that the cache has room for, as many at a time as there is scratch for; logits of those that want them are
    /// added to `self.logits`.
    pub(crate) fn run_batch(&mut self, rows: &[Row]) -> Result<(), GpuError> {
        if self.batch.is_none() {
            let Self { machine: m, batch_regions, .. } = &*self;
            self.batch = Some(Scratch::new(&m.gpu, &m.pipelines, *batch_regions, &m.tables, &m.tokens));
        }
        rows.chunks(self.batch_regions.n_rows).try_for_each(|chunk| self.run_chunk(chunk))
    }

    /// The first logits come with the rows, in one submit; more of them than there is room for at a time follow.
    fn run_chunk(&mut self, rows: &[Row]) -> Result<(), GpuError> {
        let batch = self.describe(rows);
        let mut wanted = wanted(rows, self.batch_regions.n_logits).into_iter();
        let first = wanted.next();
        self.plan_batch(batch, rows, first.clone())?;
        let Some((_, plan)) = &self.batch_plan else { return Ok(()) };
        let logits = self.submit(&plan.steps, first.map_or(0, |rows| rows.len()));
        self.take_logits(logits)?;
        for rows in wanted {
            let plan = self.batch_planner().logits(rows.start, rows.len());
            self.machine.prepare(&plan.steps)?;
            let logits = self.submit(&plan.steps, rows.len());
            self.take_logits(logits)?;
        }
        Ok(())
    }

    /// Makes `batch_plan` that of these rows, its kernels compiled. Prompts are often as long as the one before.
    pub(crate) fn plan_batch(
        &mut self,
        batch: Batch,
        rows: &[Row],
        logits: Option<Range<usize>>,
    ) -> Result<(), GpuError> {
        let last = rows.iter().map(|row| row.position as usize).max().unwrap_or(0);
        let keys = (last / BLOCK_LEN + 1) * BLOCK_LEN;
        let splits = Regions::splits(1, attend::splits(heads(&self.spec), keys));
        let key = BatchKey { batch, splits, logits };
        if self.batch_plan.as_ref().is_some_and(|(known, _)| *known == key) {
            return Ok(());
        }
        let planner = self.batch_planner();
        let mut plan = planner.batch(&key.batch, key.splits);
        if let Some(rows) = key.logits.clone() {
            plan.steps.extend(planner.logits(rows.start, rows.len()).steps);
        }
        self.machine.prepare(&plan.steps)?;
        self.batch_plan = Some((key, plan));
        Ok(())
    }

    /// Submits steps of a batch, and a copy of the first `n_logits` rows of logits to the host.
    pub(crate) fn submit(&self, steps: &[Step], n_logits: usize) -> Option<Readback> {
        let scratch = self.batch.as_ref()?;
        let region = scratch.regions.logits;
        let readback = (n_logits > 0).then(|| {
            self.machine.gpu.staging(&scratch.buffer, region.at as usize, n_logits * region.stride as usize)
        });
        self.machine.submit_in_pieces(&scratch.group, steps, |encoder| {
            if let Some(readback) = &readback {
                readback.record(encoder);
            }
        });
        readback
    }

    /// Waits for logits, and adds them to `self.logits`.
    pub(crate) fn take_logits(&mut self, logits: Option<Readback>) -> Result<(), GpuError> {
        let Some(logits) = logits else { return Ok(()) };
        let (to, n_vocab) = (&mut self.logits, self.spec.n_vocab);
        let stride = self.batch_regions.logits.stride as usize;
        self.machine.gpu.take(logits, |words| {
            let rows = words.chunks(stride);
            rows.for_each(|row| to.extend_from_slice(bytemuck::cast_slice(&row[..n_vocab])));
        })
    }

    /// Tells the kernels what the rows are.
    pub(crate) fn describe(&self, rows: &[Row]) -> Batch {
        let (at, ids_at) = (self.machine.tables_at, self.blocks.context_len() + 1);
        // The ids of sequence 0 are in their places anyway: the choice of later tokens looks back at them.
        let apart = rows.iter().any(|row| row.sequence != OWN);
        let mut tables: Vec<u32> = Vec::new();
        let mut runs: Vec<(SequenceId, Run)> = Vec::new();
        let mut words = Vec::with_capacity(ROW_WORDS * rows.len());
        let mut known: Vec<(SequenceId, u32)> = Vec::new();
        for (i, row) in rows.iter().enumerate() {
            let table = match known.iter().find(|(sequence, _)| *sequence == row.sequence) {
                Some((_, table)) => *table,
                None => {
                    let table = at.batch_blocks + tables.len() as u32;
                    tables.extend(self.blocks.table(row.sequence));
                    known.push((row.sequence, table));
                    table
                }
            };
            // An id is found by its row's position, wherever it lies.
            let id_at = if apart { ((ids_at + i) as u32).wrapping_sub(row.position) } else { 0 };
            words.extend([row.position, table, id_at, 0]);
            match runs.last_mut() {
                Some((sequence, run)) if *sequence == row.sequence => run.n_rows += 1,
                _ => runs.push((row.sequence, Run { first: row.position, n_rows: 1, table })),
            }
        }
        let ids: Vec<u32> = rows.iter().map(|row| row.token).collect();
        self.machine.write_tables(at.rows, &words);
        self.machine.write_tables(at.batch_blocks, &tables);
        if apart {
            self.machine.write_tokens(ids_at, &ids);
        }
        let mut row = 0;
        for (sequence, run) in &runs {
            if *sequence == OWN {
                self.machine.write_tokens(run.first as usize, &ids[row..row + run.n_rows]);
            }
            row += run.n_rows;
        }
        Batch { runs: runs.into_iter().map(|(_, run)| run).collect() }
    }

    fn batch_planner(&self) -> Planner<'_> {
        Planner { regions: self.batch_regions, ..self.planner() }
    }
}

/// Neighbouring rows that want logits, at most `most` at a time.
pub(crate) fn wanted(rows: &[Row], most: usize) -> Vec<Range<usize>> {
    let mut wanted: Vec<Range<usize>> = Vec::new();
    for (i, _) in rows.iter().enumerate().filter(|(_, row)| row.wants_logits) {
        match wanted.last_mut() {
            Some(rows) if rows.end == i && rows.len() < most => rows.end = i + 1,
            _ => wanted.push(i..i + 1),
        }
    }
    wanted
}
