//! A token's attention: from the hidden state to what O adds to it, in one dispatch, two or three.

use super::Planner;
use crate::kernels::ahead::Ahead;
use crate::kernels::attend::{self, Attend, Output, Queries};
use crate::kernels::attend_hidden::{self, AttendHidden};
use crate::kernels::matvec::{Epilogue, Prologue};
use crate::kernels::matvec_int8::Input;
use crate::plan::{Plan, Role, Step, What};
use crate::regions::{Region, Regions, heads};
use crate::tensors::{GateUp, Layer, Part, qkv_starts};
use bytemuck::Zeroable;

impl Planner<'_> {
    /// Attention of layer `i`, its keys in `splits` parts. The rows of sums that it leaves beside the hidden state.
    pub(super) fn attention(&self, plan: &mut Plan, i: usize, layer: &Layer, splits: usize) -> usize {
        let r = &self.regions;
        let heads = heads(self.spec);
        let states = Region { at: r.states, ..r.attended };
        let (merge, attended) = match self.attend_hidden(layer, splits) {
            Some(kernel) => {
                plan.steps.push(self.hidden_attention(i, layer, kernel));
                if kernel.sums() {
                    return heads.n_heads;
                }
                (Prologue::Merge { heads, splits: kernel.parts() }, states)
            }
            None => {
                let qkv = (Role::AttnQkv, Some(i));
                self.token_products(plan, qkv, &layer.qkv, self.norm(), Epilogue::Store, [r.hidden, r.qkv]);
                plan.steps.push(self.token_attention(i, layer, splits));
                match self.token_attended(layer, splits) {
                    Output::Normalised => (Prologue::Plain, r.attended),
                    Output::Rounded => (Prologue::Plain, r.attended.in_8_bits(true)),
                    Output::States => (Prologue::Merge { heads, splits }, states),
                }
            }
        };
        let o = (Role::AttnOutput, Some(i));
        self.token_products(plan, o, &layer.attn_output, merge, Epilogue::Add, [attended, r.hidden]);
        0
    }

    /// In how many parts a token attends to `keys` keys.
    pub(crate) fn token_splits(&self, keys: usize) -> usize {
        let heads = heads(self.spec);
        let has = |&splits: &usize| {
            let first = self.tensors.layers.first();
            first.is_some_and(|layer| self.attend_hidden(layer, splits).is_some())
        };
        let hidden = AttendHidden::splits(heads, keys).filter(has);
        Regions::splits(1, hidden.unwrap_or_else(|| attend::splits(heads, keys)))
    }

    /// The kernel that attends from the hidden state, where there is one and all that it reads lies together. In several parts each makes
    /// the query for itself.
    fn attend_hidden(&self, layer: &Layer, splits: usize) -> Option<AttendHidden> {
        let ([qkv], [attn_output]) = (&layer.qkv[..], &layer.attn_output[..]) else { return None };
        let (p, o) = (qkv.placed, attn_output.placed);
        let together = (o.buffer, o.ty) == (p.buffer, p.ty)
            && layer.head_norms.is_none_or(|(buffer, _)| buffer == p.buffer)
            && p.n_cols == self.spec.n_embd;
        let alone = splits == 1 || self.caps.wide;
        let rounds = || {
            self.in_8_bits(qkv, self.norm(), Epilogue::Store) || splits == 1 && self.reads_in_8_bits(layer)
        };
        if self.apart || !alone || !together || rounds() {
            return None;
        }
        let sizes = ((p.ty, p.n_cols), (heads(self.spec), self.rotation()));
        let (eps_bits, biased) = (self.spec.rms_eps.to_bits(), qkv.bias.is_some());
        AttendHidden::new(sizes.0, sizes.1, (eps_bits, biased), splits, self.caps)
    }

    /// Whether whoever reads the hidden state behind attention does so in 8 bits, and so cannot add anything to it.
    fn reads_in_8_bits(&self, layer: &Layer) -> bool {
        let gates = match &layer.gate_up {
            GateUp::Fused(parts) => vec![(parts, Epilogue::SiluMul)],
            GateUp::Apart { gate, up } => vec![(gate, Epilogue::Store), (up, Epilogue::Store)],
        };
        let rounds = |parts: &[Part], prologue, epilogue| {
            parts.iter().any(|part| self.in_8_bits(part, prologue, epilogue))
        };
        gates.into_iter().any(|(parts, epilogue)| rounds(parts, self.norm(), epilogue))
            || rounds(&layer.ffn_down, Prologue::Plain, Epilogue::Add)
    }

    /// Whether the product of a token's row with `part` is made in 8 bits.
    fn in_8_bits(&self, part: &Part, prologue: Prologue, epilogue: Epilogue) -> bool {
        self.int8(part, 1, Input::Own(prologue), epilogue).is_some()
    }

    fn hidden_attention(&self, i: usize, layer: &Layer, kernel: AttendHidden) -> Step {
        let (r, spec) = (&self.regions, self.spec);
        let (qkv, attn_output) = (&layer.qkv[0], &layer.attn_output[0]);
        let [q_norm, k_norm] = layer.head_norms.map_or([0, 0], |(_, norms)| norms);
        // O is read at once where it is part of this.
        let from = |layer: &Layer| if kernel.sums() { layer.ffn_down[0] } else { layer.attn_output[0] };
        let (kernel, ahead) = match self.ahead(i, from) {
            Some((buffer, ahead)) if buffer == qkv.placed.buffer => {
                (kernel.with_ahead(), ahead.in_grid(attend_hidden::AHEAD_GROUPS, kernel.rows_of_groups()))
            }
            _ => (kernel, Ahead::default()),
        };
        let params = attend_hidden::Params {
            qkv: qkv.placed.at,
            attn_output: attn_output.placed.at,
            x: r.hidden.at,
            norm: qkv.norm / 4,
            bias: qkv.bias.unwrap_or(0),
            out: if kernel.sums() { r.head_sums.at } else { r.states },
            out_stride: r.head_sums.stride,
            kv: self.kv[i].1,
            rope: self.tables.rope,
            q_norm,
            k_norm,
            table: self.tables.blocks,
            splits: kernel.parts() as u32,
            ahead,
            position: 0,
        };
        let n_out = if kernel.sums() { spec.n_embd } else { spec.q_dim() };
        let what = What::new(Role::Attn, Some(i), [spec.n_embd, n_out]);
        Step::new(kernel.kernel(), what, &params, kernel.grid(ahead))
            .with_weights(qkv.placed.buffer)
            .with_kv(self.kv[i].0)
            .with_position_at(attend_hidden::Params::POSITION_AT)
    }

    /// What attention leaves. States are put together, and rounded, by the product with O.
    fn token_attended(&self, layer: &Layer, splits: usize) -> Output {
        Output::of(heads(self.spec), splits).in_8_bits(self.rounds_attended(&layer.attn_output, 1))
    }

    fn token_attention(&self, i: usize, layer: &Layer, splits: usize) -> Step {
        let (r, spec, heads) = (&self.regions, self.spec, heads(self.spec));
        let [q, k, v, stride] = qkv_starts(spec).map(|n| n as u32);
        let output = self.token_attended(layer, splits);
        let kernel = Attend::new(heads, Queries::Fused(self.rotation()), output).of_parts(splits);
        let (buffer, [q_norm, k_norm]) = layer.head_norms.unwrap_or((0, [0, 0]));
        let (kernel, buffer, ahead) = match self.ahead(i, |layer| layer.attn_output[0]) {
            Some((buffer, ahead)) => {
                (kernel.with_ahead(), buffer, ahead.in_grid(attend::AHEAD_GROUPS, splits))
            }
            None => (kernel, buffer, Ahead::default()),
        };
        let params = attend::Params {
            q: r.qkv.at + q,
            k: r.qkv.at + k,
            v: r.qkv.at + v,
            stride,
            out: if output == Output::States { r.states } else { r.attended.at },
            out_stride: r.attended.stride,
            kv: self.kv[i].1,
            rope: self.tables.rope,
            q_norm,
            k_norm,
            table: self.tables.blocks,
            splits: splits as u32,
            ahead,
            ..attend::Params::zeroed()
        };
        let what = What::new(Role::Attn, Some(i), [spec.q_dim() + 2 * spec.kv_dim(), spec.q_dim()]);
        let step = Step::new(kernel.kernel(), what, &params, kernel.grid(1, splits, ahead));
        step.with_weights(buffer).with_kv(self.kv[i].0).with_position_at(11)
    }
}
