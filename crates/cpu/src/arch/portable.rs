//! Plain arrays, for any processor: the definition of every operation, and what the other instruction sets are tested against.

use super::simd::{Kernel, LANES, LINE, Simd};
use crate::kernels::f16;

/// No instruction set in particular.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

#[allow(unsafe_code, reason = "the trait's promise, of which there is nothing to keep here")]
impl Simd for Portable {
    type Floats = [f32; LANES];
    type Ints = [i32; LANES];
    type Bytes = [u8; LINE];
    type Sum = [i32; LANES];

    const NAME: &'static str = "portable";
    const TOKENS: usize = 1;
    const IS_WIDE: bool = false;
    const SIGNED_BYTES: bool = false;

    unsafe fn assume() -> Self {
        Self
    }

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.call(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; LANES] {
        [value; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> [f32; LANES] {
        *from
    }

    #[inline(always)]
    fn store(self, value: [f32; LANES], to: &mut [f32; LANES]) {
        *to = value;
    }

    #[inline(always)]
    fn load_f16(self, from: &[u16; LANES]) -> [f32; LANES] {
        from.map(f16::to_f32)
    }

    #[inline(always)]
    fn store_f16(self, value: [f32; LANES], to: &mut [u16; LANES]) {
        *to = value.map(f16::from_f32);
    }

    #[inline(always)]
    fn load_bf16(self, from: &[u16; LANES]) -> [f32; LANES] {
        from.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> [f32; LANES] {
        from.map(f32::from)
    }

    #[inline(always)]
    fn store_i8(self, value: [f32; LANES], to: &mut [i8; LANES]) -> i32 {
        *to = value.map(|v| v as i8);
        to.iter().map(|&byte| i32::from(byte)).sum()
    }

    #[inline(always)]
    fn add(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i] / b[i])
    }

    #[inline(always)]
    fn mul_add(self, a: [f32; LANES], b: [f32; LANES], c: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn max(self, a: [f32; LANES], b: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn abs(self, a: [f32; LANES]) -> [f32; LANES] {
        a.map(f32::abs)
    }

    #[inline(always)]
    fn select_less(
        self,
        x: [f32; LANES],
        y: [f32; LANES],
        then: [f32; LANES],
        otherwise: [f32; LANES],
    ) -> [f32; LANES] {
        std::array::from_fn(|i| if x[i] < y[i] { then[i] } else { otherwise[i] })
    }

    #[inline(always)]
    fn any_greater(self, a: [f32; LANES], b: [f32; LANES]) -> bool {
        a.iter().zip(&b).any(|(a, b)| a > b)
    }

    #[inline(always)]
    fn scale_by_low_bits(self, a: [f32; LANES], steps: [f32; LANES]) -> [f32; LANES] {
        std::array::from_fn(|i| f32::from_bits(a[i].to_bits().wrapping_add(steps[i].to_bits() << 23)))
    }

    #[inline(always)]
    fn largest(self, a: [f32; LANES]) -> f32 {
        a.into_iter().fold(f32::NEG_INFINITY, |m, v| if v > m { v } else { m })
    }

    #[inline(always)]
    fn sum(self, mut a: [f32; LANES]) -> f32 {
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                a[i] += a[i + half];
            }
        }
        a[0]
    }

    #[inline(always)]
    fn splat_int(self, value: i32) -> [i32; LANES] {
        [value; LANES]
    }

    #[inline(always)]
    fn shift_left(self, a: [i32; LANES], bits: u32) -> [i32; LANES] {
        a.map(|v| v << bits)
    }

    #[inline(always)]
    fn to_floats(self, a: [i32; LANES]) -> [f32; LANES] {
        a.map(|v| v as f32)
    }

    #[inline(always)]
    fn load_bytes(self, from: &[u8; LINE]) -> [u8; LINE] {
        *from
    }

    #[inline(always)]
    fn or(self, a: [u8; LINE], b: [u8; LINE]) -> [u8; LINE] {
        std::array::from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn shift_mask(self, a: [u8; LINE], right: i32, mask: u8) -> [u8; LINE] {
        a.map(|byte| if right < 0 { byte << -right } else { byte >> right } & mask)
    }

    #[inline(always)]
    fn flip(self, a: [u8; LINE], mask: u8) -> [u8; LINE] {
        a.map(|byte| byte ^ mask)
    }

    #[inline(always)]
    fn start(self, value: [i32; LANES]) -> [i32; LANES] {
        value
    }

    #[inline(always)]
    fn dot(self, mut sum: [i32; LANES], bytes: [u8; LINE], x: [i8; 4]) -> [i32; LANES] {
        for (sum, bytes) in sum.iter_mut().zip(bytes.as_chunks::<4>().0) {
            for (byte, x) in bytes.iter().zip(x) {
                *sum += i32::from(*byte) * i32::from(x);
            }
        }
        sum
    }

    #[inline(always)]
    fn dot_wide(self, sum: [i32; LANES], bytes: [u8; LINE], x: [i8; 4]) -> [i32; LANES] {
        self.dot(sum, bytes, x)
    }

    #[inline(always)]
    fn carry(self, sum: [i32; LANES]) -> [i32; LANES] {
        sum
    }

    #[inline(always)]
    fn total(self, sum: [i32; LANES]) -> [i32; LANES] {
        sum
    }

    #[inline(always)]
    fn prefetch(self, _: *const u8) {}
}
