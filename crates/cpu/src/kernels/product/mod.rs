//! The matrix product: strips of 32 weight rows times tiles of tokens.
//!
//! Block formats: whole-number dot products of 32 weights (or 16, where each half has its scale) with as many quantised
//! activations, exact in i32; then one fused multiply-add of each into the sum, block after block. The offset of the quants
//! costs nothing: sums begin at -offset * (sum of the activations). Float formats: one fused multiply-add for each k. So every
//! output is one chain, in the order of k, whatever else is computed beside it.

mod block;
mod dots;
mod finish;
mod floats;
mod unpacked;

use crate::activations::Tile;
use crate::arch::{Kernel, LINE, Simd};
use crate::pack::{Format, GROUPS, LAYOUTS, QuantGroup};
use crate::shared::Columns;
use block::Packed;
use dots::dots;
use finish::finish;
use floats::floats;
use std::ops::Range;

/// Bytes between a weight and the prefetch that is issued with it: far enough for memory, near enough for the cache. On two Zen 5
/// cores 8 KiB and 32 KiB are slower by some percent, and nothing at all by a fifth to a third.
const PREFETCH_DISTANCE: usize = 16 << 10;

/// Strips of one matrix times some tiles.
#[derive(Debug)]
pub(crate) struct Product<'a> {
    pub(crate) arena: &'a [u8],
    /// Where strip 0 begins, and how far it is to the next.
    pub(crate) start: usize,
    pub(crate) stride: usize,
    pub(crate) cols: usize,
    pub(crate) strips: Range<usize>,
    /// Row `i` of the output belongs to vector `i` of the tiles, which are full but for the last.
    pub(crate) tiles: &'a [Tile],
    pub(crate) sink: Sink<'a>,
    pub(crate) stream: Option<Stream>,
}

/// Where outputs go.
#[derive(Debug)]
pub(crate) enum Sink<'a> {
    /// Written.
    Store(Columns<'a>),
    /// Written, with the bias of each column added.
    StoreBiased(Columns<'a>, &'a [f32]),
    /// Added to what is there.
    Add(Columns<'a>),
    /// Multiplied with silu of what is there.
    Gate(Columns<'a>),
    /// Strips of two matrices take turns: of the first it is written, of the second multiplied with silu of that.
    Gated(Columns<'a>),
}

/// What a worker reads while weights are read once: its part ends at `end` in the arena and goes on at `next`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    pub(crate) end: usize,
    pub(crate) next: usize,
    /// Whether what is prefetched goes to the first-level cache.
    pub(crate) is_near: bool,
}

impl Product<'_> {
    /// Where prefetching stands while the strip at `start` is read.
    #[inline(always)]
    fn ahead(&self, start: usize) -> Option<Ahead> {
        let Stream { end, next, is_near } = self.stream?;
        let ahead = start + PREFETCH_DISTANCE;
        let ahead = if ahead < end { ahead } else { next + (ahead - end) };
        Some(Ahead { address: self.arena.as_ptr().wrapping_add(ahead), is_near })
    }

    /// The same where the two groups of the strip at `start` are read side by side, each from its own beginning.
    #[inline(always)]
    fn cursors(&self, start: usize, group_bytes: usize) -> Option<[Cursor; GROUPS]> {
        let Stream { end, next, is_near } = self.stream?;
        let after = if start + self.stride < end { start + self.stride } else { next };
        // Half as far in each, together as far.
        let distance = (PREFETCH_DISTANCE / GROUPS).min(group_bytes);
        let at = |offset: usize| self.arena.as_ptr().wrapping_add(offset);
        Some([0, 1].map(|g| Cursor {
            ahead: Ahead { address: at(start + g * group_bytes + distance), is_near },
            lines: (group_bytes - distance) / LINE,
            then: at(after + g * group_bytes),
        }))
    }
}

/// Where prefetching stands.
#[derive(Debug, Clone, Copy)]
struct Ahead {
    address: *const u8,
    is_near: bool,
}

impl Ahead {
    /// The next lines.
    #[inline(always)]
    fn prefetch<S: Simd>(&mut self, s: S, lines: usize) {
        if self.is_near {
            for line in 0..lines {
                s.prefetch_near(self.address.wrapping_add(line * LINE));
            }
        } else {
            for line in 0..lines {
                s.prefetch(self.address.wrapping_add(line * LINE));
            }
        }
        self.address = self.address.wrapping_add(lines * LINE);
    }

    /// The same so many bytes further.
    #[inline(always)]
    fn after(self, bytes: usize) -> Self {
        Self { address: self.address.wrapping_add(bytes), ..self }
    }
}

/// Where prefetching of one group of a strip stands.
#[derive(Debug, Clone, Copy)]
struct Cursor {
    ahead: Ahead,
    /// Lines until it goes on at `then`.
    lines: usize,
    then: *const u8,
}

impl Cursor {
    /// The next line.
    #[inline(always)]
    fn step<S: Simd>(&mut self, s: S) {
        if self.lines == 0 {
            self.ahead.address = self.then;
        }
        self.lines = self.lines.wrapping_sub(1);
        self.ahead.prefetch(s, 1);
    }

    /// The next lines.
    #[inline(always)]
    fn steps<S: Simd>(&mut self, s: S, lines: usize) {
        if self.lines >= lines {
            self.lines -= lines;
            self.ahead.prefetch(s, lines);
        } else {
            for _ in 0..lines {
                self.step(s);
            }
        }
    }
}

/// A product of weights in `LAYOUTS[FORMAT]`.
#[derive(Debug)]
pub(crate) struct Quantised<'a, const FORMAT: usize>(pub(crate) &'a Product<'a>);

impl<const FORMAT: usize> Kernel for Quantised<'_, FORMAT> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        quantised::<S, FORMAT>(s, self.0);
    }
}

/// A product of F32 weights.
#[derive(Debug)]
pub(crate) struct F32<'a>(pub(crate) &'a Product<'a>);

impl Kernel for F32<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        floats(s, self.0, S::load);
    }
}

/// A product of F16 weights.
#[derive(Debug)]
pub(crate) struct F16<'a>(pub(crate) &'a Product<'a>);

impl Kernel for F16<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        floats(s, self.0, S::load_f16);
    }
}

/// A product of BF16 weights.
#[derive(Debug)]
pub(crate) struct BF16<'a>(pub(crate) &'a Product<'a>);

impl Kernel for BF16<'_> {
    type Output = ();

    #[inline(always)]
    fn call<S: Simd>(self, s: S) {
        floats(s, self.0, S::load_bf16);
    }
}

#[inline(always)]
fn quantised<S: Simd, const FORMAT: usize>(s: S, p: &Product<'_>) {
    let layout = const { &LAYOUTS[FORMAT] };
    let regions = layout.regions(p.cols);
    let mut room = (S::UNPACKS && p.tiles.len() > 1).then(|| unpacked::Room::new(s));
    for strip in p.strips.clone() {
        let start = p.start + strip * p.stride;
        let bytes = &p.arena[start..start + GROUPS * regions.len()];
        let groups = bytes.split_at(regions.len());
        let groups = [regions.split(layout, groups.0), regions.split(layout, groups.1)];
        let mut ahead = p.ahead(start);
        if let Some(room) = &mut room {
            unpacked::strip::<S, FORMAT>(s, room, groups, ahead, p, strip);
            continue;
        }
        for (i, tile) in p.tiles.iter().enumerate() {
            match tile.width() {
                1 => quantised_tile::<S, FORMAT, 1>(s, groups, tile, ahead, p, strip, i),
                2 if S::TOKENS >= 2 => quantised_tile::<S, FORMAT, 2>(s, groups, tile, ahead, p, strip, i),
                _ if S::TOKENS == 4 => quantised_tile::<S, FORMAT, 4>(s, groups, tile, ahead, p, strip, i),
                _ => unreachable!("tiles have room for S::TOKENS"),
            }
            ahead = None;
        }
    }
}

#[inline(always)]
fn quantised_tile<S: Simd, const FORMAT: usize, const T: usize>(
    s: S,
    groups: [QuantGroup<'_>; GROUPS],
    tile: &Tile,
    ahead: Option<Ahead>,
    p: &Product<'_>,
    strip: usize,
    i: usize,
) {
    let blocks = tile.blocks::<T>();
    if S::IS_WIDE {
        let block = |b| [Packed::<FORMAT>::new(&groups[0], b), Packed::<FORMAT>::new(&groups[1], b)];
        let sums = dots::<S, _, FORMAT, T, GROUPS>(s, [[s.splat(0.0); T]; GROUPS], block, blocks, ahead);
        finish(s, sums, tile.n_tokens(), &p.sink, i * S::TOKENS, strip, 0);
    } else {
        for (g, group) in groups.iter().enumerate() {
            let ahead = ahead.map(|a| a.after(g * LAYOUTS[FORMAT].regions(p.cols).len()));
            let block = |b| [Packed::<FORMAT>::new(group, b)];
            let sums = dots::<S, _, FORMAT, T, 1>(s, [[s.splat(0.0); T]], block, blocks, ahead);
            finish(s, sums, tile.n_tokens(), &p.sink, i * S::TOKENS, strip, g);
        }
    }
}

/// Which kernel multiplies weights of a format.
pub(crate) const fn kernel_of(format: Format) -> usize {
    match format {
        Format::Quantised(i) => i,
        Format::F32 => LAYOUTS.len(),
        Format::F16 => LAYOUTS.len() + 1,
        Format::BF16 => LAYOUTS.len() + 2,
    }
}
