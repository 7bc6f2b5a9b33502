//! Weights to scratch, as they are: what a device can read and write in a second, and what a dispatch costs that does nothing.
//!
//! Inputs: `n_quads` quads of weights. Output: the same in `scratch`.
//! Requires: nothing of subgroups. Launch: `grid()`, a thread for every `EACH`-th quad of a workgroup's.
//! Numerics: exact.
//! Source: own.

use super::Kernel;
use crate::shader::Shader;
use bytemuck::{Pod, Zeroable};

const THREADS: usize = 256;
/// Quads of a thread.
const EACH: usize = 8;
/// Workgroups along the first axis.
const MOST_X: usize = 4096;

/// The one variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Copy;

/// In quads.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub(crate) struct Params {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) n_quads: u32,
}

impl Copy {
    pub(crate) fn name(self) -> String {
        "copy".to_owned()
    }

    pub(crate) fn grid(self, n_quads: usize) -> [u32; 3] {
        let groups = n_quads.div_ceil(THREADS * EACH).max(1);
        [groups.min(MOST_X) as u32, groups.div_ceil(MOST_X) as u32, 1]
    }

    pub(crate) fn kernel(self) -> Kernel {
        Kernel::Copy(self)
    }

    pub(crate) fn source(self) -> String {
        let loads: String = (0..EACH)
            .map(|i| format!("  let q{i} = quads[p.x + min(first + {}u, p.n_quads - 1u)];\n", i * THREADS))
            .collect();
        let stores: String = (0..EACH)
            .map(|i| {
                let at = format!("first + {}u", i * THREADS);
                format!("  if ({at} < p.n_quads) {{ scratch[p.y + {at}] = bitcast<vec4<f32>>(q{i}); }}\n")
            })
            .collect();
        let skeleton =
            include_str!("copy.wgsl").replace("// <loads>", &loads).replace("// <stores>", &stores);
        Shader::default()
            .constant("THREADS", THREADS)
            .constant("OF_GROUP", THREADS * EACH)
            .constant("MOST_X", MOST_X)
            .text(&skeleton)
            .bindings()
            .finish()
    }
}
