//! Q4_0: for each block of 32, four lines of 64 bytes. Byte `4 r + i` of line `j` holds element `8 j + i` of row `r` in its
//! low nibble and element `8 j + 4 + i` in its high one, unsigned as in the file.
//!
//! In the file a block is an f16 scale and 16 bytes; byte `i` holds elements `i` (low) and `i + 16` (high).

use super::{Group, scale_bytes};
use crate::kernels::{LANES, f16};

const BLOCK_BYTES: usize = 18;

pub(super) fn pack(rows: &[u8], cols: usize, group: &mut [u8]) {
    let blocks = cols / 32;
    let (scales, quants) = group.split_at_mut(scale_bytes(blocks));
    for (r, row) in rows.chunks_exact(blocks * BLOCK_BYTES).enumerate() {
        for (b, block) in row.as_chunks::<BLOCK_BYTES>().0.iter().enumerate() {
            let at = 2 * (b * LANES + r);
            scales[at..at + 2].copy_from_slice(&u16::from_le_bytes([block[0], block[1]]).to_ne_bytes());
            let nibble = |k: usize| (block[2 + k % 16] >> (k / 16 * 4)) & 15;
            for j in 0..4 {
                for i in 0..4 {
                    let byte = nibble(8 * j + i) | nibble(8 * j + 4 + i) << 4;
                    quants[b * 256 + j * 64 + r * 4 + i] = byte;
                }
            }
        }
    }
}

pub(super) fn unpack_row(group: Group<'_>, row: usize, out: &mut [f32]) {
    let (scales, quants) = group.scales_and_quants(32);
    for (b, out) in out.chunks_exact_mut(32).enumerate() {
        let d = f16::to_f32(scales[b * LANES + row]);
        for (k, out) in out.iter_mut().enumerate() {
            let byte = quants[b * 256 + k / 8 * 64 + row * 4 + k % 4];
            let quant = if k % 8 < 4 { byte & 15 } else { byte >> 4 };
            *out = (i32::from(quant) - 8) as f32 * d;
        }
    }
}
