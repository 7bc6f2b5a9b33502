//! The kernels. Each has a skeleton `<name>.wgsl` and, beside it, its variants, parameters and launch in `<name>.rs`.
//!
//! All of them see the same buffers (`shared/bindings.wgsl`) and find their parts by offsets in their immediates:
//!
//! - `quads`, `words`: the weights, twice. Tensors lie as `layout` says; vectors (norms, biases) are f32, padded with zeros to
//!   32 elements.
//! - `kv`: keys and values, f16 in pairs, `[n_blocks, n_kv_heads, 2 (key, value), 32 positions, head_dim / 8]` quads of 8
//!   elements for each layer, `head_dim` rounded up to 8 with zeros.
//! - `scratch`: f32. A vector in it begins at a multiple of 4 floats and has room for a multiple of 32; what lies behind its last
//!   element is not defined unless its producer says so.
//! - `tables`: u32, written by the host between passes. Cosine and sine of pair `i` at position `t` are the floats
//!   `tables[rope + (t * n_rot / 2 + i) * 2]` and the one after; a block table is block numbers, position `t` in block
//!   `tables[table + t / 32]`; a row is four words: position, offset of its block table, offset of its ids in `tokens`, 0.
//! - `tokens`: ids by position, `tokens[ids + t]`.

pub(crate) mod ahead;
pub(crate) mod argmax;
pub(crate) mod attend;
pub(crate) mod attend_hidden;
pub(crate) mod attend_matrix;
pub(crate) mod attend_prompt;
mod attend_walk;
pub(crate) mod copy;
pub(crate) mod draw;
pub(crate) mod embed;
pub(crate) mod floats;
pub(crate) mod gemm;
pub(crate) mod gemm_choice;
pub(crate) mod gemm_matrix;
pub(crate) mod heads;
mod matrices;
pub(crate) mod matvec;
pub(crate) mod matvec_int8;
pub(crate) mod matvec_rows;
pub(crate) mod matvec_shape;
mod matvec_walk;
pub(crate) mod merge_attention;
pub(crate) mod next_token;
pub(crate) mod quantize;
pub(crate) mod rms_norm;
pub(crate) mod rope_kv;
pub(crate) mod sampling;
pub(crate) mod silu_mul;
pub(crate) mod top_candidates;

use crate::device::Caps;

/// Which kernel, in which variant: what a pipeline is made from, and found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kernel {
    Copy(copy::Copy),
    Matvec(matvec::Matvec),
    MatvecRows(matvec_rows::MatvecRows),
    MatvecInt8(matvec_int8::MatvecInt8),
    Quantize(quantize::Quantize),
    Gemm(gemm::Gemm),
    GemmMatrix(gemm_matrix::GemmMatrix),
    Embed(embed::Embed),
    RmsNorm(rms_norm::RmsNorm),
    Argmax(argmax::Argmax),
    NextToken(next_token::NextToken),
    SiluMul(silu_mul::SiluMul),
    TopCandidates(top_candidates::TopCandidates),
    Draw(draw::Draw),
    RopeKv(rope_kv::RopeKv),
    Attend(attend::Attend),
    AttendHidden(attend_hidden::AttendHidden),
    AttendPrompt(attend_prompt::AttendPrompt),
    AttendMatrix(attend_matrix::AttendMatrix),
    MergeAttention(merge_attention::MergeAttention),
}

impl Kernel {
    /// The shader's name, in listings and in the driver's messages.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Copy(kernel) => kernel.name(),
            Self::Matvec(kernel) => kernel.name(),
            Self::MatvecRows(kernel) => kernel.name(),
            Self::MatvecInt8(kernel) => kernel.name(),
            Self::Quantize(kernel) => kernel.name(),
            Self::Gemm(kernel) => kernel.name(),
            Self::GemmMatrix(kernel) => kernel.name(),
            Self::Embed(kernel) => kernel.name(),
            Self::RmsNorm(kernel) => kernel.name(),
            Self::Argmax(kernel) => kernel.name(),
            Self::NextToken(kernel) => kernel.name(),
            Self::SiluMul(kernel) => kernel.name(),
            Self::TopCandidates(kernel) => kernel.name(),
            Self::Draw(kernel) => kernel.name(),
            Self::RopeKv(kernel) => kernel.name(),
            Self::Attend(kernel) => kernel.name(),
            Self::AttendHidden(kernel) => kernel.name(),
            Self::AttendPrompt(kernel) => kernel.name(),
            Self::AttendMatrix(kernel) => kernel.name(),
            Self::MergeAttention(kernel) => kernel.name(),
        }
    }

    /// Whether it leaves rows as `quantize` does.
    pub(crate) fn rounds(&self) -> bool {
        match self {
            Self::Quantize(_) => true,
            Self::Attend(kernel) => kernel.rounds(),
            Self::MergeAttention(kernel) => kernel.rounds(),
            _ => false,
        }
    }

    /// Whether weights are bound to it as if it wrote them. NVIDIA's compiler moves a load of what nobody writes down to where it is
    /// used, behind barriers and all that was to hide its latency; others it leaves where they stand.
    pub(crate) fn orders_loads(&self) -> bool {
        matches!(self, Self::GemmMatrix(kernel) if kernel.ordered)
    }

    pub(crate) fn source(&self, caps: Caps) -> String {
        match self {
            Self::Copy(kernel) => kernel.source(),
            Self::Matvec(kernel) => kernel.source(caps),
            Self::MatvecRows(kernel) => kernel.source(),
            Self::MatvecInt8(kernel) => kernel.source(caps),
            Self::Quantize(kernel) => kernel.source(caps),
            Self::Gemm(kernel) => kernel.source(),
            Self::GemmMatrix(kernel) => kernel.source(),
            Self::Embed(kernel) => kernel.source(),
            Self::RmsNorm(kernel) => kernel.source(caps),
            Self::Argmax(kernel) => kernel.source(caps),
            Self::NextToken(kernel) => kernel.source(caps),
            Self::SiluMul(kernel) => kernel.source(),
            Self::TopCandidates(kernel) => kernel.source(caps),
            Self::Draw(kernel) => kernel.source(caps),
            Self::RopeKv(kernel) => kernel.source(),
            Self::Attend(kernel) => kernel.source(caps),
            Self::AttendHidden(kernel) => kernel.source(caps),
            Self::AttendPrompt(kernel) => kernel.source(),
            Self::AttendMatrix(kernel) => kernel.source(),
            Self::MergeAttention(kernel) => kernel.source(caps),
        }
    }
}
