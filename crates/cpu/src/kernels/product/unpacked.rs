//! Weights that meet several tiles, unpacked once for all of them: where there are few registers, unpacking takes a good part of
//! the time of a tile.
//!
//! Some blocks are unpacked at a time, few enough that they and the activations that they meet stay in the first-level cache. The
//! sums of all tiles wait in memory meanwhile, which changes no bit of them.

use super::block::{Packed, Unpacked};
use super::dots::dots;
use super::finish::finish;
use super::{Ahead, Product};
use crate::activations::Tile;
use crate::arch::{LINE, Simd};
use crate::pack::{GROUPS, LAYOUTS, QuantGroup};

/// Blocks that are unpacked at a time: 5 KiB.
const BLOCKS: usize = 8;
/// Tiles whose sums wait.
const TILES: usize = 16;

/// Where blocks are unpacked to.
pub(super) struct Room<S: Simd>([Unpacked<S>; BLOCKS]);

impl<S: Simd> Room<S> {
    #[inline(always)]
    pub(super) fn new(s: S) -> Self {
        Self([Unpacked::zero(s); BLOCKS])
    }
}

/// One strip of weights times all tiles.
#[inline(always)]
pub(super) fn strip<S: Simd, const FORMAT: usize>(
    s: S,
    room: &mut Room<S>,
    groups: [QuantGroup<'_>; GROUPS],
    ahead: Option<Ahead>,
    p: &Product<'_>,
    strip: usize,
) {
    let regions = const { &LAYOUTS[FORMAT] }.regions(p.cols);
    for (g, group) in groups.iter().enumerate() {
        let mut ahead = ahead.map(|a| a.after(g * regions.len()));
        for (chunk, tiles) in p.tiles.chunks(TILES).enumerate() {
            let sums = sums::<S, FORMAT>(s, room, group, tiles, ahead);
            for (i, (tile, sums)) in tiles.iter().zip(sums).enumerate() {
                let row = (chunk * TILES + i) * S::TOKENS;
                finish(s, [sums], tile.n_tokens(), &p.sink, row, strip, g);
            }
            ahead = None;
        }
    }
}

/// A group times up to [`TILES`] tiles of one or two tokens.
#[inline(always)]
fn sums<S: Simd, const FORMAT: usize>(
    s: S,
    room: &mut Room<S>,
    group: &QuantGroup<'_>,
    tiles: &[Tile],
    mut ahead: Option<Ahead>,
) -> [[S::Floats; 2]; TILES] {
    const { assert!(!S::UNPACKS || S::TOKENS == 2, "sums are kept for two tokens") };
    let mut sums = [[s.splat(0.0); 2]; TILES];
    let n_blocks = tiles.first().map_or(0, Tile::n_blocks);
    let lines = LAYOUTS[FORMAT].block_bytes().div_ceil(LINE);
    for first in (0..n_blocks).step_by(BLOCKS) {
        let n = BLOCKS.min(n_blocks - first);
        for (b, unpacked) in room.0[..n].iter_mut().enumerate() {
            if let Some(ahead) = &mut ahead {
                ahead.prefetch(s, lines);
            }
            unpacked.take(s, &Packed::<FORMAT>::new(group, first + b));
        }
        let block = |b: usize| [&room.0[b]];
        for (tile, sums) in tiles.iter().zip(&mut sums) {
            if tile.width() == 1 {
                let x = &tile.blocks::<1>()[first..first + n];
                [[sums[0]]] = dots::<S, _, FORMAT, 1, 1>(s, [[sums[0]]], block, x, None);
            } else {
                let x = &tile.blocks::<2>()[first..first + n];
                [*sums] = dots::<S, _, FORMAT, 2, 1>(s, [*sums], block, x, None);
            }
        }
    }
    sums
}
