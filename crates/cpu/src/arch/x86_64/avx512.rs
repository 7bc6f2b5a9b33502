//! AVX-512 with VNNI: one register for 16 lanes, and a dot product of four bytes a lane in one instruction.
#![allow(unsafe_code, reason = "intrinsics of a detected instruction set")]

use super::sum_of_bytes;
use crate::arch::simd::{Kernel, LANES, LINE, Simd, word};
use std::arch::x86_64::*;

/// AVX-512 F, BW, VL, DQ and VNNI, and what AVX2 has.
#[derive(Debug, Clone, Copy)]
pub(in crate::arch) struct Avx512(());

/// An expression of intrinsics in a method of [`Avx512`].
macro_rules! avx512 {
    ($e:expr) => {
        // SAFETY: a value of `Avx512` exists only where the processor has the instructions; addresses come from references to
        // as many bytes as are read or written.
        unsafe { $e }
    };
}

impl Simd for Avx512 {
    type Floats = __m512;
    type Ints = __m512i;
    type Bytes = __m512i;
    type Sum = __m512i;

    const NAME: &'static str = "AVX-512 VNNI";
    const TOKENS: usize = 4;
    const IS_WIDE: bool = true;
    const SIGNED_BYTES: bool = false;

    unsafe fn assume() -> Self {
        Self(())
    }

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
        fn inner<K: Kernel>(s: Avx512, kernel: K) -> K::Output {
            kernel.call(s)
        }
        avx512!(inner(self, kernel))
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        avx512!(_mm512_set1_ps(value))
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> __m512 {
        avx512!(_mm512_loadu_ps(from.as_ptr()))
    }

    #[inline(always)]
    fn store(self, value: __m512, to: &mut [f32; LANES]) {
        avx512!(_mm512_storeu_ps(to.as_mut_ptr(), value));
    }

    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> __m512 {
        avx512!(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())))
    }

    #[inline(always)]
    fn store_f16(self, value: __m512, to: &mut [u16; LANES]) {
        avx512!(_mm256_storeu_si256(to.as_mut_ptr().cast(), _mm512_cvtps_ph::<NEAREST>(value)));
    }

    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> __m512 {
        let wide = avx512!(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast())));
        avx512!(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> __m512 {
        avx512!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.as_ptr().cast()))))
    }

    #[inline(always)]
    fn store_i8(self, value: __m512, to: &mut [i8; LANES]) -> i32 {
        let bytes = avx512!(_mm512_cvtepi32_epi8(_mm512_cvtps_epi32(value)));
        avx512!(_mm_storeu_si128(to.as_mut_ptr().cast(), bytes));
        avx512!(sum_of_bytes(bytes))
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        avx512!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        avx512!(_mm512_abs_ps(a))
    }

    #[inline(always)]
    fn select_less(self, x: __m512, y: __m512, then: __m512, otherwise: __m512) -> __m512 {
        avx512!(_mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, y), otherwise, then))
    }

    #[inline(always)]
    fn any_greater(self, a: __m512, b: __m512) -> bool {
        avx512!(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b)) != 0
    }

    #[inline(always)]
    fn scale_by_low_bits(self, a: __m512, steps: __m512) -> __m512 {
        let exponents = avx512!(_mm512_slli_epi32::<23>(_mm512_castps_si512(steps)));
        avx512!(_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), exponents)))
    }

    #[inline(always)]
    fn largest(self, a: __m512) -> f32 {
        avx512!(_mm512_reduce_max_ps(a))
    }

    #[inline(always)]
    fn sum(self, a: __m512) -> f32 {
        let a = avx512!(_mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps::<1>(a)));
        let a = avx512!(_mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a)));
        let a = avx512!(_mm_add_ps(a, _mm_movehl_ps(a, a)));
        avx512!(_mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a))))
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> __m512i {
        avx512!(_mm512_set1_epi32(value))
    }

    #[inline(always)]
    fn shift_left(self, a: __m512i, bits: u32) -> __m512i {
        avx512!(_mm512_sll_epi32(a, _mm_cvtsi32_si128(bits.cast_signed())))
    }

    #[inline(always)]
    fn to_floats(self, a: __m512i) -> __m512 {
        avx512!(_mm512_cvtepi32_ps(a))
    }

    #[inline(always)]
    fn load_bytes(self, from: &[u8; LINE]) -> __m512i {
        avx512!(_mm512_loadu_si512(from.as_ptr().cast()))
    }

    #[inline(always)]
    fn or(self, a: __m512i, b: __m512i) -> __m512i {
        avx512!(_mm512_or_si512(a, b))
    }

    #[inline(always)]
    fn shift_mask(self, a: __m512i, right: i32, mask: u8) -> __m512i {
        let shifted = match right {
            0 => a,
            1.. => avx512!(_mm512_srl_epi16(a, _mm_cvtsi32_si128(right))),
            _ => avx512!(_mm512_sll_epi16(a, _mm_cvtsi32_si128(-right))),
        };
        avx512!(_mm512_and_si512(shifted, _mm512_set1_epi8(mask.cast_signed())))
    }

    #[inline(always)]
    fn flip(self, a: __m512i, mask: u8) -> __m512i {
        avx512!(_mm512_xor_si512(a, _mm512_set1_epi8(mask.cast_signed())))
    }

    #[inline(always)]
    fn start(self, value: __m512i) -> __m512i {
        value
    }

    #[inline(always)]
    fn dot(self, sum: __m512i, bytes: __m512i, x: [i8; 4]) -> __m512i {
        avx512!(_mm512_dpbusd_epi32(sum, bytes, _mm512_set1_epi32(word(x))))
    }

    #[inline(always)]
    fn dot_wide(self, sum: __m512i, bytes: __m512i, x: [i8; 4]) -> __m512i {
        self.dot(sum, bytes, x)
    }

    #[inline(always)]
    fn carry(self, sum: __m512i) -> __m512i {
        sum
    }

    #[inline(always)]
    fn total(self, sum: __m512i) -> __m512i {
        sum
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        avx512!(_mm_prefetch::<_MM_HINT_T1>(address.cast()));
    }

    #[inline(always)]
    fn prefetch_near(self, address: *const u8) {
        avx512!(_mm_prefetch::<_MM_HINT_T0>(address.cast()));
    }
}

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
