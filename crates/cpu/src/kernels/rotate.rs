//! Rotary position embedding of one head, in place.

use crate::arch::{Kernel, Simd};
use model::RopePairing;

/// Turns the leading pairs of `head` by the angles of `turns`, a cosine and a sine each.
#[derive(Debug)]
pub(crate) struct Rotate<'a> {
    pub(crate) head: &'a mut [f32],
    pub(crate) turns: &'a [[f32; 2]],
    pub(crate) pairing: RopePairing,
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, _: S) {
        rotate(self.head, self.turns, self.pairing);
    }
}

#[inline(always)]
fn rotate(head: &mut [f32], turns: &[[f32; 2]], pairing: RopePairing) {
    match pairing {
        RopePairing::Adjacent => {
            for ([a, b], &t) in head.as_chunks_mut::<2>().0.iter_mut().zip(turns) {
                (*a, *b) = turn(*a, *b, t);
            }
        }
        RopePairing::Halves => {
            let (first, rest) = head.split_at_mut(turns.len());
            for ((a, b), &t) in first.iter_mut().zip(rest).zip(turns) {
                (*a, *b) = turn(*a, *b, t);
            }
        }
    }
}

#[inline(always)]
fn turn(a: f32, b: f32, [cos, sin]: [f32; 2]) -> (f32, f32) {
    (a * cos - b * sin, a * sin + b * cos)
}
