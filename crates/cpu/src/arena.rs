//! One block of zeroed memory: aligned to large pages, and backed by them where the system grants it.

use crate::error::CpuError;
use memmap2::MmapMut;
use std::ops::Range;

/// A large page of x86-64 and of 4 KiB-granule Arm.
const LARGE_PAGE: usize = 2 << 20;

#[derive(Debug)]
pub(crate) struct Arena {
    map: MmapMut,
    range: Range<usize>,
}

impl Arena {
    pub(crate) fn new(len: usize) -> Result<Self, CpuError> {
        let len = len.max(1).next_multiple_of(crate::arch::LINE);
        let map = MmapMut::map_anon(len + LARGE_PAGE)
            .map_err(|source| CpuError::Memory { len_bytes: len, source })?;
        let address = map.as_ptr().addr();
        let start = address.next_multiple_of(LARGE_PAGE) - address;
        // A request only: without it 4 KiB pages make decoding slower (a fifth on two Zen 4 cores), not wrong.
        #[cfg(target_os = "linux")]
        let _ = map.advise_range(memmap2::Advice::HugePage, start, len);
        Ok(Self { map, range: start..start + len })
    }

    pub(crate) fn len(&self) -> usize {
        self.range.len()
    }

    #[inline(always)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map[self.range.clone()]
    }

    /// Bytes that lie in large pages, where the system tells.
    pub(crate) fn large_page_bytes(&self) -> Option<u64> {
        let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
        large_page_bytes(&smaps, self.bytes().as_ptr().addr())
    }
}

/// Bytes in large pages of the mapping that `address` is in, from the text of /proc/self/smaps.
fn large_page_bytes(smaps: &str, address: usize) -> Option<u64> {
    let is_here = |line: &str| {
        let (start, rest) = line.split_once('-')?;
        let (end, _) = rest.split_once(' ')?;
        let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).ok());
        Some((start?..end?).contains(&address))
    };
    let mut lines = smaps.lines().skip_while(|line| is_here(line) != Some(true));
    let kib = lines.find_map(|line| line.strip_prefix("AnonHugePages:"))?;
    let kib: u64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_is_aligned_and_zero() {
        let arena = Arena::new(5 << 20).unwrap();
        assert_eq!(arena.bytes().as_ptr().addr() % LARGE_PAGE, 0);
        assert!(arena.bytes().iter().all(|&byte| byte == 0));
        assert_eq!(arena.len(), 5 << 20);
    }

    #[test]
    fn large_pages_are_read_from_the_mapping_of_the_address() {
        let smaps = "1000-3000 rw-p 00000000 00:00 0\nSize: 8 kB\nAnonHugePages:      2048 kB\n\
                     7f00-9f00 rw-p 00000000 00:00 0\nSize: 8 kB\nAnonHugePages:      4096 kB\n";
        assert_eq!(large_page_bytes(smaps, 0x8000), Some(4096 << 10));
        assert_eq!(large_page_bytes(smaps, 0x1000), Some(2048 << 10));
        assert_eq!(large_page_bytes(smaps, 0x3000), None);
    }
}
