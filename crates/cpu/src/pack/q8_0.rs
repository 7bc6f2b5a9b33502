//! Q8_0: for each block of 32, eight lines of 64 bytes. Byte `4 r + i` of line `j` holds element `4 j + i` of row `r`, plus
//! 128, so that it is unsigned.
//!
//! In the file a block is an f16 scale and 32 signed bytes.

use super::{Group, scale_bytes};
use crate::kernels::{LANES, f16};

const BLOCK_BYTES: usize = 34;

pub(super) fn pack(rows: &[u8], cols: usize, group: &mut [u8]) {
    let blocks = cols / 32;
    let (scales, quants) = group.split_at_mut(scale_bytes(blocks));
    for (r, row) in rows.chunks_exact(blocks * BLOCK_BYTES).enumerate() {
        for (b, block) in row.as_chunks::<BLOCK_BYTES>().0.iter().enumerate() {
            let at = 2 * (b * LANES + r);
            scales[at..at + 2].copy_from_slice(&u16::from_le_bytes([block[0], block[1]]).to_ne_bytes());
            for (k, q) in block[2..].iter().enumerate() {
                quants[b * 512 + k / 4 * 64 + r * 4 + k % 4] = q ^ 0x80;
            }
        }
    }
}

pub(super) fn unpack_row(group: Group<'_>, row: usize, out: &mut [f32]) {
    let (scales, quants) = group.scales_and_quants(32);
    for (b, out) in out.chunks_exact_mut(32).enumerate() {
        let d = f16::to_f32(scales[b * LANES + row]);
        for (k, out) in out.iter_mut().enumerate() {
            let quant = quants[b * 512 + k / 4 * 64 + row * 4 + k % 4] ^ 0x80;
            *out = f32::from(quant.cast_signed()) * d;
        }
    }
}
