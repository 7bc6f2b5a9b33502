//! AVX2: two registers for 16 lanes. Products of bytes are added in 16 bits for as long as they fit, unless the processor
//! has the 256-bit form of VNNI.
#![allow(unsafe_code, reason = "intrinsics of a detected instruction set")]

use super::sum_of_bytes;
use crate::arch::simd::{Kernel, LANES, LINE, Simd, word};
use std::arch::asm;
use std::arch::x86_64::*;

/// AVX2, FMA and F16C, with AVX-VNNI or without.
#[derive(Debug, Clone, Copy)]
pub(in crate::arch) struct Avx2<const VNNI: bool>(());

/// Sums of 32 bits, and sums of 16 bits that are still to be added to them.
#[derive(Debug, Clone, Copy)]
pub(in crate::arch) struct Sum {
    ints: [__m256i; 2],
    shorts: [__m256i; 2],
}

/// An expression of intrinsics in a method of [`Avx2`].
macro_rules! avx2 {
    ($e:expr) => {
        // SAFETY: a value of `Avx2` exists only where the processor has the instructions; addresses come from references to
        // as many bytes as are read or written.
        unsafe { $e }
    };
}

/// The same expression for both registers.
macro_rules! both {
    ($i:ident => $e:expr) => {
        [
            {
                let $i = 0;
                avx2!($e)
            },
            {
                let $i = 1;
                avx2!($e)
            },
        ]
    };
}

impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type Floats = [__m256; 2];
    type Ints = [__m256i; 2];
    type Bytes = [__m256i; 2];
    type Sum = Sum;

    const NAME: &'static str = if VNNI { "AVX2 VNNI" } else { "AVX2" };
    const TOKENS: usize = 2;
    const IS_WIDE: bool = false;
    const SIGNED_BYTES: bool = !VNNI;
    const UNPACKS: bool = !VNNI;

    unsafe fn assume() -> Self {
        Self(())
    }

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn plain<K: Kernel>(s: impl Simd, kernel: K) -> K::Output {
            kernel.call(s)
        }
        #[target_feature(enable = "avx2,fma,f16c,avxvnni")]
        fn vnni<K: Kernel>(s: impl Simd, kernel: K) -> K::Output {
            kernel.call(s)
        }
        if VNNI { avx2!(vnni(self, kernel)) } else { avx2!(plain(self, kernel)) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [__m256; 2] {
        [avx2!(_mm256_set1_ps(value)); 2]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> [__m256; 2] {
        both!(i => _mm256_loadu_ps(from.as_ptr().add(8 * i)))
    }

    #[inline(always)]
    fn store(self, value: [__m256; 2], to: &mut [f32; LANES]) {
        avx2!(_mm256_storeu_ps(to.as_mut_ptr(), value[0]));
        avx2!(_mm256_storeu_ps(to.as_mut_ptr().add(8), value[1]));
    }

    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> [__m256; 2] {
        both!(i => _mm256_cvtph_ps(_mm_loadu_si128(from.as_ptr().add(8 * i).cast())))
    }

    #[inline(always)]
    fn store_f16(self, value: [__m256; 2], to: &mut [u16; LANES]) {
        for (to, value) in to.as_chunks_mut::<8>().0.iter_mut().zip(value) {
            let narrow = avx2!(_mm256_cvtps_ph::<NEAREST>(value));
            avx2!(_mm_storeu_si128(to.as_mut_ptr().cast(), narrow));
        }
    }

    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> [__m256; 2] {
        let wide = both!(i => _mm256_cvtepu16_epi32(_mm_loadu_si128(from.as_ptr().add(8 * i).cast())));
        both!(i => _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide[i])))
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> [__m256; 2] {
        let bytes = avx2!(_mm_loadu_si128(from.as_ptr().cast()));
        let halves = [bytes, avx2!(_mm_unpackhi_epi64(bytes, bytes))];
        both!(i => _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(halves[i])))
    }

    #[inline(always)]
    fn store_i8(self, value: [__m256; 2], to: &mut [i8; LANES]) -> i32 {
        let ints = both!(i => _mm256_cvtps_epi32(value[i]));
        // Packing works within halves of registers: the words come out in the order 0 2 1 3.
        let shorts = avx2!(_mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(ints[0], ints[1])));
        let low = avx2!(_mm256_castsi256_si128(shorts));
        let high = avx2!(_mm256_extracti128_si256::<1>(shorts));
        let bytes = avx2!(_mm_packs_epi16(low, high));
        avx2!(_mm_storeu_si128(to.as_mut_ptr().cast(), bytes));
        avx2!(sum_of_bytes(bytes))
    }

    #[inline(always)]
    fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(i => _mm256_add_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn sub(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(i => _mm256_sub_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn mul(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(i => _mm256_mul_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn div(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(i => _mm256_div_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn mul_add(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        both!(i => _mm256_fmadd_ps(a[i], b[i], c[i]))
    }

    #[inline(always)]
    fn max(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        both!(i => _mm256_max_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn abs(self, a: [__m256; 2]) -> [__m256; 2] {
        both!(i => _mm256_andnot_ps(_mm256_set1_ps(-0.0), a[i]))
    }

    #[inline(always)]
    fn select_less(
        self,
        x: [__m256; 2],
        y: [__m256; 2],
        then: [__m256; 2],
        otherwise: [__m256; 2],
    ) -> [__m256; 2] {
        both!(i => _mm256_blendv_ps(otherwise[i], then[i], _mm256_cmp_ps::<_CMP_LT_OQ>(x[i], y[i])))
    }

    #[inline(always)]
    fn any_greater(self, a: [__m256; 2], b: [__m256; 2]) -> bool {
        let greater = both!(i => _mm256_cmp_ps::<_CMP_GT_OQ>(a[i], b[i]));
        avx2!(_mm256_movemask_ps(_mm256_or_ps(greater[0], greater[1]))) != 0
    }

    #[inline(always)]
    fn scale_by_low_bits(self, a: [__m256; 2], steps: [__m256; 2]) -> [__m256; 2] {
        let exponents = both!(i => _mm256_slli_epi32::<23>(_mm256_castps_si256(steps[i])));
        both!(i => _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a[i]), exponents[i])))
    }

    #[inline(always)]
    fn largest(self, a: [__m256; 2]) -> f32 {
        let a = avx2!(_mm256_max_ps(a[0], a[1]));
        let a = avx2!(_mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a)));
        let a = avx2!(_mm_max_ps(a, _mm_movehl_ps(a, a)));
        avx2!(_mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a))))
    }

    #[inline(always)]
    fn sum(self, a: [__m256; 2]) -> f32 {
        let a = avx2!(_mm256_add_ps(a[0], a[1]));
        let a = avx2!(_mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a)));
        let a = avx2!(_mm_add_ps(a, _mm_movehl_ps(a, a)));
        avx2!(_mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a))))
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> [__m256i; 2] {
        [avx2!(_mm256_set1_epi32(value)); 2]
    }

    #[inline(always)]
    fn shift_left(self, a: [__m256i; 2], bits: u32) -> [__m256i; 2] {
        both!(i => _mm256_sll_epi32(a[i], _mm_cvtsi32_si128(bits.cast_signed())))
    }

    #[inline(always)]
    fn to_floats(self, a: [__m256i; 2]) -> [__m256; 2] {
        both!(i => _mm256_cvtepi32_ps(a[i]))
    }

    #[inline(always)]
    fn load_bytes(self, from: &[u8; LINE]) -> [__m256i; 2] {
        both!(i => _mm256_loadu_si256(from.as_ptr().add(32 * i).cast()))
    }

    #[inline(always)]
    fn or(self, a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        both!(i => _mm256_or_si256(a[i], b[i]))
    }

    #[inline(always)]
    fn shift_mask(self, a: [__m256i; 2], right: i32, mask: u8) -> [__m256i; 2] {
        let shifted = match right {
            0 => a,
            1.. => both!(i => _mm256_srl_epi16(a[i], _mm_cvtsi32_si128(right))),
            _ => both!(i => _mm256_sll_epi16(a[i], _mm_cvtsi32_si128(-right))),
        };
        both!(i => _mm256_and_si256(shifted[i], _mm256_set1_epi8(mask.cast_signed())))
    }

    #[inline(always)]
    fn flip(self, a: [__m256i; 2], mask: u8) -> [__m256i; 2] {
        both!(i => _mm256_xor_si256(a[i], _mm256_set1_epi8(mask.cast_signed())))
    }

    #[inline(always)]
    fn start(self, value: [__m256i; 2]) -> Sum {
        Sum { ints: value, shorts: [avx2!(_mm256_setzero_si256()); 2] }
    }

    #[inline(always)]
    fn dot(self, sum: Sum, bytes: [__m256i; 2], x: [i8; 4]) -> Sum {
        let x = avx2!(_mm256_set1_epi32(word(x)));
        if VNNI {
            Sum { ints: both!(i => _mm256_dpbusd_avx_epi32(sum.ints[i], bytes[i], x)), ..sum }
        } else {
            let shorts = both!(i => _mm256_add_epi16(sum.shorts[i], _mm256_maddubs_epi16(bytes[i], x)));
            Sum { shorts: both!(i => in_order(shorts[i])), ..sum }
        }
    }

    #[inline(always)]
    fn dot_wide(self, sum: Sum, bytes: [__m256i; 2], x: [i8; 4]) -> Sum {
        if VNNI {
            return self.dot(sum, bytes, x);
        }
        // |w| * (x with the sign of w): two products of at most 128 * 127 fit 16 bits.
        let x = avx2!(_mm256_set1_epi32(word(x)));
        let signed = both!(i => _mm256_sign_epi8(x, bytes[i]));
        let pairs = both!(i => _mm256_maddubs_epi16(_mm256_abs_epi8(bytes[i]), signed[i]));
        let ones = avx2!(_mm256_set1_epi16(1));
        let ints = both!(i => _mm256_add_epi32(sum.ints[i], _mm256_madd_epi16(pairs[i], ones)));
        Sum { ints: both!(i => in_order(ints[i])), ..sum }
    }

    #[inline(always)]
    fn carry(self, sum: Sum) -> Sum {
        if VNNI {
            return sum;
        }
        let ones = avx2!(_mm256_set1_epi16(1));
        self.start(both!(i => _mm256_add_epi32(sum.ints[i], _mm256_madd_epi16(sum.shorts[i], ones))))
    }

    #[inline(always)]
    fn total(self, sum: Sum) -> [__m256i; 2] {
        sum.ints
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        avx2!(_mm_prefetch::<_MM_HINT_T1>(address.cast()));
    }

    #[inline(always)]
    fn prefetch_near(self, address: *const u8) {
        avx2!(_mm_prefetch::<_MM_HINT_T0>(address.cast()));
    }
}

/// The value as it is, at a point in the order of instructions that the compiler keeps. Left alone, it makes trees of long sums
/// and begins with all their products, for which there are no registers: half as fast on Zen 3.
#[inline]
#[target_feature(enable = "avx2")]
fn in_order(value: __m256i) -> __m256i {
    let mut value = value;
    // SAFETY: there is no instruction in it.
    unsafe { asm!("/* {} */", inout(ymm_reg) value, options(nomem, nostack, preserves_flags)) };
    value
}

const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;
