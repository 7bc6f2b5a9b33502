//! What the kernels that choose a token share on the host's side: numbers in their immediates.

use bytemuck::{Pod, Zeroable};
use model::Choice;

/// Ids that can be chosen among at most: an index is exact as a float, and three bytes of a candidate's code.
pub(crate) const MOST_VOCAB: usize = 1 << 24;
/// The largest k of top-k.
pub(crate) const MOST_K: usize = 64;
/// Floats of a pair, a number and its index, in a list of the best: each has a quad of its own.
pub(crate) const PAIR_FLOATS: usize = 4;
/// Rounds of `shared/philox.wgsl`.
pub(crate) const PHILOX_ROUNDS: usize = 10;
/// Logits of a workgroup.
pub(crate) const CHUNK: usize = 1024;

/// What is taken from the logits of ids that came before, as llama.cpp does: `logit <= 0 ? logit * repeat : logit / repeat`, less
/// `count * frequency + presence`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(crate) struct Penalties {
    /// Ids looked back at, that of `position` the last; those before the sequence's first do not count.
    pub(crate) window: u32,
    /// Not 0; 1: off.
    pub(crate) repeat: f32,
    pub(crate) frequency: f32,
    pub(crate) presence: f32,
}

/// How a token is drawn from the best ones.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
pub(crate) struct DrawOptions {
    /// How many they are.
    pub(crate) k: u32,
    /// Top-p and min-p leave at least so many.
    pub(crate) min_keep: u32,
    /// 1: all.
    pub(crate) top_p: f32,
    /// By [`log_min_p`].
    pub(crate) log_min_p: f32,
    /// By [`sharpness`].
    pub(crate) sharpness: f32,
    pub(crate) seed: [u32; 2],
}

impl DrawOptions {
    /// A choice's, among the `k` best.
    pub(crate) fn new(choice: &Choice, k: usize) -> Self {
        Self {
            k: k as u32,
            min_keep: choice.min_keep.min(k) as u32,
            top_p: choice.top_p,
            log_min_p: log_min_p(choice.min_p),
            sharpness: sharpness(choice.temperature),
            seed: seed_words(choice.seed),
        }
    }
}

/// A temperature as Gumbel noise takes it: kept where a product with the noise stays finite. 0 or less is greedy.
pub(crate) fn noise_temperature(temperature: f32) -> f32 {
    temperature.clamp(0.0, 1e30)
}

/// A temperature as a draw takes it, greater than 0: its inverse, finite.
pub(crate) fn sharpness(temperature: f32) -> f32 {
    1.0 / temperature.max(1e-30)
}

/// How far below the largest logit `min_p` (0 to 1) leaves the others; 0 leaves all.
pub(crate) fn log_min_p(min_p: f32) -> f32 {
    if min_p > 0.0 { min_p.ln() } else { -3.0e38 }
}

/// A seed in two words.
pub(crate) fn seed_words(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}
