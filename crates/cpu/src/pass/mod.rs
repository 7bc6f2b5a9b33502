//! A forward pass as phases of a run of the worker pool.
//!
//! Few rows are split by weights ([`few`]): every worker has all rows in its tiles and reads a part of each matrix once, with a
//! phase for each step of a layer. Many rows are split by rows ([`many`]): an item is a layer for some rows, with one phase a
//! layer, between keys and values written and read. Both are made of the same steps ([`steps`]).
//!
//! What soundness rests on: in a phase, an item writes only what is its own (columns of its weight strips, its rows, a
//! position's keys and values) and reads only what earlier phases or itself wrote.

pub(crate) mod few;
pub(crate) mod many;
mod steps;

use crate::arch::Kernels;
use crate::attention::{Place, Rotation};
use crate::kv::KvStore;
use crate::scratch::Scratch;
use crate::weights::CpuWeights;
use model::ModelSpec;

/// Everything that a pass reads, and the buffers that it writes.
pub(crate) struct Pass<'a> {
    pub(crate) spec: &'a ModelSpec,
    pub(crate) kernels: &'a Kernels,
    pub(crate) weights: &'a CpuWeights,
    pub(crate) kv: &'a KvStore,
    pub(crate) rotation: &'a Rotation,
    pub(crate) scratch: &'a Scratch,
    pub(crate) n_workers: usize,
    /// Whether weights are prefetched into the first-level cache.
    pub(crate) is_near: bool,
    pub(crate) tokens: &'a [u32],
    pub(crate) places: &'a [Place<'a>],
    /// Rows whose logits are wanted, in order; their logits begin at row `first_logits`.
    pub(crate) wanted: &'a [usize],
    pub(crate) first_logits: usize,
    /// Whether each worker is to remember the likeliest token that it saw.
    pub(crate) greedy: bool,
}
