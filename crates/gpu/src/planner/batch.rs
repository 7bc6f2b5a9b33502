//! The plan of many rows: a prompt, rows of several sequences, the rows of a speculation.

use super::{Planner, product_of};
use crate::kernels::Kernel;
use crate::kernels::ahead::Ahead;
use crate::kernels::attend::{self, Attend, Output, Queries};
use crate::kernels::attend_prompt::{self, AttendPrompt};
use crate::kernels::embed::{self, Embed, Ids};
use crate::kernels::floats::Floats;
use crate::kernels::gemm;
use crate::kernels::gemm_choice::{self, MOST_PARTS, Pick, Product};
use crate::kernels::matvec::{Epilogue, Prologue};
use crate::kernels::matvec_int8::Input;
use crate::kernels::matvec_rows::{self, MOST_TOKENS, MatvecRows};
use crate::kernels::merge_attention::{self, MergeAttention};
use crate::kernels::quantize::{self, Quantize};
use crate::kernels::rms_norm::{self, RmsNorm};
use crate::kernels::rope_kv::{self, RopeKv};
use crate::layout::GROUP;
use crate::plan::{Plan, Role, Step, What};
use crate::regions::{Region, Regions, heads};
use crate::tables::ROW_WORDS;
use crate::tensors::{GateUp, Layer, Part, qkv_starts};
use bytemuck::Zeroable;

/// Rows of one sequence from which on they share what they read of the cache.
const LEAST_SHARING: usize = 8;

/// Rows that are computed together, by their sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    /// Neighbouring rows of one sequence.
    pub(crate) runs: Vec<Run>,
}

/// Neighbouring rows of one sequence, at positions that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The position of the first.
    pub(crate) first: u32,
    pub(crate) n_rows: usize,
    /// Where the sequence's block table begins in `tables`.
    pub(crate) table: u32,
}

impl Batch {
    pub(crate) fn n_rows(&self) -> usize {
        self.runs.iter().map(|run| run.n_rows).sum()
    }
}

impl Planner<'_> {
    /// All rows of `batch` through all layers; the hidden states stay where they are.
    pub(crate) fn batch(&self, batch: &Batch, splits: usize) -> Plan {
        let n_rows = batch.n_rows();
        let mut plan = Plan { steps: self.batch_embedding(n_rows) };
        let mut partials = 0;
        for (i, layer) in self.tensors.layers.iter().enumerate() {
            partials = self.batch_layer(&mut plan, i, layer, (batch, splits), partials);
        }
        plan
    }

    /// The logits of `n_rows` rows from `row` on, to the first rows of logits.
    pub(crate) fn logits(&self, row: usize, n_rows: usize) -> Plan {
        let r = &self.regions;
        let mut plan = Plan::default();
        let (hidden, what) = (r.hidden.from(row), (Role::Output, None));
        if n_rows == 1 {
            let prologue = Prologue::Norm { eps_bits: self.spec.rms_eps.to_bits() };
            let from_to = [hidden, r.logits];
            self.token_products(&mut plan, what, &self.tensors.output, prologue, Epilogue::Store, from_to);
        } else {
            let (parts, normed) = (&self.tensors.output, r.normed.of(self.floats(n_rows)));
            self.norm_rows(&mut plan, (Role::OutputNorm, None), &[parts], [hidden, normed], (n_rows, 0));
            self.products(&mut plan, what, parts, Epilogue::Store, [normed, r.logits], n_rows);
        }
        plan
    }

    fn batch_embedding(&self, n_rows: usize) -> Vec<Step> {
        let (n_vocab, n_embd) = (self.spec.n_vocab, self.spec.n_embd);
        let step = |part: &Part| {
            let p = part.placed;
            let kernel = Embed { ty: p.ty, n_vocab, n_embd, ids: Ids::OfRows };
            let params = embed::Params {
                weights: p.at,
                x: self.regions.hidden.at,
                stride: self.regions.hidden.stride,
                rows: self.tables.rows,
                first: part.first,
                n_rows: part.n_rows(n_vocab),
                ..embed::Params::zeroed()
            };
            let what = What::new(Role::TokenEmbd, None, [n_rows, n_rows * n_embd]);
            Step::new(kernel.kernel(), what, &params, kernel.grid(n_rows)).with_weights(p.buffer)
        };
        self.tensors.embedding.iter().map(step).collect()
    }

    /// A layer; `partials` sums are still beside the hidden states, and so are as many afterwards as it tells.
    fn batch_layer(
        &self,
        plan: &mut Plan,
        i: usize,
        layer: &Layer,
        (batch, splits): (&Batch, usize),
        partials: usize,
    ) -> usize {
        let (r, n_rows) = (&self.regions, batch.n_rows());
        let halves = self.floats(n_rows);
        let (normed, attended) = (r.normed.of(halves), r.attended.of(self.attended_floats(batch)));
        let attended = attended.in_8_bits(self.attends_rounding(batch, layer));
        let products = |plan: &mut Plan, role, parts: &[Part], epilogue, from_to| {
            self.products(plan, (role, Some(i)), parts, epilogue, from_to, n_rows);
        };
        let norm = |plan: &mut Plan, role, tensors: &[&Vec<Part>], partials| {
            self.norm_rows(plan, (role, Some(i)), tensors, [r.hidden, normed], (n_rows, partials));
        };
        norm(plan, Role::AttnNorm, &[&layer.qkv], partials);
        match self.rotated_qkv(i, layer, normed, n_rows) {
            Some(step) => plan.steps.push(step),
            None => {
                products(plan, Role::AttnQkv, &layer.qkv, Epilogue::Store, [normed, r.qkv]);
                plan.steps.push(self.rope_kv(i, layer, n_rows));
            }
        }
        self.batch_attention(plan, i, batch, splits, attended);
        let what = (Role::AttnOutput, Some(i));
        let partials = self.add_products(plan, what, &layer.attn_output, attended, n_rows);
        norm(plan, Role::FfnNorm, &layer.gate_up.tensors(), partials);
        let gated = match &layer.gate_up {
            GateUp::Fused(parts) => {
                let gated = r.gated.of(halves);
                products(plan, Role::FfnGateUp, parts, Epilogue::SiluMul, [normed, gated]);
                gated
            }
            GateUp::Apart { gate, up } => {
                products(plan, Role::FfnGate, gate, Epilogue::Store, [normed, r.gated]);
                products(plan, Role::FfnUp, up, Epilogue::Store, [normed, r.up]);
                plan.steps.push(self.silu_mul(i, n_rows));
                r.gated
            }
        };
        let what = (Role::FfnDown, Some(i));
        // Behind the last layer nobody adds.
        match i + 1 == self.tensors.layers.len() {
            true => products(plan, what.0, &layer.ffn_down, Epilogue::Add, [gated, r.hidden]),
            false => return self.add_products(plan, what, &layer.ffn_down, gated, n_rows),
        }
        0
    }

    /// The norm before products with `tensors`, as they take it: in floats, in 8 bits, or both.
    fn norm_rows(
        &self,
        plan: &mut Plan,
        what: (Role, Option<usize>),
        tensors: &[&Vec<Part>],
        [x, normed]: [Region; 2],
        (n_rows, partials): (usize, usize),
    ) {
        let parts = || tensors.iter().flat_map(|parts| parts.iter());
        if !parts().all(|part| self.takes_rounded(part, n_rows)) {
            plan.steps.push(self.rms_norm(what, tensors[0], [x, normed], (n_rows, partials)));
        }
        if parts().any(|part| self.takes_rounded(part, n_rows)) {
            let shape = [n_rows * self.spec.n_embd; 2];
            let eps = Some((self.spec.rms_eps.to_bits(), &tensors[0][0]));
            plan.steps.push(self.quantize(
                What::new(what.0, what.1, shape),
                x,
                self.spec.n_embd,
                eps,
                n_rows,
            ));
        }
    }

    /// Rows of `n_cols` numbers at `x` to 8 bits, after a norm if there is an epsilon and a part that it is of.
    fn quantize(
        &self,
        what: What,
        x: Region,
        n_cols: usize,
        norm: Option<(u32, &Part)>,
        n_rows: usize,
    ) -> Step {
        let kernel = Quantize { n_cols, eps_bits: norm.map(|(eps_bits, _)| eps_bits) };
        let to = self.regions.rounded;
        let params = quantize::Params {
            x: x.at,
            x_stride: x.stride,
            y: to.at,
            y_stride: to.stride,
            norm: norm.map_or(0, |(_, part)| part.norm / 4),
        };
        let buffer = norm.map_or(0, |(_, part)| part.placed.buffer);
        Step::new(kernel.kernel(), what, &params, kernel.grid(n_rows)).with_weights(buffer)
    }

    fn rms_norm(
        &self,
        (role, layer): (Role, Option<usize>),
        parts: &[Part],
        [x, y]: [Region; 2],
        (n_rows, n_partials): (usize, usize),
    ) -> Step {
        let spec = self.spec;
        let kernel =
            RmsNorm { n_cols: spec.n_embd, eps_bits: spec.rms_eps.to_bits(), y: y.floats, n_partials };
        let params = rms_norm::Params {
            x: x.at,
            x_stride: x.stride,
            y: y.at,
            y_stride: y.stride,
            norm: parts[0].norm / 4,
            partials: self.regions.partials.at,
            partial_stride: n_rows as u32 * x.stride,
        };
        let what = What::new(role, layer, [n_rows * spec.n_embd; 2]);
        Step::new(kernel.kernel(), what, &params, kernel.grid(n_rows)).with_weights(parts[0].placed.buffer)
    }

    /// Q, K and V, rotated and where they belong, where one product can do that.
    fn rotated_qkv(&self, i: usize, layer: &Layer, x: Region, n_rows: usize) -> Option<Step> {
        let [part] = &layer.qkv[..] else { return None };
        if n_rows <= MOST_TOKENS || part.bias.is_some() {
            return None;
        }
        let what = product_of(Role::AttnQkv, Some(i), part, 1);
        let (mut step, _) = self.many(what, part, Epilogue::Store, [x, self.regions.qkv], (n_rows, 1));
        let Kernel::GemmMatrix(kernel) = step.kernel else { return None };
        step.kernel = kernel.of_heads(heads(self.spec), self.rotation())?.kernel();
        let step = step.with_weights(part.placed.buffer).with_kv(self.kv[i].0);
        Some(step.with_work(work(part, n_rows)))
    }

    fn rope_kv(&self, i: usize, layer: &Layer, n_rows: usize) -> Step {
        let (r, spec) = (&self.regions, self.spec);
        let kernel = RopeKv::new(heads(spec), self.rotation());
        let (buffer, [q_norm, k_norm]) = layer.head_norms.unwrap_or((0, [0, 0]));
        let [q, k, v, _] = qkv_starts(spec).map(|n| r.qkv.at + n as u32);
        let params = rope_kv::Params {
            q,
            k,
            v,
            stride: r.qkv.stride,
            kv: self.kv[i].1,
            rope: self.tables.rope,
            rows: self.tables.rows,
            q_norm,
            k_norm,
        };
        let n = n_rows * (spec.q_dim() + 2 * spec.kv_dim());
        let what = What::new(Role::RopeKv, Some(i), [n, n]);
        Step::new(kernel.kernel(), what, &params, kernel.grid(n_rows))
            .with_weights(buffer)
            .with_kv(self.kv[i].0)
    }

    /// Runs that are long enough share what they read; all other rows go by themselves.
    fn batch_attention(&self, plan: &mut Plan, i: usize, batch: &Batch, splits: usize, out: Region) {
        let mut row = 0;
        let mut alone = 0;
        for run in &batch.runs {
            match AttendPrompt::new(heads(self.spec), run.n_rows, self.caps) {
                Some(kernel) if run.n_rows >= LEAST_SHARING => {
                    if alone > 0 {
                        self.attend_rows(plan, i, (row - alone, alone), splits, out);
                        alone = 0;
                    }
                    plan.steps.push(self.attend_run(kernel.with_out(out.floats), i, row, run));
                }
                _ => alone += run.n_rows,
            }
            row += run.n_rows;
        }
        if alone > 0 {
            self.attend_rows(plan, i, (row - alone, alone), splits, out);
        }
    }

    fn attend_run(&self, kernel: AttendPrompt, i: usize, row: usize, run: &Run) -> Step {
        let (r, spec) = (&self.regions, self.spec);
        let (kernel, buffer, ahead) = match (self.ahead(i, |layer| layer.attn_output[0]), kernel.with_ahead())
        {
            (Some((buffer, ahead)), Some(with)) => {
                (with, buffer, ahead.in_grid(attend::AHEAD_GROUPS, kernel.tiles(run.n_rows)))
            }
            _ => (kernel, 0, Ahead::default()),
        };
        let params = attend_prompt::Params {
            q: r.qkv.from(row).at,
            stride: r.qkv.stride,
            out: r.attended.from(row).at,
            out_stride: r.attended.stride,
            kv: self.kv[i].1,
            first: run.first,
            table: run.table,
            n_rows: run.n_rows as u32,
            ahead,
        };
        let n = run.n_rows * spec.q_dim();
        let keys = run.first as usize + run.n_rows;
        let what = What::new(Role::Attn, Some(i), [n, n]);
        Step::new(kernel.kernel(), what, &params, kernel.grid(run.n_rows, ahead))
            .with_weights(buffer)
            .with_kv(self.kv[i].0)
            .with_work(2 * n as u64 * keys as u64)
    }

    fn attend_rows(
        &self,
        plan: &mut Plan,
        i: usize,
        (row, n_rows): (usize, usize),
        splits: usize,
        out: Region,
    ) {
        let (r, spec, heads) = (&self.regions, self.spec, heads(self.spec));
        let splits = Regions::splits(n_rows, splits);
        let output = Output::of(heads, splits).in_8_bits(out.rounded);
        let kernel = Attend::new(heads, Queries::Rotated, output);
        let params = attend::Params {
            q: r.qkv.from(row).at,
            stride: r.qkv.stride,
            out: if output == Output::States { r.states } else { out.from(row).at },
            out_stride: out.stride,
            kv: self.kv[i].1,
            rows: self.tables.rows + (row * ROW_WORDS) as u32,
            splits: splits as u32,
            ..attend::Params::zeroed()
        };
        let n = n_rows * spec.q_dim();
        let what = What::new(Role::Attn, Some(i), [n, n]);
        let step = Step::new(kernel.kernel(), what, &params, kernel.grid(n_rows, splits, Ahead::default()));
        plan.steps.push(step.with_kv(self.kv[i].0));
        if output == Output::States {
            let merge = MergeAttention::new(heads).in_8_bits(out.rounded);
            let params = merge_attention::Params {
                states: r.states,
                splits: splits as u32,
                out: out.from(row).at,
                out_stride: out.stride,
            };
            plan.steps.push(Step::new(merge.kernel(), what, &params, merge.grid(n_rows)));
        }
    }

    /// The products of `n_rows` rows with all parts of a tensor.
    fn products(
        &self,
        plan: &mut Plan,
        (role, layer): (Role, Option<usize>),
        parts: &[Part],
        epilogue: Epilogue,
        [x, y]: [Region; 2],
        n_rows: usize,
    ) {
        // A norm rounds what it makes by itself, as others may.
        let apart = |part: &&Part| {
            self.takes_rounded(part, n_rows)
                && self.rows_input(part, x, n_rows) == (Input::Rounded, self.regions.rounded)
        };
        if let Some(part) = parts.iter().find(apart).filter(|_| x != self.regions.normed) {
            let what = product_of(role, layer, part, epilogue.groups());
            plan.steps.push(self.quantize(what, x, part.placed.n_cols, None, n_rows));
        }
        for part in parts {
            let epilogue = part.epilogue(epilogue);
            let what = product_of(role, layer, part, epilogue.groups());
            let step = match n_rows <= MOST_TOKENS {
                true => self.few(what, part, epilogue, [x, y], n_rows),
                false => self.many(what, part, epilogue, [x, y], (n_rows, 1)).0,
            };
            plan.steps.push(step.with_weights(part.placed.buffer).with_work(work(part, n_rows)));
        }
    }

    /// Products that are added to the hidden states. How many sums they leave beside them, for the next norm to add.
    fn add_products(
        &self,
        plan: &mut Plan,
        (role, layer): (Role, Option<usize>),
        parts: &[Part],
        x: Region,
        n_rows: usize,
    ) -> usize {
        let most_parts = 1 + self.regions.n_partials / n_rows;
        let (y, epilogue) = (self.regions.hidden, Epilogue::Add);
        match parts {
            [part] if n_rows > MOST_TOKENS && part.epilogue(epilogue) == epilogue => {
                let what = product_of(role, layer, part, 1);
                let (step, parts) = self.many(what, part, epilogue, [x, y], (n_rows, most_parts));
                plan.steps.push(step.with_weights(part.placed.buffer).with_work(work(part, n_rows)));
                parts - 1
            }
            _ => {
                self.products(plan, (role, layer), parts, epilogue, [x, y], n_rows);
                0
            }
        }
    }

    fn few(&self, what: What, part: &Part, epilogue: Epilogue, [x, y]: [Region; 2], n_rows: usize) -> Step {
        let p = part.placed;
        let (input, from) = self.rows_input(part, x, n_rows);
        if self.takes_rounded(part, n_rows)
            && let Some(step) = self.int8_step(what, part, (input, epilogue), [from, y], n_rows)
        {
            return step;
        }
        let kernel = MatvecRows::new(p.ty, p.n_cols, n_rows, epilogue, self.caps);
        let params = matvec_rows::Params {
            weights: p.at,
            x: x.at,
            x_stride: x.stride,
            y: y.at + part.first,
            y_stride: y.stride,
            bias: part.bias.unwrap_or(0),
        };
        Step::new(kernel.kernel(), what, &params, kernel.grid(p.n_groups))
    }

    /// A product, and in how many parts of the columns it is made, `most_parts` at most.
    fn many(
        &self,
        what: What,
        part: &Part,
        epilogue: Epilogue,
        [x, y]: [Region; 2],
        (n_rows, most_parts): (usize, usize),
    ) -> (Step, usize) {
        let p = part.placed;
        let product = Product {
            ty: p.ty,
            n_tokens: n_rows,
            n_cols: p.n_cols,
            n_groups: p.n_groups,
            epilogue,
            floats: [x.floats, y.floats],
            most_parts: most_parts.min(MOST_PARTS),
        };
        let Pick { kernel, grid, parts } = self.picks.pick(product, self.caps);
        let first = if y.floats == Floats::F16 { part.first / 2 } else { part.first };
        let params = gemm::Params {
            weights: p.at,
            n_cols: p.n_cols as u32,
            n_groups: p.n_groups as u32,
            n_tokens: n_rows as u32,
            x: x.at,
            x_stride: x.stride,
            y: y.at + first,
            y_stride: y.stride,
            bias: part.bias.unwrap_or(0),
            partials: self.regions.partials.at,
            kv: what.layer.map_or(0, |i| self.kv[i].1),
            rope: self.tables.rope,
            rows: self.tables.rows,
        };
        (Step::new(kernel, what, &params, grid), parts)
    }

    /// What goes into matrix units, and nowhere else, is written as they take it.
    fn floats(&self, n_rows: usize) -> Floats {
        match n_rows > MOST_TOKENS && gemm_choice::takes_halves(self.caps) {
            true => Floats::F16,
            false => Floats::F32,
        }
    }

    /// Whether attention of these rows rounds what it makes: each row's by itself.
    fn attends_rounding(&self, batch: &Batch, layer: &Layer) -> bool {
        batch.runs.iter().all(|run| run.n_rows < LEAST_SHARING)
            && self.rounds_attended(&layer.attn_output, batch.n_rows())
    }

    /// What attention of these rows writes: as matrix units take it, if nobody attends without them.
    fn attended_floats(&self, batch: &Batch) -> Floats {
        let shares = AttendPrompt::new(heads(self.spec), batch.n_rows(), self.caps)
            .is_some_and(|kernel| kernel.writes_halves());
        match shares && batch.runs.iter().all(|run| run.n_rows >= LEAST_SHARING) {
            true => self.floats(batch.n_rows()),
            false => Floats::F32,
        }
    }
}

/// Multiplications of a product.
fn work(part: &Part, n_rows: usize) -> u64 {
    (part.placed.n_cols * part.placed.n_groups * GROUP * n_rows) as u64
}
