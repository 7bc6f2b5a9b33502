//! Float weights: one fused multiply-add for each k.
//!
//! For one tile, weights are widened as they are read. Where they meet several and there are few registers, some are widened at a
//! time for all tiles, whose sums wait in memory.
#![allow(clippy::needless_range_loop, reason = "registers by number, in loops that are unrolled")]

use super::finish::finish;
use super::{Cursor, Product};
use crate::activations::Tile;
use crate::arch::{LANES, LINE, Simd};
use crate::pack::GROUPS;

/// Elements of one token's row between two looks at what is to be prefetched.
const STEP: usize = 8;
/// Elements of a row that are widened at a time: 8 KiB of a strip.
const WIDENED: usize = 64;
/// Tiles whose sums wait.
const TILES: usize = 16;

/// Widened weights of a strip: element by element 16 rows of either group.
type Room<S> = [[<S as Simd>::Floats; GROUPS]; WIDENED];

/// Weights of type `E`, 16 of which `load` reads.
#[inline(always)]
pub(super) fn floats<S: Simd, E: bytemuck::Pod>(
    s: S,
    p: &Product<'_>,
    load: impl Fn(S, &[E; LANES]) -> S::Floats + Copy,
) {
    let group_bytes = (p.cols * LANES * size_of::<E>()).next_multiple_of(LINE);
    let unpacks = S::UNPACKS && p.tiles.len() > 1;
    let mut room: Option<Room<S>> = unpacks.then(|| [[s.splat(0.0); GROUPS]; WIDENED]);
    for strip in p.strips.clone() {
        let start = p.start + strip * p.stride;
        let bytes = &p.arena[start..start + GROUPS * group_bytes];
        let (first, second) = bytes.split_at(group_bytes);
        let groups = [first, second].map(|g| bytemuck::cast_slice::<u8, E>(g).as_chunks().0);
        let mut ahead = p.cursors(start, group_bytes);
        if let Some(room) = &mut room {
            widened(s, room, groups, ahead, p, strip, load);
            continue;
        }
        for (i, tile) in p.tiles.iter().enumerate() {
            match tile.width() {
                1 => float_tile::<S, E, 1>(s, groups, tile, ahead, p, strip, i, load),
                2 if S::TOKENS >= 2 => float_tile::<S, E, 2>(s, groups, tile, ahead, p, strip, i, load),
                _ if S::TOKENS == 4 => float_tile::<S, E, 4>(s, groups, tile, ahead, p, strip, i, load),
                _ => unreachable!("tiles have room for S::TOKENS"),
            }
            ahead = None;
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "one step of `floats`, which has all of them at hand")]
fn float_tile<S: Simd, E, const T: usize>(
    s: S,
    groups: [&[[E; LANES]]; GROUPS],
    tile: &Tile,
    mut ahead: Option<[Cursor; GROUPS]>,
    p: &Product<'_>,
    strip: usize,
    i: usize,
    load: impl Fn(S, &[E; LANES]) -> S::Floats,
) {
    let mut sums = [[s.splat(0.0); T]; GROUPS];
    let x = tile.floats::<T>();
    // With several tokens the loop is long enough as it is, and no faster for being longer.
    let stepped = if T == 1 { x.len() / STEP * STEP } else { 0 };
    for (i, x) in x[..stepped].as_chunks::<STEP>().0.iter().enumerate() {
        if let Some(cursors) = &mut ahead {
            for cursor in cursors {
                cursor.steps(s, STEP * size_of::<[E; LANES]>() / LINE);
            }
        }
        for k in 0..STEP {
            for r in 0..GROUPS {
                let weights = load(s, &groups[r][i * STEP..][..STEP][k]);
                for t in 0..T {
                    sums[r][t] = s.mul_add(weights, s.splat(x[k][t]), sums[r][t]);
                }
            }
        }
    }
    for (k, x) in x.iter().enumerate().skip(stepped) {
        prefetch::<S, E>(s, &mut ahead, k);
        for r in 0..GROUPS {
            let weights = load(s, &groups[r][k]);
            for t in 0..T {
                sums[r][t] = s.mul_add(weights, s.splat(x[t]), sums[r][t]);
            }
        }
    }
    finish(s, sums, tile.n_tokens(), &p.sink, i * S::TOKENS, strip, 0);
}

/// A line of each group when a line of it has been read.
#[inline(always)]
fn prefetch<S: Simd, E>(s: S, ahead: &mut Option<[Cursor; GROUPS]>, k: usize) {
    let elements = LINE / size_of::<[E; LANES]>();
    if let Some(cursors) = ahead {
        for r in 0..GROUPS {
            if k % elements == r % elements {
                cursors[r].step(s);
            }
        }
    }
}

/// One strip of weights times all tiles.
#[inline(always)]
fn widened<S: Simd, E: Copy>(
    s: S,
    room: &mut Room<S>,
    groups: [&[[E; LANES]]; GROUPS],
    ahead: Option<[Cursor; GROUPS]>,
    p: &Product<'_>,
    strip: usize,
    load: impl Fn(S, &[E; LANES]) -> S::Floats + Copy,
) {
    const { assert!(!S::UNPACKS || S::TOKENS == 2, "sums are kept for two tokens") };
    let mut ahead = ahead;
    for (chunk, tiles) in p.tiles.chunks(TILES).enumerate() {
        let mut sums = [[[s.splat(0.0); 2]; GROUPS]; TILES];
        for first in (0..p.cols).step_by(WIDENED) {
            let n = WIDENED.min(p.cols - first);
            for (k, weights) in room[..n].iter_mut().enumerate() {
                prefetch::<S, E>(s, &mut ahead, k);
                for r in 0..GROUPS {
                    weights[r] = load(s, &groups[r][first + k]);
                }
            }
            for (tile, sums) in tiles.iter().zip(&mut sums) {
                if tile.width() == 1 {
                    let one = [[sums[0][0]], [sums[1][0]]];
                    let one = add::<S, 1>(s, &room[..n], &tile.floats()[first..first + n], one);
                    for r in 0..GROUPS {
                        sums[r][0] = one[r][0];
                    }
                } else {
                    *sums = add::<S, 2>(s, &room[..n], &tile.floats()[first..first + n], *sums);
                }
            }
        }
        ahead = None;
        for (i, (tile, sums)) in tiles.iter().zip(sums).enumerate() {
            let row = (chunk * TILES + i) * S::TOKENS;
            finish(s, sums, tile.n_tokens(), &p.sink, row, strip, 0);
        }
    }
}

/// Adds the products of some elements.
#[inline(always)]
fn add<S: Simd, const T: usize>(
    s: S,
    weights: &[[S::Floats; GROUPS]],
    x: &[[f32; T]],
    mut sums: [[S::Floats; T]; GROUPS],
) -> [[S::Floats; T]; GROUPS] {
    for (weights, x) in weights.iter().zip(x) {
        for r in 0..GROUPS {
            for t in 0..T {
                sums[r][t] = s.mul_add(weights[r], s.splat(x[t]), sums[r][t]);
            }
        }
    }
    sums
}
