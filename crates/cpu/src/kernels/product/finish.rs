//! What becomes of the outputs of a tile: one function for each instruction set, whatever the format of the weights.
#![allow(clippy::needless_range_loop, reason = "registers by number, in loops that are unrolled")]

use super::Sink;
use crate::arch::{Kernel, LANES, Simd};
use crate::kernels::silu_mul::silu_mul;
use crate::kernels::{load_part, store_part};
use crate::pack::STRIP;
use crate::shared::Columns;

/// Outputs of some groups of a strip times `T` tokens, and where they belong.
#[derive(Debug)]
pub(super) struct Finish<'a, const T: usize> {
    /// For each group.
    sums: &'a [[[f32; LANES]; T]],
    /// Tokens past these are dropped.
    n_tokens: usize,
    sink: &'a Sink<'a>,
    /// Row of the output of the tile's first token.
    row: usize,
    strip: usize,
    /// The first group of the strip.
    group: usize,
}

/// Hands over the outputs of `R` groups of a strip, from `group` on, and of a tile whose first token is `row`.
///
/// The sums go through memory. Where what is done with them is part of the loop that makes them, it is too long to be unrolled and
/// keeps them there throughout: prompts of F16 were half as fast, with a store after every product.
#[inline(always)]
pub(super) fn finish<S: Simd, const T: usize, const R: usize>(
    s: S,
    sums: [[S::Floats; T]; R],
    n_tokens: usize,
    sink: &Sink<'_>,
    row: usize,
    strip: usize,
    group: usize,
) {
    let mut stored = [[[0.0; LANES]; T]; R];
    for r in 0..R {
        for t in 0..T {
            s.store(sums[r][t], &mut stored[r][t]);
        }
    }
    s.run(Finish { sums: &stored, n_tokens, sink, row, strip, group });
}

impl<const T: usize> Kernel for Finish<'_, T> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        match self.sink {
            Sink::Store(columns) => self.write::<S, STORE>(s, columns, self.strip, &[]),
            Sink::StoreBiased(columns, bias) => self.write::<S, BIAS>(s, columns, self.strip, bias),
            Sink::Add(columns) => self.write::<S, ADD>(s, columns, self.strip, &[]),
            Sink::Gate(columns) => self.write::<S, GATE>(s, columns, self.strip, &[]),
            Sink::Gated(columns) if self.strip.is_multiple_of(2) => {
                self.write::<S, STORE>(s, columns, self.strip / 2, &[]);
            }
            Sink::Gated(columns) => self.write::<S, GATE>(s, columns, self.strip / 2, &[]),
        }
    }
}

/// What is written: the sum itself,
const STORE: u8 = 0;
/// the sum and the column's bias,
const BIAS: u8 = 1;
/// what is there and the sum,
const ADD: u8 = 2;
/// silu of what is there times the sum.
const GATE: u8 = 3;

impl<const T: usize> Finish<'_, T> {
    /// Columns past the end of the rows are dropped.
    #[inline(always)]
    fn write<S: Simd, const WHAT: u8>(&self, s: S, columns: &Columns<'_>, strip: usize, bias: &[f32]) {
        for (r, sums) in self.sums.iter().enumerate() {
            let column = strip * STRIP + (self.group + r) * LANES;
            let bias = load_part(s, bias, column.min(bias.len()));
            for (t, sum) in sums.iter().enumerate().take(self.n_tokens) {
                let sum = s.load(sum);
                let out = columns.at(self.row + t, column);
                match out.first_chunk_mut() {
                    Some(lanes) => s.store(output::<S, WHAT>(s, s.load(lanes), sum, bias), lanes),
                    None => store_part(s, output::<S, WHAT>(s, load_part(s, out, 0), sum, bias), out),
                }
            }
        }
    }
}

#[inline(always)]
fn output<S: Simd, const WHAT: u8>(s: S, there: S::Floats, sum: S::Floats, bias: S::Floats) -> S::Floats {
    match WHAT {
        BIAS => s.add(sum, bias),
        ADD => s.add(there, sum),
        GATE => silu_mul(s, there, sum),
        _ => sum,
    }
}
