//! The kernels, compiled once for each instruction set; one set is chosen at load.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86_64;

use crate::activations::Tile;
use crate::kernels::Lanes;
use crate::pack::{Format, Group};

/// `out[t][lane] += sum over k of w[lane][k] * x[t][k]`; `out` has a place for each token of the tile.
pub(crate) type TileFn = fn(Group<'_>, &Tile, &mut [Lanes]);

/// Function pointers to every kernel, for one instruction set.
pub(crate) struct Kernels {
    /// The instruction set, as the load line names it.
    pub(crate) name: &'static str,
    q4_0: TileFn,
    q8_0: TileFn,
    f32: TileFn,
    f16: TileFn,
    bf16: TileFn,
    /// [`crate::kernels::quantize::quantize`]
    pub(crate) quantize: fn(&[f32; 32], &mut [i8; 32]) -> (f32, i32),
    /// [`crate::kernels::rms_norm::rms_norm`]
    pub(crate) rms_norm: fn(&[f32], &[f32], f32, &mut [f32]),
    /// [`crate::kernels::silu_mul::silu_mul`]
    pub(crate) silu_mul: fn(&[f32], &[f32], &mut [f32]),
    /// [`crate::kernels::attend::attend`]
    pub(crate) attend: fn(&[f32], usize, &[u16], usize, &mut [f32]),
}

impl Kernels {
    /// The best set for this processor.
    pub(crate) fn detect() -> &'static Self {
        Self::available().last().expect("the portable set is always there")
    }

    /// Every set that this processor can run, the best last.
    pub(crate) fn available() -> Vec<&'static Self> {
        let mut sets = vec![&portable::KERNELS];
        #[cfg(target_arch = "x86_64")]
        sets.extend(x86_64::available());
        sets
    }

    pub(crate) fn tile(&self, format: Format) -> TileFn {
        match format {
            Format::Q4_0 => self.q4_0,
            Format::Q8_0 => self.q8_0,
            Format::F32 => self.f32,
            Format::F16 => self.f16,
            Format::BF16 => self.bf16,
        }
    }
}

/// Calls a tile kernel with its number of tokens as a constant.
macro_rules! by_tokens {
    ($kernel:path, $group:expr, $x:expr, $out:expr) => {{
        match $x.n_tokens() {
            1 => $kernel($group, $x, crate::arch::places::<1>($out)),
            2 => $kernel($group, $x, crate::arch::places::<2>($out)),
            3 => $kernel($group, $x, crate::arch::places::<3>($out)),
            _ => $kernel($group, $x, crate::arch::places::<4>($out)),
        }
    }};
}
pub(crate) use by_tokens;

/// The places of a tile of `T` tokens.
#[inline(always)]
pub(crate) fn places<const T: usize>(out: &mut [Lanes]) -> &mut [Lanes; T] {
    out.first_chunk_mut().expect("a place for each token")
}
