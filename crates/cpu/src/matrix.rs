//! Packed matrices in the arena.

use crate::activations::Tile;
use crate::arch::{Kernels, LANES};
use crate::kernels::product::{Product, Sink, Stream};
use crate::pack::{Format, GROUPS, STRIP};
use std::ops::Range;

/// Where a matrix lies: strip `i` begins `i * stride` after `start`.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) start: usize,
    pub(crate) stride: usize,
}

impl Matrix {
    pub(crate) fn n_strips(&self) -> usize {
        self.rows.div_ceil(STRIP)
    }

    pub(crate) fn group_bytes(&self) -> usize {
        self.format.group_bytes(self.cols)
    }

    pub(crate) fn strip_bytes(&self) -> usize {
        GROUPS * self.group_bytes()
    }

    /// Two matrices whose strips alternate as one, if they have one format.
    pub(crate) fn alternating([first, second]: &[Self; 2]) -> Option<Self> {
        (first.format == second.format && first.strip_bytes() * 2 == first.stride).then(|| Self {
            rows: 2 * first.n_strips() * STRIP,
            stride: first.strip_bytes(),
            ..first.clone()
        })
    }

    /// Decodes one row.
    pub(crate) fn row(&self, arena: &[u8], row: usize, out: &mut [f32]) {
        let group_bytes = self.group_bytes();
        let start = self.start + row / STRIP * self.stride + row % STRIP / LANES * group_bytes;
        self.format.unpack_row(&arena[start..start + group_bytes], row % LANES, out);
    }

    /// Multiplies some strips with tiles of vectors.
    #[inline]
    pub(crate) fn times(
        &self,
        kernels: &Kernels,
        arena: &[u8],
        strips: Range<usize>,
        tiles: &[Tile],
        sink: Sink<'_>,
        stream: Option<Stream>,
    ) {
        kernels.product(self.format)(&Product {
            arena,
            start: self.start,
            stride: self.stride,
            cols: self.cols,
            strips,
            tiles,
            sink,
            stream,
        });
    }
}
