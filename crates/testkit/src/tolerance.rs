//! How far results may be apart, by name.

/// Largest error that a sum of `n` single-precision products may have against the exact sum of the same products, whose
/// absolute values add up to `abs_sum`. The constant covers fused and unfused sums in any order.
#[must_use]
pub fn dot_bound(n: usize, abs_sum: f64) -> f64 {
    const C: f64 = 4.0;
    C * f64::from(f32::EPSILON) / 2.0 * (n as f64).sqrt().max(1.0) * abs_sum + f64::from(f32::MIN_POSITIVE)
}

/// The largest difference, relative to the largest expected value. Infinite where the lengths differ or a value is not a
/// number.
#[must_use]
pub fn largest_relative_error(got: &[f32], expected: &[f32]) -> f64 {
    if got.len() != expected.len() || got.iter().chain(expected).any(|v| !v.is_finite()) {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(0f64, |m, &v| m.max(f64::from(v).abs()));
    let difference = got.iter().zip(expected).map(|(g, e)| (f64::from(*g) - f64::from(*e)).abs());
    difference.fold(0f64, f64::max) / largest.max(f64::MIN_POSITIVE)
}
