//! Reads and checks one file's tensor table.

use std::ops::Range;

use crate::cursor::Cursor;
use crate::{GgufErrorKind, TensorInfo, TensorType};

/// Bytes of the smallest possible entry: a name of one byte, one dimension, type, offset.
pub(crate) const MIN_ENTRY_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;
/// The dimensions that ggml has.
const MAX_DIMS: usize = 4;

/// An entry as it stands in the file, its offset still relative to the data section.
struct RawTensor {
    name: String,
    ty: TensorType,
    shape: Vec<u64>,
    n_elements: u64,
    len_bytes: u64,
    data_offset: u64,
}

/// Where tensors may lie in a file.
struct DataSection {
    start: u64,
    alignment: u32,
    file_len: u64,
}

/// Reads `count` entries of file number `shard`, and checks that their bytes lie in the file, aligned and apart.
pub(crate) fn read(
    cursor: &mut Cursor<'_>,
    count: usize,
    alignment: u32,
    shard: usize,
) -> Result<Vec<TensorInfo>, GgufErrorKind> {
    let entries: Vec<RawTensor> = (0..count).map(|_| read_entry(cursor)).collect::<Result<_, _>>()?;
    // Cannot overflow: the offset is at most a file's length, the alignment at most 2^31.
    let start = cursor.offset().next_multiple_of(alignment.into());
    let section = DataSection { start, alignment, file_len: cursor.file_len() };
    let tensors: Vec<TensorInfo> = entries
        .into_iter()
        .map(|entry| {
            let range = section.place(&entry)?;
            let RawTensor { name, ty, shape, n_elements, .. } = entry;
            Ok(TensorInfo { name, ty, shape, n_elements, range, shard })
        })
        .collect::<Result<_, GgufErrorKind>>()?;
    check_apart(&tensors)?;
    Ok(tensors)
}

fn read_entry(cursor: &mut Cursor<'_>) -> Result<RawTensor, GgufErrorKind> {
    const TABLE: &str = "the tensor table";
    let name_at = cursor.offset();
    let tensor = match std::str::from_utf8(cursor.string("a tensor name")?) {
        Ok(name) if !name.is_empty() => name.to_owned(),
        _ => return Err(GgufErrorKind::BadTensorName { offset: name_at }),
    };

    let n_dims = cursor.u32(TABLE)?;
    if !(1..=MAX_DIMS as u64).contains(&u64::from(n_dims)) {
        return Err(GgufErrorKind::BadDimensions { tensor, n_dims });
    }
    let mut shape: Vec<u64> = (0..n_dims).map(|_| cursor.u64(TABLE)).collect::<Result<_, _>>()?;
    shape.reverse(); // the file has the fastest first
    let type_id = cursor.u32(TABLE)?;
    let data_offset = cursor.u64(TABLE)?;

    let Some(ty) = TensorType::from_ggml_id(type_id) else {
        return Err(match TensorType::withdrawn_name(type_id) {
            Some(name) => GgufErrorKind::WithdrawnTensorType { tensor, type_id, name },
            None => GgufErrorKind::UnknownTensorType { tensor, type_id },
        });
    };
    match size(ty, &shape) {
        Ok((n_elements, len_bytes)) => {
            Ok(RawTensor { name: tensor, ty, shape, n_elements, len_bytes, data_offset })
        }
        Err(SizeError::Shape) => Err(GgufErrorKind::BadShape { tensor, shape }),
        Err(SizeError::PartialBlock { row_len }) => Err(GgufErrorKind::PartialBlock { tensor, ty, row_len }),
    }
}

/// Why a shape has no size.
pub(crate) enum SizeError {
    /// No dimension, too many, an empty one, or a product that overflows.
    Shape,
    /// The rows are not whole blocks.
    PartialBlock { row_len: u64 },
}

/// Elements and bytes of a tensor with this shape, slowest dimension first.
pub(crate) fn size(ty: TensorType, shape: &[u64]) -> Result<(u64, u64), SizeError> {
    let Some(&row_len) = shape.last() else { return Err(SizeError::Shape) };
    if shape.len() > MAX_DIMS || shape.contains(&0) {
        return Err(SizeError::Shape);
    }
    if !row_len.is_multiple_of(ty.block_len() as u64) {
        return Err(SizeError::PartialBlock { row_len });
    }
    let n_elements = shape.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    let len_bytes = n_elements.and_then(|n_elements| ty.row_bytes(n_elements));
    n_elements.zip(len_bytes).ok_or(SizeError::Shape)
}

impl DataSection {
    /// The bytes of a tensor, from the start of the file.
    fn place(&self, tensor: &RawTensor) -> Result<Range<usize>, GgufErrorKind> {
        let RawTensor { data_offset, len_bytes, .. } = *tensor;
        if !data_offset.is_multiple_of(self.alignment.into()) {
            let tensor = tensor.name.clone();
            return Err(GgufErrorKind::Misaligned { tensor, offset: data_offset, alignment: self.alignment });
        }
        self.range(data_offset, len_bytes).ok_or_else(|| GgufErrorKind::OutOfFile {
            tensor: tensor.name.clone(),
            offset: data_offset,
            len_bytes,
            data_offset: self.start,
            file_len: self.file_len,
        })
    }

    fn range(&self, data_offset: u64, len_bytes: u64) -> Option<Range<usize>> {
        let start = self.start.checked_add(data_offset)?;
        let end = start.checked_add(len_bytes)?;
        if end > self.file_len {
            return None;
        }
        Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }
}

/// No two tensors of a file may share bytes: one of them would be read as what it is not.
fn check_apart(tensors: &[TensorInfo]) -> Result<(), GgufErrorKind> {
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|tensor| tensor.range.start);
    match order.array_windows().find(|[first, second]| first.range.end > second.range.start) {
        Some([first, second]) => {
            Err(GgufErrorKind::Overlap { first: first.name.clone(), second: second.name.clone() })
        }
        None => Ok(()),
    }
}
