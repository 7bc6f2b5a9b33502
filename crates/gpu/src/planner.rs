//! From a spec and its placed tensors to plans.

use crate::device::Caps;
use crate::kernels::argmax::{self, Argmax};
use crate::kernels::attend::{self, Attend, Output, Queries};
use crate::kernels::embed::{self, Embed, Ids};
use crate::kernels::heads::{Heads, Rotation};
use crate::kernels::matvec::{self, Epilogue, Matvec, Prologue};
use crate::kernels::merge_attention::{self, MergeAttention};
use crate::kernels::next_token::{self, NextToken};
use crate::layout::GROUP;
use crate::plan::{Plan, Step};
use crate::tensors::{Layer, Part, Tensors, qkv_starts};
use bytemuck::Zeroable;
use model::ModelSpec;

/// Offsets of what a plan for one row keeps in `scratch`, in floats.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Regions {
    pub(crate) hidden: u32,
    pub(crate) qkv: u32,
    pub(crate) attended: u32,
    pub(crate) states: u32,
    pub(crate) gated: u32,
    pub(crate) logits: u32,
    pub(crate) best: u32,
    /// Floats in all.
    pub(crate) len: usize,
}

impl Regions {
    pub(crate) fn new(spec: &ModelSpec, most_splits: usize) -> Self {
        let mut len = 0;
        let mut take = |n: usize| {
            let at = len;
            len += n.next_multiple_of(GROUP);
            at as u32
        };
        let heads = heads(spec);
        Self {
            hidden: take(spec.n_embd),
            qkv: take(qkv_starts(spec)[3]),
            attended: take(spec.q_dim()),
            states: take(4 * heads.state_quads() * heads.n_heads * most_splits),
            gated: take(spec.n_ff),
            logits: take(spec.n_vocab),
            best: take(2 * spec.n_vocab.div_ceil(GROUP)),
            len,
        }
    }
}

pub(crate) fn heads(spec: &ModelSpec) -> Heads {
    Heads { n_heads: spec.n_heads, n_kv_heads: spec.n_kv_heads, head_dim: spec.head_dim }
}

/// Where a plan finds what the host writes into `tables`, in words.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableOffsets {
    pub(crate) rope: u32,
    /// Block table of sequence 0.
    pub(crate) blocks: u32,
}

/// What plans are made from.
pub(crate) struct Planner<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) tensors: &'a Tensors,
    pub(crate) caps: Caps,
    pub(crate) tables: TableOffsets,
    pub(crate) regions: Regions,
    /// For each layer the buffer of its keys and values, and where they begin there, in quads.
    pub(crate) kv: &'a [(usize, u32)],
}

impl Planner<'_> {
    /// One token of sequence 0, embedding first, logits last.
    pub(crate) fn token(&self, splits: usize) -> Plan {
        let mut plan = Plan { steps: vec![self.embed()] };
        for (i, layer) in self.tensors.layers.iter().enumerate() {
            self.layer(&mut plan, i, layer, splits);
        }
        let prologue = self.norm();
        for part in &self.tensors.output {
            plan.steps.push(self.product(
                "output",
                part,
                prologue,
                Epilogue::Store,
                self.regions.hidden,
                self.regions.logits,
            ));
        }
        plan
    }

    /// What follows the logits of a greedy token: the choice, and its embedding for the next one.
    pub(crate) fn choose(&self) -> Plan {
        let (r, spec) = (self.regions, self.spec);
        let argmax = Argmax { n_vocab: spec.n_vocab, penalties: false, noise: false };
        let params = argmax::Params { logits: r.logits, best: r.best, ..argmax::Params::zeroed() };
        let stage1 = Step::new(argmax.kernel(), format!("[{}]", spec.n_vocab), &params, argmax.grid());
        let whole = &self.tensors.embedding[..];
        let embedding = (whole.len() == 1).then(|| whole[0].placed);
        let next = NextToken {
            n_vocab: spec.n_vocab,
            n_pairs: argmax.n_chunks(),
            embedding: embedding.map(|p| p.ty),
        };
        let params = next_token::Params {
            quads: embedding.map_or(0, |p| p.quads),
            words: embedding.map_or(0, |p| p.words),
            pairs: embedding.map_or(0, |p| p.pairs),
            supers: embedding.map_or(0, |p| p.supers),
            n_units: embedding.map_or(0, |p| p.n_units),
            best: r.best,
            x: r.hidden,
            ids: 0,
            position: 0,
        };
        let buffer = embedding.map_or(0, |p| p.buffer);
        let stage2 = Step::new(next.kernel(), "token_embd".into(), &params, next.grid())
            .with_weights(buffer)
            .with_position_at(8);
        Plan { steps: vec![stage1, stage2] }
    }

    fn embed(&self) -> Step {
        let part = &self.tensors.embedding[0];
        let p = part.placed;
        let kernel = Embed { ty: p.ty, n_vocab: self.spec.n_vocab, n_embd: self.spec.n_embd, ids: Ids::At };
        let params = embed::Params {
            quads: p.quads,
            words: p.words,
            pairs: p.pairs,
            supers: p.supers,
            n_units: p.n_units,
            x: self.regions.hidden,
            n_rows: self.spec.n_vocab as u32,
            ..embed::Params::zeroed()
        };
        Step::new(kernel.kernel(), "token_embd".into(), &params, kernel.grid(1))
            .with_weights(p.buffer)
            .with_position_at(9)
    }

    fn layer(&self, plan: &mut Plan, i: usize, layer: &Layer, splits: usize) {
        let r = self.regions;
        let name = |suffix: &str| format!("blk.{i}.{suffix}");
        for part in &layer.qkv {
            let epilogue = if part.bias.is_some() { Epilogue::StoreBiased } else { Epilogue::Store };
            plan.steps.push(self.product(&name("attn_qkv"), part, self.norm(), epilogue, r.hidden, r.qkv));
        }
        self.attention(plan, i, layer, splits);
        for part in &layer.attn_output {
            plan.steps.push(self.product(
                &name("attn_output"),
                part,
                Prologue::Plain,
                Epilogue::Add,
                r.attended,
                r.hidden,
            ));
        }
        for part in &layer.gate_up {
            plan.steps.push(self.product(
                &name("ffn_gate_up"),
                part,
                self.norm(),
                Epilogue::SiluMul,
                r.hidden,
                r.gated,
            ));
        }
        for part in &layer.ffn_down {
            plan.steps.push(self.product(
                &name("ffn_down"),
                part,
                Prologue::Plain,
                Epilogue::Add,
                r.gated,
                r.hidden,
            ));
        }
    }

    fn attention(&self, plan: &mut Plan, i: usize, layer: &Layer, splits: usize) {
        let (r, spec, heads) = (self.regions, self.spec, heads(self.spec));
        let [q, k, v, stride] = qkv_starts(spec).map(|n| n as u32);
        let eps = spec.qk_norm.then_some(spec.rms_eps);
        let rotation = Rotation::new(spec.rope.pairing, spec.rope.n_rot(), eps);
        let output = Output::of(heads, splits);
        let kernel = Attend::new(heads, Queries::Fused(rotation), output);
        let (buffer, [q_norm, k_norm]) = layer.head_norms.unwrap_or((0, [0, 0]));
        let params = attend::Params {
            q: r.qkv + q,
            k: r.qkv + k,
            v: r.qkv + v,
            stride,
            out: if output == Output::States { r.states } else { r.attended },
            out_stride: spec.q_dim().next_multiple_of(GROUP) as u32,
            kv: self.kv[i].1,
            rope: self.tables.rope,
            q_norm,
            k_norm,
            table: self.tables.blocks,
            splits: splits as u32,
            ..attend::Params::zeroed()
        };
        let what = format!("blk.{i} {} of {} heads, {splits} parts", spec.n_heads, spec.head_dim);
        let step = Step::new(kernel.kernel(), what, &params, kernel.grid(1, splits));
        plan.steps.push(step.with_weights(buffer).with_kv(self.kv[i].0).with_position_at(11));
        if output == Output::States {
            let merge = MergeAttention::new(heads);
            let out_stride = spec.q_dim().next_multiple_of(GROUP) as u32;
            let params = merge_attention::Params {
                states: r.states,
                splits: splits as u32,
                out: r.attended,
                out_stride,
            };
            plan.steps.push(Step::new(merge.kernel(), format!("blk.{i}"), &params, merge.grid(1)));
        }
    }

    fn norm(&self) -> Prologue {
        Prologue::Norm { eps_bits: self.spec.rms_eps.to_bits() }
    }

    fn product(
        &self,
        name: &str,
        part: &Part,
        prologue: Prologue,
        epilogue: Epilogue,
        x: u32,
        y: u32,
    ) -> Step {
        let p = part.placed;
        let kernel = Matvec::new(p.ty, p.n_cols, prologue, epilogue, self.caps);
        let params = matvec::Params {
            quads: p.quads,
            words: p.words,
            pairs: p.pairs,
            supers: p.supers,
            n_units: p.n_units,
            x,
            y: y + part.first,
            norm: part.norm / 4,
            bias: part.bias.unwrap_or(0),
        };
        let n_out = p.n_groups / kernel.groups() * GROUP;
        let what = format!("{name} [{}]->[{n_out}]", p.n_cols);
        Step::new(kernel.kernel(), what, &params, kernel.grid(p.n_groups)).with_weights(p.buffer)
    }
}
