//! What the persistent kernel is compiled for: the sizes of a model, where its tensors lie, and how the work is shared out.

use crate::kernels::heads::Heads;
use crate::layout::{BLOCK, GROUP, UNIT};
use crate::planner::Planner;
use crate::tensors::{GateUp, Part};
use crate::weights::Placed;
use gguf::TensorType;
use model::RopePairing;

/// Elements of an embedding at most: a row of the head is in registers.
const MOST_EMBD: usize = 1024;
/// Weights of a layer that a thread keeps in registers at most, in units of 32.
const MOST_UNITS: usize = 32;

/// A tensor, or several as one: where its first layer's areas begin, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) ty: TensorType,
    pub(crate) n_cols: usize,
    pub(crate) n_rows: usize,
    pub(crate) quads: usize,
    pub(crate) pairs: usize,
    /// The norm before it.
    pub(crate) norm: usize,
}

/// A model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    pub(crate) heads: Heads,
    /// Whether elements i and i + head_dim / 2 are rotated together, and not neighbours.
    pub(crate) halves: bool,
    pub(crate) eps: f32,
    pub(crate) n_layers: usize,
    pub(crate) n_embd: usize,
    pub(crate) n_ff: usize,
    pub(crate) n_vocab: usize,
    pub(crate) qkv: Place,
    pub(crate) attn_output: Place,
    /// Row groups of gates and ups take turns.
    pub(crate) gate_up: Place,
    pub(crate) ffn_down: Place,
    /// Words from layer to layer.
    pub(crate) layer_words: usize,
    pub(crate) output: Place,
    pub(crate) embedding: Place,
    /// Where the first layer's keys and values begin, and from layer to layer, in quads.
    pub(crate) kv: usize,
    pub(crate) layer_kv: usize,
    /// Where angles and the block table begin in `tables`.
    pub(crate) rope: usize,
    pub(crate) table: usize,
    /// Blocks of a sequence at most.
    pub(crate) n_blocks: usize,
}

/// How the work is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Workgroups, all of which must be at work at a time.
    pub(crate) groups: usize,
    /// Threads of each, a multiple of 32.
    pub(crate) threads: usize,
    /// Lanes of a subgroup.
    pub(crate) lanes: usize,
    /// Parts that the keys are attended to in.
    pub(crate) splits: usize,
    /// Keys that a team of threads has in hand at a time.
    pub(crate) keys: usize,
}

impl Shape {
    /// The model of a plan.
    ///
    /// # Errors
    /// Why the kernel is not for this model, in words that follow "because".
    pub(crate) fn of(planner: &Planner<'_>) -> Result<Self, String> {
        let (spec, tensors) = (planner.spec, planner.tensors);
        let whole = |what: &str, n: usize| match n.is_multiple_of(GROUP) {
            true => Ok(n),
            false => Err(format!("{what} is {n}, where a multiple of {GROUP} is needed")),
        };
        if spec.qkv_bias || spec.qk_norm {
            return Err("its layers have biases or norms of Q and K".to_owned());
        }
        if spec.rope.n_rot() != spec.head_dim || ![32, 64, 128].contains(&spec.head_dim) {
            return Err(format!(
                "its heads have {} elements, of which {} turn",
                spec.head_dim,
                spec.rope.n_rot()
            ));
        }
        if spec.n_embd > MOST_EMBD {
            return Err(format!("an embedding has {} elements, where {MOST_EMBD} are possible", spec.n_embd));
        }
        for (what, n) in [("n_embd", spec.n_embd), ("n_ff", spec.n_ff)] {
            whole(what, n)?;
        }
        let layers = Layers::of(planner)?;
        let [first, second] = [0, 1].map(|i| planner.kv.get(i).copied());
        let Some((0, kv)) = first else { return Err("there are no keys and values".to_owned()) };
        let layer_kv = second.map_or(0, |(_, at)| at - kv) as usize;
        let regular = |(i, at): (usize, &(usize, u32))| *at == (0, kv + (i * layer_kv) as u32);
        if !planner.kv.iter().enumerate().all(regular) {
            return Err("its keys and values lie in several buffers".to_owned());
        }
        Ok(Self {
            heads: crate::regions::heads(spec),
            halves: spec.rope.pairing == RopePairing::Halves,
            eps: spec.rms_eps,
            n_layers: spec.n_layers,
            n_embd: spec.n_embd,
            n_ff: spec.n_ff,
            n_vocab: spec.n_vocab,
            qkv: layers.first[0],
            attn_output: layers.first[1],
            gate_up: layers.first[2],
            ffn_down: layers.first[3],
            layer_words: layers.words,
            output: place("output", &tensors.output, spec.n_vocab)?,
            embedding: place("token_embd", &tensors.embedding, spec.n_vocab)?,
            kv: kv as usize,
            layer_kv,
            rope: planner.tables.rope as usize,
            table: planner.tables.blocks as usize,
            n_blocks: (planner.tables.rows - planner.tables.blocks) as usize,
        })
    }

    /// Whether every group has a part in each layer, a thread can hold its share of it, and a workgroup what it works on.
    ///
    /// # Errors
    /// Which of them is not so, in words that follow "because".
    pub(crate) fn fits(&self, geometry: &Geometry, workgroup_memory: u32) -> Result<(), String> {
        if geometry.groups > self.n_ff / BLOCK {
            return Err(format!("{} workgroups cannot share {} gates", geometry.groups, self.n_ff));
        }
        let units: usize =
            Work::ALL.iter().map(|&work| Share::of(self, geometry, work)).map(|s| s.sets * s.rounds).sum();
        if units > MOST_UNITS {
            return Err(format!(
                "a thread's share of a layer is {units} units, where {MOST_UNITS} are possible"
            ));
        }
        let longest = self.n_embd.max(self.n_ff).max(self.heads.width());
        let partials = Work::ALL.map(|work| Share::of(self, geometry, work).n_partials()).into_iter().max();
        let bytes = 4 * (longest + 2 * self.n_embd + self.n_blocks + partials.unwrap_or(0)) + (8 << 10);
        match bytes <= workgroup_memory as usize {
            true => Ok(()),
            false => {
                Err(format!("a workgroup needs {bytes} bytes of its memory, and has {workgroup_memory}"))
            }
        }
    }
}

/// Types of matrices that the kernel knows.
const TYPES: [TensorType; 2] = [TensorType::Q4_0, TensorType::Q8_0];

/// The products of all layers, which lie in the same way in each.
struct Layers {
    first: [Place; 4],
    words: usize,
}

impl Layers {
    fn of(planner: &Planner<'_>) -> Result<Self, String> {
        let mut all = Vec::new();
        for (i, layer) in planner.tensors.layers.iter().enumerate() {
            let GateUp::Fused(gate_up) = &layer.gate_up else {
                return Err(format!("gates and ups of layer {i} have different types"));
            };
            let spec = planner.spec;
            let place = |what: &str, parts: &[Part], n_rows| place(&format!("blk.{i}.{what}"), parts, n_rows);
            all.push([
                place("attn_qkv", &layer.qkv, spec.q_dim() + 2 * spec.kv_dim())?,
                place("attn_output", &layer.attn_output, spec.n_embd)?,
                place("ffn_gate_up", gate_up, 2 * spec.n_ff)?,
                place("ffn_down", &layer.ffn_down, spec.n_embd)?,
            ]);
        }
        let first = all[0];
        let words = all.get(1).map_or(0, |second| second[0].quads - first[0].quads);
        let moved = |place: Place, i: usize| Place {
            quads: place.quads + i * words,
            pairs: place.pairs + i * words,
            // A tensor without one has 0 there.
            norm: if place.norm == 0 { 0 } else { place.norm + i * words },
            ..place
        };
        let regular = |(i, places): (usize, &[Place; 4])| *places == first.map(|place| moved(place, i));
        match all.iter().enumerate().all(regular) {
            true => Ok(Self { first, words }),
            false => Err("its layers have different types".to_owned()),
        }
    }
}

/// A tensor that lies in the first buffer as a whole.
fn place(what: &str, parts: &[Part], n_rows: usize) -> Result<Place, String> {
    let [Part { placed: Placed { buffer: 0, ty, n_cols, at, n_groups, .. }, norm, .. }] = parts else {
        return Err(format!("{what} is not one tensor in the first buffer"));
    };
    if !TYPES.contains(ty) {
        return Err(format!("{what} is {}", ty.name()));
    }
    if n_groups * GROUP != n_rows.next_multiple_of(GROUP) {
        return Err(format!("{what} has rows of its own"));
    }
    Ok(Place {
        ty: *ty,
        n_cols: *n_cols,
        n_rows,
        quads: 4 * at.quads as usize,
        pairs: at.pairs as usize,
        norm: *norm as usize,
    })
}

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
    /// Octets that share a block.
    pub(crate) slices: usize,
    /// Blocks at work at a time.
    pub(crate) teams: usize,
    /// Blocks one after another, and units of each.
    pub(crate) sets: usize,
    pub(crate) rounds: usize,
}

impl Share {
    pub(crate) fn of(shape: &Shape, geometry: &Geometry, work: Work) -> Self {
        let place = work.place(shape);
        let parts = if work == Work::GateUp { 2 } else { 1 };
        let blocks = place.n_rows / BLOCK / parts;
        let slots = blocks.div_ceil(geometry.groups);
        let (octets, n_units) = (geometry.threads / BLOCK, place.n_cols.div_ceil(UNIT));
        let slices = (octets / (slots * parts)).clamp(1, n_units);
        let teams = octets / slices;
        let sets = (slots * parts).div_ceil(teams);
        Self { blocks, slots, parts, n_units, slices, teams, sets, rounds: n_units.div_ceil(slices) }
    }

    /// Sums that a workgroup leaves to be added up.
    pub(crate) fn n_partials(&self) -> usize {
        self.slots * self.parts * self.slices * BLOCK
    }
}
