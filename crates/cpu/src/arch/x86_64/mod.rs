//! The instruction sets of x86-64.

pub(super) mod avx2;
pub(super) mod avx512;

use std::arch::is_x86_feature_detected as has;

/// Whether [`avx2::Avx2`] may be assumed, without VNNI.
pub(super) fn has_avx2() -> bool {
    has!("avx2") && has!("fma") && has!("f16c")
}

/// Whether [`avx2::Avx2`] may be assumed, with VNNI.
pub(super) fn has_avx_vnni() -> bool {
    has_avx2() && has!("avxvnni")
}

/// Whether [`avx512::Avx512`] may be assumed.
pub(super) fn has_avx512() -> bool {
    let avx512 = has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq");
    has_avx2() && avx512 && has!("avx512vnni")
}
