//! From weights to a model on a device.

use crate::decode::Flight;
use crate::device::{Caps, Gpu};
use crate::error::GpuError;
use crate::forward::GpuForwardPass;
use crate::kernels::Kernel;
use crate::kernels::gemm_choice::{self, Picks};
use crate::kv_cache::{KvCache, KvLayout};
use crate::limits;
use crate::machine::Machine;
use crate::memory_plan::MemoryPlan;
use crate::options::GpuOptions;
use crate::persistent::{self, Candidate, Target};
use crate::pipeline::{Checks, Made, Pipelines, joined};
use crate::planner::{Batch, Planner, Run};
use crate::regions::Regions;
use crate::scratch::Scratch;
use crate::tables::{Tables, angles};
use crate::tensors::Tensors;
use crate::token_plans::TokenPlans;
use crate::upload::Upload;
use model::{Choice, DeviceInfo, DeviceKind, KvBlocks, ModelSpec, Weights};
use std::thread;

/// Rows that are computed at once, at most: small models are faster the more there are.
const MOST_ROWS: usize = 2048;
/// More than these are computed at once where their intermediate results take no more than so many bytes.
pub(crate) const FEWER_ROWS: usize = 512;
const MOST_BATCH_BYTES: u64 = 96 << 20;
const LEAST_ROWS: usize = 8;
/// Rows whose logits are computed at once.
const MOST_LOGITS: usize = 32;

impl GpuForwardPass {
    /// Opens a device, checks that everything fits there, uploads `weights` and compiles the kernels that this model needs;
    /// `progress` hears the share of the weights that is uploaded.
    ///
    /// # Errors
    /// See [`GpuError`]. A model that does not fit is refused before anything is uploaded.
    pub fn new(
        spec: &ModelSpec,
        weights: &Weights<'_>,
        options: &GpuOptions,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Self, GpuError> {
        limits::check(spec)?;
        let gpu = Gpu::open(options.adapter, options.binding_limit)?;
        let activations = gpu.activations(options.activations);
        let (tensors, layout) = Tensors::lay_out(gpu.caps.max_binding, spec, weights)?;
        let context_len = options.context_len;
        let blocks = KvBlocks::new(context_len, options.n_sequences.max(1), spec.n_vocab);
        let kv_layout = KvLayout::new(spec, blocks.n_blocks(), gpu.caps.max_binding)?;
        let token_regions = Regions::token(spec, tensors.gate_apart());
        let batch_regions = batch_regions(spec, &tensors, gpu.caps)?;
        let tables_at = Tables::new(spec, context_len, blocks.n_blocks(), batch_regions.n_rows);
        let n_ids = context_len + 1 + batch_regions.n_rows;
        let bytes = [layout.len_bytes(), kv_layout.len_bytes()];
        let mut memory = memory_plan(bytes, [&token_regions, &batch_regions], tables_at.len + n_ids);
        memory.check(options.memory_limit.or(gpu.memory_bytes))?;

        let mut pipelines = Pipelines::new(&gpu, Checks::Off).cached(&gpu, options.pipeline_cache.as_deref());
        let kv_places = kv_layout.places();
        let picks = Picks::default();
        let planner = Planner {
            spec,
            tensors: &tensors,
            caps: gpu.caps,
            tables: tables_at,
            kv: &kv_places,
            activations,
            picks: &picks,
            regions: token_regions,
            apart: false,
        };
        let plans = TokenPlans::new(&planner, context_len);
        let target = Target { gpu: &gpu, pipelines: &pipelines, options };
        let kernels = kernels_of(&plans, &planner, batch_regions);
        let (uploaded, compiled, candidate) =
            compiled_meanwhile(target, kernels, &planner, || layout.upload(&gpu, progress));
        let Upload { buffers, note } = uploaded?;
        pipelines.adopt(compiled?);
        let tables = gpu.private("tables", 4 * tables_at.len as u64);
        let tokens = gpu.private("tokens", 4 * n_ids as u64);
        let kv = KvCache::new(&gpu, &pipelines, kv_layout);
        let token = Scratch::new(&gpu, &pipelines, token_regions, &tables, &tokens);
        let weights = buffers.iter().map(|buffer| pipelines.weights(&gpu, buffer)).collect();
        let machine =
            Machine { gpu, pipelines, weights, weight_buffers: buffers, kv, tables, tables_at, tokens };
        machine.write_tables(tables_at.rope, bytemuck::cast_slice(&angles(spec, context_len)));
        let flight = Flight::new(&machine, options.synced);
        memory.readback_bytes = flight.len_bytes();
        let mut pass = Self {
            spec: spec.clone(),
            tensors,
            kv_places,
            activations,
            picks,
            device: device_info(&machine.gpu),
            machine,
            memory,
            blocks,
            written_table: Vec::new(),
            token,
            plans,
            batch_regions,
            batch: None,
            batch_plan: None,
            choose: None,
            flight,
            persistent: None,
            why_dispatches: String::new(),
            logits: Vec::new(),
            notes: note.into_iter().collect(),
        };
        pass.try_persistent(candidate, options)?;
        Ok(pass)
    }

    /// Several tokens in one dispatch, where that is wanted and works.
    fn try_persistent(
        &mut self,
        candidate: Result<Candidate, String>,
        options: &GpuOptions,
    ) -> Result<(), GpuError> {
        match persistent::for_mode(self, candidate, options)? {
            Ok(kernel) => {
                self.memory.token_bytes += kernel.len_bytes();
                self.persistent = Some(kernel);
            }
            Err(why) => self.why_dispatches = why,
        }
        Ok(())
    }
}

/// The device of a loaded model, as its users see it.
fn device_info(gpu: &Gpu) -> DeviceInfo {
    DeviceInfo { kind: DeviceKind::Gpu, backend: gpu.backend.name(), name: gpu.name.clone(), threads: 0 }
}

/// What a model takes: `bytes` of weights, keys and values, what is computed of a token and of a batch, and words beside.
fn memory_plan(bytes: [u64; 2], [token, batch]: [&Regions; 2], n_words: usize) -> MemoryPlan {
    MemoryPlan {
        weights_bytes: bytes[0],
        kv_bytes: bytes[1],
        token_bytes: 4 * (token.len + n_words) as u64,
        readback_bytes: 0,
        batch_bytes: 4 * batch.len as u64,
    }
}

/// The kernels of a token's plans, of a prompt, of the best token, and of one that is drawn from the best.
fn kernels_of(plans: &TokenPlans, planner: &Planner<'_>, batch_regions: Regions) -> Vec<Kernel> {
    let full = Batch { runs: vec![Run { first: 0, n_rows: batch_regions.n_rows, table: 0 }] };
    let prompt = Planner { regions: batch_regions, ..*planner }.batch(&full, 1);
    let draw = Choice { temperature: 1.0, top_k: 40, ..Choice::GREEDY };
    let choose: Vec<_> = [Choice::GREEDY, draw].iter().filter_map(|choice| planner.choose(choice)).collect();
    let chosen = choose.iter().flat_map(|plan| &plan.steps);
    plans.steps().chain(&prompt.steps).chain(chosen).map(|step| step.kernel).collect()
}

/// What `upload` makes, and kernels, those of the plans and the one that is tried first, which are compiled meanwhile.
fn compiled_meanwhile<T>(
    target: Target<'_>,
    kernels: Vec<Kernel>,
    planner: &Planner<'_>,
    upload: impl FnOnce() -> T,
) -> (T, Result<Made, GpuError>, Result<Candidate, String>) {
    thread::scope(|scope| {
        let kernels = scope.spawn(|| target.pipelines.compile_missing(target.gpu, kernels));
        let candidate = scope.spawn(|| Candidate::first(planner, target));
        (upload(), joined(kernels), joined(candidate))
    })
}

/// Regions for as many rows as pay and a binding has room for.
fn batch_regions(spec: &ModelSpec, tensors: &Tensors, caps: Caps) -> Result<Regions, GpuError> {
    let sizes = std::iter::successors(Some((MOST_ROWS, MOST_LOGITS)), |&(rows, logits)| {
        let fewer = if rows <= FEWER_ROWS { (logits / 2).max(1) } else { logits };
        (rows > LEAST_ROWS).then_some((rows / 2, fewer))
    });
    let mut regions = sizes.map(|(rows, logits)| {
        let n_partials = gemm_choice::most_partials(rows.min(FEWER_ROWS), caps);
        Regions::batch(spec, tensors.gate_apart(), [rows, logits, n_partials])
    });
    let max_binding = caps.max_binding.min(1 << 32);
    let fits = |regions: &Regions| match 4 * regions.len as u64 {
        bytes if regions.n_rows > FEWER_ROWS => bytes <= MOST_BATCH_BYTES.min(max_binding),
        bytes => bytes <= max_binding,
    };
    regions.find(fits).ok_or_else(|| GpuError::Unsupported {
        what: format!(
            "the intermediate results of {LEAST_ROWS} rows do not fit the {} bytes that it binds",
            caps.max_binding
        ),
    })
}
