//! Products of few rows in 8 bits: where they are made, and which rounds for which.

use super::Planner;
use crate::kernels::matvec::{Epilogue, Prologue};
use crate::kernels::matvec_int8::{self, Input, MOST_TOKENS, MatvecInt8};
use crate::options::Activations;
use crate::plan::{Step, What};
use crate::regions::{Region, heads};
use crate::tensors::{Layer, Part};

impl Planner<'_> {
    /// The kernel that multiplies `n_rows` rows in 8 bits with a part, if that is how it is to be done.
    pub(super) fn int8(
        &self,
        part: &Part,
        n_rows: usize,
        input: Input,
        epilogue: Epilogue,
    ) -> Option<MatvecInt8> {
        let p = part.placed;
        let wanted = match self.activations {
            Activations::F32 => false,
            Activations::Int8 => true,
            Activations::Auto => matvec_int8::pays(p.n_cols, n_rows),
        };
        let kernel = || MatvecInt8::new((p.ty, p.n_cols), p.n_groups, n_rows, input, epilogue, self.caps);
        if wanted { kernel() } else { None }
    }

    /// Whether a product of `n_rows` rows with `part` is made of 8 bits.
    pub(super) fn takes_rounded(&self, part: &Part, n_rows: usize) -> bool {
        let kernel = |epilogue| self.int8(part, n_rows, Input::Rounded, epilogue);
        n_rows <= MOST_TOKENS && [Epilogue::Store, Epilogue::SiluMul].map(kernel).iter().all(Option::is_some)
    }

    /// Whether every product of a token can be made of 8 bits, and that is wanted or may be.
    pub(crate) fn rounds_all(&self) -> bool {
        let tensors = self.tensors;
        let of_layer = |layer: &Layer| {
            let others = [&layer.qkv, &layer.attn_output, &layer.ffn_down];
            others.into_iter().chain(layer.gate_up.tensors()).flatten().copied().collect::<Vec<_>>()
        };
        let mut parts = tensors.layers.iter().flat_map(of_layer).chain(tensors.output.iter().copied());
        parts.all(|part| self.takes_rounded(&part, 1))
    }

    /// How a product takes `n_rows` rows that are at `x`, and where from: a norm has left them in 8 bits somewhere else, and so does a
    /// step for itself, if there are too many numbers for everybody to round them.
    pub(super) fn rows_input(&self, part: &Part, x: Region, n_rows: usize) -> (Input, Region) {
        let r = &self.regions;
        let own = Input::Own(Prologue::Plain);
        let rounds = || {
            matvec_int8::rounds_rows(part.placed.n_cols, n_rows)
                && self.int8(part, n_rows, own, Epilogue::Add).is_some()
        };
        match x.rounded {
            true => (Input::Rounded, x),
            false if x != r.normed && rounds() => (own, x),
            false => (Input::Rounded, r.rounded),
        }
    }

    /// Whether attention of `n_rows` rows, each by itself, can leave in 8 bits what goes into O, of which nothing else is known then.
    pub(super) fn rounds_attended(&self, attn_output: &[Part], n_rows: usize) -> bool {
        heads(self.spec).whole_units() && attn_output.iter().all(|part| self.takes_rounded(part, n_rows))
    }

    /// A product in 8 bits, if that is how it is to be done.
    pub(super) fn int8_step(
        &self,
        what: What,
        part: &Part,
        (input, epilogue): (Input, Epilogue),
        [x, y]: [Region; 2],
        n_rows: usize,
    ) -> Option<Step> {
        let p = part.placed;
        let kernel = self.int8(part, n_rows, input, epilogue)?;
        let params = matvec_int8::Params {
            weights: p.at,
            x: x.at,
            x_stride: x.stride,
            y: y.at + part.first,
            y_stride: y.stride,
            norm: part.norm / 4,
            bias: part.bias.unwrap_or(0),
        };
        Some(Step::new(kernel.kernel(), what, &params, kernel.grid(p.n_groups)))
    }
}
