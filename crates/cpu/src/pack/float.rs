//! F32, F16 and BF16: `[n_cols, 16]`, in the byte order of the machine.

use crate::arch::LANES;

/// Packs elements of `N` bytes, little-endian in `rows`.
pub(super) fn pack<const N: usize>(rows: &[u8], cols: usize, group: &mut [u8]) {
    for (r, row) in rows.chunks_exact(cols * N).enumerate() {
        for (k, element) in row.as_chunks::<N>().0.iter().enumerate() {
            let mut element = *element;
            if cfg!(target_endian = "big") {
                element.reverse();
            }
            let at = (k * LANES + r) * N;
            group[at..at + N].copy_from_slice(&element);
        }
    }
}

/// Decodes row `row` of a group.
pub(super) fn unpack_row<const N: usize>(
    group: &[u8],
    row: usize,
    out: &mut [f32],
    widen: impl Fn([u8; N]) -> f32,
) {
    let elements = group.as_chunks::<N>().0;
    for (k, out) in out.iter_mut().enumerate() {
        *out = widen(elements[k * LANES + row]);
    }
}
