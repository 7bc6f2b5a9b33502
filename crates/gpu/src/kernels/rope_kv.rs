//! RMSNorm and rotation of Q and K, and K and V into the cache, for many rows.
//!
//! Inputs: q `[n_rows, n_heads * head_dim]`, k and v `[n_rows, n_kv_heads * head_dim]` f32, row strides of their own choice; the
//! rows' descriptors in `tables`. Outputs: q normalised and rotated in place, not scaled (attention does that); k, treated
//! alike, and v as f16 in the cache, at each row's position through its block table.
//! Requires: nothing of subgroups. Launch: `grid(n_rows)`, a thread for 8 elements of a head; a workgroup has whole heads of a
//! row, queries first, then keys, then values.
//! Numerics: f32; f16 rounded to nearest, to even between two, on every device.
//! Source: own.

use super::Kernel;
use super::heads::{Heads, Rotation};
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};

/// Threads of a workgroup, about.
const THREADS: usize = 128;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RopeKv {
    heads: Heads,
    rotation: Rotation,
    /// Heads of a workgroup.
    per_group: usize,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    /// Where row 0's parts begin in `scratch`, in floats, multiples of 4.
    pub(crate) q: u32,
    pub(crate) k: u32,
    pub(crate) v: u32,
    /// Floats from row to row, a multiple of 4.
    pub(crate) stride: u32,
    /// Where the layer begins in `kv`, in quads.
    pub(crate) kv: u32,
    /// Where the angles begin in `tables`.
    pub(crate) rope: u32,
    /// Where the descriptor of row 0 is in `tables`.
    pub(crate) rows: u32,
    /// Weights of the norms of Q and K, in words, multiples of 4; read by variants with a norm.
    pub(crate) q_norm: u32,
    pub(crate) k_norm: u32,
}

impl RopeKv {
    pub(crate) fn new(heads: Heads, rotation: Rotation) -> Self {
        let all = heads.n_heads + 2 * heads.n_kv_heads;
        let per_group = (THREADS / heads.lanes()).clamp(1, all);
        // The queries of a workgroup begin and end with a quad, so that it can write whole ones.
        let per_group = if heads.whole_quads() { per_group } else { per_group.next_multiple_of(2) };
        Self { heads, rotation, per_group }
    }

    pub(crate) fn name(&self) -> String {
        format!("rope_kv{}_{}", self.rotation.suffix(), self.heads.head_dim)
    }

    pub(crate) fn grid(&self, n_rows: usize) -> [u32; 3] {
        let all = self.heads.n_heads + 2 * self.heads.n_kv_heads;
        [all.div_ceil(self.per_group) as u32, n_rows as u32, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::RopeKv(self)
    }

    pub(crate) fn source(&self) -> String {
        let scale = if self.rotation.normed() {
            NORM_SCALE
        } else {
            "fn head_scale(t: u32, at: u32) -> f32 { return 1.0; }"
        };
        let shader = self
            .heads
            .constants(Shader::default())
            .constant("PER_GROUP", self.per_group)
            .text(include_str!("rope_kv.wgsl"))
            .bindings()
            .text(include_str!("../shared/kv_cache.wgsl"));
        self.rotation.text(self.heads, self.heads.access(shader)).text(scale).finish()
    }
}

const NORM_SCALE: &str = "
var<workgroup> squares: array<f32, THREADS>;
// What RMSNorm multiplies the head of thread `t` by, beside its weights.
fn head_scale(t: u32, at: u32) -> f32 {
  let low = head_quad(at, 2u * (t % LANES));
  let high = head_quad(at, 2u * (t % LANES) + 1u);
  squares[t] = dot(low, low) + dot(high, high);
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < LANES; i += 1u) { sum += squares[t / LANES * LANES + i]; }
  return inverseSqrt(sum / f32(HEAD_DIM) + HEAD_EPS);
}";
