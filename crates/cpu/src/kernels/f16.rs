//! Half precision to single and back, without a branch, so that loops over it become vector code.

/// The value of the f16 whose bits are `bits`; exact.
#[inline(always)]
pub(crate) fn to_f32(bits: u16) -> f32 {
    // Exponent and fraction in their f32 places are 2^112 too small, for denormals too; the product puts that right.
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * f32::from_bits(0x7780_0000);
    // An exponent of all ones means infinity or NaN in both formats.
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | (u32::from(bits & 0x8000) << 16))
}

/// The bits of the f16 nearest to `value`, ties to even.
#[inline(always)]
pub(crate) fn from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let magnitude = bits & 0x7fff_ffff;
    let normal = {
        // Rebias by 112 exponents; add half of the dropped 13 bits, less one when the kept part is even.
        let rounded = magnitude.wrapping_sub(112 << 23).wrapping_add(0xfff + ((magnitude >> 13) & 1));
        (rounded >> 13) as u16
    };
    // Adding 0.5 aligns the fraction at 2^-24, the step of f16 denormals; the addition rounds.
    let small = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits()) as u16;
    let large = if magnitude > 0x7f80_0000 { 0x7e00 } else { 0x7c00 };
    let kept = if magnitude >= 0x4780_0000 {
        large
    } else if magnitude < 0x3880_0000 {
        small
    } else {
        normal
    };
    sign | kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_f16_widens_as_the_half_crate_says() {
        for bits in 0..=u16::MAX {
            let expected = half::f16::from_bits(bits).to_f32();
            let got = to_f32(bits);
            assert!(
                got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()),
                "{bits:#06x}: {got} instead of {expected}"
            );
        }
    }

    #[test]
    fn narrowing_rounds_as_the_half_crate_does() {
        // Every f16, its neighbours in f32, and the midpoints to the next f16.
        for bits in 0..=u16::MAX {
            let at = half::f16::from_bits(bits).to_f32();
            let middle = f32::midpoint(at, half::f16::from_bits(bits.wrapping_add(1)).to_f32());
            for value in [at, at.next_up(), at.next_down(), middle, middle.next_up(), middle.next_down()] {
                let expected = half::f16::from_f32(value);
                let got = half::f16::from_bits(from_f32(value));
                assert!(
                    got.to_bits() == expected.to_bits() || (got.is_nan() && expected.is_nan()),
                    "{value}: {got} instead of {expected}"
                );
            }
        }
    }
}
