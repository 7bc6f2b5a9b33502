//! Weights on the device: tensors repacked, fused where they are read together, split where a binding ends.

use crate::error::GpuError;
use crate::layout::{Areas, GROUP, UNIT, WeightsAt, pack};
use gguf::TensorType;
use model::Weight;
use std::ops::Range;

/// A tensor, or the part of one that lies in one buffer: what a kernel's immediates say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Which buffer.
    pub(crate) buffer: usize,
    pub(crate) ty: TensorType,
    /// Elements of a row.
    pub(crate) n_cols: usize,
    pub(crate) at: WeightsAt,
    /// Row groups of this part, and the first of them in the whole tensor.
    pub(crate) n_groups: usize,
    pub(crate) first_group: usize,
}

/// How tensors that are read together share row groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// One after another, each from a row group of its own.
    Joined,
    /// Taking turns, group by group.
    Alternating,
}

/// Tensors laid out in buffers, before any of them exists.
#[derive(Default)]
pub(crate) struct Layout<'a> {
    limit_words: usize,
    /// Words of each buffer so far.
    lens: Vec<usize>,
    tensors: Vec<Job<'a>>,
    vectors: Vec<(usize, usize, Vec<f32>)>,
}

/// Row groups of a piece: a megabyte of a large tensor in Q4_0, and thousands of rows of a small one.
const GROUPS_OF_PIECE: usize = 64;

/// Some row groups of a part.
pub(crate) struct Piece<'j, 'a> {
    job: &'j Job<'a>,
    groups: Range<usize>,
}

/// A part to be packed.
pub(crate) struct Job<'a> {
    buffer: usize,
    start: usize,
    areas: Areas,
    sources: Vec<&'a Weight<'a>>,
    order: Order,
    groups: Range<usize>,
}

impl<'a> Layout<'a> {
    pub(crate) fn new(max_binding: u64) -> Self {
        Self { limit_words: (max_binding / 4) as usize, ..Self::default() }
    }

    /// Tensors of one type and row length, as one. With `vector` (a norm, a bias), which is put into the same buffer; its offset
    /// in words comes with each part.
    pub(crate) fn add(
        &mut self,
        sources: &[&'a Weight<'a>],
        order: Order,
        vectors: &[Vec<f32>],
    ) -> Result<Vec<(Placed, Vec<u32>)>, GpuError> {
        let (ty, cols) = (sources[0].ty, sources[0].cols);
        let n_groups: usize = sources.iter().map(|w| w.rows.div_ceil(GROUP)).sum();
        let beside: usize = vectors.iter().map(|v| v.len().next_multiple_of(UNIT)).sum();
        let words = |groups: usize| Areas::new(ty, groups * GROUP, cols).len_words() + beside;
        let step = if order == Order::Alternating { sources.len() } else { 1 };
        if words(step) > self.limit_words {
            return Err(GpuError::BindingLimit {
                name: sources[0].name.clone(),
                need_bytes: 4 * words(step) as u64,
                limit_bytes: 4 * self.limit_words as u64,
            });
        }
        let mut parts = Vec::new();
        let mut first = 0;
        while first < n_groups {
            let room = self.limit_words - self.lens.last().copied().unwrap_or(self.limit_words);
            let rest = n_groups - first;
            let fits = |groups: usize, room: usize| words(groups) <= room;
            // A tensor goes into the buffer at hand whole, or begins a new one.
            if !fits(rest, room) {
                self.lens.push(0);
            }
            let mut groups = rest;
            if !fits(rest, self.limit_words) {
                let per_group = (words(64 * step) - beside).div_ceil(64 * step);
                groups = ((self.limit_words - beside) / per_group / step * step).clamp(step, rest);
                while !fits(groups, self.limit_words) {
                    groups -= step;
                }
            }
            parts.push(self.place(sources, order, vectors, first..first + groups));
            first += groups;
        }
        Ok(parts)
    }

    fn place(
        &mut self,
        sources: &[&'a Weight<'a>],
        order: Order,
        vectors: &[Vec<f32>],
        groups: Range<usize>,
    ) -> (Placed, Vec<u32>) {
        let (ty, cols) = (sources[0].ty, sources[0].cols);
        let areas = Areas::new(ty, groups.len() * GROUP, cols);
        let buffer = self.lens.len() - 1;
        let start = self.lens[buffer];
        self.lens[buffer] += areas.len_words();
        let offsets = vectors.iter().map(|values| {
            let at = self.lens[buffer];
            self.lens[buffer] += values.len().next_multiple_of(UNIT);
            self.vectors.push((buffer, at, values.clone()));
            at as u32
        });
        let offsets = offsets.collect();
        let [quads, words, pairs, supers, _] = areas.starts().map(|at| (start + at) as u32);
        let placed = Placed {
            buffer,
            ty,
            n_cols: cols,
            at: WeightsAt { quads: quads / 4, words, pairs, supers, n_units: cols.div_ceil(UNIT) as u32 },
            n_groups: groups.len(),
            first_group: groups.start,
        };
        self.tensors.push(Job { buffer, start, areas, sources: sources.to_vec(), order, groups });
        (placed, offsets)
    }

    /// Bytes of each buffer.
    #[cfg(test)]
    pub(crate) fn buffer_bytes(&self) -> impl Iterator<Item = u64> {
        self.lens.iter().map(|&words| 4 * words as u64)
    }

    /// Bytes of all buffers.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.lens.iter().map(|&words| 4 * words as u64).sum()
    }

    /// Words of each buffer.
    pub(crate) fn lens(&self) -> &[usize] {
        &self.lens
    }

    /// What is to be packed: in each buffer, in the order of its places.
    pub(crate) fn jobs(&self) -> &[Job<'a>] {
        &self.tensors
    }

    /// Vectors, each with its buffer and the word where it begins.
    pub(crate) fn vectors(&self) -> &[(usize, usize, Vec<f32>)] {
        &self.vectors
    }
}

impl<'a> Job<'a> {
    pub(crate) fn buffer(&self) -> usize {
        self.buffer
    }

    /// The word of the buffer where it begins.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn len_words(&self) -> usize {
        self.areas.len_words()
    }

    /// Parts of it with some row groups each, to be packed by themselves.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece<'_, 'a>> {
        let ends = self.groups.end;
        let begins = self.groups.clone().step_by(GROUPS_OF_PIECE);
        begins.map(move |first| Piece { job: self, groups: first..(first + GROUPS_OF_PIECE).min(ends) })
    }

    /// Packs it into `len_words` zeroed words.
    pub(crate) fn pack(&self, words: &mut [u32]) {
        self.pack_groups(&self.groups, &self.areas, words);
    }

    /// Packs some of its row groups, of which `areas` are.
    fn pack_groups(&self, groups: &Range<usize>, areas: &Areas, words: &mut [u32]) {
        let mut first = 0;
        for (i, source) in self.sources.iter().enumerate() {
            let n_groups = source.rows.div_ceil(GROUP);
            let (offset, stride) = match self.order {
                Order::Joined => (first, 1),
                Order::Alternating => (i, self.sources.len()),
            };
            first += n_groups;
            // Groups of this source that fall into this part.
            let inside = |g: usize| groups.contains(&(offset + g * stride));
            let Some(from) = (0..n_groups).find(|&g| inside(g)) else { continue };
            let to = (from..n_groups).take_while(|&g| inside(g)).count() + from;
            let row_bytes = source.ty.row_bytes(source.cols as u64).map_or(0, |n| n as usize);
            let bytes = source.bytes();
            let rows = from * GROUP..(to * GROUP).min(source.rows);
            let at = (offset + from * stride - groups.start, stride);
            let rows = &bytes[rows.start * row_bytes..rows.end * row_bytes];
            pack(source.ty, source.cols, rows, areas, at, words);
        }
    }
}

impl Piece<'_, '_> {
    /// Its words, as they go to the buffer: for each area where its words begin there, and the words.
    pub(crate) fn pack(&self, mut put: impl FnMut(usize, usize, &[u32])) -> usize {
        let job = self.job;
        let areas = job.areas.with_groups(self.groups.len());
        let mut words = vec![0; areas.len_words()];
        job.pack_groups(&self.groups, &areas, &mut words);
        let (own, whole) = (areas.starts(), job.areas.starts());
        let (before, n_groups) = (self.groups.start - job.groups.start, job.groups.len());
        for (own, whole) in own.windows(2).zip(whole.windows(2)) {
            let words = &words[own[0]..own[1]];
            if !words.is_empty() {
                // The last area may be longer than its groups, to end with a quad: so is the whole.
                let per_group = (whole[1] - whole[0]) / n_groups;
                put(job.buffer, job.start + whole[0] + before * per_group, words);
            }
        }
        words.len()
    }
}
