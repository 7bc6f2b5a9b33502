//! The random numbers behind sampling: the same on every platform, for ever.

/// PCG32 (XSH-RR, 64 bits of state), Melissa O'Neill's `pcg32_random_r`.
#[derive(Debug, Clone)]
pub(crate) struct Pcg32 {
    state: u64,
    increment: u64,
}

impl Pcg32 {
    const MULTIPLIER: u64 = 6_364_136_223_846_793_005;

    /// The reference's `pcg32_srandom_r`: `stream` picks one of 2^63 sequences, `seed` a place in it.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut pcg = Self { state: 0, increment: stream << 1 | 1 };
        pcg.next_u32();
        pcg.state = pcg.state.wrapping_add(seed);
        pcg.next_u32();
        pcg
    }

    pub(crate) fn next_u32(&mut self) -> u32 {
        let old = self.state;
        self.state = old.wrapping_mul(Self::MULTIPLIER).wrapping_add(self.increment);
        #[expect(clippy::cast_possible_truncation, reason = "the generator's output is these 32 bits")]
        let shifted = (((old >> 18) ^ old) >> 27) as u32;
        shifted.rotate_right((old >> 59) as u32)
    }

    /// Evenly spread over `[0, 1)`, in steps of 2^-53.
    pub(crate) fn next_unit(&mut self) -> f64 {
        let bits = u64::from(self.next_u32()) << 32 | u64::from(self.next_u32());
        (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Evenly spread over `0..n`, to within `n / 2^32`; 0 for `n = 0`.
    pub(crate) fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.next_u32()) * u64::from(n)) >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_those_of_the_reference_program() {
        // pcg32-demo of pcg-c-basic, round 1, seeded with 42 and 54.
        let mut pcg = Pcg32::new(42, 54);
        let expected = [0xa15c_02b7, 0x7b47_f409, 0xba1d_3330, 0x83d2_f293, 0xbfa4_784b, 0xcbed_606e];
        assert_eq!(expected.map(|_| pcg.next_u32()), expected);
    }

    #[test]
    fn units_stay_below_one_and_are_even() {
        let mut pcg = Pcg32::new(1, 0);
        let units: Vec<f64> = (0..100_000).map(|_| pcg.next_unit()).collect();
        assert!(units.iter().all(|u| (0.0..1.0).contains(u)));
        let mean = units.iter().sum::<f64>() / units.len() as f64;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        assert_eq!(pcg.below(0), 0);
        assert!((0..1000).all(|_| pcg.below(7) < 7));
    }
}
