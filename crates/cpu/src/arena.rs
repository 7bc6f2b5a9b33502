//! One block of zeroed memory for all weights: aligned to large pages, and backed by them where the system grants it.

use crate::error::CpuError;
use memmap2::MmapMut;
use std::ops::Range;

/// A large page of x86-64 and of 4 KiB-granule Arm.
const LARGE_PAGE: usize = 2 << 20;
/// A cache line, and the widest vector register.
pub(crate) const LINE: usize = 64;

#[derive(Debug)]
pub(crate) struct Arena {
    map: MmapMut,
    start: usize,
    len: usize,
}

impl Arena {
    pub(crate) fn new(len: usize) -> Result<Self, CpuError> {
        let len = len.max(1).next_multiple_of(LINE);
        let map = MmapMut::map_anon(len + LARGE_PAGE)
            .map_err(|source| CpuError::Memory { len_bytes: len, source })?;
        let address = map.as_ptr().addr();
        let start = address.next_multiple_of(LARGE_PAGE) - address;
        // A request only: without it 4 KiB pages make decoding slower (a fifth on two Zen 4 cores), not wrong.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Self { map, start, len })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.map[self.start..self.start + self.len][range]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map[self.start..self.start + self.len]
    }
}
