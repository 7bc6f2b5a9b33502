//! How the products of a layer are shared out: to workgroups by rows, to their threads by rows and units.

use super::shape::{Geometry, Place, Shape};
use crate::layout::{BLOCK, UNIT};

/// A product of every layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    Qkv,
    AttnOutput,
    GateUp,
    FfnDown,
}

impl Work {
    pub(crate) const ALL: [Self; 4] = [Self::Qkv, Self::AttnOutput, Self::GateUp, Self::FfnDown];

    /// Its number in the order of a layer.
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The work that comes `n` after it, and whether in the next layer.
    pub(crate) fn after(self, n: usize) -> (Self, bool) {
        (Self::ALL[(self.index() + n) % Self::ALL.len()], self.index() + n >= Self::ALL.len())
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Qkv => "qkv",
            Self::AttnOutput => "attn_output",
            Self::GateUp => "gate_up",
            Self::FfnDown => "ffn_down",
        }
    }

    pub(crate) fn place(self, shape: &Shape) -> Place {
        match self {
            Self::Qkv => shape.qkv,
            Self::AttnOutput => shape.attn_output,
            Self::GateUp => shape.gate_up,
            Self::FfnDown => shape.ffn_down,
        }
    }
}

/// A workgroup's share of a product: output blocks of 8 rows are dealt out, one after another, and the units of each are shared
/// by octets, 8 threads with a row each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Output blocks in all, and those of the group that has most.
    pub(crate) blocks: usize,
    pub(crate) slots: usize,
    /// Blocks of weights to an output block: gates have their ups.
    pub(crate) parts: usize,
    pub(crate) n_units: usize,
    /// Octets that share a block; even, unless there is one.
    pub(crate) slices: usize,
    /// Blocks at work at a time, and how many times as many there are.
    pub(crate) teams: usize,
    pub(crate) sets: usize,
    /// Units of a block that a thread loads at a time, and how many times it does.
    pub(crate) batch: usize,
    pub(crate) batches: usize,
}

impl Share {
    /// The one with the fewest batches for a thread, and of those with the fewest units.
    pub(crate) fn of(shape: &Shape, geometry: &Geometry, work: Work) -> Self {
        let place = work.place(shape);
        let parts = if work == Work::GateUp { 2 } else { 1 };
        let blocks = place.n_rows / BLOCK / parts;
        let slots = blocks.div_ceil(geometry.groups);
        let (octets, n_units) = (geometry.threads / BLOCK, place.n_cols.div_ceil(UNIT));
        let share = |slices: usize| {
            let teams = octets / slices;
            let sets = (slots * parts).div_ceil(teams);
            let rounds = n_units.div_ceil(slices);
            let batches = rounds.div_ceil(geometry.batch);
            let batch = rounds.div_ceil(batches);
            Self { blocks, slots, parts, n_units, slices, teams, sets, batch, batches }
        };
        let slices = (1..=octets.min(n_units)).rev().filter(|n| *n == 1 || n.is_multiple_of(2));
        let cost = |s: &Self| (s.steps(), s.steps() * s.batch, s.sets);
        slices.map(share).min_by_key(cost).unwrap_or_else(|| share(1))
    }

    /// How many times a thread loads a batch.
    pub(crate) fn steps(&self) -> usize {
        self.sets * self.batches
    }

    /// Whether all threads have a block in every set.
    pub(crate) fn is_whole(&self, geometry: &Geometry) -> bool {
        self.teams * self.slices == geometry.threads / BLOCK
            && self.sets * self.teams == self.slots * self.parts
            && self.blocks.is_multiple_of(geometry.groups)
    }

    /// Sums that a workgroup leaves to be added up.
    pub(crate) fn n_partials(&self) -> usize {
        self.slots * self.parts * self.slices * BLOCK
    }
}
