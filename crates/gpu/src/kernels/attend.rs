//! Attention of few rows: each over all keys up to its own position.
//!
//! Inputs: q (and, fused, k and v) f32 in `scratch`; keys and values in the cache, through block tables. Output: `[n_rows,
//! n_heads * head_dim]` f32 with zeros behind each row up to a multiple of 32, or rows as `quantize` would leave these; or states
//! `[n_rows, n_heads, splits]`, which `merge_attention` or a prologue puts together.
//! Requires: nothing of subgroups; those of 32 and more save most barriers. Launch: `grid(n_rows, splits)`: a workgroup of 256
//! threads for a head of a row, or for all heads that share keys, and one of `splits` parts of its keys, each of whole blocks;
//! part `i` of `n` blocks begins at block `i * n / splits`.
//!
//! How a workgroup goes through its keys: see `attend_walk`. A chunk of keys is 8 a team: 256 keys for heads of 64, 128 for heads of
//! 128; half of that for one row in one part, which is short.
//!
//! Fused, the row's own key and value are not read from the cache, where this dispatch puts them, but made by each workgroup
//! that needs them: the last part of every head. The first head of each group writes them.
//! Numerics: f32; keys and values rounded to f16 as in the cache.
//! Source: own.

use super::Kernel;
use super::ahead::Ahead;
use super::attend_walk::{Around, AttendWalk};
use super::heads::{Heads, Rotation};
use crate::device::Caps;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};

const THREADS: usize = 256;
/// More heads than these keep a large GPU busy in 8 parts.
const MANY_HEADS: usize = 16;

/// Workgroups that bring weights near: 30, 120 and 240 were no better where it was measured.
pub(crate) const AHEAD_GROUPS: usize = 60;

/// Where queries come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Queries {
    /// One row whose q, k and v are neither rotated nor in the cache.
    Fused(Rotation),
    /// Any rows, after `rope_kv`.
    Rotated,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Output {
    /// The attended vectors: of one part, and heads of whole quads.
    Normalised,
    /// The same, rounded to 8 bits: of one part, and heads of whole units.
    Rounded,
    /// A state for each row, head and part.
    States,
}

impl Output {
    /// What attention in `splits` parts leaves.
    pub(crate) fn of(heads: Heads, splits: usize) -> Self {
        if splits == 1 && heads.whole_quads() { Self::Normalised } else { Self::States }
    }

    /// The same for a product that takes rows in 8 bits, or not.
    pub(crate) fn in_8_bits(self, rounded: bool) -> Self {
        if rounded && self == Self::Normalised { Self::Rounded } else { self }
    }
}

/// In how many parts one row's `keys` keys are attended to: what was fastest where it was measured, the merging counted.
pub(crate) fn splits(heads: Heads, keys: usize) -> usize {
    let few_heads = heads.n_heads <= MANY_HEADS;
    // Twice the elements are twice the work.
    match keys * heads.head_dim / 64 {
        ..160 => 1,
        160..640 => 2,
        640..896 => 4,
        896..1536 if !few_heads => 4,
        4096.. if few_heads => 16,
        16384.. if shares(heads, 16) => 16,
        _ => 8,
    }
}

/// Whether heads that share keys are better off in one workgroup, which loads those once: where there is much to load, and
/// workgroups enough without.
fn shares(heads: Heads, splits: usize) -> bool {
    let group = heads.n_heads / heads.n_kv_heads;
    (2..=4).contains(&group) && splits > 8 && heads.n_heads > MANY_HEADS
}

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Attend {
    heads: Heads,
    queries: Queries,
    output: Output,
    /// Keys that a team has in hand at a time, 4 or 8.
    keys: usize,
    /// Heads of a workgroup: one, or all that share keys.
    shared: usize,
    /// Parts, if that is known.
    splits: Option<usize>,
    /// Whether some workgroups bring weights near.
    ahead: bool,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
pub(crate) struct Params {
    /// Where row 0's q, k and v begin in `scratch`, in floats, multiples of 4; k and v are read by fused variants.
    pub(crate) q: u32,
    pub(crate) k: u32,
    pub(crate) v: u32,
    /// Floats from row to row of q, a multiple of 4.
    pub(crate) stride: u32,
    /// Where row 0 of the output, or its states, begin in `scratch`, in floats, a multiple of 4.
    pub(crate) out: u32,
    /// Words from row to row of the output, a multiple of 4; states lie one after another.
    pub(crate) out_stride: u32,
    /// Where the layer begins in `kv`, in quads.
    pub(crate) kv: u32,
    /// Where the angles begin in `tables`; fused.
    pub(crate) rope: u32,
    /// Weights of the norms of Q and K, in words, multiples of 4; fused with a norm.
    pub(crate) q_norm: u32,
    pub(crate) k_norm: u32,
    /// Where the descriptor of row 0 is in `tables`; not fused.
    pub(crate) rows: u32,
    /// The row's position, and where its block table begins in `tables`; fused.
    pub(crate) position: u32,
    pub(crate) table: u32,
    /// Parts, 1 or more, as in the grid.
    pub(crate) splits: u32,
    pub(crate) ahead: Ahead,
}

impl Attend {
    pub(crate) fn new(heads: Heads, queries: Queries, output: Output) -> Self {
        debug_assert!(
            match output {
                Output::Normalised => heads.whole_quads(),
                Output::Rounded => heads.whole_units(),
                Output::States => true,
            },
            "neighbouring heads would undo each other's writes"
        );
        // Shorter heads have teams enough, and so have few keys.
        let few = output != Output::States && matches!(queries, Queries::Fused(_));
        let keys = if heads.head_dim >= 64 && !few { 8 } else { 4 };
        Self { heads, queries, output, keys, shared: 1, splits: None, ahead: false }
    }

    /// For `splits` parts and no other number: nobody divides by it then.
    pub(crate) fn of_parts(self, splits: usize) -> Self {
        let shared = if shares(self.heads, splits) { self.heads.n_heads / self.heads.n_kv_heads } else { 1 };
        Self { shared, splits: Some(splits), ..self }
    }

    /// With workgroups that bring weights near.
    pub(crate) fn with_ahead(self) -> Self {
        Self { ahead: true, ..self }
    }

    pub(crate) fn name(&self) -> String {
        let queries = match self.queries {
            Queries::Fused(rotation) => format!("_fused{}", rotation.suffix()),
            Queries::Rotated => String::new(),
        };
        let output = match self.output {
            Output::Normalised => "",
            Output::Rounded => "_rounding",
            Output::States => "_states",
        };
        let shared = if self.shared > 1 { "_shared" } else { "" };
        let ahead = if self.ahead { "_ahead" } else { "" };
        format!("attend{queries}_{}{shared}{output}{ahead}", self.heads.head_dim)
    }

    /// With `ahead` columns of workgroups that bring weights near.
    pub(crate) fn grid(&self, n_rows: usize, splits: usize, ahead: Ahead) -> [u32; 3] {
        [(self.heads.n_heads / self.shared) as u32 + ahead.columns, splits as u32, n_rows as u32]
    }

    /// Whether what it leaves is rounded to 8 bits.
    pub(crate) fn rounds(&self) -> bool {
        self.output == Output::Rounded
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::Attend(self)
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        let walk = self.walk();
        let shader = walk.text(
            Shader::default().text(include_str!("attend.wgsl")).bindings(),
            caps,
            &Around::default(),
        );
        let shader = self.heads.access(shader);
        let shader = match self.queries {
            Queries::Fused(rotation) => head_scale(rotation, rotation.text(self.heads, shader))
                .text(include_str!("../shared/attend_fused.wgsl"))
                .text(include_str!("../shared/heads_in_scratch.wgsl")),
            Queries::Rotated => shader.text(include_str!("../shared/attend_rotated.wgsl")),
        };
        let shader = match self.output {
            Output::Normalised => shader.text(STORE_NORMALISED),
            Output::Rounded => {
                shader.round_half(caps).round_made(self.heads.head_dim / 4).text(STORE_ROUNDED)
            }
            Output::States => shader.text(STORE_STATE),
        };
        walk.main(shader, caps, self.ahead).finish()
    }

    fn walk(&self) -> AttendWalk {
        AttendWalk {
            heads: self.heads,
            threads: THREADS.max(AttendWalk::team(self.heads)),
            keys: self.keys,
            shared: self.shared,
            splits: self.splits,
            shares: 1,
            own_apart: false,
        }
    }
}

/// `head_scale`, after the text of a rotation.
pub(super) fn head_scale(rotation: Rotation, shader: Shader) -> Shader {
    shader.text(if rotation.normed() { NORM_SCALE } else { PLAIN_SCALE })
}

const PLAIN_SCALE: &str = "fn head_scale(at: u32, t: u32, size: u32) -> f32 { return 1.0; }";

const NORM_SCALE: &str = "
// What RMSNorm multiplies a head by, beside its weights.
fn head_scale(at: u32, t: u32, size: u32) -> f32 {
  let lane = min(t % TEAM, LANES - 1u);
  let low = head_quad(at, 2u * lane);
  let high = head_quad(at, 2u * lane + 1u);
  let squares = select(0.0, dot(low, low) + dot(high, high), in_head(t));
  let sum = team_sum(t, size, vec4<f32>(squares, 0.0, 0.0, 0.0)).x;
  return inverseSqrt(sum / f32(HEAD_DIM) + HEAD_EPS);
}";

const STORE_NORMALISED: &str = "
fn store_mixed(wg: vec3<u32>, head: u32, i: u32, mixed: vec4<f32>, high: f32, sum: f32) {
  store_head_quad(p.out + wg.z * p.out_stride + head * HEAD_DIM, i, mixed / sum);
}
fn store_head(wg: vec3<u32>, t: u32, head: u32) {}
fn store_rest(wg: vec3<u32>, t: u32) { zero_tail(p.out + wg.z * p.out_stride, t, THREADS); }";

const STORE_ROUNDED: &str = "
fn store_mixed(wg: vec3<u32>, head: u32, i: u32, mixed: vec4<f32>, high: f32, sum: f32) {
  if (i < MADE) { made[i] = mixed / sum; }
}
fn store_head(wg: vec3<u32>, t: u32, head: u32) {
  let half = round_made(t);
  let by = unit_scales(t, half);
  let row = (p.out + wg.z * p.out_stride) / 4u;
  if (t < MADE / 4u) { store_half(row, row + WIDTH / 16u, head * (MADE / 4u) + t, half, by); }
}
fn store_rest(wg: vec3<u32>, t: u32) {}";

pub(super) const STORE_STATE: &str = "
fn store_mixed(wg: vec3<u32>, head: u32, i: u32, mixed: vec4<f32>, high: f32, sum: f32) {
  let state = p.out / 4u + ((wg.z * N_HEADS + head) * splits() + wg.y) * STATE;
  if (i < STATE - 1u) { scratch[state + i] = mixed; }
  if (i == 0u) { scratch[state + STATE - 1u] = vec4<f32>(high, sum, 0.0, 0.0); }
}
fn store_head(wg: vec3<u32>, t: u32, head: u32) {}
fn store_rest(wg: vec3<u32>, t: u32) {}";
