//! Attention of few rows: each over all keys up to its own position.
//!
//! Inputs: q (and, fused, k and v) f32 in `scratch`; keys and values in the cache, through block tables. Output: `[n_rows,
//! n_heads * head_dim]` f32 with zeros behind each row up to a multiple of 32; or states `[n_rows, n_heads, splits]`, which
//! `merge_attention` or a prologue puts together.
//! Requires: nothing of subgroups. Launch: `grid(n_rows, splits)`: a workgroup of up to 256 threads for a head of a row and one
//! of `splits` parts of its keys, each of whole blocks; part `i` of `n` blocks begins at block `i * n / splits`.
//!
//! A team of threads has a key: each loads 16 bytes of it and of its value. Shares of scores go through workgroup memory, where
//! a team adds them up; each team mixes its values with a softmax of its own, and the teams meet in the end. A chunk of keys
//! (8 a team: 256 keys for heads of 64, 128 for heads of 128) takes two barriers, the end one more, a norm one before all.
//! The next chunk is loaded as soon as this one has been used.
//!
//! Fused, the row's own key and value are not read from the cache, where this dispatch puts them, but made by each workgroup
//! that needs them: the last part of every head. The first head of each group writes them.
//! Numerics: f32; keys and values rounded to f16 as in the cache.
//! Source: own.

use super::Kernel;
use super::heads::{Heads, Rotation};
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};

const THREADS: usize = 256;

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
    /// A state for each row, head and part.
    States,
}

impl Output {
    /// What attention in `splits` parts leaves.
    pub(crate) fn of(heads: Heads, splits: usize) -> Self {
        if splits == 1 && heads.whole_quads() { Self::Normalised } else { Self::States }
    }
}

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Attend {
    heads: Heads,
    queries: Queries,
    output: Output,
    /// Keys that a team has in hand at a time, 4 or 8.
    keys: usize,
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
    /// Floats from row to row of the output, a multiple of 4; states lie one after another.
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
}

impl Attend {
    pub(crate) fn new(heads: Heads, queries: Queries, output: Output) -> Self {
        debug_assert!(
            output == Output::States || heads.whole_quads(),
            "neighbouring heads would undo each other's writes"
        );
        // Shorter heads have teams enough.
        let keys = if heads.head_dim >= 64 { 8 } else { 4 };
        Self { heads, queries, output, keys }
    }

    pub(crate) fn name(&self) -> String {
        let queries = match self.queries {
            Queries::Fused(rotation) => format!("_fused{}", rotation.suffix()),
            Queries::Rotated => String::new(),
        };
        let output = if self.output == Output::States { "_states" } else { "" };
        format!("attend{queries}_{}{output}", self.heads.head_dim)
    }

    pub(crate) fn grid(&self, n_rows: usize, splits: usize) -> [u32; 3] {
        [self.heads.n_heads as u32, splits as u32, n_rows as u32]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::Attend(self)
    }

    pub(crate) fn source(&self) -> String {
        let skeleton = include_str!("attend.wgsl")
            .replace(
                "// <variables>",
                &self.each_key(|i| format!("var at{i}: u32; var k{i}: vec4<u32>; var v{i}: vec4<u32>;")),
            )
            .replace("// <load keys>", &self.load_keys())
            .replace("// <load values>", &self.load_values())
            .replace("// <shares of scores>", &self.each_four(shares))
            .replace("// <mix values>", &self.each_four(mix));
        let shader = self
            .heads
            .constants(Shader::default())
            .constant("TEAMS", THREADS / self.heads.lanes())
            .constant("KEYS", self.keys)
            .text(&skeleton)
            .bindings()
            .text(include_str!("../shared/softmax.wgsl"))
            .text(include_str!("../shared/kv_cache.wgsl"));
        let shader = self.heads.access(shader);
        let shader = match self.queries {
            Queries::Fused(rotation) => {
                let scales = if rotation.normed() { NORM_SCALES } else { PLAIN_SCALES };
                rotation
                    .text(self.heads, shader)
                    .text(scales)
                    .text(include_str!("../shared/attend_fused.wgsl"))
            }
            Queries::Rotated => shader.text(include_str!("../shared/attend_rotated.wgsl")),
        };
        let store = if self.output == Output::States { STORE_STATE } else { STORE_NORMALISED };
        shader.text(store).finish()
    }

    /// A line for each key that a team has in hand.
    fn each_key(&self, line: impl Fn(usize) -> String) -> String {
        (0..self.keys).fold(String::new(), |text, i| text + "  " + &line(i) + "\n")
    }

    fn each_four(&self, lines: impl Fn(usize) -> String) -> String {
        (0..self.keys / 4).map(lines).collect()
    }

    /// Keys from `first` on: every place before every key, since keys wait for their places.
    fn load_keys(&self) -> String {
        let key = |i: usize| format!("first + {i}u * TEAMS + team");
        self.each_key(|i| {
            format!("at{i} = key_at(row.table, kv_head, min({}, row.position)) + lane;", key(i))
        }) + &self.each_key(|i| format!("if ({} < end) {{ k{i} = kv[at{i}]; }}", key(i)))
    }

    fn load_values(&self) -> String {
        self.each_key(|i| format!("if ({} < end) {{ v{i} = kv[at{i} + VALUES]; }}", key(i)))
    }
}

/// Key `i` of a team's, from `first` on.
fn key(i: usize) -> String {
    format!("first + {i}u * TEAMS + team")
}

/// Shares of the scores of four keys into the pool, but where nobody will read them.
fn shares(four: usize) -> String {
    let dots: Vec<_> = (4 * four..4 * four + 4).map(|i| format!("dot_query(k{i})")).collect();
    let store = format!("pool[{four}u * THREADS + t] = vec4<f32>({});", dots.join(", "));
    format!("  if (first + {four}u * 4u * TEAMS < end) {{ {store} }}\n")
}

/// Four keys of the team into what it has mixed.
fn mix(four: usize) -> String {
    let sum = |half: &str| {
        let terms = (4 * four..).zip(["x", "y", "z", "w"]);
        terms.fold(String::new(), |text, (i, c)| text + &format!(" + w.{c} * {half}_half(v{i})"))
    };
    format!(
        "  if (here + {four}u * 4u * TEAMS < end) {{\n\
         \x20   let on = keys_of(here + {four}u * 4u * TEAMS, team) < vec4<u32>(end);\n\
         \x20   let s = team_scores({four}u, team, on);\n\
         \x20   let high = max(max(top, max(s.x, s.y)), max(s.z, s.w));\n\
         \x20   let fade = weight(top - high);\n\
         \x20   let w = select(vec4<f32>(0.0), weights(s - high), on);\n\
         \x20   total = total * fade + (w.x + w.y) + (w.z + w.w);\n\
         \x20   mixed_low = mixed_low * fade{};\n\
         \x20   mixed_high = mixed_high * fade{};\n\
         \x20   top = high;\n  }}\n",
        sum("low"),
        sum("high")
    )
}

const PLAIN_SCALES: &str = "fn head_scales(q: u32, k: u32, t: u32) -> vec2<f32> { return vec2<f32>(1.0); }";

const NORM_SCALES: &str = "
var<workgroup> squares: array<vec2<f32>, LANES>;
fn lane_squares(at: u32, lane: u32) -> f32 {
  let low = head_quad(at, 2u * lane);
  let high = head_quad(at, 2u * lane + 1u);
  return dot(low, low) + dot(high, high);
}
// What RMSNorm multiplies the query and the key by, beside its weights.
fn head_scales(q: u32, k: u32, t: u32) -> vec2<f32> {
  if (t < LANES) { squares[t] = vec2<f32>(lane_squares(q, t), lane_squares(k, t)); }
  workgroupBarrier();
  var sum = vec2<f32>(0.0);
  for (var i = 0u; i < LANES; i += 1u) { sum += squares[i]; }
  return inverseSqrt(sum / f32(HEAD_DIM) + vec2<f32>(EPS));
}";

const STORE_NORMALISED: &str = "
fn store_mixed(wg: vec3<u32>, i: u32, mixed: vec4<f32>, high: f32, sum: f32) {
  store_head_quad(p.out + wg.z * p.out_stride + wg.x * HEAD_DIM, i, mixed / sum);
}
fn store_rest(wg: vec3<u32>, t: u32) { zero_tail(p.out + wg.z * p.out_stride, t, THREADS); }";

const STORE_STATE: &str = "
fn store_mixed(wg: vec3<u32>, i: u32, mixed: vec4<f32>, high: f32, sum: f32) {
  let state = p.out / 4u + ((wg.z * N_HEADS + wg.x) * p.splits + wg.y) * STATE;
  if (i < STATE - 1u) { scratch[state + i] = mixed; }
  if (i == 0u) { scratch[state + STATE - 1u] = vec4<f32>(high, sum, 0.0, 0.0); }
}
fn store_rest(wg: vec3<u32>, t: u32) {}";
