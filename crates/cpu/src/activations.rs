//! The vectors that meet a weight matrix: a few tokens side by side, in the form that its kernel reads.

use crate::arch::Kernels;
use crate::kernels::quantize::Quantize;
use crate::pack::{BLOCK, Format};

/// Most tokens of a tile.
pub(crate) const MOST_TOKENS: usize = 4;

/// 32 activations in 8 bits.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct QuantBlock {
    pub(crate) q: [i8; BLOCK],
    pub(crate) scale: f32,
    /// The sum of `q`, times -1.
    pub(crate) minus_sum: i32,
    /// The same of either half.
    pub(crate) minus_sums: [i32; 2],
}

/// The forms in which a vector is needed by the matrices that read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Need {
    quantised: bool,
    float: bool,
}

impl Need {
    pub(crate) fn of(formats: impl IntoIterator<Item = Format>) -> Self {
        let mut need = Self::default();
        for format in formats {
            need.quantised |= format.is_quantised();
            need.float |= !format.is_quantised();
        }
        need
    }
}

/// A few vectors of one length.
#[derive(Debug, Default)]
pub(crate) struct Tile {
    n_tokens: usize,
    /// `n_tokens`, and zeros up to the next size that kernels are made for: 1, 2 or 4.
    width: usize,
    /// `[n / 32, width]`
    blocks: Vec<QuantBlock>,
    /// `[n, width]`
    floats: Vec<f32>,
}

impl Tile {
    /// Takes in `n_tokens` vectors of `n` elements; `vector(t, room)` gives the one of token `t`, or writes it to
    /// `room`.
    pub(crate) fn fill<'v>(
        &mut self,
        kernels: &Kernels,
        n_tokens: usize,
        n: usize,
        need: Need,
        staging: &mut Vec<f32>,
        mut vector: impl FnMut(usize, &mut [f32]) -> Option<&'v [f32]>,
    ) {
        let width = n_tokens.next_power_of_two();
        (self.n_tokens, self.width) = (n_tokens, width);
        staging.resize(n, 0.0);
        self.blocks.resize(if need.quantised { n / BLOCK * width } else { 0 }, QuantBlock::default());
        self.floats.resize(if need.float { n * width } else { 0 }, 0.0);
        for t in 0..width {
            let elsewhere = if t < n_tokens {
                vector(t, staging)
            } else {
                staging.fill(0.0);
                None
            };
            let vector = elsewhere.unwrap_or(staging);
            if need.quantised {
                (kernels.quantize)(Quantize { x: vector, blocks: &mut self.blocks[t..], stride: width });
            }
            if need.float {
                for (x, v) in self.floats[t..].iter_mut().step_by(width).zip(vector) {
                    *x = *v;
                }
            }
        }
    }

    /// Vectors in it.
    #[inline(always)]
    pub(crate) fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// Vectors that a kernel computes: [`n_tokens`](Self::n_tokens), or one more.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Blocks of each vector.
    #[inline(always)]
    pub(crate) fn n_blocks(&self) -> usize {
        self.blocks.len() / self.width.max(1)
    }

    /// `[n / 32][T]`, where `T` is the width.
    #[inline(always)]
    pub(crate) fn blocks<const T: usize>(&self) -> &[[QuantBlock; T]] {
        debug_assert_eq!(self.width, T, "a kernel for other tokens");
        self.blocks.as_chunks::<T>().0
    }

    /// `[n][T]`, where `T` is the width.
    #[inline(always)]
    pub(crate) fn floats<const T: usize>(&self) -> &[[f32; T]] {
        debug_assert_eq!(self.width, T, "a kernel for other tokens");
        self.floats.as_chunks::<T>().0
    }
}
