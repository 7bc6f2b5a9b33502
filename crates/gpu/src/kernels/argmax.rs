//! The best of each chunk of 1024 logits: the first of two steps that choose a token; `next_token` is the second.
//!
//! Inputs: logits `[n_vocab]` f32; with penalties, the ids before. Output: best `[n_chunks, 4]` f32: the largest number, its
//! index, zeros.
//! Requires: nothing of subgroups; n_vocab at most `MOST_VOCAB`. Launch: a workgroup of 256 for each 1024 logits.
//! Numerics: exact: NaN is below everything, -0 equals 0, the lowest index wins among equals. With penalties and noise as exact
//! as the device's division and logarithm.
//! Source: penalties as llama.cpp commit de3ff815ea7d, `src/llama-sampler.cpp`; Gumbel-max and Philox4x32-10 as their snippets say.
//!
//! Noise makes the maximum a draw from softmax(logits / temperature): that of id `i` at position `t` is made from word `i % 4` of
//! Philox with counter `(i / 4, t, 0, 0)` and the seed as its key. It is multiplied by the temperature instead of the logits
//! divided, so that no temperature overflows and 0 is greedy. Infinite logits are left as they are.

use super::Kernel;
use super::sampling::{CHUNK, PHILOX_ROUNDS, Penalties};
use crate::device::Caps;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};
use model::MOST_NEVER;

const THREADS: usize = 256;

/// A variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Argmax {
    pub(crate) n_vocab: usize,
    /// Whether ids that came before are penalised.
    pub(crate) penalties: bool,
    /// Whether there is noise to draw by.
    pub(crate) noise: bool,
}

/// Offsets: `logits` and `best` in floats, multiples of 4; `ids` in `tokens`. `position` is that of the row which the logits are of.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) logits: u32,
    pub(crate) best: u32,
    pub(crate) ids: u32,
    pub(crate) position: u32,
    pub(crate) penalties: Penalties,
    /// By [`noise_temperature`](super::sampling::noise_temperature).
    pub(crate) temperature: f32,
    pub(crate) seed: [u32; 2],
    /// Ids that are not chosen while there are others.
    pub(crate) never: [u32; MOST_NEVER],
}

impl Argmax {
    pub(crate) fn name(&self) -> String {
        let penalties = if self.penalties { "_penalties" } else { "" };
        let noise = if self.noise { "_noise" } else { "" };
        format!("argmax{penalties}{noise}")
    }

    /// Workgroups, and pairs that they leave.
    pub(crate) fn n_chunks(&self) -> usize {
        self.n_vocab.div_ceil(CHUNK)
    }

    pub(crate) fn grid(&self) -> [u32; 3] {
        [self.n_chunks() as u32, 1, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::Argmax(self)
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        let mut shader = Shader::default()
            .constant("N_VOCAB", self.n_vocab)
            .text(include_str!("argmax.wgsl"))
            .bindings()
            .reduce(caps, THREADS)
            .best(caps)
            .text(include_str!("../shared/never.wgsl"))
            .penalties(self.penalties, CHUNK)
            .text(CHANGED);
        shader = match self.noise {
            true => shader
                .constant("PHILOX_ROUNDS", PHILOX_ROUNDS)
                .text(include_str!("../shared/philox.wgsl"))
                .text(include_str!("../shared/gumbel.wgsl"))
                .text("fn jitter(quad: u32) -> vec4<f32> { return p.temperature * noise(quad); }"),
            false => shader.text("fn jitter(quad: u32) -> vec4<f32> { return vec4<f32>(); }"),
        };
        shader.entry(caps).finish()
    }
}

const CHANGED: &str = "
fn changed(v: vec4<f32>, i: u32) -> vec4<f32> {
  return vec4<f32>(penalised(v.x, i), penalised(v.y, i + 1u), penalised(v.z, i + 2u), penalised(v.w, i + 3u));
}";
