//! Every intermediate result of a token, read back after the step that makes it: slow, and for people.

use crate::error::GpuError;
use crate::forward::GpuForwardPass;
use crate::plan::{Role, What};
use crate::regions::Region;
use crate::tensors::qkv_starts;
use model::Tap;

impl GpuForwardPass {
    /// Runs the plan of the token at `position` step by step.
    pub(crate) fn trace(&mut self, position: u32) -> Result<Vec<Tap>, GpuError> {
        let Self { machine, plans, token, .. } = &*self;
        let mut steps = plans.embedding.steps.iter().chain(&plans.at(position as usize).steps).peekable();
        let mut taps = Vec::new();
        while let Some(step) = steps.next() {
            let one = std::slice::from_ref(step);
            machine.submit(|pass| machine.record(pass, &token.group, one, position), |_| ());
            let same = |next: &&crate::plan::Step| {
                (next.what.role, next.what.layer) == (step.what.role, step.what.layer)
            };
            // A result is there when the last of the steps that make it is done.
            if steps.peek().is_some_and(same) {
                continue;
            }
            for (name, at, len) in self.results(step.what) {
                let words = machine.gpu.read(&token.buffer, at as usize, len)?;
                taps.push(Tap { name, values: words.into_iter().map(f32::from_bits).collect() });
            }
        }
        Ok(taps)
    }

    /// What a step leaves behind: names, places and lengths in floats.
    fn results(&self, what: What) -> Vec<(String, u32, usize)> {
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
            Role::Attn => one("attn", r.attended, spec.q_dim()),
            Role::AttnOutput => one("attn_residual", r.hidden, spec.n_embd),
            Role::FfnGateUp | Role::FfnSiluMul => one("ffn_gated", r.gated, spec.n_ff),
            Role::FfnDown => one("ffn_residual", r.hidden, spec.n_embd),
            Role::Output => one("output", r.logits, spec.n_vocab),
            Role::AttnNorm
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
