//! Lays matrices out one after another in the order in which a token reads them, then packs them all.

use crate::arch::LANES;
use crate::arena::Arena;
use crate::error::CpuError;
use crate::matrix::Matrix;
use crate::pack::Format;
use crate::pack::STRIP;
use crate::pool::Pool;
use model::Weight;
use std::borrow::Cow;
use std::sync::Mutex;

/// Bytes that are packed between two calls of `progress`, which may drop what was read of the file: a head alone can be a fifth of
/// a model.
const PIECE: usize = 2 << 20;

#[derive(Default)]
pub(crate) struct Layout<'a> {
    len: usize,
    /// Each run of bytes in order: the matrices whose strips take turns in it.
    runs: Vec<Vec<(&'a Weight<'a>, Matrix)>>,
}

impl<'a> Layout<'a> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn add(&mut self, weight: &'a Weight<'a>) -> Matrix {
        let [matrix] = self.add_interleaved([weight]);
        matrix
    }

    /// Matrices with as many rows each that are read together: their strips alternate.
    pub(crate) fn add_interleaved<const N: usize>(&mut self, weights: [&'a Weight<'a>; N]) -> [Matrix; N] {
        let mut matrices = weights.map(|weight| Matrix {
            format: Format::of(weight.ty),
            rows: weight.rows,
            cols: weight.cols,
            start: 0,
            stride: 0,
        });
        let stride = matrices.iter().map(Matrix::strip_bytes).sum();
        let mut start = self.len;
        for matrix in &mut matrices {
            (matrix.start, matrix.stride) = (start, stride);
            start += matrix.strip_bytes();
        }
        self.len += matrices[0].n_strips() * stride;
        self.runs.push(weights.into_iter().zip(matrices.clone()).collect());
        matrices
    }

    /// Packs everything; `progress` hears the share that is done.
    pub(crate) fn pack(self, pool: &mut Pool, progress: &mut dyn FnMut(f32)) -> Result<Arena, CpuError> {
        let mut arena = Arena::new(self.len)?;
        let mut rest = arena.bytes_mut();
        let mut packed = 0;
        for run in self.runs {
            let (stride, n_strips) = (run[0].1.stride, run[0].1.n_strips());
            let (bytes, after) = rest.split_at_mut(stride * n_strips);
            let stored: Vec<_> = run.iter().map(|(weight, _)| weight.bytes()).collect();
            let piece_strips = (PIECE / stride).max(1);
            for (piece, bytes) in bytes.chunks_mut(stride * piece_strips).enumerate() {
                let strips: Vec<Mutex<&mut [u8]>> = bytes.chunks_mut(stride).map(Mutex::new).collect();
                // One item each.
                pool.run(&[strips.len()], &|task| {
                    for i in task.items.clone() {
                        if let Ok(mut strip) = strips[i].lock() {
                            pack_strip(&run, &stored, piece * piece_strips + i, &mut strip);
                        }
                    }
                });
                packed += bytes.len();
                progress(packed as f32 / self.len as f32);
            }
            rest = after;
        }
        Ok(arena)
    }
}

/// Packs strip `i` of matrices that alternate.
fn pack_strip(run: &[(&Weight<'_>, Matrix)], stored: &[Cow<'_, [u8]>], i: usize, mut strip: &mut [u8]) {
    for ((weight, matrix), stored) in run.iter().zip(stored) {
        let row_bytes = weight.ty.row_bytes(weight.cols as u64).map_or(0, |n| n as usize);
        let rows = stored.get(i * STRIP * row_bytes..).unwrap_or(&[]).chunks(LANES * row_bytes);
        let (own, rest) = strip.split_at_mut(matrix.strip_bytes());
        for (group, rows) in own.chunks_exact_mut(matrix.group_bytes()).zip(rows) {
            matrix.format.pack(rows, weight.cols, group);
        }
        strip = rest;
    }
}
