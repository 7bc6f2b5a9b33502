//! The matrix product: strips of 32 weight rows times tiles of tokens.
//!
//! Block formats: whole-number dot products of 32 weights (or 16, where each half has its scale) with as many quantised
//! activations, exact in i32; then one fused multiply-add of each into the sum, block after block. The offset of the quants
//! costs nothing: sums begin at -offset * (sum of the activations). Float formats: one fused multiply-add for each k. So every
//! output is one chain, in the order of k, whatever else is computed beside it.
#![allow(clippy::needless_range_loop, reason = "registers by number, in loops that are unrolled")]

use super::silu_mul::silu_mul;
use super::{load_part, store_part};
use crate::activations::{QuantBlock, Tile};
use crate::arch::{Kernel, LANES, LINE, Simd};
use crate::pack::{FIELDS, Format, GROUPS, LAYOUTS, Layout, QuantGroup, STRIP, Scales, place};
use crate::shared::Columns;
use std::ops::Range;

/// Bytes between a weight and the prefetch that is issued with it: far enough for memory, near enough for the second-level
/// cache. On two Zen 5 cores 8 KiB and 64 KiB are slower by some percent.
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
}

impl Product<'_> {
    /// Where prefetching stands while the strip at `start` is read.
    #[inline(always)]
    fn ahead(&self, start: usize) -> Option<*const u8> {
        let Stream { end, next } = self.stream?;
        let ahead = start + PREFETCH_DISTANCE;
        let ahead = if ahead < end { ahead } else { next + (ahead - end) };
        Some(self.arena.as_ptr().wrapping_add(ahead))
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
    for strip in p.strips.clone() {
        let start = p.start + strip * p.stride;
        let bytes = &p.arena[start..start + GROUPS * regions.len()];
        let groups = bytes.split_at(regions.len());
        let groups = [regions.split(layout, groups.0), regions.split(layout, groups.1)];
        let mut ahead = p.ahead(start);
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
    ahead: Option<*const u8>,
    p: &Product<'_>,
    strip: usize,
    i: usize,
) {
    let blocks = tile.blocks::<T>();
    if S::IS_WIDE {
        let sums = dots::<S, FORMAT, T, 2>(s, groups, blocks, ahead);
        finish(s, sums, tile.n_tokens(), &p.sink, i * S::TOKENS, strip, 0);
    } else {
        for (g, group) in groups.into_iter().enumerate() {
            let ahead = ahead.map(|a| a.wrapping_add(g * LAYOUTS[FORMAT].regions(p.cols).len()));
            let sums = dots::<S, FORMAT, T, 1>(s, [group], blocks, ahead);
            finish(s, sums, tile.n_tokens(), &p.sink, i * S::TOKENS, strip, g);
        }
    }
}

/// `R` groups of rows times `T` tokens.
#[inline(always)]
fn dots<S: Simd, const FORMAT: usize, const T: usize, const R: usize>(
    s: S,
    groups: [QuantGroup<'_>; R],
    blocks: &[[QuantBlock; T]],
    mut ahead: Option<*const u8>,
) -> [[S::Floats; T]; R] {
    let layout = const { &LAYOUTS[FORMAT] };
    let prefetches = (LAYOUTS[FORMAT].block_bytes() * R).div_ceil(LINE);
    let mut sums = [[s.splat(0.0); T]; R];
    for (b, x) in blocks.iter().enumerate() {
        if let Some(address) = &mut ahead {
            for _ in 0..prefetches {
                s.prefetch(*address);
                *address = address.wrapping_add(LINE);
            }
        }
        let mut block = groups;
        for r in 0..R {
            block[r] = groups[r].block(layout, b);
        }
        for part in 0..layout.parts() {
            let ints = part_dots::<S, FORMAT, T, R>(s, &block, x, part);
            for r in 0..R {
                let scale = scale(s, layout, &block[r], part);
                for t in 0..T {
                    let factor = s.mul(scale, s.splat(x[t].scale));
                    sums[r][t] = s.mul_add(s.to_floats(ints[r][t]), factor, sums[r][t]);
                }
                if layout.has_min {
                    let min = min(s, layout, &block[r], part);
                    for t in 0..T {
                        let sum = if layout.parts() == 1 { x[t].minus_sum } else { x[t].minus_sums[part] };
                        sums[r][t] = s.mul_add(min, s.splat(sum as f32 * x[t].scale), sums[r][t]);
                    }
                }
            }
        }
    }
    sums
}

/// The whole-number part of one block, or of one half of it.
#[inline(always)]
fn part_dots<S: Simd, const FORMAT: usize, const T: usize, const R: usize>(
    s: S,
    block: &[QuantGroup<'_>; R],
    x: &[QuantBlock; T],
    part: usize,
) -> [[S::Ints; T]; R] {
    let layout = const { &LAYOUTS[FORMAT] };
    let mut sums = [[s.start(s.splat_int(0)); T]; R];
    if let Some(bits) = layout.offset_bits {
        // Signed bytes have lost their offset.
        if !(layout.bits() == 8 && S::SIGNED_BYTES) {
            for t in 0..T {
                let sum = if layout.parts() == 1 { x[t].minus_sum } else { x[t].minus_sums[part] };
                let start = s.start(s.shift_left(s.splat_int(sum), bits));
                for r in 0..R {
                    sums[r][t] = start;
                }
            }
        }
    }
    if layout.parts() == 1 || part == 0 {
        field::<S, FORMAT, T, R, 0>(s, block, x, &mut sums);
        field::<S, FORMAT, T, R, 1>(s, block, x, &mut sums);
        field::<S, FORMAT, T, R, 2>(s, block, x, &mut sums);
        field::<S, FORMAT, T, R, 3>(s, block, x, &mut sums);
    }
    if layout.parts() == 1 || part == 1 {
        field::<S, FORMAT, T, R, 4>(s, block, x, &mut sums);
        field::<S, FORMAT, T, R, 5>(s, block, x, &mut sums);
        field::<S, FORMAT, T, R, 6>(s, block, x, &mut sums);
        field::<S, FORMAT, T, R, 7>(s, block, x, &mut sums);
    }
    let mut ints = [[s.splat_int(0); T]; R];
    for r in 0..R {
        for t in 0..T {
            ints[r][t] = s.total(sums[r][t]);
        }
    }
    ints
}

/// Four weights of every row: `C` is a constant so that lines, shifts and masks are.
#[inline(always)]
fn field<S: Simd, const FORMAT: usize, const T: usize, const R: usize, const C: usize>(
    s: S,
    block: &[QuantGroup<'_>; R],
    x: &[QuantBlock; T],
    sums: &mut [[S::Sum; T]; R],
) {
    let layout = const { &LAYOUTS[FORMAT] };
    let bits = layout.bits();
    let ends_part = C == FIELDS - 1 || C + 1 == FIELDS / layout.parts();
    let carries = bits < 8 && (ends_part || (C + 1).is_multiple_of(128 >> bits));
    for r in 0..R {
        let mut weights = plane::<S, C>(s, layout.planes[0], 0, block[r].planes[0]);
        if layout.planes[1] > 0 {
            let high = plane::<S, C>(s, layout.planes[1], layout.planes[0], block[r].planes[1]);
            weights = s.or(weights, high);
        }
        if bits == 8 && S::SIGNED_BYTES {
            weights = s.flip(weights, 0x80);
        }
        for t in 0..T {
            let x = x[t].q.as_chunks::<4>().0[C];
            let sum = &mut sums[r][t];
            *sum = if bits == 8 { s.dot_wide(*sum, weights, x) } else { s.dot(*sum, weights, x) };
            if carries {
                *sum = s.carry(*sum);
            }
        }
    }
}

/// Field `C` of a block's plane of `bits` bits, each moved up to bit `to`.
#[inline(always)]
fn plane<S: Simd, const C: usize>(s: S, bits: usize, to: usize, plane: &[[u8; LINE]]) -> S::Bytes {
    let (line, from) = place(bits, C);
    let bytes = s.load_bytes(&plane[line]);
    if bits == 8 {
        return bytes;
    }
    let mask = ((1 << bits) - 1) << to;
    s.shift_mask(bytes, from as i32 - to as i32, mask as u8)
}

#[inline(always)]
fn scale<S: Simd>(s: S, layout: &Layout, block: &QuantGroup<'_>, part: usize) -> S::Floats {
    let scale = s.load_f16(&block.scales[0]);
    match layout.scales {
        Scales::Block => scale,
        _ => s.mul(scale, s.load_i8(&block.nested_scales[part])),
    }
}

#[inline(always)]
fn min<S: Simd>(s: S, layout: &Layout, block: &QuantGroup<'_>, part: usize) -> S::Floats {
    let min = s.load_f16(&block.mins[0]);
    match layout.scales {
        Scales::Block => min,
        _ => s.mul(min, s.load_i8(&block.nested_mins[part])),
    }
}

/// Float weights of `N` bytes, 16 of which `load` reads.
#[inline(always)]
fn floats<S: Simd, E: bytemuck::Pod>(
    s: S,
    p: &Product<'_>,
    load: impl Fn(S, &[E; LANES]) -> S::Floats + Copy,
) {
    let group_bytes = (p.cols * LANES * size_of::<E>()).next_multiple_of(LINE);
    for strip in p.strips.clone() {
        let start = p.start + strip * p.stride;
        let bytes = &p.arena[start..start + GROUPS * group_bytes];
        let (first, second) = bytes.split_at(group_bytes);
        let groups = [first, second].map(|g| bytemuck::cast_slice::<u8, E>(g).as_chunks().0);
        let mut ahead = p.ahead(start);
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
    mut ahead: Option<*const u8>,
    p: &Product<'_>,
    strip: usize,
    i: usize,
    load: impl Fn(S, &[E; LANES]) -> S::Floats,
) {
    let mut sums = [[s.splat(0.0); T]; GROUPS];
    for (k, x) in tile.floats::<T>().iter().enumerate() {
        if let Some(address) = &mut ahead {
            for _ in 0..GROUPS * size_of::<[E; LANES]>() / LINE {
                s.prefetch(*address);
                *address = address.wrapping_add(LINE);
            }
        }
        for r in 0..GROUPS {
            let weights = load(s, &groups[r][k]);
            for t in 0..T {
                sums[r][t] = s.mul_add(weights, s.splat(x[t]), sums[r][t]);
            }
        }
    }
    finish(s, sums, tile.n_tokens(), &p.sink, i * S::TOKENS, strip, 0);
}

/// Hands over the outputs of `R` groups of a strip. Columns past the end of the rows are dropped, and tokens past `n_tokens`.
#[inline(always)]
fn finish<S: Simd, const T: usize, const R: usize>(
    s: S,
    sums: [[S::Floats; T]; R],
    n_tokens: usize,
    sink: &Sink<'_>,
    row: usize,
    strip: usize,
    group: usize,
) {
    let (columns, strip, gates) = match sink {
        Sink::Gated(columns) => (columns, strip / 2, strip % 2 == 1),
        Sink::Gate(columns) => (columns, strip, true),
        Sink::Store(columns) | Sink::StoreBiased(columns, _) | Sink::Add(columns) => (columns, strip, false),
    };
    for r in 0..R {
        let column = strip * STRIP + (group + r) * LANES;
        for t in 0..T {
            if t >= n_tokens {
                break;
            }
            let out = columns.at(row + t, column);
            let sum = match sink {
                Sink::StoreBiased(_, bias) if !out.is_empty() => {
                    s.add(sums[r][t], load_part(s, bias, column))
                }
                Sink::Add(_) => s.add(load_part(s, out, 0), sums[r][t]),
                _ if gates => silu_mul(s, load_part(s, out, 0), sums[r][t]),
                _ => sums[r][t],
            };
            store_part(s, sum, out);
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
