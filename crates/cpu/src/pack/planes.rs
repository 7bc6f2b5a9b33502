//! Quants of 16 rows, cut into planes of 1, 2, 4 or 8 bits.
//!
//! A block of 32 weights is 8 fields of 4 consecutive weights. Field `c` of a plane of `b` bits lies in bits
//! `c * b % 8 ..` of line `c * b / 8`, and in it byte `4 r + i` belongs to weight `4 c + i` of row `r`. So one line, shifted and
//! masked, is what one step of a dot product reads, whatever the instruction set, and no bit is wasted.

use crate::arch::{LANES, LINE};

/// Fields of a block.
pub(crate) const FIELDS: usize = 8;

/// Lines of a block in a plane of `bits` bits.
pub(crate) const fn lines(bits: usize) -> usize {
    bits
}

/// Which line of a block field `c` lies in, and from which bit on.
#[inline(always)]
pub(crate) const fn place(bits: usize, c: usize) -> (usize, usize) {
    (c * bits / 8, c * bits % 8)
}

/// Puts one row's quants of a block into both planes; bits that are there already stay.
pub(super) fn pack(q: &[u8; 32], bits: [usize; 2], row: usize, planes: [&mut [[u8; LINE]]; 2]) {
    let mut from = 0;
    for (bits, plane) in bits.into_iter().zip(planes) {
        if bits == 0 {
            continue;
        }
        let mask = u32::from_le_bytes([u8::MAX >> (8 - bits); 4]);
        for (c, field) in q.as_chunks::<4>().0.iter().enumerate() {
            let (line, bit) = place(bits, c);
            let bytes = &mut plane[line].as_chunks_mut::<4>().0[row];
            let field = u32::from_le_bytes(*field) >> from & mask;
            *bytes = (u32::from_le_bytes(*bytes) | field << bit).to_le_bytes();
        }
        from += bits;
    }
}

/// One row's quants of a block.
pub(super) fn unpack(bits: [usize; 2], row: usize, planes: [&[[u8; LINE]]; 2]) -> [u8; 32] {
    const { assert!(LINE == 4 * LANES, "four bytes a row") };
    std::array::from_fn(|k| {
        let mut quant = 0;
        let mut to = 0;
        for (bits, plane) in bits.into_iter().zip(planes).filter(|(bits, _)| *bits > 0) {
            let (line, bit) = place(bits, k / 4);
            quant |= (plane[line][4 * row + k % 4] >> bit & (u8::MAX >> (8 - bits))) << to;
            to += bits;
        }
        quant
    })
}
