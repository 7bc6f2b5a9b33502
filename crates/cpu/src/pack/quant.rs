//! Packs quantised rows, and unpacks them.

use super::layout::{BLOCK, LAYOUTS, Layout, QUANTISED, Scales};
use super::planes;
use crate::arch::LANES;
use gguf::TensorType;
use gguf::format::Unit;

/// Packs up to 16 rows, as the file has them, into a zeroed group.
pub(super) fn pack(format: usize, rows: &[u8], cols: usize, group: &mut [u8]) {
    let (ty, layout) = (QUANTISED[format], LAYOUTS[format]);
    let row_bytes = cols / ty.block_len() * ty.block_bytes();
    for (r, row) in rows.chunks_exact(row_bytes).enumerate() {
        match ty {
            TensorType::Q4_0 => pack_row(&layout, r, cols, group, row.as_chunks().0.iter().map(q4_0)),
            TensorType::Q8_0 => pack_row(&layout, r, cols, group, row.as_chunks().0.iter().map(q8_0)),
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

/// The units of these two are read here, for speed: most files are made of them.
fn q4_0(block: &[u8; 18]) -> Unit {
    let quants = &block[gguf::format::q4_0::QS_AT..];
    let mut q = [0; BLOCK];
    for (i, byte) in quants.iter().enumerate() {
        q[i] = byte & 15;
        q[i + 16] = byte >> 4;
    }
    plain(q, [block[0], block[1]])
}

fn q8_0(block: &[u8; 34]) -> Unit {
    let mut q = [0; BLOCK];
    for (q, byte) in q.iter_mut().zip(&block[gguf::format::q8_0::QS_AT..]) {
        *q = byte ^ 0x80;
    }
    plain(q, [block[0], block[1]])
}

fn plain(q: [u8; BLOCK], d: [u8; 2]) -> Unit {
    Unit { q, scale: [1; 2], min: [0; 2], d: u16::from_le_bytes(d), dmin: 0 }
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
