//! The instruction sets of x86-64.

pub(super) mod avx2;
pub(super) mod avx512;

use std::arch::is_x86_feature_detected as has;
use std::arch::x86_64::*;

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

/// The sum of 16 signed bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn sum_of_bytes(bytes: __m128i) -> i32 {
    // There is a sum of unsigned ones: each is 128 more.
    let unsigned = _mm_xor_si128(bytes, _mm_set1_epi8(i8::MIN));
    let halves = _mm_sad_epu8(unsigned, _mm_setzero_si128());
    _mm_cvtsi128_si32(_mm_add_epi32(halves, _mm_unpackhi_epi64(halves, halves))) - 16 * 128
}

/// Bytes of the first-level data cache of AMD's processors; `None` for others.
pub(super) fn amd_first_level_bytes() -> Option<usize> {
    /// Of caches: a leaf that AMD's processors have and others do not.
    const CACHES: u32 = 0x8000_001d;
    let most = __cpuid(0x8000_0000).eax;
    let first = (most >= CACHES).then(|| __cpuid_count(CACHES, 0))?;
    let [data, first_level] = [first.eax & 0x1f == 1, first.eax >> 5 & 7 == 1];
    let parts = [first.ebx & 0xfff, first.ebx >> 12 & 0x3ff, first.ebx >> 22, first.ecx];
    let bytes = || parts.iter().map(|part| *part as usize + 1).product();
    (data && first_level).then(bytes)
}
