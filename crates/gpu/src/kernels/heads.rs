//! Heads of attention: the sizes that its kernels are compiled for, and the shader text that reads, rotates and writes a head.

use crate::layout::UNIT;
use crate::shader::Shader;
use model::RopePairing;

/// The longest head that is rounded to 8 bits where it is made.
const MOST_ROUNDED_DIM: usize = 512;

/// Sizes of a layer's attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Heads {
    pub(crate) n_heads: usize,
    /// A divisor of `n_heads`.
    pub(crate) n_kv_heads: usize,
    /// Even, at most [`Heads::MOST_DIM`].
    pub(crate) head_dim: usize,
}

impl Heads {
    /// The longest head that the kernels know.
    pub(crate) const MOST_DIM: usize = 1024;

    /// Quads of 8 elements that a key takes in the cache: with a thread for each, the threads of a key.
    pub(crate) fn lanes(self) -> usize {
        self.head_dim.div_ceil(8)
    }

    /// Elements of all heads of a row.
    pub(crate) fn width(self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Whether heads can be written by workgroups of their own. Where two heads share a quad they cannot: a write to a component
    /// of a vector may write all of it (WGSL, "component reference from vector reference"), and on Metal does.
    pub(crate) fn whole_quads(self) -> bool {
        self.head_dim.is_multiple_of(4)
    }

    /// Whether heads can be rounded to 8 bits by workgroups of their own: whole units, for which workgroup memory has room.
    pub(crate) fn whole_units(self) -> bool {
        self.head_dim.is_multiple_of(UNIT) && self.head_dim <= MOST_ROUNDED_DIM
    }

    /// Quads of the state that attention over a part of the keys leaves for a head: what was mixed, top score and sum of weights.
    pub(crate) fn state_quads(self) -> usize {
        self.head_dim.div_ceil(4) + 1
    }

    /// The constants of these sizes.
    pub(crate) fn constants(self, shader: Shader) -> Shader {
        shader
            .constant("N_HEADS", self.n_heads)
            .constant("N_KV_HEADS", self.n_kv_heads)
            .constant("GROUP", self.n_heads / self.n_kv_heads)
            .constant("HEAD_DIM", self.head_dim)
            .constant("LANES", self.lanes())
            .constant("WIDTH", self.width())
            .constant("TAIL", self.width().next_multiple_of(32) - self.width())
            .constant("STATE", self.state_quads())
            .float("SCALE", 1.0 / (self.head_dim as f32).sqrt())
    }

    /// `head_quad`; for heads of whole quads `store_head_quad` and `zero_tail`.
    pub(crate) fn access(self, shader: Shader) -> Shader {
        match self.whole_quads() {
            true => shader.text(include_str!("../shared/head_quads.wgsl")),
            false => shader.text(include_str!("../shared/head_floats.wgsl")),
        }
    }

    /// `merged_quad`, for kernels that have the constants of these sizes.
    pub(crate) fn merge(self, shader: Shader) -> Shader {
        shader.text(include_str!("../shared/softmax.wgsl")).text(include_str!("../shared/merge_states.wgsl"))
    }
}

/// What is done to each head of Q and K before attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Rotation {
    halves: bool,
    /// Elements of a head that are rotated, the first ones; even, 2 or more.
    n_rot: usize,
    /// RMSNorm of each head before the rotation, with this epsilon.
    eps_bits: Option<u32>,
}

impl Rotation {
    pub(crate) fn new(pairing: RopePairing, n_rot: usize, norm_eps: Option<f32>) -> Self {
        Self { halves: pairing == RopePairing::Halves, n_rot, eps_bits: norm_eps.map(f32::to_bits) }
    }

    pub(crate) fn normed(self) -> bool {
        self.eps_bits.is_some()
    }

    /// Whether every eight elements of a head can be rotated by themselves.
    pub(crate) fn by_eights(self, heads: Heads) -> bool {
        !self.normed() && !self.halves && heads.head_dim.is_multiple_of(8)
    }

    /// `turned_quad`, where eights are rotated by themselves.
    pub(crate) fn eights(self, shader: Shader) -> Shader {
        shader.constant("N_PAIRS", self.n_rot / 2).text(include_str!("../shared/rope_pairs.wgsl"))
    }

    /// How the variant differs from others, for names.
    pub(crate) fn suffix(self) -> String {
        let norm = if self.normed() { "_norm" } else { "" };
        let pairing = if self.halves { "halves" } else { "adjacent" };
        format!("{norm}_{pairing}")
    }

    /// `turned`, for heads with access.
    pub(crate) fn text(self, heads: Heads, shader: Shader) -> Shader {
        let shader = shader.constant("N_PAIRS", self.n_rot / 2);
        let shader = match self.eps_bits {
            Some(eps) => shader.float("HEAD_EPS", f32::from_bits(eps)).text(NORMED),
            None => shader.text(PLAIN),
        };
        match (heads.whole_quads(), self.halves) {
            (true, false) => shader
                .text(include_str!("../shared/rope_pairs.wgsl"))
                .text(include_str!("../shared/rope_adjacent.wgsl")),
            (true, true) if self.n_rot.is_multiple_of(8) => {
                shader.text(include_str!("../shared/rope_halves.wgsl"))
            }
            _ => {
                shader.constant("HALVES", self.halves.into()).text(include_str!("../shared/rope_floats.wgsl"))
            }
        }
    }
}

const PLAIN: &str = "fn weighted_quad(at: u32, i: u32, norm: u32) -> vec4<f32> { return head_quad(at, i); }";

const NORMED: &str = "
fn weighted_quad(at: u32, i: u32, norm: u32) -> vec4<f32> {
  return head_quad(at, i) * bitcast<vec4<f32>>(quads[norm / 4u + i]);
}";
