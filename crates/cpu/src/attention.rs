//! Where rows stand in their sequences, and the rotation of heads.
//!
//! The positions of a sequence are cut into segments of 512, whatever the number of workers or rows; each is summed up on its
//! own, and the sums are merged in order. So the work on a long context can be split without changing a bit.

use crate::arch::Kernels;
use crate::kernels::attend::SEGMENT;
use crate::kernels::rotate::Rotate;
use model::{BLOCK_LEN, ModelSpec, RopeTable};

/// Where one row stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) position: usize,
    /// Block table of its sequence.
    pub(crate) blocks: &'a [u32],
}

impl<'a> Place<'a> {
    pub(crate) fn n_segments(&self) -> usize {
        self.position / SEGMENT + 1
    }

    pub(crate) fn block(&self) -> u32 {
        self.blocks[self.position / BLOCK_LEN]
    }

    /// How many positions of a segment this row sees.
    pub(crate) fn seen(&self, segment: usize) -> usize {
        (self.position + 1 - segment * SEGMENT).min(SEGMENT)
    }

    /// The blocks of a segment that this row sees some of.
    pub(crate) fn segment(&self, segment: usize) -> &'a [u32] {
        let start = segment * SEGMENT / BLOCK_LEN;
        &self.blocks[start..start + self.seen(segment).div_ceil(BLOCK_LEN)]
    }

    /// Whether the two are rows of one sequence that see as many segments.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        std::ptr::eq(self.blocks, other.blocks) && self.n_segments() == other.n_segments()
    }
}

/// The angles by which heads are rotated.
#[derive(Debug)]
pub(crate) struct Rotation {
    table: RopeTable,
    /// Cosines and sines, `[n_positions, n_rot / 2]`.
    turns: Vec<[f32; 2]>,
}

impl Rotation {
    pub(crate) fn new(spec: &ModelSpec) -> Self {
        Self { table: spec.rope.clone(), turns: Vec::new() }
    }

    /// Makes sure that positions before `n_positions` are in the table.
    pub(crate) fn reserve(&mut self, n_positions: usize) {
        let pairs = self.table.frequencies.len();
        let have = self.turns.len() / pairs;
        for position in have..n_positions.next_multiple_of(BLOCK_LEN).max(have) {
            for i in 0..pairs {
                let (cos, sin) = self.table.cos_sin(position as u32, i);
                self.turns.push([cos as f32, sin as f32]);
            }
        }
    }

    pub(crate) fn apply(&self, kernels: &Kernels, head: &mut [f32], position: usize) {
        let pairs = self.table.frequencies.len();
        let turns = &self.turns[position * pairs..][..pairs];
        (kernels.rotate)(Rotate { head, turns, pairing: self.table.pairing });
    }
}
