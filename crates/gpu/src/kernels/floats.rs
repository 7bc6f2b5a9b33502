//! How rows of numbers lie in `scratch`.

/// A format of intermediate results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Floats {
    #[default]
    F32,
    /// Two in a word, for what goes into matrix units and nowhere else. Offsets and strides still count words; numbers beyond
    /// the range are its largest.
    F16,
}
