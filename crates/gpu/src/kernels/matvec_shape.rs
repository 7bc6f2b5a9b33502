//! How the work of `matvec` is laid out, by the sizes of the product.

use crate::device::Caps;
use crate::layout::BLOCK;

/// Threads of a workgroup; twice as many where there is much to do.
const MOST_THREADS: usize = 256;
/// Blocks of outputs from which on there is work enough for threads to have whole rows.
const MANY_BLOCKS: usize = 2048;

/// How the work is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// Threads that share a row, a multiple of 4.
    pub(crate) slices: usize,
    /// Rows of threads, each with blocks of its own.
    pub(crate) teams: usize,
    /// Blocks that a thread has at a time: what it reads of x serves all of them.
    pub(crate) blocks: usize,
    /// How many times it does so, one after another.
    pub(crate) sets: usize,
    /// Quads of weights that a thread has in flight at a time, if a row of each block needs so many.
    pub(crate) flight: usize,
}

impl Shape {
    /// For a product with rows of `n_units` units that makes `n_blocks` blocks of outputs: what was fastest where it was measured.
    pub(super) fn of(n_units: usize, n_blocks: usize, caps: Caps) -> Self {
        let many = n_blocks >= MANY_BLOCKS;
        let most_threads =
            if n_units > 256 || (n_units > 64 && many) { 2 * MOST_THREADS } else { MOST_THREADS };
        let most = (caps.max_threads as usize).min(most_threads) / BLOCK;
        if n_units <= 32 && many && n_blocks.is_multiple_of(16) {
            return Self { slices: 4, teams: 8, blocks: 2, sets: 1, flight: 16 };
        }
        if n_units > 64 && many {
            let teams = most / 16;
            return Self { slices: 16, teams, blocks: if teams > 2 { 1 } else { 2 }, sets: 1, flight: 8 };
        }
        // One unit a thread while there are threads for it: a chain of small products waits for its slowest thread.
        let rounds = n_units.div_ceil(most);
        let slices = n_units.div_ceil(rounds).next_multiple_of(4);
        // Long rows are a matter of bandwidth: what is read of x serves two rows.
        let blocks = if n_units > 64 { 2 } else { 1 };
        Self { slices, teams: 1, blocks, sets: 1, flight: 8 }
    }

    /// The same for `n_tokens` rows of x in 8 bits and weights whose row groups take turns, or not (`groups` 2 or 1), with units of so
    /// many `quads`: near the best of 64 to 200 shapes for each product of models of 135 M, 1 B and 8 B on an H200.
    pub(super) fn int8(
        (n_units, quads): (usize, usize),
        n_blocks: usize,
        (n_tokens, groups): (usize, usize),
        caps: Caps,
    ) -> Self {
        let most = caps.max_threads as usize / BLOCK;
        // The slices are the same for every number of tokens but one: the order of sums is.
        let slices = match (n_tokens, n_units) {
            (_, ..=64) => 16,
            (1, 257..) if most >= 64 => 64,
            // Two rows at a time are as many loads in flight as long slices have.
            _ if groups == 2 => 16,
            _ => 32,
        };
        let slices = slices.min(most).min(n_units.next_multiple_of(4));
        let long = slices >= 32;
        // What is read of x serves the rows of several blocks, the more the more tokens there are.
        let (teams, blocks, sets, flight) = match n_tokens {
            1 if slices == 64 => (1, 2, 1, 8),
            1 if long => (2, 1, 1, 8),
            1 if groups == 2 && n_units > 64 => (2, 1, 2, 16),
            1 => (2, 2, 1, 8),
            // Of several tokens a row's units in flight are as many whatever their number, so that each has the sums that it would have
            // alone: a driver makes other sums of another loop.
            _ if n_units < 64 => (1, 1, 1, 8),
            _ if long => (1, 2, 1, 4 * quads),
            5.. if groups == 1 && n_blocks >= MANY_BLOCKS => (2, 2, 1, 16),
            _ => (2, 1, 1, 8),
        };
        let teams = teams.min(most / slices).max(1);
        debug_assert!(n_blocks.is_multiple_of(teams * blocks * sets), "row groups have four blocks");
        Self { slices, teams, blocks, sets, flight }
    }

    pub(super) fn threads(self) -> usize {
        BLOCK * self.slices * self.teams
    }

    /// Blocks of outputs of a workgroup.
    pub(super) fn out_blocks(self) -> usize {
        self.teams * self.blocks * self.sets
    }
}
