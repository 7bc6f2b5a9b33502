//! From a spec and its placed tensors to plans.

mod attention;
mod batch;
mod choose;
mod int8;
mod token;

pub(crate) use batch::{Batch, Run};
pub(crate) use choose::{can_choose, drawing};

use crate::device::Caps;
use crate::kernels::ahead::{Ahead, LINE_BYTES};
use crate::kernels::gemm_choice::Picks;
use crate::kernels::heads::Rotation;
use crate::layout::GROUP;
use crate::options::Activations;
use crate::plan::{Role, What};
use crate::regions::Regions;
use crate::tables::Tables;
use crate::tensors::{Layer, Part, Tensors};
use model::ModelSpec;

/// What plans are made from.
#[derive(Clone, Copy)]
pub(crate) struct Planner<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) tensors: &'a Tensors,
    pub(crate) caps: Caps,
    pub(crate) tables: Tables,
    /// For each layer the buffer of its keys and values, and where they begin there, in quads.
    pub(crate) kv: &'a [(usize, u32)],
    /// What products of few rows are made of; `Auto`: of 8 bits where that pays.
    pub(crate) activations: Activations,
    /// The tiles that were chosen lately.
    pub(crate) picks: &'a Picks,
    pub(crate) regions: Regions,
    /// A token's attention in steps of its own, which leave everything to be read.
    pub(crate) apart: bool,
}

impl Planner<'_> {
    pub(crate) fn rotation(&self) -> Rotation {
        let spec = self.spec;
        Rotation::new(spec.rope.pairing, spec.rope.n_rot(), spec.qk_norm.then_some(spec.rms_eps))
    }

    /// What is worth bringing near while layer `i` attends: the weights that are read from then on, beginning with `from`, until the
    /// next layer does, with their buffer.
    fn ahead(&self, i: usize, from: impl Fn(&Layer) -> Part) -> Option<(usize, Ahead)> {
        let layers = &self.tensors.layers;
        let first = from(&layers[i]).placed;
        let end = layers.get(i + 1).map_or(*self.tensors.output.first()?, &from).placed;
        let head_norms = layers[i].head_norms.map_or(first.buffer, |(buffer, _)| buffer);
        if [end.buffer, head_norms] != [first.buffer; 2] {
            return None;
        }
        let n_ahead = end.at.quads.checked_sub(first.at.quads)? / (LINE_BYTES / 16);
        if n_ahead > self.caps.ahead_bytes / LINE_BYTES {
            return None;
        }
        Some((
            first.buffer,
            Ahead { ahead: first.at.quads, n_ahead, columns: 0, unused: self.regions.unused },
        ))
    }
}

/// What a product of `part` is called.
fn product_of(role: Role, layer: Option<usize>, part: &Part, groups: usize) -> What {
    What::new(role, layer, [part.placed.n_cols, part.placed.n_groups / groups * GROUP])
}
