//! The plan of one token: matrix-vector products with everything that comes before and after them fused in.

use super::{Planner, product_of};
use crate::kernels::embed::{self, Embed, Ids};
use crate::kernels::matvec::{self, Epilogue, Matvec, Prologue};
use crate::kernels::matvec_int8::Input;
use crate::kernels::silu_mul::{self, SiluMul};
use crate::plan::{Plan, Role, Step, What};
use crate::regions::Region;
use crate::tensors::{GateUp, Layer, Part};
use bytemuck::Zeroable;

impl Planner<'_> {
    /// The embedding of the token at a position of sequence 0.
    pub(crate) fn embedding(&self) -> Plan {
        self.embedding_after(0)
    }

    /// The embedding of the token `after` positions behind that of the row.
    pub(super) fn embedding_after(&self, after: u32) -> Plan {
        let n_vocab = self.spec.n_vocab;
        let n_embd = self.spec.n_embd;
        let step = |part: &Part| {
            let p = part.placed;
            let kernel = Embed { ty: p.ty, n_vocab, n_embd, ids: Ids::At };
            let params = embed::Params {
                weights: p.at,
                x: self.regions.hidden.at,
                ids: after,
                first: part.first,
                n_rows: part.n_rows(n_vocab),
                ..embed::Params::zeroed()
            };
            let what = What::new(Role::TokenEmbd, None, [1, n_embd]);
            Step::new(kernel.kernel(), what, &params, kernel.grid(1))
                .with_weights(p.buffer)
                .with_position_at(9)
        };
        Plan { steps: self.tensors.embedding.iter().map(step).collect() }
    }

    /// One token of sequence 0, from its embedding to its logits; attention in `splits` parts.
    pub(crate) fn token(&self, splits: usize) -> Plan {
        let mut plan = Plan::default();
        for (i, layer) in self.tensors.layers.iter().enumerate() {
            self.token_layer(&mut plan, i, layer, splits);
        }
        self.token_products(
            &mut plan,
            (Role::Output, None),
            &self.tensors.output,
            self.norm(),
            Epilogue::Store,
            [self.regions.hidden, self.regions.logits],
        );
        plan
    }

    fn token_layer(&self, plan: &mut Plan, i: usize, layer: &Layer, splits: usize) {
        let r = &self.regions;
        let x = r.hidden;
        let products = |plan: &mut Plan, role, parts: &[Part], prologue, epilogue, from_to| {
            self.token_products(plan, (role, Some(i)), parts, prologue, epilogue, from_to);
        };
        let norm = self.norm();
        let n_sums = self.attention(plan, i, layer, splits);
        // What O adds may still lie beside the hidden state, until down writes it anew.
        let summed = x.beside(n_sums);
        match &layer.gate_up {
            GateUp::Fused(parts) => {
                products(plan, Role::FfnGateUp, parts, norm, Epilogue::SiluMul, [summed, r.gated]);
            }
            GateUp::Apart { gate, up } => {
                products(plan, Role::FfnGate, gate, norm, Epilogue::Store, [summed, r.gated]);
                products(plan, Role::FfnUp, up, norm, Epilogue::Store, [summed, r.up]);
                plan.steps.push(self.silu_mul(i, 1));
            }
        }
        products(plan, Role::FfnDown, &layer.ffn_down, Prologue::Plain, Epilogue::Add, [r.gated, summed]);
    }

    pub(super) fn norm(&self) -> Prologue {
        Prologue::Norm { eps_bits: self.spec.rms_eps.to_bits() }
    }

    /// The products of the row at `x` with all parts of a tensor, into `y`; what is rounded already needs no prologue.
    pub(super) fn token_products(
        &self,
        plan: &mut Plan,
        (role, layer): (Role, Option<usize>),
        parts: &[Part],
        prologue: Prologue,
        epilogue: Epilogue,
        [x, y]: [Region; 2],
    ) {
        for part in parts {
            let p = part.placed;
            let epilogue = part.epilogue(epilogue);
            let what = product_of(role, layer, part, epilogue.groups());
            let input = if x.rounded { Input::Rounded } else { Input::Own(prologue) };
            let step = self.int8_step(what, part, (input, epilogue), [x, y], 1).unwrap_or_else(|| {
                let kernel = Matvec::new(p.ty, p.n_cols, p.n_groups, prologue, epilogue, self.caps);
                let kernel = kernel.beside(x.n_sums.max(y.n_sums));
                let (sums, first) = (self.regions.head_sums, if y.n_sums > 0 { part.first } else { 0 });
                let (norm, bias) = (part.norm / 4, part.bias.unwrap_or(0));
                let params = matvec::Params {
                    weights: p.at,
                    x: x.at,
                    y: y.at + part.first,
                    norm,
                    bias,
                    partials: sums.at + first,
                    partial_stride: sums.stride,
                };
                Step::new(kernel.kernel(), what, &params, kernel.grid(p.n_groups))
            });
            plan.steps.push(step.with_weights(p.buffer));
        }
    }

    /// The gates of `n_rows` rows, multiplied with the ups, where one product could not do both.
    pub(super) fn silu_mul(&self, layer: usize, n_rows: usize) -> Step {
        let r = &self.regions;
        let kernel = SiluMul { n_cols: self.spec.n_ff };
        let params = silu_mul::Params { gate: r.gated.at, up: r.up.at, stride: r.gated.stride };
        let what = What::new(Role::FfnSiluMul, Some(layer), [2 * self.spec.n_ff, self.spec.n_ff]);
        Step::new(kernel.kernel(), what, &params, kernel.grid(n_rows))
    }
}
