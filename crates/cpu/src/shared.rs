//! A buffer that the workers of one run write in parallel, each its own part.
#![allow(unsafe_code, reason = "disjoint parts of one buffer, written by several threads in one phase")]

use std::cell::UnsafeCell;
use std::ops::Range;

/// Elements that several workers use at once. The rule that makes it sound: within a phase each element is either written by
/// one worker, which alone reads it, or only read.
#[derive(Debug)]
pub(crate) struct Shared<T>(Box<[UnsafeCell<T>]>);

// SAFETY: `get` and `get_mut` are unsafe, and their callers promise that no element is written while another thread uses it.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T: Clone + Default> Shared<T> {
    pub(crate) fn new(len: usize) -> Self {
        Self::from_vec(vec![T::default(); len])
    }
}

impl<T> Shared<T> {
    pub(crate) fn from_vec(elements: Vec<T>) -> Self {
        // Not element by element: zeros that nobody has touched take no memory.
        let elements = Box::into_raw(elements.into_boxed_slice()) as *mut [UnsafeCell<T>];
        // SAFETY: UnsafeCell<T> has the layout of T, and the box was given up.
        Self(unsafe { Box::from_raw(elements) })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// # Safety
    /// No thread writes an element of `range` while the slice lives.
    pub(crate) unsafe fn get(&self, range: Range<usize>) -> &[T] {
        let cells = &self.0[range];
        // SAFETY: UnsafeCell<T> has the layout of T, and the caller promises that nobody writes these elements.
        unsafe { std::slice::from_raw_parts(cells.as_ptr().cast::<T>(), cells.len()) }
    }

    /// # Safety
    /// No other thread uses an element of `range` while the slice lives, and this one makes no second slice of it.
    #[allow(
        clippy::mut_from_ref,
        reason = "interior mutability: the caller promises that the slice is the only one"
    )]
    pub(crate) unsafe fn get_mut(&self, range: Range<usize>) -> &mut [T] {
        let cells = &self.0[range];
        // SAFETY: as in `get`; UnsafeCell allows writing through a shared reference, and the slice is the only one.
        unsafe { std::slice::from_raw_parts_mut(UnsafeCell::raw_get(cells.as_ptr()), cells.len()) }
    }

    /// # Safety
    /// No other thread uses element `i` during the call.
    pub(crate) unsafe fn set(&self, i: usize, value: T) {
        // SAFETY: the caller promises that this thread alone uses the element.
        unsafe { *self.0[i].get() = value };
    }

    /// All elements, when no run is under way.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        let len = self.len();
        // SAFETY: `&mut self` proves that nobody else uses any element.
        unsafe { self.get_mut(0..len) }
    }
}

/// Rows of a buffer of floats, of which one worker writes some columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns<'a> {
    cells: &'a [UnsafeCell<f32>],
    stride: usize,
    width: usize,
}

impl<'a> Columns<'a> {
    /// `width` columns of rows that begin at `start` and `stride` apart.
    ///
    /// # Safety
    /// In this phase, no other thread uses an element that [`at`](Self::at) is asked for.
    pub(crate) unsafe fn new(buffer: &'a Shared<f32>, start: usize, stride: usize, width: usize) -> Self {
        Self { cells: &buffer.0[start..], stride, width }
    }

    /// Rows of a buffer that nobody else has.
    pub(crate) fn of(buffer: &'a mut [f32], start: usize, stride: usize, width: usize) -> Self {
        let buffer = &mut buffer[start..];
        // SAFETY: UnsafeCell<f32> has the layout of f32, and the exclusive borrow lasts as long as the cells do.
        let cells = unsafe { std::slice::from_raw_parts(buffer.as_mut_ptr().cast(), buffer.len()) };
        Self { cells, stride, width }
    }

    /// 16 elements of a row, fewer at the end of it, none past it. To be dropped before the next is asked for.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "interior mutability, promised in `new` or borrowed in `of`")]
    pub(crate) fn at(&self, row: usize, column: usize) -> &mut [f32] {
        let len = self.width.saturating_sub(column).min(crate::arch::LANES);
        let start = row * self.stride + column.min(self.width);
        let cells = &self.cells[start..start + len];
        // SAFETY: `new` was promised, or `of` borrowed, that nobody else uses these elements.
        unsafe { std::slice::from_raw_parts_mut(UnsafeCell::raw_get(cells.as_ptr()), cells.len()) }
    }
}
