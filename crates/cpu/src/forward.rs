//! The backend: a model on the CPU.

use crate::arch::Kernels;
use crate::attention::{Place, Rotation};
use crate::error::CpuError;
use crate::kv::KvStore;
use crate::layer::{Pass, Split, Step};
use crate::pool::Pool;
use crate::scratch::Scratch;
use crate::weights::{self, CpuWeights};
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
        let allowed = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.map_or_else(|| num_cpus::get_physical().clamp(1, allowed), NonZeroUsize::get)
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
        let pool = Pool::new(threads)?;
        let blocks = KvBlocks::new(options.context_len, options.n_sequences, spec.n_vocab);
        Ok(Self {
            spec: spec.clone(),
            kernels,
            weights: CpuWeights::load(spec, weights, threads, progress)?,
            kv: KvStore::new(spec, blocks.n_blocks()),
            blocks,
            rotation: Rotation::new(spec),
            scratch: Scratch::new(threads),
            pool,
            device: DeviceInfo {
                kind: DeviceKind::Cpu,
                backend: "CPU",
                name: format!("{} {}", std::env::consts::ARCH, kernels.name),
                threads,
            },
            notes: weights::notes(weights),
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

    /// Computes rows that are in the block table already; their logits begin at `first_logits`.
    fn pass(&mut self, rows: &[Row], first_logits: usize) {
        let tokens: Vec<u32> = rows.iter().map(|row| row.token).collect();
        let place =
            |row: &Row| Place { position: row.position as usize, blocks: self.blocks.table(row.sequence) };
        let places: Vec<Place<'_>> = rows.iter().map(place).collect();
        let wanted: Vec<usize> =
            rows.iter().enumerate().filter(|(_, row)| row.wants_logits).map(|(i, _)| i).collect();
        let few = Scratch::few_rows(self.pool.count());
        let pass = Pass {
            spec: &self.spec,
            kernels: self.kernels,
            weights: &self.weights,
            kv: &self.kv,
            rotation: &self.rotation,
            scratch: &self.scratch,
            split: if rows.len() <= few { Split::Groups } else { Split::Rows },
            tokens: &tokens,
            places: &places,
            wanted: &wanted,
            first_logits,
        };
        self.pool.run(&|worker| Step::run(&pass, worker));
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
        self.blocks.append(rows)?;
        let n_wanted = rows.iter().filter(|row| row.wants_logits).count();
        let last = rows.iter().map(|row| row.position as usize).max().unwrap_or(0);
        self.rotation.reserve(last + 1);
        let most = rows.len().min(MOST_ROWS);
        self.scratch.reserve(&self.spec, most, n_wanted, self.blocks.context_len());
        let mut first_logits = 0;
        for chunk in rows.chunks(MOST_ROWS) {
            self.pass(chunk, first_logits);
            first_logits += chunk.iter().filter(|row| row.wants_logits).count();
        }
        Ok(&self.scratch.logits.as_mut_slice()[..n_wanted * self.spec.n_vocab])
    }
}
