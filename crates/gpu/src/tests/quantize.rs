//! Rows rounded to 8 bits against the CPU engine's rule.

use super::rows::Rounded;
use super::{GUARD, Lab, Memory, POISON, floats, words};
use crate::kernels::quantize::{Params, Quantize};
use crate::pipeline::Checks;
use testkit::Random;

const EPS: f32 = 1e-5;

/// Rows of `n_cols`, two of whose units are next to nothing, rounded by `lab` and by hand.
fn check(lab: &mut Lab, n_cols: usize, n_rows: usize, normed: bool) {
    let mut random = Random::new(n_cols as u64);
    let (x_stride, y_stride) = (n_cols + 4, Quantize::row_words(n_cols) + 8);
    let (x_at, y_at) = (GUARD, 2 * GUARD + n_rows * x_stride);
    let mut scratch = vec![POISON; y_at + n_rows * y_stride + GUARD];
    let norm = random.vector(n_cols, 2.0);
    let rows: Vec<Vec<f32>> = (0..n_rows)
        .map(|i| {
            let mut row = random.vector(n_cols, 3.0);
            row[..32].fill(if i == 0 { 0.0 } else { 1e-38 });
            row
        })
        .collect();
    for (i, row) in rows.iter().enumerate() {
        scratch[x_at + i * x_stride..][..n_cols].copy_from_slice(&words(row));
    }
    let rest = vec![0; 4];
    let memory =
        Memory { weights: words(&norm), kv: rest.clone(), scratch, tables: rest.clone(), tokens: rest };
    let kernel = Quantize { n_cols, eps_bits: normed.then(|| EPS.to_bits()) };
    let params = Params {
        x: x_at as u32,
        x_stride: x_stride as u32,
        y: y_at as u32,
        y_stride: y_stride as u32,
        norm: 0,
    };
    let after = lab.run(kernel.kernel(), bytemuck::bytes_of(&params), kernel.grid(n_rows), &memory);
    let mut untouched = after.scratch.clone();
    for (i, row) in rows.iter().enumerate() {
        let at = y_at + i * y_stride;
        let len = Quantize::row_words(n_cols);
        check_row(&after.scratch[at..at + len], row, normed.then_some(&norm[..]));
        untouched[at..at + len].copy_from_slice(&memory.scratch[at..at + len]);
    }
    assert!(untouched == memory.scratch, "{n_cols}: something else was written");
}

fn check_row(got: &[u32], row: &[f32], norm: Option<&[f32]>) {
    let mean = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / row.len() as f64;
    let scale = norm.map_or(1.0, |_| 1.0 / (mean + f64::from(EPS)).sqrt());
    let scales = floats(&got[row.len() / 4..]);
    for (u, unit) in row.chunks(32).enumerate() {
        let weighted: Vec<f32> =
            unit.iter().enumerate().map(|(i, x)| x * norm.map_or(1.0, |norm| norm[u * 32 + i])).collect();
        let exact = Rounded::new(&weighted);
        let words = &got[u * 8..][..8];
        let q: Vec<i8> = words.iter().flat_map(|w| w.to_le_bytes()).map(u8::cast_signed).collect();
        let largest = 127.0 * f64::from(exact.scale);
        let mut sums = [0f64; 2];
        for (i, (&q, x)) in q.iter().zip(&weighted).enumerate() {
            sums[i / 16] += f64::from(q);
            if largest < 1e-36 {
                assert_eq!(q, 0);
                continue;
            }
            // Halves go to the even side, but what is a half depends on the last bit of a quotient.
            let error = (f64::from(q) - f64::from(*x) / f64::from(exact.scale)).abs();
            assert!(error <= 0.5 + 1e-4, "unit {u}: {q} for {x} of {largest}");
        }
        let wanted = f64::from(exact.scale) * scale;
        let found: Vec<f64> = scales[4 * u..][..4].iter().map(|&s| f64::from(s)).collect();
        for (found, wanted) in found.iter().zip([wanted, wanted * sums[0], wanted * sums[1], 0.0]) {
            assert!((found - wanted).abs() <= 4e-6 * wanted.abs() + 1e-38, "unit {u}: {found} for {wanted}");
        }
    }
}

#[test]
fn rows_are_rounded_as_the_cpu_does_it() {
    for mut lab in [Lab::new(Checks::Off), Lab::new(Checks::On), Lab::new(Checks::Off).without_subgroups()] {
        for (n_cols, n_rows) in [(32, 1), (576, 3), (1056, 2), (4096, 8), (8192, 2)] {
            check(&mut lab, n_cols, n_rows, false);
            check(&mut lab, n_cols, n_rows, true);
        }
    }
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let mut lab = Lab::emulator();
    check(&mut lab, 576, 2, false);
    check(&mut lab, 576, 2, true);
}
