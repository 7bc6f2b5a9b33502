//! The vectors that meet a weight matrix: up to four tokens side by side, in the form that its kernel reads.

use crate::arch::Kernels;
use crate::pack::Format;

/// Tokens of a tile.
pub(crate) const TILE: usize = 4;

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

/// `n_tokens` vectors of `n` elements.
#[derive(Debug, Default)]
pub(crate) struct Tile {
    n_tokens: usize,
    /// `[n / 32, n_tokens]` blocks of quants,
    q: Vec<[i8; 32]>,
    /// their scales,
    d: Vec<f32>,
    /// and the sums of their quants.
    sums: Vec<i32>,
    /// `[n, n_tokens]`
    floats: Vec<f32>,
}

impl Tile {
    /// Takes in `n_tokens` vectors of `n` elements; `vector(t, into)` writes the one of token `t`.
    pub(crate) fn fill(
        &mut self,
        kernels: &Kernels,
        n_tokens: usize,
        n: usize,
        need: Need,
        staging: &mut Vec<f32>,
        mut vector: impl FnMut(usize, &mut [f32]),
    ) {
        self.n_tokens = n_tokens;
        staging.resize(n, 0.0);
        if need.quantised {
            let n_blocks = n / 32 * n_tokens;
            self.q.resize(n_blocks, [0; 32]);
            self.d.resize(n_blocks, 0.0);
            self.sums.resize(n_blocks, 0);
        }
        if need.float {
            self.floats.resize(n * n_tokens, 0.0);
        }
        for t in 0..n_tokens {
            vector(t, staging);
            if need.quantised {
                for (b, block) in staging.as_chunks::<32>().0.iter().enumerate() {
                    let i = b * n_tokens + t;
                    (self.d[i], self.sums[i]) = (kernels.quantize)(block, &mut self.q[i]);
                }
            }
            if need.float {
                for (x, v) in self.floats[t..].iter_mut().step_by(n_tokens).zip(&*staging) {
                    *x = *v;
                }
            }
        }
    }

    pub(crate) fn n_tokens(&self) -> usize {
        self.n_tokens
    }

    /// Quants, scales and sums, `[n / 32, T]`.
    #[inline(always)]
    pub(crate) fn quantised<const T: usize>(&self) -> (&[[i8; 32]], &[f32], &[i32]) {
        debug_assert_eq!(self.n_tokens, T, "a kernel for other tokens");
        (&self.q, &self.d, &self.sums)
    }

    /// `[n][T]`
    #[inline(always)]
    pub(crate) fn floats<const T: usize>(&self) -> &[[f32; T]] {
        debug_assert_eq!(self.n_tokens, T, "a kernel for other tokens");
        self.floats.as_chunks::<T>().0
    }
}
