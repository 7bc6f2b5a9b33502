//! The bytes of one file: a memory map, or memory the caller gave. The crate's only unsafe code.
#![allow(
    unsafe_code,
    reason = "mapping a file, and dropping its pages, are unsafe in every crate that offers them"
)]

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

/// Read-only bytes, wherever they live.
pub(crate) enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a regular file.
    pub(crate) fn map(path: &Path) -> io::Result<Self> {
        // Asked before opening, because opening a named pipe waits for a writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        let file = File::open(path)?;
        // SAFETY: the map is private to this crate, read-only and only ever lent as `&[u8]`. What remains is that
        // another process may change or truncate the file while it is mapped, which no reader of a map can
        // exclude: every offset has been checked against the length at the time of opening, bytes are read as plain
        // integers for which any bit pattern is valid, and `Gguf::open` documents the condition.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self::Mapped(map))
    }

    /// Lets the system forget the pages of a mapped file; they are read again from the file when next touched.
    pub(crate) fn advise_dropped(&self) {
        #[cfg(unix)]
        if let Self::Mapped(map) = self {
            // SAFETY: DONTNEED may discard writes, but this is a read-only map of a file, so that a page read again
            // has the file's bytes as before. The result is dropped because this is advice: when the system does
            // not take it, the pages merely stay.
            let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
        }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}
