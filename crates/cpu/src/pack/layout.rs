//! How quantised weights are packed: one scheme for all formats, with a row of this table for each.

use super::planes;
use crate::arch::{LANES, LINE};
use gguf::TensorType;
use gguf::format;
use std::ops::Range;

/// Weights that share a scale, or the two halves of which have one each.
pub(crate) const BLOCK: usize = 32;
/// Weights that share the scale of scales, in formats that have one.
const SUPER_BLOCK: usize = 256;

/// The quantised formats; a [`Layout`] for each.
pub(crate) const QUANTISED: [TensorType; 10] = [
    TensorType::Q4_0,
    TensorType::Q8_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q2_K,
    TensorType::Q3_K,
    TensorType::Q4_K,
    TensorType::Q5_K,
    TensorType::Q6_K,
];

/// The layouts of [`QUANTISED`].
pub(crate) const LAYOUTS: [Layout; QUANTISED.len()] = {
    let mut layouts = [Layout::of(TensorType::Q4_0); QUANTISED.len()];
    let mut i = 0;
    while i < layouts.len() {
        layouts[i] = Layout::of(QUANTISED[i]);
        i += 1;
    }
    layouts
};

/// What a format's weights are made of:
/// weight = scale * (quant - offset) - minimum, where scale and minimum belong to 32 weights or 16.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// Bits of a quant in the first plane (2, 4 or 8), and those above them in the second (0 to 2).
    pub(crate) planes: [usize; 2],
    /// The offset is 2 to this power; `None` for no offset.
    pub(crate) offset_bits: Option<u32>,
    pub(crate) scales: Scales,
    pub(crate) has_min: bool,
}

/// How scales (and minimums) are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scales {
    /// An f16 for each block.
    Block,
    /// An f16 for 8 blocks, times an i8 for each block.
    Nested,
    /// An f16 for 8 blocks, times an i8 for each half of a block.
    NestedHalves,
}

impl Layout {
    const fn of(ty: TensorType) -> Self {
        let Some(bits) = format::bits(ty) else { panic!("not a quantised type") };
        let low = match bits {
            2 | 3 => 2,
            4..8 => 4,
            _ => 8,
        };
        let offset = format::offset(ty);
        Self {
            planes: [low, bits as usize - low],
            offset_bits: if offset == 0 { None } else { Some(offset.trailing_zeros()) },
            scales: match ty {
                TensorType::Q4_K | TensorType::Q5_K => Scales::Nested,
                TensorType::Q2_K | TensorType::Q3_K | TensorType::Q6_K => Scales::NestedHalves,
                _ => Scales::Block,
            },
            has_min: format::has_min(ty),
        }
    }

    /// Bits of a quant.
    pub(crate) const fn bits(&self) -> usize {
        self.planes[0] + self.planes[1]
    }

    /// Parts of a block that have a scale of their own.
    pub(crate) const fn parts(&self) -> usize {
        match self.scales {
            Scales::NestedHalves => 2,
            _ => 1,
        }
    }

    /// Blocks that share an f16.
    pub(crate) const fn blocks_per_scale(&self) -> usize {
        match self.scales {
            Scales::Block => 1,
            _ => SUPER_BLOCK / BLOCK,
        }
    }

    /// Bytes of a block of 16 rows.
    pub(crate) const fn block_bytes(&self) -> usize {
        let nested = match self.scales {
            Scales::Block => 0,
            _ => self.parts() * LANES,
        };
        let scales = 2 * LANES / self.blocks_per_scale() + nested;
        self.bits() * LINE + if self.has_min { 2 * scales } else { scales }
    }

    /// Where the parts of a group of rows of `cols` weights lie.
    pub(crate) const fn regions(&self, cols: usize) -> Regions {
        let blocks = cols / BLOCK;
        let scales = blocks / self.blocks_per_scale() * LANES * 2;
        let nested = match self.scales {
            Scales::Block => 0,
            _ => blocks * self.parts() * LANES,
        };
        let min = self.has_min as usize;
        let lengths = [
            scales,
            scales * min,
            nested,
            nested * min,
            blocks * planes::lines(self.planes[0]) * LINE,
            blocks * planes::lines(self.planes[1]) * LINE,
        ];
        let mut starts = [0; 7];
        let mut i = 0;
        while i < lengths.len() {
            starts[i + 1] = (starts[i] + lengths[i]).next_multiple_of(LINE);
            i += 1;
        }
        Regions { starts, lengths }
    }
}

/// The parts of a group, each at the beginning of a cache line: scales, minimums, nested scales, nested minimums, first plane,
/// second plane.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Regions {
    starts: [usize; 7],
    lengths: [usize; 6],
}

impl Regions {
    /// Bytes of the group.
    pub(crate) const fn len(&self) -> usize {
        self.starts[6]
    }

    #[inline(always)]
    pub(super) fn range(&self, part: usize) -> Range<usize> {
        self.starts[part]..self.starts[part] + self.lengths[part]
    }

    #[inline(always)]
    pub(crate) fn split<'a>(&self, layout: &Layout, group: &'a [u8]) -> QuantGroup<'a> {
        // What a format does not have costs its kernel nothing.
        let part = |i: usize, is_there: bool| if is_there { &group[self.range(i)] } else { &group[..0] };
        let nested = !matches!(layout.scales, Scales::Block);
        QuantGroup {
            scales: bytemuck::cast_slice(part(0, true)),
            mins: bytemuck::cast_slice(part(1, layout.has_min)),
            nested_scales: bytemuck::cast_slice(part(2, nested)),
            nested_mins: bytemuck::cast_slice(part(3, nested && layout.has_min)),
            planes: [part(4, true).as_chunks().0, part(5, layout.planes[1] > 0).as_chunks().0],
        }
    }
}

/// 16 rows of packed weights: all their blocks, or one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuantGroup<'a> {
    /// The bits of an f16 a row, for each block or 8 blocks.
    pub(crate) scales: &'a [[u16; LANES]],
    pub(crate) mins: &'a [[u16; LANES]],
    /// For each part of a block, where scales are nested.
    pub(crate) nested_scales: &'a [[i8; LANES]],
    pub(crate) nested_mins: &'a [[i8; LANES]],
    pub(crate) planes: [&'a [[u8; LINE]]; 2],
}

impl<'a> QuantGroup<'a> {
    /// Block `b` alone. With this, the bounds of everything that a kernel reads in a block are checked before it begins.
    #[inline(always)]
    pub(crate) fn block(&self, layout: &Layout, b: usize) -> Self {
        #[inline(always)]
        fn some<T>(all: &[T], first: usize, n: usize) -> &[T] {
            &all[first..][..n]
        }
        let scale = b / layout.blocks_per_scale();
        let parts = if matches!(layout.scales, Scales::Block) { 0 } else { layout.parts() };
        let min = usize::from(layout.has_min);
        let [low, high] = [planes::lines(layout.planes[0]), planes::lines(layout.planes[1])];
        Self {
            scales: some(self.scales, scale, 1),
            mins: some(self.mins, scale * min, min),
            nested_scales: some(self.nested_scales, b * parts, parts),
            nested_mins: some(self.nested_mins, b * parts * min, parts * min),
            planes: [some(self.planes[0], b * low, low), some(self.planes[1], b * high, high)],
        }
    }
}
