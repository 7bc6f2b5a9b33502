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
    /// Runs of a block that a thread loads at a time, and how many times it does, for each part of the vector.
    pub(crate) batch: usize,
    pub(crate) batches: usize,
    /// Parts that the vector is taken in.
    pub(crate) takes: usize,
    /// Sets that are multiplied before the first rows are told, at least half of them; all, if these are told together.
    pub(crate) first_sets: usize,
}

impl Share {
    /// The one with the fewest batches for a thread; of those, where rows are told in halves, one that can, and with the fewest units.
    pub(crate) fn of(shape: &Shape, geometry: &Geometry, work: Work) -> Self {
        let place = work.place(shape);
        let parts = if work == Work::GateUp { 2 } else { 1 };
        let blocks = place.n_rows / BLOCK / parts;
        let slots = blocks.div_ceil(geometry.groups);
        let (octets, n_units) = (geometry.threads / BLOCK, place.n_cols.div_ceil(UNIT));
        // A thread of a small model has so few units that pairs of them would be shared out unevenly.
        let takes = if geometry.in_halves.takes(work) { 2 } else { 1 };
        let pairs = !geometry.holds_layer && geometry.batch >= 2 && n_units.is_multiple_of(2 * takes);
        let run = if pairs { 2 } else { 1 };
        let n_runs = n_units / run / takes;
        let tells = geometry.in_halves.tells(work);
        let share = |slices: usize| {
            let teams = octets / slices;
            let sets = (slots * parts).div_ceil(teams);
            let rounds = n_runs.div_ceil(slices);
            let batches = rounds.div_ceil(geometry.batch / run);
            let batch = rounds.div_ceil(batches);
            let first_sets = if tells { (slots.div_ceil(2) * parts).div_ceil(teams) } else { sets };
            Self {
                blocks,
                slots,
                parts,
                n_units,
                run,
                slices,
                teams,
                sets,
                batch,
                batches,
                takes,
                first_sets,
            }
        };
        let slices = (1..=octets.min(n_runs)).rev().filter(|n| *n == 1 || n.is_multiple_of(2));
        let cost = |s: &Self| (s.steps(), tells && s.tells() == 1, s.steps() * s.units(), s.sets);
        slices.map(share).min_by_key(cost).unwrap_or_else(|| share(1))
    }

    /// Units of a batch.
    pub(crate) fn units(&self) -> usize {
        self.batch * self.run
    }

    /// How many times a thread loads a batch, for each part of the vector.
    pub(crate) fn steps(&self) -> usize {
        self.sets * self.batches
    }

    /// Runs of a row's part of the vector.
    pub(crate) fn n_runs(&self) -> usize {
        self.n_units / self.run / self.takes
    }

    /// Parts that the rows are told in.
    pub(crate) fn tells(&self) -> usize {
        if self.first_sets < self.sets { 2 } else { 1 }
    }

    /// Slots that are told first.
    pub(crate) fn first_slots(&self) -> usize {
        (self.first_sets * self.teams / self.parts).min(self.slots)
    }

    /// Steps behind which something is taken, told or both: the first part of the vector is multiplied by all rows, and the last by those
    /// that are told first, and by the others.
    pub(crate) fn stages(&self) -> Vec<usize> {
        let all = self.takes * self.steps();
        let mut ends: Vec<usize> = (1..self.takes).map(|i| i * self.steps()).collect();
        if self.tells() > 1 {
            ends.push(all - (self.sets - self.first_sets) * self.batches);
        }
        ends.push(all);
        ends
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
    use crate::persistent::shape::{InHalves, MOST_BUFFERS, Spot};
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
            for (groups, threads, batch, holds_layer, in_halves) in [
                (132, 512, 4, false, InHalves::NONE),
                (132, 512, 4, false, InHalves::ALL),
                (128, 512, 4, false, InHalves::ALL),
                (128, 512, 4, false, InHalves { gated: true, ..InHalves::NONE }),
                (120, 256, 32, true, InHalves::NONE),
                (96, 384, 32, true, InHalves::NONE),
                (7, 128, 6, false, InHalves::NONE),
                (7, 128, 6, false, InHalves::ALL),
                (1, 128, 1, false, InHalves::ALL),
            ] {
                let geometry = Geometry {
                    groups,
                    helpers: 0,
                    threads,
                    lanes: 32,
                    splits: 1,
                    copies: 1,
                    keys: 4,
                    one_chunk: false,
                    batch,
                    holds_layer,
                    in_halves,
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
        let Share { blocks, slots, parts, n_units, run, slices, teams, batch, batches, takes, .. } = *share;
        assert!(run == 1 || n_units.is_multiple_of(2), "{what}: runs share scales");
        assert!(slices * teams <= geometry.threads / BLOCK, "{what}: {share:?}");
        let mut seen = vec![0u8; blocks * parts * n_units];
        // Rows that are told first, before others are done.
        let told = if share.tells() == 1 { slots } else { share.first_slots() };
        let told_after = share.stages()[share.stages().len() - share.tells()];
        for group in 0..geometry.groups.min(blocks) {
            for (octet, step) in
                (0..slices * teams).flat_map(|octet| (0..takes * share.steps()).map(move |s| (octet, s)))
            {
                // As the text has it: see `product`.
                let (part, step_of_part) = (step / share.steps(), step % share.steps());
                let (slice, slot) = (octet % slices, octet / slices + step_of_part / batches * teams);
                let out = group + slot / parts * geometry.groups;
                if slot >= slots * parts || out >= blocks {
                    continue;
                }
                assert!(slot / parts >= told || step < told_after, "{what}: {share:?} tells {slot} early");
                let first = slice + step_of_part % batches * batch * slices;
                let runs = (0..batch).map(|k| first + k * slices).filter(|run| *run < share.n_runs());
                let units = runs.flat_map(|r| (0..run).map(move |i| (part * share.n_runs() + r) * run + i));
                for unit in units {
                    seen[(out * parts + slot % parts) * n_units + unit] += 1;
                }
            }
        }
        assert!(seen.iter().all(|&n| n == 1), "{what}: {share:?}");
        assert!(told * 2 >= slots, "{what}: {share:?} tells less than a half first");
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
