//! RMSNorm of rows against f64.

use super::sampling::{assert_only, labs, memory};
use super::{Lab, Step, floats, words};
use crate::kernels::floats::Floats;
use crate::kernels::rms_norm::{Params, RmsNorm};
use half::f16;
use testkit::Random;

const EPS: f32 = 1e-5;

/// Where a result goes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum To {
    Itself,
    Elsewhere,
    Halves,
    /// After so many partial sums have been added; in halves if they are odd.
    Plus(usize),
}

/// `n_rows` rows of `n_cols`, onto themselves or elsewhere; all of scratch afterwards.
fn check(lab: &mut Lab, seed: u64, (n_rows, n_cols): (usize, usize), to: To) -> Vec<u32> {
    let mut random = Random::new(seed);
    let what = format!("[{n_rows}, {n_cols}] seed {seed}");
    let padded = n_cols.next_multiple_of(32);
    let (in_place, halves) = (to == To::Itself, matches!(to, To::Halves | To::Plus(1 | 3)));
    let n_partials = if let To::Plus(n) = to { n } else { 0 };
    let stride = padded + if in_place { 0 } else { 32 };
    let rows: Vec<Vec<f32>> = (0..n_rows)
        .map(|i| {
            let scale = [3.0, 1e-4, 60000.0, 0.0][i % 4];
            random.vector(n_cols, scale)
        })
        .collect();
    let weights = random.vector(n_cols, 2.0);
    let mut memory = memory();
    memory.weights = words(&weights);
    memory.weights.splice(0..0, [0; 8]);
    memory.weights.resize(8 + padded, 0);
    // What lies behind a row stays poison, a NaN.
    let x = memory.region(n_rows * stride);
    for (i, row) in rows.iter().enumerate() {
        memory.scratch[x + i * stride..][..n_cols].copy_from_slice(&words(row));
    }
    let (y, y_stride) = if in_place {
        (x, stride)
    } else {
        (memory.region(n_rows * padded), if halves { padded / 2 } else { padded })
    };
    // Sums beside them, row by row; what they come to is in the rows' scale.
    let partials = memory.region((n_partials * n_rows * stride).max(1));
    let mut sums = rows.clone();
    for k in 0..n_partials {
        for (i, sum) in sums.iter_mut().enumerate() {
            let partial = random.vector(n_cols, [3.0, 1e-4, 60000.0, 0.0][i % 4]);
            let at = partials + (k * n_rows + i) * stride;
            memory.scratch[at..][..n_cols].copy_from_slice(&words(&partial));
            sum.iter_mut().zip(&partial).for_each(|(sum, partial)| *sum += partial);
        }
    }
    let y_floats = if halves { Floats::F16 } else { Floats::F32 };
    let kernel = RmsNorm { n_cols, eps_bits: EPS.to_bits(), y: y_floats, n_partials };
    let params = Params {
        x: x as u32,
        x_stride: stride as u32,
        y: y as u32,
        y_stride: y_stride as u32,
        norm: 2,
        partials: partials as u32,
        partial_stride: (n_rows * stride) as u32,
    };
    let after = lab.run_all(&[Step::new(kernel.kernel(), &params, kernel.grid(n_rows))], &memory);
    let mut written = vec![y..y + n_rows * y_stride];
    if n_partials > 0 {
        written.extend((0..n_rows).map(|i| x + i * stride..x + i * stride + padded));
    }
    assert_only(&memory.scratch, &after.scratch, &written, &what);
    for (i, row) in sums.iter().enumerate() {
        if n_partials > 0 {
            assert_eq!(floats(&after.scratch[x + i * stride..][..n_cols]), *row, "{what} row {i}: the sums");
        }
        let place = &after.scratch[y + i * y_stride..];
        let got: Vec<f32> = match halves {
            false => floats(&place[..padded]),
            true => place[..padded / 2]
                .iter()
                .flat_map(|w| [*w as u16, (w >> 16) as u16])
                .map(|bits| f16::from_bits(bits).to_f32())
                .collect(),
        };
        let mean = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / n_cols as f64;
        let scale = 1.0 / (mean + f64::from(EPS)).sqrt();
        for ((&got, &x), &w) in got.iter().zip(row).zip(&weights) {
            let want = f64::from(x) * scale * f64::from(w);
            // Half an ulp of f16 may round either way, its smallest steps are 2^-24.
            let bound = if halves { want.abs() / 1024.0 + 6e-8 } else { 1e-6 * want.abs() };
            assert!((f64::from(got) - want).abs() <= bound, "{what} row {i}: {got} for {want}");
        }
        assert!(got[n_cols..].iter().all(|v| v.to_bits() & 0x7fff_ffff == 0), "{what}: zeros behind the row");
    }
    after.scratch
}

#[test]
fn rows_agree_with_f64() {
    let mut labs = labs();
    for (seed, shape) in
        (0..).zip([(1, 1), (4, 31), (5, 32), (3, 576), (2, 1000), (1, 1025), (4, 4096), (1, 9999)])
    {
        for to in [To::Itself, To::Elsewhere, To::Halves, To::Plus(1), To::Plus(2), To::Plus(3)] {
            let [checked, unchecked, plain] = &mut labs;
            let a = check(checked, seed, shape, to);
            assert!(a == check(unchecked, seed, shape, to), "{shape:?}: checks change the result");
            check(plain, seed, shape, to);
        }
    }
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let mut lab = Lab::emulator();
    for (shape, to) in
        [((3, 576), To::Elsewhere), ((3, 576), To::Itself), ((2, 1000), To::Halves), ((3, 576), To::Plus(3))]
    {
        let in_order = check(&mut lab, 5, shape, to);
        assert!(in_order == check(&mut lab, 5, shape, to), "{shape:?}: the order of threads shows");
    }
}
