//! Weights as the kernels read them: groups of 32 rows, repacked at load without loss.
//!
//! One thread computes one row, so that neighbouring threads read neighbouring words whatever the size of a subgroup. Rows are cut
//! into units of 32 weights; everything that is stored for a unit is stored for 8 rows side by side, a quarter of a group: enough
//! for whole cache lines, few enough that a workgroup need not own many rows. A tensor is up to four areas, one after another,
//! each `[n_groups, 4, n_units or fewer, words, 8 rows]`:
//!
//! | area | element | what |
//! |---|---|---|
//! | quads | 4 words | quants of 4 bits and more, or floats |
//! | words | 1 word | quants of 2 and 3 bits, upper bits of 5 and 6, scale and minimum of Q4_1 and Q5_1 |
//! | pairs | 1 word for 2 units | f16 scales, or the scales and minimums of K types in bytes |
//! | supers | 1 word for 8 units | `d` and `dmin` of K types, f16 |
//!
//! Rows past the end of a tensor, and units past the end of a row, are zeros and decode to zero.

use bytemuck::{Pod, Zeroable};
use gguf::TensorType;
use gguf::format::{Unit, bits, has_min, offset};

/// Rows of a group.
pub(crate) const GROUP: usize = 32;
/// Rows that lie side by side.
pub(crate) const BLOCK: usize = 8;
/// Weights of a unit.
pub(crate) const UNIT: usize = 32;

/// Words that a unit of a row takes in each area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UnitWords {
    /// In elements of four words.
    pub(crate) quads: usize,
    pub(crate) words: usize,
    /// A word for two units.
    pub(crate) pairs: bool,
    /// A word for eight units.
    pub(crate) supers: bool,
}

impl UnitWords {
    pub(crate) fn of(ty: TensorType) -> Self {
        let (quads, words) = match (ty, bits(ty)) {
            (TensorType::F32, _) => (8, 0),
            (_, None) => (4, 0),
            (_, Some(2)) => (0, 2),
            (_, Some(3)) => (0, 3),
            (_, Some(4)) => (1, 0),
            (_, Some(5)) => (1, 1),
            (_, Some(6)) => (1, 2),
            (_, Some(_)) => (2, 0),
        };
        let quantised = bits(ty).is_some();
        let supers = quantised && ty.block_len() > UNIT;
        let own_minimum = has_min(ty) && !supers;
        Self { quads, words: words + usize::from(own_minimum), pairs: quantised && !own_minimum, supers }
    }
}

/// Sizes of a tensor's areas, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Areas {
    n_groups: usize,
    n_units: usize,
    unit: UnitWords,
}

impl Areas {
    /// Of a tensor `[rows, cols]`.
    pub(crate) fn new(ty: TensorType, rows: usize, cols: usize) -> Self {
        Self { n_groups: rows.div_ceil(GROUP), n_units: cols.div_ceil(UNIT), unit: UnitWords::of(ty) }
    }

    /// Of as many row groups of the same tensor.
    pub(crate) fn with_groups(self, n_groups: usize) -> Self {
        Self { n_groups, ..self }
    }

    #[cfg(test)]
    pub(crate) fn n_groups(&self) -> usize {
        self.n_groups
    }

    /// Where each area begins, in words after the tensor's first; the last number is the size of all of them, a multiple of 4.
    pub(crate) fn starts(&self) -> [usize; 5] {
        let rows = self.n_groups * GROUP;
        let mut starts = [0; 5];
        let spans =
            |units: usize, present: bool| if present { rows * self.n_units.div_ceil(units) } else { 0 };
        starts[1] = rows * self.n_units * self.unit.quads * 4;
        starts[2] = starts[1] + rows * self.n_units * self.unit.words;
        starts[3] = starts[2] + spans(2, self.unit.pairs);
        starts[4] = (starts[3] + spans(8, self.unit.supers)).next_multiple_of(4);
        starts
    }

    pub(crate) fn len_words(&self) -> usize {
        self.starts()[4]
    }
}

/// Where a tensor's areas begin in its buffer, and how long its rows are: what every kernel that reads weights is told first.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
pub(crate) struct WeightsAt {
    /// In quads.
    pub(crate) quads: u32,
    /// In words.
    pub(crate) words: u32,
    pub(crate) pairs: u32,
    pub(crate) supers: u32,
    /// Units of a row.
    pub(crate) n_units: u32,
}

/// Packs the rows of a tensor from group `first_group` of a destination on. `rows` holds whole rows of `cols` weights as the file
/// has them; `words` is the whole destination, laid out by `areas`, zeroed. Group `g` of the tensor goes to group
/// `first_group + g * stride`, so that tensors that are read together can take turns.
pub(crate) fn pack(
    ty: TensorType,
    cols: usize,
    rows: &[u8],
    areas: &Areas,
    (first_group, stride): (usize, usize),
    words: &mut [u32],
) {
    let row_bytes = ty.row_bytes(cols as u64).map_or(0, |n| n as usize).max(1);
    let starts = areas.starts();
    let unit_words = areas.unit;
    for (i, row) in rows.chunks_exact(row_bytes).enumerate() {
        let (g, r) = (first_group + i / GROUP * stride, i % GROUP);
        for u in 0..cols.div_ceil(UNIT) {
            let packed = PackedUnit::new(ty, row, u);
            // Element `k` of this unit and row in an area with `n` of them a unit.
            let (b, row) = (g * (GROUP / BLOCK) + r / BLOCK, r % BLOCK);
            let at = |n: usize, k: usize| ((b * areas.n_units + u) * n + k) * BLOCK + row;
            for (k, quad) in packed.quads[..unit_words.quads].iter().enumerate() {
                let at = starts[0] + 4 * at(unit_words.quads, k);
                words[at..at + 4].copy_from_slice(quad);
            }
            for (k, word) in packed.words[..unit_words.words].iter().enumerate() {
                words[starts[1] + at(unit_words.words, k)] = *word;
            }
            let spanning = |units: usize| (b * areas.n_units.div_ceil(units) + u / units) * BLOCK + row;
            if unit_words.pairs {
                words[starts[2] + spanning(2)] |= packed.pair << (u % 2 * 16);
            }
            if unit_words.supers {
                words[starts[3] + spanning(8)] = packed.supers;
            }
        }
    }
}

/// What is stored for one unit of one row.
#[derive(Debug, Default)]
struct PackedUnit {
    quads: [[u32; 4]; 8],
    words: [u32; 3],
    /// 16 bits.
    pair: u32,
    supers: u32,
}

impl PackedUnit {
    fn new(ty: TensorType, row: &[u8], u: usize) -> Self {
        match Unit::of(ty, row, u) {
            Some(unit) => Self::quantised(ty, &unit),
            None => Self::float(ty, row, u),
        }
    }

    fn quantised(ty: TensorType, unit: &Unit) -> Self {
        let mut packed = Self::default();
        let width = bits(ty).unwrap_or(8);
        // `n` bits of each quant from bit `from` on, `32 / n` of them in a word.
        let fill = |from: u32, n: u32, words: &mut [u32]| {
            for (i, q) in unit.q.iter().enumerate() {
                let bit = i as u32 * n;
                words[(bit / 32) as usize] |= (u32::from(*q) >> from & ((1 << n) - 1)) << (bit % 32);
            }
        };
        match width {
            2 => fill(0, 2, &mut packed.words),
            3 => {
                fill(0, 2, &mut packed.words[..2]);
                fill(2, 1, &mut packed.words[2..]);
            }
            8 => {
                // Signed, so that they can be unpacked as such.
                for (i, q) in unit.q.iter().enumerate() {
                    let byte = u32::from(q ^ 0x80);
                    packed.quads[i / 16][i / 4 % 4] |= byte << (i % 4 * 8);
                }
            }
            _ => {
                // As in the file: element i in the low half of byte i, element i + 16 in the high half.
                for (i, q) in unit.q.iter().enumerate() {
                    let shift = i % 4 * 8 + i / 16 * 4;
                    packed.quads[0][i % 16 / 4] |= u32::from(q & 15) << shift;
                }
                match width {
                    5 => fill(4, 1, &mut packed.words[..1]),
                    6 => fill(4, 2, &mut packed.words[..2]),
                    _ => {}
                }
            }
        }
        let halves = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
        let words = UnitWords::of(ty);
        if words.supers {
            packed.supers = halves(unit.d, unit.dmin);
            packed.pair = match ty {
                // Two scales of 4 bits with their minimums, as the block has them.
                TensorType::Q2_K => byte(unit.scale[0], unit.min[0]) | byte(unit.scale[1], unit.min[1]) << 8,
                _ if has_min(ty) => unsigned(unit.scale[0]) | unsigned(unit.min[0]) << 8,
                _ => unsigned(unit.scale[0]) | unsigned(unit.scale[1]) << 8,
            };
        } else if words.pairs {
            packed.pair = u32::from(unit.d);
        } else {
            packed.words[words.words - 1] = halves(unit.d, unit.dmin);
        }
        packed
    }

    fn float(ty: TensorType, row: &[u8], u: usize) -> Self {
        let mut packed = Self::default();
        let size = ty.block_bytes();
        let row = &row[(u * UNIT * size).min(row.len())..];
        for (i, byte) in row.iter().take(UNIT * size).enumerate() {
            packed.quads[i / 16][i / 4 % 4] |= u32::from(*byte) << (i % 4 * 8);
        }
        packed
    }
}

fn unsigned(value: i8) -> u32 {
    u32::from(value.cast_unsigned())
}

/// A byte of two 4-bit numbers.
fn byte(low: i8, high: i8) -> u32 {
    unsigned(low) | unsigned(high) << 4
}

/// The offset of a type's quants, for the shaders.
pub(crate) fn quant_offset(ty: TensorType) -> u8 {
    if bits(ty) == Some(8) { 0 } else { offset(ty) }
}
