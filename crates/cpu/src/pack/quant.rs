//! Packs quantised rows, and unpacks them.

use super::layout::{BLOCK, LAYOUTS, Layout, QUANTISED, Scales};
use super::planes;
use crate::arch::{LANES, LINE};
use gguf::TensorType;
use gguf::format::Unit;

/// Packs up to 16 rows, as the file has them, into a zeroed group.
pub(super) fn pack(format: usize, rows: &[u8], cols: usize, group: &mut [u8]) {
    let (ty, layout) = (QUANTISED[format], LAYOUTS[format]);
    let row_bytes = cols / ty.block_len() * ty.block_bytes();
    for (r, row) in rows.chunks_exact(row_bytes).enumerate() {
        match ty {
            TensorType::Q4_0 => pack_words(&layout, r, cols, group, row.as_chunks().0.iter().map(q4_0)),
            TensorType::Q8_0 => pack_words(&layout, r, cols, group, row.as_chunks().0.iter().map(q8_0)),
            _ => {
                let units = (0..cols / BLOCK).map_while(|u| Unit::of(ty, row, u));
                pack_row(&layout, r, cols, group, units);
            }
        }
    }
}

fn pack_row(layout: &Layout, row: usize, cols: usize, group: &mut [u8], units: impl Iterator<Item = Unit>) {
    let regions = layout.regions(cols);
    let starts: [usize; 6] = std::array::from_fn(|i| regions.range(i).start);
    let nested = layout.scales != Scales::Block;
    for (b, unit) in units.enumerate() {
        let scale_at = 2 * (b / layout.blocks_per_scale() * LANES + row);
        let mut put_f16 = |region: usize, bits: u16| {
            group[starts[region] + scale_at..][..2].copy_from_slice(&bits.to_ne_bytes());
        };
        put_f16(0, unit.d);
        if layout.has_min {
            // Weights of these types are scale * quant + m where no minimum is nested: -m is taken off.
            put_f16(1, if nested { unit.dmin } else { unit.dmin ^ 0x8000 });
        }
        if nested {
            for part in 0..layout.parts() {
                let at = (b * layout.parts() + part) * LANES + row;
                group[starts[2] + at] = unit.scale[part].cast_unsigned();
                if layout.has_min {
                    group[starts[3] + at] = unit.min[part].cast_unsigned();
                }
            }
        }
        let (low, high) = group.split_at_mut(starts[5]);
        let lines = layout.planes.map(planes::lines);
        let planes = [&mut low.as_chunks_mut().0[starts[4] / 64..], high.as_chunks_mut().0];
        let [low, high] = planes;
        let block = [&mut low[b * lines[0]..(b + 1) * lines[0]], &mut high[b * lines[1]..(b + 1) * lines[1]]];
        planes::pack(&unit.q, layout.planes, row, block);
    }
}

/// Packs a row of blocks with one scale and one plane of `N` lines: the scale's bits, and four bytes for each line.
fn pack_words<const N: usize>(
    layout: &Layout,
    row: usize,
    cols: usize,
    group: &mut [u8],
    blocks: impl Iterator<Item = ([u8; 2], [u32; N])>,
) {
    let regions = layout.regions(cols);
    let (scales, planes) = group.split_at_mut(regions.range(4).start);
    let lines = planes.as_chunks_mut::<LINE>().0.as_chunks_mut::<N>().0;
    for ((scale, words), (scales, lines)) in
        blocks.zip(scales.as_chunks_mut::<{ 2 * LANES }>().0.iter_mut().zip(lines))
    {
        let bits = u16::from_le_bytes(scale);
        scales.as_chunks_mut::<2>().0[row] = bits.to_ne_bytes();
        for (word, line) in words.into_iter().zip(lines) {
            line.as_chunks_mut::<4>().0[row] = word.to_le_bytes();
        }
    }
}

/// These two are read here, for speed: most files are made of them. A line has one field of four weights in its low bits and the
/// next in its high ones; the file's block has the first four fields in its low bits, the other four in its high ones.
fn q4_0(block: &[u8; 18]) -> ([u8; 2], [u32; 4]) {
    const LOW: u32 = 0x0f0f_0f0f;
    let quants = block[gguf::format::q4_0::QS_AT..].as_chunks().0;
    let words: [u32; 4] = std::array::from_fn(|i| u32::from_le_bytes(quants[i]));
    let low = |a: u32, b: u32| a & LOW | (b & LOW) << 4;
    let high = |a: u32, b: u32| a >> 4 & LOW | b & !LOW;
    let lines = [
        low(words[0], words[1]),
        low(words[2], words[3]),
        high(words[0], words[1]),
        high(words[2], words[3]),
    ];
    ([block[0], block[1]], lines)
}

fn q8_0(block: &[u8; 34]) -> ([u8; 2], [u32; 8]) {
    let quants = block[gguf::format::q8_0::QS_AT..].as_chunks().0;
    ([block[0], block[1]], std::array::from_fn(|i| u32::from_le_bytes(quants[i]) ^ 0x8080_8080))
}

/// Decodes row `row` of a group.
pub(super) fn unpack_row(format: usize, group: &[u8], row: usize, out: &mut [f32]) {
    let (ty, layout) = (QUANTISED[format], LAYOUTS[format]);
    let group = layout.regions(out.len()).split(&layout, group);
    let nested = layout.scales != Scales::Block;
    let parts = layout.parts();
    for (b, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let at = b / layout.blocks_per_scale();
        let lines = layout.planes.map(planes::lines);
        let block = std::array::from_fn(|i| &group.planes[i][b * lines[i]..(b + 1) * lines[i]]);
        let mut unit = Unit {
            q: planes::unpack(layout.planes, row, block),
            scale: [1; 2],
            min: [-1; 2],
            d: group.scales[at][row],
            dmin: 0,
        };
        if layout.has_min {
            unit.dmin = if nested { group.mins[at][row] } else { group.mins[at][row] ^ 0x8000 };
        }
        if nested {
            let part = |i: usize| b * parts + i * parts / 2;
            unit.scale = [0, 1].map(|i| group.nested_scales[part(i)][row]);
            if layout.has_min {
                unit.min = [0, 1].map(|i| group.nested_mins[part(i)][row]);
            }
        }
        *out = unit.decode(ty);
    }
}
