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
    /// Units side by side that a thread has together: two have their scales in one word.
    pub(crate) run: usize,
    /// Octets that share a block; even, unless there is one.
    pub(crate) slices: usize,
    /// Blocks at work at a time, and how many times as many there are.
    pub(crate) teams: usize,
    pub(crate) sets: usize,
    /// Runs of a block that a thread loads at a time, and how many times it does.
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
        // A thread of a small model has so few units that pairs of them would be shared out unevenly.
        let pairs = !geometry.holds_layer && geometry.batch >= 2 && n_units.is_multiple_of(2);
        let run = if pairs { 2 } else { 1 };
        let n_runs = n_units / run;
        let share = |slices: usize| {
            let teams = octets / slices;
            let sets = (slots * parts).div_ceil(teams);
            let rounds = n_runs.div_ceil(slices);
            let batches = rounds.div_ceil(geometry.batch / run);
            let batch = rounds.div_ceil(batches);
            Self { blocks, slots, parts, n_units, run, slices, teams, sets, batch, batches }
        };
        let slices = (1..=octets.min(n_runs)).rev().filter(|n| *n == 1 || n.is_multiple_of(2));
        let cost = |s: &Self| (s.steps(), s.steps() * s.units(), s.sets);
        slices.map(share).min_by_key(cost).unwrap_or_else(|| share(1))
    }

    /// Units of a batch.
    pub(crate) fn units(&self) -> usize {
        self.batch * self.run
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kernels::heads::Heads;
    use crate::persistent::shape::{MOST_BUFFERS, Spot};
    use gguf::TensorType;

    /// Of every block each unit is some thread's exactly once: of models of many sizes, whose layers registers hold or not.
    #[test]
    fn units_are_shared_out_once() {
        for [n_embd, n_heads, n_kv_heads, head_dim, n_ff] in [
            [576, 9, 3, 64, 1536],
            [960, 15, 5, 64, 2560],
            [896, 14, 2, 64, 4864],
            [1536, 12, 2, 128, 8960],
            [2048, 32, 8, 64, 8192],
            [3072, 24, 8, 128, 8192],
            [4096, 32, 8, 128, 14_336],
        ] {
            let shape = shape([n_embd, n_heads, n_kv_heads, head_dim, n_ff]);
            for (groups, threads, batch, holds_layer) in
                [(132, 512, 4, false), (120, 256, 32, true), (96, 384, 32, true), (7, 128, 6, false)]
            {
                let geometry = Geometry {
                    groups,
                    helpers: 0,
                    threads,
                    lanes: 32,
                    splits: 1,
                    copies: 1,
                    keys: 4,
                    batch,
                    holds_layer,
                    draws: true,
                    in_turns: false,
                };
                for work in Work::ALL {
                    check(&Share::of(&shape, &geometry, work), &geometry, &format!("{n_embd} {work:?}"));
                }
            }
        }
    }

    fn check(share: &Share, geometry: &Geometry, what: &str) {
        let Share { blocks, slots, parts, n_units, run, slices, teams, batch, batches, .. } = *share;
        assert!(run == 1 || n_units.is_multiple_of(2), "{what}: runs share scales");
        assert!(slices * teams <= geometry.threads / BLOCK, "{what}: {share:?}");
        let mut seen = vec![0u8; blocks * parts * n_units];
        for group in 0..geometry.groups.min(blocks) {
            for (octet, step) in
                (0..slices * teams).flat_map(|octet| (0..share.steps()).map(move |s| (octet, s)))
            {
                // As the text has it: see `product`.
                let (slice, slot) = (octet % slices, octet / slices + step / batches * teams);
                let out = group + slot / parts * geometry.groups;
                if slot >= slots * parts || out >= blocks {
                    continue;
                }
                let first = slice + step % batches * batch * slices;
                let units = (0..batch).flat_map(|k| (0..run).map(move |i| (first + k * slices) * run + i));
                for unit in units.filter(|unit| *unit < n_units) {
                    seen[(out * parts + slot % parts) * n_units + unit] += 1;
                }
            }
        }
        assert!(seen.iter().all(|&n| n == 1), "{what}: {share:?}");
    }

    /// A model of Q4_0, without places: its width, heads, those of keys, their length, and gates.
    pub(in crate::persistent) fn shape([n_embd, n_heads, n_kv_heads, head_dim, n_ff]: [usize; 5]) -> Shape {
        let place = |n_rows: usize, n_cols: usize| Place {
            ty: TensorType::Q4_0,
            n_cols,
            n_rows,
            spots: [Spot::default(); MOST_BUFFERS],
            first: [0; MOST_BUFFERS],
        };
        let width = n_heads * head_dim;
        Shape {
            heads: Heads { n_heads, n_kv_heads, head_dim },
            halves: false,
            eps: 1e-5,
            biased: false,
            head_norms: false,
            rounds: true,
            n_layers: 2,
            n_embd,
            n_ff,
            n_vocab: 512,
            qkv: place(width + 2 * n_kv_heads * head_dim, n_embd),
            attn_output: place(n_embd, width),
            gate_up: place(2 * n_ff, n_embd),
            ffn_down: place(n_embd, n_ff),
            layer_words: 0,
            output: place(512, n_embd),
            embedding: place(512, n_embd),
            kv: 0,
            layer_kv: 0,
            rope: 0,
            table: 0,
            n_blocks: 1,
        }
    }
}
