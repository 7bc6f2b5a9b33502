//! Every intermediate result of a token, read back after the step that makes it: slow, and for people.

use crate::error::GpuError;
use crate::forward::GpuForwardPass;
use crate::kernels::attend::Output;
use crate::kernels::heads::Heads;
use crate::kernels::quantize::Quantize;
use crate::plan::{Role, Step, What};
use crate::planner::Planner;
use crate::regions::{Region, heads};
use crate::tensors::qkv_starts;
use model::Tap;

impl GpuForwardPass {
    /// Runs a plan of the token at `position` step by step: that which leaves everything to be read, if there are several.
    pub(crate) fn trace(&mut self, position: u32) -> Result<Vec<Tap>, GpuError> {
        let readable = Planner { apart: true, ..self.planner() }.token(self.plans.splits(position as usize));
        self.machine.prepare(&readable.steps)?;
        let Self { machine, plans, token, .. } = &*self;
        let mut steps = plans.embedding.steps.iter().chain(&readable.steps).peekable();
        let mut taps = Vec::new();
        let heads = heads(&self.spec);
        // Attention by parts is put together by the step after it, for itself.
        let splits =
            Some(plans.splits(position as usize)).filter(|&n| Output::of(heads, n) == Output::States);
        while let Some(step) = steps.next() {
            let one = std::slice::from_ref(step);
            machine.submit(|pass| machine.record(pass, &token.group, one, position), |_| ());
            let same = |next: &&Step| (next.what.role, next.what.layer) == (step.what.role, step.what.layer);
            // A result is there when the last of the steps that make it is done.
            if steps.peek().is_some_and(same) {
                continue;
            }
            for (name, at, len) in self.results(step.what, splits.is_none()) {
                let values = match step.kernel.rounds() {
                    true => Quantize::numbers(&self.words(at, Quantize::row_words(len))?, len),
                    false => self.floats(at, len)?,
                };
                taps.push(Tap { name, values });
            }
            if let (Some(splits), Role::Attn) = (splits, step.what.role) {
                let states =
                    self.floats(token.regions.states, 4 * heads.state_quads() * heads.n_heads * splits)?;
                taps.push(Tap {
                    name: name(step.what.layer, "attn"),
                    values: merged(heads, splits, &states),
                });
            }
        }
        Ok(taps)
    }

    fn floats(&self, at: u32, len: usize) -> Result<Vec<f32>, GpuError> {
        Ok(self.words(at, len)?.into_iter().map(f32::from_bits).collect())
    }

    fn words(&self, at: u32, len: usize) -> Result<Vec<u32>, GpuError> {
        self.machine.gpu.read(&self.token.buffer, at as usize, len)
    }

    /// What a step leaves behind: names, places and lengths in floats; attention only if it is over `whole` contexts.
    fn results(&self, what: What, whole: bool) -> Vec<(String, u32, usize)> {
        let (r, spec) = (&self.token.regions, &self.spec);
        let one = |suffix: &str, region: Region, len| vec![(name(what.layer, suffix), region.at, len)];
        match what.role {
            Role::TokenEmbd => one("token_embd", r.hidden, spec.n_embd),
            Role::AttnQkv => {
                let [q, k, v, _] = qkv_starts(spec).map(|start| r.qkv.at + start as u32);
                vec![
                    (name(what.layer, "attn_q"), q, spec.q_dim()),
                    (name(what.layer, "attn_k"), k, spec.kv_dim()),
                    (name(what.layer, "attn_v"), v, spec.kv_dim()),
                ]
            }
            Role::Attn if whole => one("attn", r.attended, spec.q_dim()),
            Role::AttnOutput => one("attn_residual", r.hidden, spec.n_embd),
            Role::FfnGateUp | Role::FfnSiluMul => one("ffn_gated", r.gated, spec.n_ff),
            Role::FfnDown => one("ffn_residual", r.hidden, spec.n_embd),
            Role::Output => one("output", r.logits, spec.n_vocab),
            Role::Attn
            | Role::AttnNorm
            | Role::RopeKv
            | Role::FfnNorm
            | Role::FfnGate
            | Role::FfnUp
            | Role::OutputNorm
            | Role::Candidates
            | Role::NextToken => Vec::new(),
        }
    }
}

fn name(layer: Option<usize>, suffix: &str) -> String {
    layer.map_or_else(|| suffix.to_owned(), |layer| format!("blk.{layer}.{suffix}"))
}

/// States of attention, `[n_heads, splits, state]` floats, put together as the kernels do it: in a state what was mixed, and in
/// its last quad the top score and the sum of weights relative to it.
fn merged(heads: Heads, splits: usize, states: &[f32]) -> Vec<f32> {
    let len = 4 * heads.state_quads();
    let head = |parts: &[f32]| -> Vec<f32> {
        let tops = parts.chunks_exact(len).map(|part| part[len - 4]);
        let top = tops.fold(f32::MIN, f32::max);
        let (mut total, mut sums) = (0.0, vec![0.0; heads.head_dim]);
        for part in parts.chunks_exact(len).filter(|part| part[len - 3] > 0.0) {
            let weight = (part[len - 4] - top).exp();
            total += weight * part[len - 3];
            sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += weight * value);
        }
        sums.iter().map(|sum| sum / total).collect()
    };
    states.chunks_exact(splits * len).flat_map(head).collect()
}
