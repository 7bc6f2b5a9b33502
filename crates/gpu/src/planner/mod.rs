//! From a spec and its placed tensors to plans.

mod batch;
mod choose;
mod token;

pub(crate) use batch::{Batch, Run};
pub(crate) use choose::can_choose;

use crate::device::Caps;
use crate::kernels::heads::Rotation;
use crate::layout::GROUP;
use crate::plan::{Role, What};
use crate::regions::Regions;
use crate::tables::Tables;
use crate::tensors::{Part, Tensors};
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
    pub(crate) regions: Regions,
}

impl Planner<'_> {
    pub(crate) fn rotation(&self) -> Rotation {
        let spec = self.spec;
        Rotation::new(spec.rope.pairing, spec.rope.n_rot(), spec.qk_norm.then_some(spec.rms_eps))
    }
}

/// What a product of `part` is called.
fn product_of(role: Role, layer: Option<usize>, part: &Part, groups: usize) -> What {
    What::new(role, layer, [part.placed.n_cols, part.placed.n_groups / groups * GROUP])
}
