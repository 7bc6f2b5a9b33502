//! A packed matrix in the arena.

use crate::arena::Arena;
use crate::error::CpuError;
use crate::kernels::LANES;
use crate::pack::{Format, Group};
use gguf::TensorType;
use model::Weight;
use std::borrow::Cow;
use std::sync::{Mutex, mpsc};
use std::thread;

/// Where a matrix lies: group `g` begins `g * stride` after `start`.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    pub(crate) format: Format,
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    start: usize,
    stride: usize,
}

impl Matrix {
    pub(crate) fn n_groups(&self) -> usize {
        self.rows.div_ceil(LANES)
    }

    fn group_bytes(&self) -> usize {
        self.format.group_bytes(self.cols)
    }

    #[inline]
    pub(crate) fn group<'a>(&self, arena: &'a Arena, g: usize) -> Group<'a> {
        let start = self.start + g * self.stride;
        Group::new(arena.bytes(start..start + self.group_bytes()), self.cols)
    }

    /// Decodes one row.
    pub(crate) fn row(&self, arena: &Arena, row: usize, out: &mut [f32]) {
        self.format.unpack_row(self.group(arena, row / LANES), row % LANES, out);
    }
}

/// Lays matrices out one after another, then packs them all.
#[derive(Default)]
pub(crate) struct Layout<'a> {
    len: usize,
    /// Each run of bytes in order: the matrices whose groups take turns in it.
    runs: Vec<Vec<(&'a Weight<'a>, Matrix)>>,
}

impl<'a> Layout<'a> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn add(&mut self, weight: &'a Weight<'a>) -> Matrix {
        let [matrix] = self.add_run([weight]);
        matrix
    }

    /// Matrices of one shape that are read together: their groups alternate, where they have one format.
    pub(crate) fn add_interleaved<const N: usize>(&mut self, weights: [&'a Weight<'a>; N]) -> [Matrix; N] {
        let format = |w: &Weight<'_>| Format::of(w.ty);
        if weights.iter().all(|w| format(w) == format(weights[0])) {
            self.add_run(weights)
        } else {
            weights.map(|weight| self.add(weight))
        }
    }

    fn add_run<const N: usize>(&mut self, weights: [&'a Weight<'a>; N]) -> [Matrix; N] {
        let start = self.len;
        let matrices: [Matrix; N] = std::array::from_fn(|i| {
            let format = Format::of(weights[i].ty);
            let bytes = format.group_bytes(weights[i].cols);
            Matrix {
                format,
                rows: weights[i].rows,
                cols: weights[i].cols,
                start: start + i * bytes,
                stride: N * bytes,
            }
        });
        self.len += matrices.iter().map(|m| m.n_groups() * m.group_bytes()).sum::<usize>();
        self.runs.push(weights.into_iter().zip(matrices.clone()).collect());
        matrices
    }

    /// Packs everything, on `threads` threads; `progress` hears the share that is done.
    pub(crate) fn pack(self, threads: usize, progress: &mut dyn FnMut(f32)) -> Result<Arena, CpuError> {
        let mut arena = Arena::new(self.len)?;
        let mut rest = arena.bytes_mut();
        let mut jobs = Vec::new();
        for run in &self.runs {
            let len = run.iter().map(|(_, m)| m.n_groups() * m.group_bytes()).sum();
            let (bytes, after) = rest.split_at_mut(len);
            jobs.push((run, bytes));
            rest = after;
        }
        let queue = Mutex::new(jobs.into_iter());
        let (sender, done) = mpsc::channel();
        thread::scope(|scope| {
            for _ in 0..threads {
                let (queue, sender) = (&queue, sender.clone());
                scope.spawn(move || {
                    while let Some((run, bytes)) = queue.lock().ok().and_then(|mut jobs| jobs.next()) {
                        pack_run(run, bytes);
                        // Nobody listens only when the scope is unwinding.
                        let _ = sender.send(bytes.len());
                    }
                });
            }
            drop(sender);
            let mut packed = 0;
            for len in done {
                packed += len;
                progress(packed as f32 / self.len as f32);
            }
        });
        Ok(arena)
    }
}

/// Packs matrices whose groups alternate into `bytes`.
fn pack_run(run: &[(&Weight<'_>, Matrix)], bytes: &mut [u8]) {
    for (i, (weight, matrix)) in run.iter().enumerate() {
        let stored: Cow<'_, [u8]> = match Format::decodes(weight.ty) {
            true => weight.decode().into_iter().flat_map(f32::to_le_bytes).collect::<Vec<_>>().into(),
            false => weight.bytes(),
        };
        let ty = if Format::decodes(weight.ty) { TensorType::F32 } else { weight.ty };
        let row_bytes = ty.row_bytes(weight.cols as u64).map_or(0, |n| n as usize);
        let groups = bytes[i * matrix.group_bytes()..].chunks_mut(matrix.stride);
        for (rows, group) in stored.chunks(row_bytes * LANES).zip(groups) {
            let group = &mut group[..matrix.group_bytes()];
            matrix.format.pack(rows, weight.cols, group);
        }
    }
}
