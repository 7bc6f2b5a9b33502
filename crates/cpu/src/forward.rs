//! The backend: a model on the CPU.

use crate::arch::{self, Kernels};
use crate::attention::{Place, Rotation};
use crate::error::CpuError;
use crate::kv::KvStore;
use crate::pass::Pass;
use crate::pass::few::{self, Few};
use crate::pass::many::{self, Many};
use crate::pool::Pool;
use crate::scratch::{FEW_ROWS, Scratch};
use crate::threads;
use crate::weights::CpuWeights;
use model::{
    DeviceInfo, DeviceKind, ForwardError, ForwardPass, KvBlocks, MemoryUse, ModelSpec, Row, SequenceId,
    Weights,
};
use std::num::NonZeroUsize;

/// Rows of one pass; longer prompts take several.
const MOST_ROWS: usize = 512;

/// How a model is to be run.
#[derive(Debug, Clone)]
pub struct CpuOptions {
    /// Worker threads; `None`: the physical cores that this process may use.
    pub threads: Option<NonZeroUsize>,
    /// Positions that a sequence may hold.
    pub context_len: usize,
    /// Sequences at a time.
    pub n_sequences: usize,
}

impl CpuOptions {
    fn n_threads(&self) -> usize {
        self.threads.map_or_else(threads::default_count, NonZeroUsize::get)
    }
}

/// A loaded model.
pub struct CpuForwardPass {
    spec: ModelSpec,
    kernels: &'static Kernels,
    weights: CpuWeights,
    blocks: KvBlocks,
    kv: KvStore,
    rotation: Rotation,
    scratch: Scratch,
    pool: Pool,
    /// Whether weights are prefetched into the first-level cache.
    is_near: bool,
    device: DeviceInfo,
    notes: Vec<String>,
}

impl std::fmt::Debug for CpuForwardPass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CpuForwardPass").field("device", &self.device).finish_non_exhaustive()
    }
}

impl CpuForwardPass {
    /// Repacks `weights`; `progress` hears the share that is done, 0 to 1. Nothing of the source is used afterwards.
    ///
    /// # Errors
    /// The system refuses memory or threads.
    pub fn new(
        spec: &ModelSpec,
        weights: &Weights<'_>,
        options: &CpuOptions,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Self, CpuError> {
        Self::with_kernels(spec, weights, options, Kernels::detect(), progress)
    }

    pub(crate) fn with_kernels(
        spec: &ModelSpec,
        weights: &Weights<'_>,
        options: &CpuOptions,
        kernels: &'static Kernels,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Self, CpuError> {
        let threads = options.n_threads();
        let most_phases = few::most_phases(spec.n_layers).max(many::most_phases(spec.n_layers, MOST_ROWS));
        let mut pool = Pool::new(threads, most_phases)?;
        let blocks = KvBlocks::new(options.context_len, options.n_sequences, spec.n_vocab);
        Ok(Self {
            spec: spec.clone(),
            kernels,
            weights: CpuWeights::load(spec, weights, &mut pool, progress)?,
            kv: KvStore::new(spec, blocks.n_blocks()),
            blocks,
            rotation: Rotation::new(spec),
            scratch: Scratch::new(threads),
            pool,
            is_near: arch::prefetches_near(),
            device: DeviceInfo {
                kind: DeviceKind::Cpu,
                backend: "CPU",
                name: format!("{} {}", std::env::consts::ARCH, kernels.name),
                threads,
            },
            notes: Vec::new(),
        })
    }

    /// Bytes that [`CpuForwardPass::new`] will take, weights and KV cache.
    #[must_use]
    pub fn memory_needed(spec: &ModelSpec, weights: &Weights<'_>, options: &CpuOptions) -> u64 {
        let blocks = KvBlocks::new(options.context_len, options.n_sequences, spec.n_vocab);
        let positions = (blocks.n_blocks() * model::BLOCK_LEN) as u64;
        CpuWeights::memory_needed(spec, weights) + positions * spec.kv_bytes_per_position()
    }

    /// What the user should know about this model on this device, one sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Takes rows in and computes them; their logits are in the scratch buffer then. Gives how many want them.
    fn compute(&mut self, rows: &[Row], greedy: bool) -> Result<usize, ForwardError> {
        self.blocks.append(rows)?;
        let n_wanted = rows.iter().filter(|row| row.wants_logits).count();
        let last = rows.iter().map(|row| row.position as usize).max().unwrap_or(0);
        self.rotation.reserve(last + 1);
        let most = rows.len().min(MOST_ROWS);
        self.scratch.reserve(&self.spec, most, n_wanted, self.blocks.context_len());
        let mut first_logits = 0;
        for chunk in rows.chunks(MOST_ROWS) {
            self.pass(chunk, first_logits, greedy);
            first_logits += chunk.iter().filter(|row| row.wants_logits).count();
        }
        Ok(n_wanted)
    }

    /// Computes rows that are in the block table already; their logits begin at `first_logits`.
    fn pass(&mut self, rows: &[Row], first_logits: usize, greedy: bool) {
        let tokens: Vec<u32> = rows.iter().map(|row| row.token).collect();
        let place =
            |row: &Row| Place { position: row.position as usize, blocks: self.blocks.table(row.sequence) };
        let places: Vec<Place<'_>> = rows.iter().map(place).collect();
        let wanted: Vec<usize> =
            rows.iter().enumerate().filter(|(_, row)| row.wants_logits).map(|(i, _)| i).collect();
        let pass = Pass {
            spec: &self.spec,
            kernels: self.kernels,
            weights: &self.weights,
            kv: &self.kv,
            rotation: &self.rotation,
            scratch: &self.scratch,
            n_workers: self.pool.count(),
            is_near: self.is_near,
            tokens: &tokens,
            places: &places,
            wanted: &wanted,
            first_logits,
            greedy,
        };
        if rows.len() <= FEW_ROWS {
            let few = Few::new(&pass);
            few.embed();
            self.pool.run(&few.items(), &|task| few.work(task));
        } else {
            let many = Many::new(&pass);
            self.pool.run(&many.items(), &|task| many.work(task));
        }
    }
}

impl ForwardPass for CpuForwardPass {
    fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    fn device(&self) -> &DeviceInfo {
        &self.device
    }

    fn memory(&self) -> MemoryUse {
        MemoryUse {
            weights_bytes: self.weights.len_bytes(),
            kv_bytes: self.kv.len_bytes(),
            scratch_bytes: self.scratch.len_bytes(),
        }
    }

    /// Told by Linux alone.
    fn large_page_bytes(&self) -> Option<u64> {
        self.weights.arena.large_page_bytes()
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
        if position >= self.blocks.len(sequence) {
            return [Vec::new(), Vec::new()];
        }
        let block = self.blocks.table(sequence)[position / model::BLOCK_LEN];
        self.kv.read(layer, block, position % model::BLOCK_LEN)
    }

    fn forward(&mut self, rows: &[Row]) -> Result<&[f32], ForwardError> {
        let n_wanted = self.compute(rows, false)?;
        Ok(&self.scratch.logits.as_mut_slice()[..n_wanted * self.spec.n_vocab])
    }

    fn forward_token_greedy(&mut self, token: u32) -> Result<u32, ForwardError> {
        self.scratch.workers.as_mut_slice().iter_mut().for_each(|worker| worker.best = None);
        let rows = Row::prompt(SequenceId(0), self.next_position(), &[token]);
        self.compute(&rows, true)?;
        let best = self.scratch.workers.as_mut_slice().iter().filter_map(|worker| worker.best);
        let best = best.reduce(|a, b| if b.1 > a.1 || (b.1 == a.1 && b.0 < a.0) { b } else { a });
        Ok(match best {
            Some((token, _)) => token,
            // Nothing above minus infinity: the first that is a number at all.
            None => {
                let logits = &self.scratch.logits.as_mut_slice()[..self.spec.n_vocab];
                logits.iter().position(|v| !v.is_nan()).unwrap_or(0) as u32
            }
        })
    }
}
