//! Rotary position embedding as a table: one frequency for each rotated pair, computed once at load.

use std::f64::consts::TAU;

/// Which two elements of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairing {
    /// Elements `2i` and `2i + 1` (ggml's NORM; the llama family).
    Adjacent,
    /// Elements `i` and `i + n_rot / 2` (ggml's NEOX; the qwen families).
    Halves,
}

impl RopePairing {
    /// The two elements of pair `i` in a head whose first `n_rot` elements are rotated.
    #[must_use]
    pub fn elements(self, i: usize, n_rot: usize) -> (usize, usize) {
        match self {
            Self::Adjacent => (2 * i, 2 * i + 1),
            Self::Halves => (i, i + n_rot / 2),
        }
    }
}

/// The angles of a model: pair `i` at position `p` turns by `p * frequencies[i]` radians.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeTable {
    /// Which elements form a pair.
    pub pairing: RopePairing,
    /// Radians a position, `[n_rot / 2]`, scaling included.
    pub frequencies: Vec<f64>,
    /// Factor on the rotated elements (1 but for YaRN).
    pub magnitude: f64,
}

impl RopeTable {
    /// How many leading elements of each head are rotated.
    #[must_use]
    pub fn n_rot(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Cosine and sine of pair `i` at `position`, times the magnitude. The same bits on every platform.
    #[must_use]
    pub fn cos_sin(&self, position: u32, i: usize) -> (f64, f64) {
        let angle = f64::from(position) * self.frequencies[i];
        (libm::cos(angle) * self.magnitude, libm::sin(angle) * self.magnitude)
    }
}

/// How a model stretches its trained context.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum RopeScaling {
    None,
    /// Positions divided by the factor.
    Linear {
        factor: f64,
    },
    /// Low frequencies divided by the factor, high ones kept, a ramp between (arXiv 2309.00071).
    Yarn(Yarn),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Yarn {
    pub(crate) factor: f64,
    pub(crate) original_context: f64,
    pub(crate) beta_fast: f64,
    pub(crate) beta_slow: f64,
    pub(crate) log_multiplier: f64,
    pub(crate) attention_factor: f64,
}

/// The table for `n_rot` rotated elements. `divisors` are the file's `rope_freqs.weight` (`[n_rot / 2]`), if it has them.
pub(crate) fn table(
    pairing: RopePairing,
    n_rot: usize,
    base: f64,
    scaling: RopeScaling,
    divisors: Option<&[f32]>,
) -> RopeTable {
    let plain = |i: usize| {
        let divisor = divisors.map_or(1.0, |d| f64::from(d[i]));
        libm::pow(base, -2.0 * i as f64 / n_rot as f64) / divisor
    };
    let pairs = 0..n_rot / 2;
    let (frequencies, magnitude) = match scaling {
        RopeScaling::None => (pairs.map(plain).collect(), 1.0),
        RopeScaling::Linear { factor } => (pairs.map(|i| plain(i) / factor).collect(), 1.0),
        RopeScaling::Yarn(yarn) => {
            let (low, high) = yarn.ramp_ends(n_rot, base);
            let blend = |i: usize| {
                let keep = 1.0 - ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
                plain(i) / yarn.factor * (1.0 - keep) + plain(i) * keep
            };
            (pairs.map(blend).collect(), yarn.magnitude())
        }
    };
    RopeTable { pairing, frequencies, magnitude }
}

impl Yarn {
    /// Pair indices at which the ramp from kept to divided frequencies begins and ends.
    fn ramp_ends(&self, n_rot: usize, base: f64) -> (f64, f64) {
        let n = n_rot as f64;
        let pair_of_turns =
            |turns: f64| n * libm::log(self.original_context / (turns * TAU)) / (2.0 * libm::log(base));
        (pair_of_turns(self.beta_fast).floor().max(0.0), pair_of_turns(self.beta_slow).ceil().min(n - 1.0))
    }

    fn magnitude(&self) -> f64 {
        let grow = |multiplier: f64| {
            if self.factor <= 1.0 { 1.0 } else { 0.1 * multiplier * libm::log(self.factor) + 1.0 }
        };
        let log_ratio =
            if self.log_multiplier == 0.0 { grow(1.0) } else { grow(1.0) / grow(self.log_multiplier) };
        log_ratio * self.attention_factor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unscaled_frequencies_fall_from_one_to_nearly_one_over_base() {
        let t = table(RopePairing::Adjacent, 64, 10_000.0, RopeScaling::None, None);
        assert_eq!(t.n_rot(), 64);
        assert_eq!(t.frequencies[0], 1.0);
        assert!((t.frequencies[31] - 10_000f64.powf(-62.0 / 64.0)).abs() < 1e-15);
    }

    #[test]
    fn linear_scaling_at_a_position_equals_none_at_the_divided_position() {
        let none = table(RopePairing::Halves, 8, 10_000.0, RopeScaling::None, None);
        let linear = table(RopePairing::Halves, 8, 10_000.0, RopeScaling::Linear { factor: 4.0 }, None);
        for i in 0..4 {
            let (a, b) = (none.cos_sin(3, i), linear.cos_sin(12, i));
            assert!((a.0 - b.0).abs() < 1e-14 && (a.1 - b.1).abs() < 1e-14);
        }
    }

    #[test]
    fn yarn_keeps_the_fastest_pair_and_divides_the_slowest() {
        let yarn = Yarn {
            factor: 4.0,
            original_context: 4096.0,
            beta_fast: 32.0,
            beta_slow: 1.0,
            log_multiplier: 0.0,
            attention_factor: 1.0,
        };
        let none = table(RopePairing::Halves, 128, 10_000.0, RopeScaling::None, None);
        let t = table(RopePairing::Halves, 128, 10_000.0, RopeScaling::Yarn(yarn), None);
        assert_eq!(t.frequencies[0], none.frequencies[0]);
        assert_eq!(t.frequencies[63], none.frequencies[63] / 4.0);
        assert!((t.magnitude - (0.1 * 4f64.ln() + 1.0)).abs() < 1e-12);
        // By hand, from arXiv 2309.00071 section 3.2: the ramp runs from pair 20 to pair 46.
        assert_eq!(yarn.ramp_ends(128, 10_000.0), (20.0, 46.0));
        let keep = 1.0 - (33.0 - 20.0) / 26.0;
        let expected = none.frequencies[33] * (keep + (1.0 - keep) / 4.0);
        assert!((t.frequencies[33] - expected).abs() < 1e-15);
    }

    #[test]
    fn divisors_from_the_file_divide() {
        let d = [1.0f32, 2.0, 8.0, 8.0];
        let t = table(RopePairing::Adjacent, 8, 500_000.0, RopeScaling::None, Some(&d));
        let none = table(RopePairing::Adjacent, 8, 500_000.0, RopeScaling::None, None);
        assert_eq!(t.frequencies[2], none.frequencies[2] / 8.0);
    }

    #[test]
    fn pairings_name_their_elements() {
        assert_eq!(RopePairing::Adjacent.elements(3, 8), (6, 7));
        assert_eq!(RopePairing::Halves.elements(3, 8), (3, 7));
    }
}
