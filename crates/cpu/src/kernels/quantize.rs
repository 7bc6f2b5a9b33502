//! 32 activations to 8 bits: q = round(x * 127 / amax), x = q * amax / 127.

/// Smaller than any activation that matters, and large enough that 127 divided by it is finite.
const NOTHING: f32 = 1e-36;

/// Quantises one block; gives its scale and the sum of its quants.
#[inline(always)]
pub(crate) fn quantize(x: &[f32; 32], q: &mut [i8; 32]) -> (f32, i32) {
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest whole number, ties to even.
    const ROUND: f32 = 12_582_912.0;
    let mut largest = [0f32; 16];
    for half in x.chunks_exact(16) {
        for (m, v) in largest.iter_mut().zip(half) {
            *m = if v.abs() > *m { v.abs() } else { *m };
        }
    }
    let largest = largest.into_iter().fold(0f32, |m, v| if v > m { v } else { m });
    if largest < NOTHING {
        *q = [0; 32];
        return (0.0, 0);
    }
    let inverse = 127.0 / largest;
    let mut total = 0;
    for (q, v) in q.iter_mut().zip(x) {
        let rounded = (v * inverse + ROUND) - ROUND;
        *q = rounded as i8;
        total += i32::from(*q);
    }
    (largest / 127.0, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_round_to_nearest_even_and_keep_the_largest() {
        let mut x = [0f32; 32];
        x[0] = -127.0;
        x[1] = 2.5;
        x[2] = 3.5;
        x[3] = 1.25;
        let mut q = [9; 32];
        let (d, total) = quantize(&x, &mut q);
        assert_eq!((d, total), (1.0, -127 + 2 + 4 + 1));
        assert_eq!(&q[..5], &[-127, 2, 4, 1, 0]);
    }

    #[test]
    fn a_block_of_zeros_has_scale_zero() {
        let mut q = [9; 32];
        assert_eq!(quantize(&[0.0; 32], &mut q), (0.0, 0));
        assert_eq!(q, [0; 32]);
        assert_eq!(quantize(&[1e-38; 32], &mut q), (0.0, 0), "as good as zero");
    }

    #[test]
    fn small_and_huge_blocks_stay_in_range() {
        for scale in [1e-35f32, 1e-30, 1e30, 3e38] {
            let x: [f32; 32] = std::array::from_fn(|i| (i as f32 - 16.0) / 16.0 * scale);
            let mut q = [0; 32];
            let (d, _) = quantize(&x, &mut q);
            for (q, x) in q.iter().zip(x) {
                assert!((f32::from(*q) * d - x).abs() <= scale / 127.0 * 0.51, "{scale}: {q} * {d} for {x}");
            }
        }
    }
}
