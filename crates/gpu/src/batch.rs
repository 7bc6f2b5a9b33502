//! Many rows at once: prompts, rows of several sequences, the few rows of a speculation.

use crate::error::GpuError;
use crate::forward::GpuForwardPass;
use crate::load::MOST_ROWS;
use crate::planner::{Batch, Planner, Run};
use crate::scratch::Scratch;
use crate::tables::ROW_WORDS;
use model::{Row, SequenceId};

impl GpuForwardPass {
    /// Computes rows that the cache has room for, as many at a time as there is scratch for; logits of those that want them are
    /// added to `self.logits`.
    pub(crate) fn run_batch(&mut self, rows: &[Row]) -> Result<(), GpuError> {
        if self.batch.is_none() {
            let Self { machine: m, batch_regions, .. } = &*self;
            self.batch = Some(Scratch::new(&m.gpu, &m.pipelines, *batch_regions, &m.tables, &m.tokens));
        }
        rows.chunks(self.batch_regions.n_rows.min(MOST_ROWS)).try_for_each(|chunk| self.run_chunk(chunk))
    }

    fn run_chunk(&mut self, rows: &[Row]) -> Result<(), GpuError> {
        let batch = self.describe(rows);
        let last = rows.iter().map(|row| row.position as usize).max().unwrap_or(0);
        let plan = self.batch_planner().batch(&batch, self.plans.splits(last));
        self.machine.prepare(&plan.steps)?;
        let Some(scratch) = &self.batch else { return Ok(()) };
        self.machine.submit_in_pieces(&scratch.group, &plan.steps, self.machine.gpu.work_a_submit());
        self.read_logits(rows)
    }

    /// Tells the kernels what the rows are.
    fn describe(&self, rows: &[Row]) -> Batch {
        let (at, ids_at) = (self.machine.tables_at, self.blocks.context_len() + 1);
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
            words.extend([row.position, table, ((ids_at + i) as u32).wrapping_sub(row.position), 0]);
            match runs.last_mut() {
                Some((sequence, run)) if *sequence == row.sequence => run.n_rows += 1,
                _ => runs.push((row.sequence, Run { first: row.position, n_rows: 1, table })),
            }
        }
        let ids: Vec<u32> = rows.iter().map(|row| row.token).collect();
        self.machine.write_tables(at.rows, &words);
        self.machine.write_tables(at.batch_blocks, &tables);
        self.machine.write_tokens(ids_at, &ids);
        // The choice of later tokens looks back at those of sequence 0.
        let mut row = 0;
        for (sequence, run) in &runs {
            if *sequence == SequenceId(0) {
                self.machine.write_tokens(run.first as usize, &ids[row..row + run.n_rows]);
            }
            row += run.n_rows;
        }
        Batch { runs: runs.into_iter().map(|(_, run)| run).collect() }
    }

    /// Logits of the rows that want them, neighbours together.
    fn read_logits(&mut self, rows: &[Row]) -> Result<(), GpuError> {
        let most = self.batch_regions.n_logits;
        let mut row = 0;
        for run in rows.chunk_by(|a, b| a.wants_logits == b.wants_logits) {
            let wanted = if run[0].wants_logits { run.len() } else { 0 };
            for first in (0..wanted).step_by(most) {
                self.read_logits_of(row + first, most.min(wanted - first))?;
            }
            row += run.len();
        }
        Ok(())
    }

    fn read_logits_of(&mut self, row: usize, n_rows: usize) -> Result<(), GpuError> {
        let plan = self.batch_planner().logits(row, n_rows);
        self.machine.prepare(&plan.steps)?;
        let Some(scratch) = &self.batch else { return Ok(()) };
        self.machine.submit_in_pieces(&scratch.group, &plan.steps, self.machine.gpu.work_a_submit());
        let region = scratch.regions.logits;
        let words =
            self.machine.gpu.read(&scratch.buffer, region.at as usize, n_rows * region.stride as usize)?;
        for row in words.chunks(region.stride as usize) {
            self.logits.extend(row[..self.spec.n_vocab].iter().map(|&word| f32::from_bits(word)));
        }
        Ok(())
    }

    fn batch_planner(&self) -> Planner<'_> {
        Planner { regions: self.batch_regions, ..self.planner() }
    }
}
