//! What the persistent kernel is compiled for: the sizes of a model, where its tensors lie, and how the work is shared out.

use super::share::{Share, Work};
use super::source::{CODES, LEAST_PARTIALS};
use crate::kernels::heads::Heads;
use crate::layout::{BLOCK, GROUP, UNIT};
use crate::planner::Planner;
use crate::tensors::{GateUp, Part};
use crate::weights::Placed;
use gguf::TensorType;
use model::RopePairing;

/// Buffers that weights lie in at most.
pub(super) const MOST_BUFFERS: usize = 4;
/// Units of 32 weights that a thread has in registers at most.
const MOST_UNITS: usize = 32;

/// A tensor, or several as one, of all layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) ty: TensorType,
    pub(crate) n_cols: usize,
    pub(crate) n_rows: usize,
    /// Where it lies in each buffer of weights.
    pub(crate) spots: [Spot; MOST_BUFFERS],
    /// The first layer whose tensor is in that buffer, or behind it.
    pub(crate) first: [usize; MOST_BUFFERS],
}

/// Where the first layer's areas begin in a buffer, or would, had it all layers: numbers that wrap around.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spot {
    /// In quads.
    pub(crate) quads: u32,
    /// In words, as all that follow.
    pub(crate) words: u32,
    pub(crate) pairs: u32,
    pub(crate) supers: u32,
    /// The norm before it, a bias behind it, and the norms of each head of Q and of K; 0 where there is none.
    pub(crate) norm: u32,
    pub(crate) bias: u32,
    pub(crate) head_norms: [u32; 2],
}

/// A model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    pub(crate) heads: Heads,
    /// Whether elements i and i + head_dim / 2 are rotated together, and not neighbours.
    pub(crate) halves: bool,
    pub(crate) eps: f32,
    /// Whether Q, K and V have a bias, and each head of Q and K a norm.
    pub(crate) biased: bool,
    pub(crate) head_norms: bool,
    /// Whether vectors are rounded to 8 bits before products: all or none.
    pub(crate) rounds: bool,
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
    pub(crate) layer_words: u32,
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

/// Vectors of which the first half is told, and multiplied, while the second is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InHalves {
    /// What down leaves for Q, K and V, O for gates and ups, and these for down.
    pub(crate) hidden: bool,
    pub(crate) middle: bool,
    pub(crate) gated: bool,
}

impl InHalves {
    pub(crate) const NONE: Self = Self { hidden: false, middle: false, gated: false };
    pub(crate) const ALL: Self = Self { hidden: true, middle: true, gated: true };

    /// Whether a product takes its vector so.
    pub(crate) fn takes(self, work: Work) -> bool {
        match work {
            Work::Qkv => self.hidden,
            // What was attended to is made at once.
            Work::AttnOutput => false,
            Work::GateUp => self.middle,
            Work::FfnDown => self.gated,
        }
    }

    /// Whether it tells its rows so.
    pub(crate) fn tells(self, work: Work) -> bool {
        match work {
            // A head needs a few rows, of either half.
            Work::Qkv => false,
            Work::AttnOutput => self.middle,
            Work::GateUp => self.gated,
            Work::FfnDown => self.hidden,
        }
    }
}

/// How the work is shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Workgroups, all of which must be at work at a time.
    pub(crate) groups: usize,
    /// Workgroups beside them that bring keys and values near; whether they are at work at a time does not matter.
    pub(crate) helpers: usize,
    /// Threads of each, a multiple of 32.
    pub(crate) threads: usize,
    /// Lanes of a subgroup.
    pub(crate) lanes: usize,
    /// Parts that the keys are attended to in.
    pub(crate) splits: usize,
    /// Copies of what all groups wait for: each looks at one of them.
    pub(crate) copies: usize,
    /// Keys that a team of threads has in hand at a time.
    pub(crate) keys: usize,
    /// Whether a part never has more keys than its teams have in hand.
    pub(crate) one_chunk: bool,
    /// Units of weights that a thread loads at a time.
    pub(crate) batch: usize,
    /// Whether a thread has its weights of a layer in registers before it begins, or loads them as it goes.
    pub(crate) holds_layer: bool,
    /// Vectors that are told and taken in halves.
    pub(crate) in_halves: InHalves,
    /// Whether a token is drawn, for which a workgroup keeps the logits of its rows, or is the best.
    pub(crate) draws: bool,
    /// Whether subgroups of a group may be at work one after another, each from barrier to barrier, as on software devices.
    pub(crate) in_turns: bool,
}

impl Geometry {
    /// Whether a thread has registers for its weights of a layer, and a group that has a part in O and down has one in Q, K and V, where
    /// it loads them.
    pub(crate) fn can_hold(&self, shape: &Shape) -> bool {
        let geometry = Self { holds_layer: true, ..*self };
        let shares = Work::ALL.map(|work| Share::of(shape, &geometry, work));
        shares[0].blocks >= shares[1].blocks.min(self.groups)
            && shares.iter().all(|share| share.steps() == 1)
            && geometry.n_units(&shares) <= MOST_UNITS
    }

    /// Keys that the teams of a group have in hand at a time.
    pub(crate) fn chunk(&self, heads: Heads) -> usize {
        self.keys * self.threads / heads.lanes()
    }

    /// Sets of registers that products load weights into.
    pub(super) fn register_sets(&self) -> usize {
        if self.holds_layer { Work::ALL.len() } else { 1 }
    }

    /// Units that a thread has registers for.
    fn n_units(&self, shares: &[Share; 4]) -> usize {
        let sets = self.register_sets();
        let of = |first: usize| shares.iter().skip(first).step_by(sets).map(Share::units).max();
        (0..sets).filter_map(of).sum()
    }
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
        if spec.rope.n_rot() != spec.head_dim || ![32, 64, 128].contains(&spec.head_dim) {
            return Err(format!(
                "its heads have {} elements, of which {} turn",
                spec.head_dim,
                spec.rope.n_rot()
            ));
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
            biased: spec.qkv_bias,
            head_norms: spec.qk_norm,
            rounds: planner.rounds_all(),
            n_layers: spec.n_layers,
            n_embd: spec.n_embd,
            n_ff: spec.n_ff,
            n_vocab: spec.n_vocab,
            qkv: layers.places[0],
            attn_output: layers.places[1],
            gate_up: layers.places[2],
            ffn_down: layers.places[3],
            layer_words: layers.words,
            output: alone(planner, "output", &tensors.output)?,
            embedding: alone(planner, "token_embd", &tensors.embedding)?,
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
        if geometry.in_halves != InHalves::NONE && !self.can_halve() {
            return Err("its vectors have no halves".to_owned());
        }
        let shares = Work::ALL.map(|work| Share::of(self, geometry, work));
        let units = geometry.n_units(&shares);
        if units > MOST_UNITS {
            return Err(format!("a thread loads {units} units ahead, where {MOST_UNITS} are possible"));
        }
        let states = 2 * geometry.splits * self.heads.n_heads;
        if states > geometry.threads {
            return Err(format!("{} threads cannot read {states} states of heads", geometry.threads));
        }
        let partials = self.n_partials(geometry, &shares);
        let heads = geometry.threads / geometry.lanes + if self.head_norms { 5 } else { 3 };
        let attention = heads * self.heads.head_dim + states;
        let words = partials + attention + self.n_blocks;
        let bytes = self.staged_bytes(geometry) + 4 * words + (1 << 10);
        match bytes <= workgroup_memory as usize {
            true => Ok(()),
            false => {
                Err(format!("a workgroup needs {bytes} bytes of its memory, and has {workgroup_memory}"))
            }
        }
    }

    /// Whether a half of each vector is whole units of weights, and whole blocks of numbers that are rounded together: others are taken as a
    /// whole.
    pub(crate) fn can_halve(&self) -> bool {
        self.rounds && [self.n_embd, self.n_ff].iter().all(|n| n.is_multiple_of(2 * UNIT))
    }

    /// Sums of slices that a workgroup has room for, or logits.
    pub(super) fn n_partials(&self, geometry: &Geometry, shares: &[Share; 4]) -> usize {
        let logits = if geometry.draws { self.head_rows(geometry).max(LEAST_PARTIALS) } else { 0 };
        shares.iter().map(Share::n_partials).fold(logits, usize::max)
    }

    /// Rows of the head that a group has, whole blocks of them; of the last groups some may be none.
    pub(super) fn head_rows(&self, geometry: &Geometry) -> usize {
        self.output.n_rows.div_ceil(BLOCK).div_ceil(geometry.groups) * BLOCK
    }

    /// Bytes of a layer's weights; 0 of the only layer.
    pub(crate) fn layer_bytes(&self) -> u64 {
        4 * u64::from(self.layer_words)
    }

    /// Elements of the longest vector that is staged.
    pub(crate) fn longest(&self) -> usize {
        self.n_embd.max(self.n_ff).max(self.heads.width())
    }

    /// Of the longest vector as it is staged, and of the codes of a draw, which have its place, if they are as quads.
    pub(super) fn staged_bytes(&self, geometry: &Geometry) -> usize {
        let (n, codes) = (self.longest(), if geometry.draws { CODES } else { 0 });
        match self.rounds {
            true => (n + n / BLOCK * 4).max(16 * codes),
            false => 4 * n + 8 * codes,
        }
    }

    /// Buffers that weights lie in.
    pub(crate) fn n_buffers(&self) -> usize {
        let places = [self.qkv, self.attn_output, self.gate_up, self.ffn_down, self.output, self.embedding];
        let used = |buffer: &usize| places.iter().any(|place| place.first[*buffer] < self.n_layers);
        (0..MOST_BUFFERS).filter(used).count()
    }
}

/// Types of a layer's matrices that the kernel knows.
pub(super) const TYPES: [TensorType; 2] = [TensorType::Q4_0, TensorType::Q8_0];
/// What llama.cpp gives the head and the embedding in files of these types, where rows are long enough.
pub(super) const TYPE_OF_HEAD: TensorType = TensorType::Q6_K;

/// What Q, K and V are called as one.
const QKV: &str = "attn_qkv";

/// The products of all layers, which lie in the same way in each.
struct Layers {
    places: [Place; 4],
    words: u32,
}

impl Layers {
    fn of(planner: &Planner<'_>) -> Result<Self, String> {
        let spec = planner.spec;
        let mut all: [Vec<Found>; 4] = Default::default();
        for (i, layer) in planner.tensors.layers.iter().enumerate() {
            let GateUp::Fused(gate_up) = &layer.gate_up else {
                return Err(format!("gates and ups of layer {i} have different types"));
            };
            let tensors = [
                (QKV, &layer.qkv, spec.q_dim() + 2 * spec.kv_dim()),
                ("attn_output", &layer.attn_output, spec.n_embd),
                ("ffn_gate_up", gate_up, 2 * spec.n_ff),
                ("ffn_down", &layer.ffn_down, spec.n_embd),
            ];
            for (of_layers, (what, parts, n_rows)) in all.iter_mut().zip(tensors) {
                let what = format!("blk.{i}.{what}");
                let mut found = find(&what, parts, n_rows)?;
                if !TYPES.contains(&found.place.ty) {
                    return Err(format!("{what} is {}", found.place.ty.name()));
                }
                if let (Some((_, norms)), true) = (layer.head_norms, what.ends_with(QKV)) {
                    found.spot.head_norms = norms;
                }
                of_layers.push(found);
            }
        }
        let words = match all[0][..] {
            [first, second, ..] => 4 * second.spot.quads.wrapping_sub(first.spot.quads),
            _ => 0,
        };
        let place = |i: usize| regular(&all[i], words).ok_or("its layers are not alike");
        Ok(Self { places: [place(0)?, place(1)?, place(2)?, place(3)?], words })
    }
}

/// A tensor of one layer.
#[derive(Debug, Clone, Copy)]
struct Found {
    buffer: usize,
    spot: Spot,
    /// Without the places.
    place: Place,
}

/// One place for the tensors of all layers, if they are alike, and `words` apart in each buffer.
fn regular(all: &[Found], words: u32) -> Option<Place> {
    let first = std::array::from_fn(|b| all.iter().position(|found| found.buffer >= b).unwrap_or(all.len()));
    let spot = |i: usize| {
        let found = all.get(i)?;
        let back = |at: u32, step: u32| at.wrapping_sub((i as u32).wrapping_mul(step));
        let vector = |at: u32| if at == 0 { 0 } else { back(at, words) };
        let spot = found.spot;
        Some(Spot {
            quads: back(spot.quads, words / 4),
            words: back(spot.words, words),
            pairs: back(spot.pairs, words),
            supers: back(spot.supers, words),
            norm: vector(spot.norm),
            bias: vector(spot.bias),
            head_norms: spot.head_norms.map(vector),
        })
    };
    let spots = first.map(|i: usize| spot(i).unwrap_or_default());
    let alike = |(i, found): (usize, &Found)| {
        found.place == all[0].place && first[found.buffer] <= i && spot(i) == Some(spots[found.buffer])
    };
    all.iter().enumerate().all(alike).then_some(Place { spots, first, ..all[0].place })
}

/// A tensor of no layer.
fn alone(planner: &Planner<'_>, what: &str, parts: &[Part]) -> Result<Place, String> {
    let found = find(what, parts, planner.spec.n_vocab)?;
    if !TYPES.contains(&found.place.ty) && found.place.ty != TYPE_OF_HEAD {
        return Err(format!("{what} is {}", found.place.ty.name()));
    }
    let first = std::array::from_fn(|b| if b <= found.buffer { 0 } else { planner.spec.n_layers });
    Ok(Place { spots: [found.spot; MOST_BUFFERS], first, ..found.place })
}

/// A tensor that lies in one buffer as a whole.
fn find(what: &str, parts: &[Part], n_rows: usize) -> Result<Found, String> {
    let [part] = parts else { return Err(format!("{what} does not lie in one buffer")) };
    let Placed { buffer, ty, n_cols, at, n_groups, .. } = part.placed;
    if buffer >= MOST_BUFFERS {
        return Err(format!("its weights fill more than {MOST_BUFFERS} buffers"));
    }
    if n_groups * GROUP != n_rows.next_multiple_of(GROUP) {
        return Err(format!("{what} has rows of its own"));
    }
    let spot = Spot {
        quads: at.quads,
        words: at.words,
        pairs: at.pairs,
        supers: at.supers,
        norm: part.norm,
        bias: part.bias.unwrap_or(0),
        head_norms: [0; 2],
    };
    let nowhere = ([Spot::default(); MOST_BUFFERS], [0; MOST_BUFFERS]);
    let place = Place { ty, n_cols, n_rows, spots: nowhere.0, first: nowhere.1 };
    Ok(Found { buffer, spot, place })
}
