//! NEON: four registers for 16 lanes, with the dot product of four bytes a lane where the processor has it (since Armv8.2), and
//! the product of matrices of eight bytes a row (since Armv8.6) for two tokens at once.
#![allow(unsafe_code, reason = "intrinsics of a detected instruction set")]

use crate::arch::simd::{Kernel, LANES, LINE, Simd, dots_apart, word};
use std::arch::aarch64::*;
use std::arch::asm;

/// NEON alone.
pub(in crate::arch) const PLAIN: u8 = 0;
/// NEON and dot products.
pub(in crate::arch) const DOTPROD: u8 = 1;
/// NEON, dot products and matrix products.
pub(in crate::arch) const I8MM: u8 = 2;

/// NEON, with what `HAS` says.
#[derive(Debug, Clone, Copy)]
pub(in crate::arch) struct Neon<const HAS: u8>(());

/// An expression of intrinsics in a method of [`Neon`].
macro_rules! neon {
    ($e:expr) => {{
        // Some intrinsics are safe where NEON is part of the target.
        #[allow(unused_unsafe, reason = "which ones are safe depends on the intrinsic")]
        // SAFETY: every processor of this architecture has NEON; addresses come from references to as many bytes as are read or
        // written.
        unsafe {
            $e
        }
    }};
}

/// The same expression for each of the four registers.
macro_rules! each {
    ($i:ident => $e:expr) => {
        [
            {
                let $i = 0;
                neon!($e)
            },
            {
                let $i = 1;
                neon!($e)
            },
            {
                let $i = 2;
                neon!($e)
            },
            {
                let $i = 3;
                neon!($e)
            },
        ]
    };
}

impl<const HAS: u8> Simd for Neon<HAS> {
    type Floats = [float32x4_t; 4];
    type Ints = [int32x4_t; 4];
    type Bytes = [uint8x16_t; 4];
    type Sum = [int32x4_t; 4];

    const NAME: &'static str = match HAS {
        PLAIN => "NEON",
        DOTPROD => "NEON dotprod",
        _ => "NEON i8mm",
    };
    const TOKENS: usize = 2;
    const IS_WIDE: bool = false;
    const SIGNED_BYTES: bool = true;
    const PAIRS: bool = HAS >= I8MM;

    unsafe fn assume() -> Self {
        Self(())
    }

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "neon")]
        fn plain<K: Kernel>(s: impl Simd, kernel: K) -> K::Output {
            kernel.call(s)
        }
        #[target_feature(enable = "neon,dotprod")]
        fn dotprod<K: Kernel>(s: impl Simd, kernel: K) -> K::Output {
            kernel.call(s)
        }
        #[target_feature(enable = "neon,dotprod,i8mm")]
        fn i8mm<K: Kernel>(s: impl Simd, kernel: K) -> K::Output {
            kernel.call(s)
        }
        match HAS {
            PLAIN => neon!(plain(self, kernel)),
            // SAFETY: such a value exists only where the processor has dot products.
            DOTPROD => unsafe { dotprod(self, kernel) },
            // SAFETY: such a value exists only where the processor has both.
            _ => unsafe { i8mm(self, kernel) },
        }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::Floats {
        [neon!(vdupq_n_f32(value)); 4]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::Floats {
        each!(i => vld1q_f32(from.as_ptr().add(4 * i)))
    }

    #[inline(always)]
    fn store(self, value: Self::Floats, to: &mut [f32; LANES]) {
        for (to, value) in to.as_chunks_mut::<4>().0.iter_mut().zip(value) {
            neon!(vst1q_f32(to.as_mut_ptr(), value));
        }
    }

    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> Self::Floats {
        each!(i => vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from.as_ptr().add(4 * i)))))
    }

    #[inline(always)]
    fn store_f16(self, value: Self::Floats, to: &mut [u16; LANES]) {
        for (to, value) in to.as_chunks_mut::<4>().0.iter_mut().zip(value) {
            neon!(vst1_u16(to.as_mut_ptr(), vreinterpret_u16_f16(vcvt_f16_f32(value))));
        }
    }

    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> Self::Floats {
        each!(i => vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.as_ptr().add(4 * i)))))
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> Self::Floats {
        let bytes = neon!(vld1q_s8(from.as_ptr()));
        let low = neon!(vmovl_s8(vget_low_s8(bytes)));
        let high = neon!(vmovl_high_s8(bytes));
        let ints = [
            neon!(vmovl_s16(vget_low_s16(low))),
            neon!(vmovl_high_s16(low)),
            neon!(vmovl_s16(vget_low_s16(high))),
            neon!(vmovl_high_s16(high)),
        ];
        self.to_floats(ints)
    }

    #[inline(always)]
    fn store_i8(self, value: Self::Floats, to: &mut [i8; LANES]) -> i32 {
        let ints = each!(i => vcvtnq_s32_f32(value[i]));
        let low = neon!(vcombine_s16(vmovn_s32(ints[0]), vmovn_s32(ints[1])));
        let high = neon!(vcombine_s16(vmovn_s32(ints[2]), vmovn_s32(ints[3])));
        let bytes = neon!(vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
        neon!(vst1q_s8(to.as_mut_ptr(), bytes));
        i32::from(neon!(vaddlvq_s8(bytes)))
    }

    #[inline(always)]
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each!(i => vaddq_f32(a[i], b[i]))
    }

    #[inline(always)]
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each!(i => vsubq_f32(a[i], b[i]))
    }

    #[inline(always)]
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each!(i => vmulq_f32(a[i], b[i]))
    }

    #[inline(always)]
    fn div(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        each!(i => vdivq_f32(a[i], b[i]))
    }

    #[inline(always)]
    fn mul_add(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        each!(i => vfmaq_f32(c[i], a[i], b[i]))
    }

    #[inline(always)]
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        // The instruction for it gives NaN where either is.
        each!(i => vbslq_f32(vcgtq_f32(a[i], b[i]), a[i], b[i]))
    }

    #[inline(always)]
    fn abs(self, a: Self::Floats) -> Self::Floats {
        each!(i => vabsq_f32(a[i]))
    }

    #[inline(always)]
    fn select_less(
        self,
        x: Self::Floats,
        y: Self::Floats,
        then: Self::Floats,
        otherwise: Self::Floats,
    ) -> Self::Floats {
        each!(i => vbslq_f32(vcltq_f32(x[i], y[i]), then[i], otherwise[i]))
    }

    #[inline(always)]
    fn any_greater(self, a: Self::Floats, b: Self::Floats) -> bool {
        let greater = each!(i => vcgtq_f32(a[i], b[i]));
        let either = neon!(vorrq_u32(vorrq_u32(greater[0], greater[1]), vorrq_u32(greater[2], greater[3])));
        neon!(vmaxvq_u32(either)) != 0
    }

    #[inline(always)]
    fn scale_by_low_bits(self, a: Self::Floats, steps: Self::Floats) -> Self::Floats {
        let exponents = each!(i => vshlq_n_u32::<23>(vreinterpretq_u32_f32(steps[i])));
        each!(i => vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(a[i]), exponents[i])))
    }

    #[inline(always)]
    fn largest(self, a: Self::Floats) -> f32 {
        neon!(vmaxvq_f32(vmaxq_f32(vmaxq_f32(a[0], a[1]), vmaxq_f32(a[2], a[3]))))
    }

    #[inline(always)]
    fn sum(self, a: Self::Floats) -> f32 {
        let a = neon!(vaddq_f32(vaddq_f32(a[0], a[2]), vaddq_f32(a[1], a[3])));
        let a = neon!(vadd_f32(vget_low_f32(a), vget_high_f32(a)));
        neon!(vpadds_f32(a))
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> Self::Ints {
        [neon!(vdupq_n_s32(value)); 4]
    }

    #[inline(always)]
    fn shift_left(self, a: Self::Ints, bits: u32) -> Self::Ints {
        each!(i => vshlq_s32(a[i], vdupq_n_s32(bits.cast_signed())))
    }

    #[inline(always)]
    fn to_floats(self, a: Self::Ints) -> Self::Floats {
        each!(i => vcvtq_f32_s32(a[i]))
    }

    #[inline(always)]
    fn load_bytes(self, from: &[u8; LINE]) -> Self::Bytes {
        each!(i => vld1q_u8(from.as_ptr().add(16 * i)))
    }

    #[inline(always)]
    fn or(self, a: Self::Bytes, b: Self::Bytes) -> Self::Bytes {
        each!(i => vorrq_u8(a[i], b[i]))
    }

    #[inline(always)]
    fn shift_mask(self, a: Self::Bytes, right: i32, mask: u8) -> Self::Bytes {
        // Shifts to the left, by a negative number for the right: constants here, and so one instruction each.
        each!(i => vandq_u8(vshlq_u8(a[i], vdupq_n_s8(-right as i8)), vdupq_n_u8(mask)))
    }

    #[inline(always)]
    fn flip(self, a: Self::Bytes, mask: u8) -> Self::Bytes {
        each!(i => veorq_u8(a[i], vdupq_n_u8(mask)))
    }

    #[inline(always)]
    fn start(self, value: Self::Ints) -> Self::Sum {
        value
    }

    #[inline(always)]
    fn dot(self, sum: Self::Sum, bytes: Self::Bytes, x: [i8; 4]) -> Self::Sum {
        let x = neon!(vreinterpretq_s8_s32(vdupq_n_s32(word(x))));
        if HAS >= DOTPROD {
            each!(i => sdot(sum[i], vreinterpretq_s8_u8(bytes[i]), x))
        } else {
            each!(i => multiply_pairs(sum[i], vreinterpretq_s8_u8(bytes[i]), x))
        }
    }

    #[inline(always)]
    fn dot_wide(self, sum: Self::Sum, bytes: Self::Bytes, x: [i8; 4]) -> Self::Sum {
        self.dot(sum, bytes, x)
    }

    #[inline(always)]
    fn carry(self, sum: Self::Sum) -> Self::Sum {
        sum
    }

    #[inline(always)]
    fn total(self, sum: Self::Sum) -> Self::Ints {
        sum
    }

    /// Register by register two rows of both tokens: row 0 of either, row 1 of either.
    #[inline(always)]
    fn join(self, sums: [Self::Sum; 2]) -> [Self::Sum; 2] {
        if !Self::PAIRS {
            return sums;
        }
        let low = each!(i => vzip1q_s32(sums[0][i], sums[1][i]));
        let high = each!(i => vzip2q_s32(sums[0][i], sums[1][i]));
        [[low[0], high[0], low[1], high[1]], [low[2], high[2], low[3], high[3]]]
    }

    #[inline(always)]
    fn dot_pair(self, sums: [Self::Sum; 2], bytes: [Self::Bytes; 2], x: [&[i8; 8]; 2]) -> [Self::Sum; 2] {
        if !Self::PAIRS {
            return dots_apart(self, sums, bytes, x);
        }
        let x = neon!(vcombine_s8(vld1_s8(x[0].as_ptr()), vld1_s8(x[1].as_ptr())));
        // Four bytes of each of four rows twice, to eight of each of two.
        let words =
            [each!(i => vreinterpretq_s32_u8(bytes[0][i])), each!(i => vreinterpretq_s32_u8(bytes[1][i]))];
        let low = each!(i => vreinterpretq_s8_s32(vzip1q_s32(words[0][i], words[1][i])));
        let high = each!(i => vreinterpretq_s8_s32(vzip2q_s32(words[0][i], words[1][i])));
        let rows = [[low[0], high[0], low[1], high[1]], [low[2], high[2], low[3], high[3]]];
        [each!(i => smmla(sums[0][i], rows[0][i], x)), each!(i => smmla(sums[1][i], rows[1][i], x))]
    }

    #[inline(always)]
    fn part(self, sums: [Self::Sum; 2]) -> [Self::Sum; 2] {
        if !Self::PAIRS {
            return sums;
        }
        let all =
            [sums[0][0], sums[0][1], sums[0][2], sums[0][3], sums[1][0], sums[1][1], sums[1][2], sums[1][3]];
        [
            each!(i => vuzp1q_s32(all[2 * i], all[2 * i + 1])),
            each!(i => vuzp2q_s32(all[2 * i], all[2 * i + 1])),
        ]
    }

    #[inline(always)]
    fn prefetch(self, address: *const u8) {
        // SAFETY: a hint, which reads nothing.
        unsafe {
            asm!("prfm pldl2keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
        }
    }
}

/// Adds the dot product of each lane's four bytes; the intrinsic for it is not stable.
///
/// # Safety
/// The processor has dot products.
#[inline(always)]
unsafe fn sdot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction works on registers alone, and the caller promised that it is there.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// Adds the product of two rows of eight bytes with two columns of them, row by row; the intrinsic for it is not stable.
///
/// # Safety
/// The processor has matrix products.
#[inline(always)]
unsafe fn smmla(sum: int32x4_t, rows: int8x16_t, columns: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the instruction works on registers alone, and the caller promised that it is there.
    unsafe {
        asm!(
            "smmla {sum:v}.4s, {rows:v}.16b, {columns:v}.16b",
            sum = inout(vreg) sum,
            rows = in(vreg) rows,
            columns = in(vreg) columns,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}

/// The dot products of [`sdot`] without the instruction. Two products of at most 128 * 127 fit 16 bits.
#[inline(always)]
fn multiply_pairs(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let low = neon!(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    let high = neon!(vmull_high_s8(a, b));
    neon!(vpadalq_s16(sum, vpaddq_s16(low, high)))
}
