//! Attention of one row from its hidden state on: norm, Q, K and V, rotation, the cache, and O's share of each head.
//!
//! Inputs: the hidden state `[n_cols]` f32; weights of Q, K and V as one tensor, and of O in the same format and buffer; keys and
//! values in the cache. Output: with the keys in one part, for each head the row that O makes of it alone,
//! `[n_heads, out_stride]` f32, which whoever reads the hidden state adds to it; with several parts, states as `attend` leaves them.
//! Requires: nothing of subgroups; those of 32 and more save most barriers. Launch: `grid(ahead)`: a workgroup for a head and a
//! part of its keys; with one part, where there are multiprocessors to spare, several, each for a share of O's rows.
//!
//! For small models, whose tokens are a chain of dispatches that each take longer to begin than to do: three steps are one. A
//! workgroup makes the query of its head, and if it has the last part of the keys, key and value too: heads that share these make
//! them each for itself, and one of them writes them to the cache. All weights of these rows are in flight at once, before the
//! hidden state is read, and those of O before they are used.
//! Numerics: f32; keys and values rounded to f16 as in the cache.
//! Source: own.

use super::Kernel;
use super::ahead::Ahead;
use super::attend::{STORE_STATE, head_scale};
use super::attend_walk::{Around, AttendWalk};
use super::heads::{Heads, Rotation};
use super::matvec::{STAGED, across, input, stage};
use crate::device::Caps;
use crate::layout::{BLOCK, GROUP, UNIT, UnitWords, WeightsAt};
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use gguf::TensorType;
use std::fmt::Write;

/// Threads that a workgroup has at most: with 512, of 128 registers each, it was slower.
const MOST_THREADS: usize = 256;
/// Quads of weights that a thread has in flight at most, and bytes that a workgroup reads: one multiprocessor alone reads and multiplies
/// slowly. With 15 quads and 81 KB (576 columns in Q4_0) the step takes 8.2 us in a chain where three took 10.5; reckoned from that, as long
/// from 900 columns on.
const MOST_FLIGHT: usize = 18;
const MOST_BYTES: usize = 128 << 10;
/// Workgroups that bring weights near: there is time for few. With 60 a token of SmolLM-135M took 2 % longer.
pub(crate) const AHEAD_GROUPS: usize = 16;
/// Workgroups of a head at most that share O's rows. SmolLM-135M, 128 tokens by dispatches, in turns: with one 1,888, 1,886 and 1,891 tokens a
/// second, with three 1,940, 1,936 and 1,938; on another machine 1,831 and 1,855, 1,894 and 1,841.
const MOST_SHARES: usize = 4;
/// Heads at most: as many rows are read wherever the hidden state is.
const MOST_HEADS: usize = 16;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AttendHidden {
    ty: TensorType,
    n_cols: usize,
    heads: Heads,
    rotation: Rotation,
    eps_bits: u32,
    biased: bool,
    /// Parts of the keys. The row's own is not counted where there are several: it has a part of its own.
    splits: usize,
    /// Threads that share a row of weights.
    slices: usize,
    /// Workgroups of a head, each with a share of O's rows; all else they do alike.
    shares: usize,
    /// Whether some workgroups bring weights near.
    ahead: bool,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
pub(crate) struct Params {
    /// Q, K and V.
    pub(crate) qkv: WeightsAt,
    /// O.
    pub(crate) attn_output: WeightsAt,
    /// The hidden state, in floats, a multiple of 4.
    pub(crate) x: u32,
    /// The norm before the products, in quads.
    pub(crate) norm: u32,
    /// Their biases, in words, if they have any.
    pub(crate) bias: u32,
    /// Where rows, or states, begin in `scratch`, in floats, a multiple of 4.
    pub(crate) out: u32,
    /// Floats from row to row, a multiple of 4; states lie one after another.
    pub(crate) out_stride: u32,
    /// Where the layer begins in `kv`, in quads.
    pub(crate) kv: u32,
    /// Where the angles begin in `tables`.
    pub(crate) rope: u32,
    /// Weights of the norms of Q and K, in words, multiples of 4; with a norm.
    pub(crate) q_norm: u32,
    pub(crate) k_norm: u32,
    /// The row's position, and where its block table begins in `tables`.
    pub(crate) position: u32,
    pub(crate) table: u32,
    /// Parts, 1 or more, as in the grid.
    pub(crate) splits: u32,
    pub(crate) ahead: Ahead,
}

impl Params {
    /// The immediate that is the row's position.
    pub(crate) const POSITION_AT: usize = 19;
}

impl AttendHidden {
    /// For a model of `n_cols` columns and weights of `ty`, its keys in `splits` parts; `None` where other kernels do better, or this
    /// one does not fit.
    pub(crate) fn new(
        (ty, n_cols): (TensorType, usize),
        (heads, rotation): (Heads, Rotation),
        (eps_bits, biased): (u32, bool),
        splits: usize,
        caps: Caps,
    ) -> Option<Self> {
        let most = (caps.max_threads as usize).min(MOST_THREADS);
        let slices = [8, 4].into_iter().find(|slices| slices * heads.head_dim <= most)?;
        let mut this =
            Self { ty, n_cols, heads, rotation, eps_bits, biased, splits, slices, shares: 1, ahead: false };
        if caps.wide && this.sums() {
            this.shares = this.best_shares();
        }
        let bytes = 4 * heads.head_dim * n_cols / ty.block_len() * ty.block_bytes();
        let quads = UnitWords::of(ty).quads.max(1);
        // A head takes the place of the hidden state.
        let fits = heads.head_dim.is_multiple_of(UNIT)
            && n_cols.is_multiple_of(UNIT)
            && n_cols >= heads.head_dim
            && this.threads().is_multiple_of(AttendWalk::team(heads).max(32))
            && this.rounds() * 3 * quads <= MOST_FLIGHT
            && this.workgroup_bytes() <= caps.workgroup_memory as usize;
        (fits && heads.n_heads <= MOST_HEADS && bytes <= MOST_BYTES).then_some(this)
    }

    /// In how many parts the keys up to one are attended to, of a few heads: what was fastest where it was measured; `None` where other
    /// kernels were. Where what several workgroups make alike costs time it is one, or other kernels do it.
    pub(crate) fn splits(heads: Heads, keys: usize) -> Option<usize> {
        match keys * heads.head_dim / 64 {
            ..176 => Some(1),
            176..768 => Some(4),
            768..6144 => Some(8),
            _ => None,
        }
    }

    /// With workgroups that bring weights near.
    pub(crate) fn with_ahead(self) -> Self {
        Self { ahead: true, ..self }
    }

    pub(crate) fn name(&self) -> String {
        let (ty, rotation) = (self.ty.name().to_lowercase(), self.rotation.suffix());
        let bias = if self.biased { "_bias" } else { "" };
        let output = if self.sums() { "_output" } else { "_states" };
        let ahead = if self.ahead { "_ahead" } else { "" };
        format!("attend_hidden_{ty}{rotation}_{}{bias}{output}{ahead}", self.heads.head_dim)
    }

    /// With `ahead` columns of workgroups that bring weights near.
    pub(crate) fn grid(&self, ahead: Ahead) -> [u32; 3] {
        [self.heads.n_heads as u32 + ahead.columns, self.rows_of_groups() as u32, 1]
    }

    /// Whether it leaves rows of O's, or states.
    pub(crate) fn sums(&self) -> bool {
        self.splits == 1
    }

    /// Rows that it leaves for a token at most.
    pub(crate) fn most_sums(heads: Heads) -> usize {
        if heads.n_heads <= MOST_HEADS { heads.n_heads } else { 0 }
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::AttendHidden(self)
    }

    /// States of a head: one of each part of the keys, and that of the row's own key, which is long in the making.
    pub(crate) fn parts(&self) -> usize {
        if self.sums() { 1 } else { self.splits + 1 }
    }

    /// Workgroups of each column of the grid.
    pub(crate) fn rows_of_groups(&self) -> usize {
        self.parts() * self.shares
    }

    /// As few as leave a thread one row of O, where that many divide them.
    fn best_shares(&self) -> usize {
        let rows = self.n_cols.next_multiple_of(GROUP);
        let fits = |shares: &usize| rows.is_multiple_of(shares * BLOCK) && rows / shares <= self.threads();
        (1..=MOST_SHARES).find(fits).unwrap_or(1)
    }

    /// One for each row of a head and each slice.
    fn threads(&self) -> usize {
        self.heads.head_dim * self.slices
    }

    fn n_units(&self) -> usize {
        self.n_cols / UNIT
    }

    /// Units of a row that a thread has.
    fn rounds(&self) -> usize {
        self.n_units().div_ceil(self.slices)
    }

    /// Rows of O of a workgroup, and how many a thread makes.
    fn out_rows(&self) -> (usize, usize) {
        let rows = self.n_cols.next_multiple_of(GROUP) / self.shares;
        (rows, rows.div_ceil(self.threads()))
    }

    /// What the shader declares.
    fn workgroup_bytes(&self) -> usize {
        let threads = self.threads();
        let floats = self.n_units() * UNIT
            + 6 * self.heads.head_dim * self.slices / 8
            + 3 * self.heads.head_dim
            + threads
            + threads.div_ceil(32)
            + self.out_rows().0;
        let attention = threads * 4 + threads / 32 * (8 * AttendWalk::team(self.heads) + 2);
        4 * (floats + attention)
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        let walk = AttendWalk {
            heads: self.heads,
            threads: self.threads(),
            // Long parts are worth more keys in hand.
            keys: if self.splits >= 8 { 8 } else { 4 },
            shared: 1,
            splits: Some(self.parts()),
            shares: self.shares,
            own_apart: !self.sums(),
        };
        let starts = |heads: usize| (heads * self.heads.head_dim).next_multiple_of(GROUP);
        let [q, kv] = [self.heads.n_heads, self.heads.n_kv_heads].map(starts);
        let shader = Shader::default()
            .constant("N_COLS", self.n_cols)
            .constant("N_UNITS", self.n_units())
            .constant("SLICES", self.slices)
            .constant("SUMS", 1)
            .constant("OUT_BLOCKS", 3 * self.heads.head_dim / BLOCK)
            .constant("OUT_ROWS", self.out_rows().0)
            .constant("START_K", q)
            .constant("START_V", q + kv)
            .constant("SQUARE_PARTS", (self.n_units() * 8).min(self.threads()).div_ceil(32))
            .float("EPS", f32::from_bits(self.eps_bits))
            .text(include_str!("attend_hidden.wgsl"))
            .text(include_str!("../shared/slices.wgsl"))
            .text(include_str!("../shared/norm_quads.wgsl"))
            .bindings()
            .decoder(self.ty)
            .loader(self.ty, "out_")
            .text(&input(self.n_cols, false))
            .text(across(caps))
            .text(STAGED)
            .text(if self.biased { BIAS } else { NO_BIAS })
            .text(include_str!("../shared/attend_fused.wgsl"))
            .text(if self.sums() { STORE_SUMS } else { STORE_STATE });
        let shader = walk.text(shader, caps, &self.around());
        let shader = head_scale(self.rotation, self.rotation.text(self.heads, shader));
        walk.main(shader, caps, self.ahead).finish()
    }

    fn around(&self) -> Around {
        Around { before: self.before(), queries: self.queries(), after: self.after() }
    }

    /// Loads of weights, and of the hidden state.
    fn before(&self) -> String {
        let mut text = String::from(
            "let r = t % 8u;\n  let slice = t / 8u % SLICES;\n  let block = t / (8u * SLICES);\n  let own_row = has_own(wg);\n",
        );
        let load = |i: usize, which: usize| {
            let unit = format!("min(slice + {}u, N_UNITS - 1u)", i * self.slices);
            format!("raw{i}_{which} = load_block_unit(block_of({which}u, wg.x) + block, {unit}, r);")
        };
        for i in 0..self.rounds() {
            let _ = writeln!(
                text,
                "  var raw{i}_0: Raw; var raw{i}_1: Raw; var raw{i}_2: Raw;\n  {}",
                load(i, 0)
            );
        }
        text.push_str("  if (own_row) {\n");
        for i in 0..self.rounds() {
            let _ = writeln!(text, "    {}\n    {}", load(i, 1), load(i, 2));
        }
        text.push_str("  }\n");
        stage(&mut text, (self.n_units(), self.threads()), true, true);
        self.load_out(&mut text);
        text
    }

    /// O's rows of the head, which are not needed before the end.
    fn load_out(&self, text: &mut String) {
        if !self.sums() {
            return;
        }
        for k in 0..self.out_rows().1 {
            for u in 0..self.head_units() {
                let _ = writeln!(text, "  var out{k}_{u}: Raw;");
            }
        }
        self.out_rounds(text, |text, k| {
            for u in 0..self.head_units() {
                let _ = writeln!(
                    text,
                    "    out{k}_{u} = load_out_block_unit(share * (OUT_ROWS / 8u) + (t + {}u) / 8u, wg.x * {}u + {u}u, r);",
                    k * self.threads(),
                    self.head_units()
                );
            }
        });
    }

    /// The products and their sums.
    fn queries(&self) -> String {
        let mut text = String::from(
            "let turn = vec4<u32>(0u, 1u, 2u, 3u) ^ vec4<u32>(slice % 4u);\n  \
             var sum0 = 0.0;\n  var sum1 = 0.0;\n  var sum2 = 0.0;\n",
        );
        for i in 0..self.rounds() {
            let _ = match (i + 1) * self.slices <= self.n_units() {
                true => writeln!(text, "  {{"),
                false => writeln!(text, "  if (slice + {}u < N_UNITS) {{", i * self.slices),
            };
            let _ = writeln!(
                text,
                "    let x = x_unit(slice + {}u, turn);\n    sum0 += dot_unit(raw{i}_0, x);\n    \
                 if (own_row) {{ sum1 += dot_unit(raw{i}_1, x); sum2 += dot_unit(raw{i}_2, x); }}\n  }}",
                i * self.slices
            );
        }
        for which in 0..3 {
            let _ = writeln!(
                text,
                "  {{\n    let sum = four_slices(t, size, sum{which});\n    \
                 if (t % 32u < 8u) {{ partials[(({which}u * HEAD_BLOCKS + block) * (SLICES / 4u) + slice / 4u) * 8u + r] = sum; }}\n  }}"
            );
        }
        text.push_str("  workgroupBarrier();\n  make(t, wg.x);\n  workgroupBarrier();\n");
        text
    }

    /// O's products with the head.
    fn after(&self) -> String {
        if !self.sums() {
            return String::new();
        }
        let mut text = String::from("workgroupBarrier();\n");
        for u in 0..self.head_units() {
            let _ = writeln!(
                text,
                "  let head{u} = x_unit({u}u, vec4<u32>(0u, 1u, 2u, 3u) ^ vec4<u32>({}u));",
                u % 4
            );
        }
        self.out_rounds(&mut text, |text, k| {
            let dots: Vec<_> =
                (0..self.head_units()).map(|u| format!("dot_unit(out{k}_{u}, head{u})")).collect();
            let _ = writeln!(text, "    outputs[t + {}u] = {};", k * self.threads(), dots.join(" + "));
        });
        text.push_str(
            "  workgroupBarrier();\n  for (var i = t; i < OUT_ROWS / 4u; i += THREADS) {\n    \
             scratch[(p.out + wg.x * p.out_stride + share * OUT_ROWS) / 4u + i] =\n      \
             vec4<f32>(outputs[4u * i], outputs[4u * i + 1u], outputs[4u * i + 2u], outputs[4u * i + 3u]);\n  }",
        );
        text
    }

    /// Units of a head.
    fn head_units(&self) -> usize {
        self.heads.head_dim / UNIT
    }

    /// What a thread does for each of its rows of O.
    fn out_rounds(&self, text: &mut String, f: impl Fn(&mut String, usize)) {
        let (rows, rounds) = self.out_rows();
        for k in 0..rounds {
            let _ = match (k + 1) * self.threads() <= rows {
                true => writeln!(text, "  {{"),
                false => writeln!(text, "  if (t + {}u < OUT_ROWS) {{", k * self.threads()),
            };
            f(text, k);
            text.push_str("  }\n");
        }
    }
}

const NO_BIAS: &str = "fn bias_quad(row: u32) -> vec4<f32> { return vec4<f32>(0.0); }";

const BIAS: &str = "
fn bias_quad(row: u32) -> vec4<f32> {
  let at = p.bias + row;
  return bitcast<vec4<f32>>(vec4<u32>(words[at], words[at + 1u], words[at + 2u], words[at + 3u]));
}";

// The head takes the place of the hidden state, which nobody needs by then.
const STORE_SUMS: &str = "
var<workgroup> outputs: array<f32, OUT_ROWS>;
fn store_mixed(wg: vec3<u32>, head: u32, i: u32, mixed: vec4<f32>, high: f32, sum: f32) { stage(i, mixed / sum); }
fn store_head(wg: vec3<u32>, t: u32, head: u32) {}
fn store_rest(wg: vec3<u32>, t: u32) {}";
