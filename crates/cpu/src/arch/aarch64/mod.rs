//! The instruction sets of 64-bit Arm, where NEON is always there.

pub(super) mod neon;

/// Whether [`neon::Neon`] may be assumed with dot products.
pub(super) fn has_dotprod() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

/// Whether [`neon::Neon`] may be assumed with dot products and matrix products.
pub(super) fn has_i8mm() -> bool {
    has_dotprod() && std::arch::is_aarch64_feature_detected!("i8mm")
}
