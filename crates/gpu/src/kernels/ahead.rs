//! Weights that are brought near while something else is computed.
//!
//! Between the weights of a token or a prompt lie dispatches that read little, such as attention: then the memory idles, and whoever
//! comes next waits for it from the beginning. Some workgroups of such a dispatch read what comes next, and do nothing with it.
//! Whether that pays is a matter of the device's cache and of the order in which it begins workgroups: it is asked for where it was
//! measured (`Caps::ahead_bytes`).

use bytemuck::{Pod, Zeroable};

/// Bytes of a line of the cache, as far as this is concerned: one load brings it.
pub(crate) const LINE_BYTES: u32 = 32;

/// What is to be brought near, behind a kernel's other immediates.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Pod, Zeroable)]
pub(crate) struct Ahead {
    /// Where it begins in the step's buffer of weights, in quads.
    pub(crate) ahead: u32,
    /// In lines of two quads; none is nothing to do.
    pub(crate) n_ahead: u32,
    /// Workgroups that do it, a column of the grid each.
    pub(crate) columns: u32,
    /// Four floats of `scratch` that nobody reads.
    pub(crate) unused: u32,
}

impl Ahead {
    /// By columns of workgroups in a grid of `n_rows` rows, about `groups` in all.
    pub(crate) fn in_grid(self, groups: usize, n_rows: usize) -> Self {
        Self { columns: groups.div_ceil(n_rows) as u32, ..self }
    }
}
