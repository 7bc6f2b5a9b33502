//! Reads little-endian fields, each checked against the bytes that are left.

use crate::GgufErrorKind;

/// A position in a file's bytes.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// Bytes of the whole file.
    pub(crate) fn file_len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn left(&self) -> u64 {
        (self.bytes.len() - self.offset) as u64
    }

    /// The next `len` bytes; `what` names them should the file end first.
    pub(crate) fn take(&mut self, len: u64, what: &'static str) -> Result<&'a [u8], GgufErrorKind> {
        let rest = &self.bytes[self.offset..];
        match usize::try_from(len).ok().and_then(|len| rest.get(..len)) {
            Some(taken) => {
                self.offset += taken.len();
                Ok(taken)
            }
            None => {
                Err(GgufErrorKind::Truncated { what, offset: self.offset(), needed: len, left: self.left() })
            }
        }
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufErrorKind> {
        let taken = self.take(N as u64, what)?;
        let mut array = [0; N];
        array.copy_from_slice(taken);
        Ok(array)
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, GgufErrorKind> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, GgufErrorKind> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A count of things that take `min_bytes` or more each: never more than the bytes left can hold, so that it
    /// may size an allocation.
    pub(crate) fn count(&mut self, min_bytes: u64, what: &'static str) -> Result<usize, GgufErrorKind> {
        let offset = self.offset();
        let count = self.u64(what)?;
        self.check_count(count, min_bytes, offset, what)
    }

    /// As [`Cursor::count`], for a count read at `offset` of things that begin here.
    pub(crate) fn check_count(
        &self,
        count: u64,
        min_bytes: u64,
        offset: u64,
        what: &'static str,
    ) -> Result<usize, GgufErrorKind> {
        let left = self.left();
        let too_large = GgufErrorKind::CountTooLarge { what, offset, count, left };
        if count > left / min_bytes {
            return Err(too_large);
        }
        usize::try_from(count).map_err(|_| too_large)
    }

    /// The bytes of a string, which stand behind their number.
    pub(crate) fn string(&mut self, what: &'static str) -> Result<&'a [u8], GgufErrorKind> {
        let len = self.u64(what)?;
        self.take(len, what)
    }
}
