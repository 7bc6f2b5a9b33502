//! Rotation of many rows, and their keys and values into the cache.

use super::history::{History, KEY, Turning, VALUE, heads};
use super::{GUARD, Lab, Memory, POISON, floats, words};
use crate::kernels::heads::Heads;
use crate::kernels::rope_kv::{Params, RopeKv};
use crate::pipeline::Checks;
use half::f16;
use model::RopePairing::{Adjacent, Halves};
use testkit::Random;

const EPS: f64 = f32::EPSILON as f64;

/// Rows of one case: q, k and v of each, and where they lie.
struct Rows {
    heads: Heads,
    /// (sequence, position)
    places: Vec<(usize, usize)>,
    /// `[n_rows, 3]`
    vectors: Vec<[Vec<f32>; 3]>,
    stride: usize,
}

impl Rows {
    fn new(random: &mut Random, heads: Heads, places: &[(usize, usize)]) -> Self {
        let kv_width = heads.n_kv_heads * heads.head_dim;
        let mut vectors = Vec::new();
        for _ in places {
            let mut v = random.vector(kv_width, 1.0);
            // From subnormal in f16 to large.
            v.iter_mut().for_each(|v| *v *= 10f32.powi(random.below(10) as i32 - 6));
            vectors.push([random.vector(heads.width(), 3.0), random.vector(kv_width, 3.0), v]);
        }
        let stride = heads.width().next_multiple_of(32) + 2 * kv_width.next_multiple_of(32) + 4;
        Self { heads, places: places.to_vec(), vectors, stride }
    }

    /// Where q, k or v of a row begins.
    fn at(&self, row: usize, part: usize) -> usize {
        let widths = [0, self.heads.width(), self.heads.n_kv_heads * self.heads.head_dim];
        GUARD + row * self.stride + widths[..=part].iter().map(|w| w.next_multiple_of(32)).sum::<usize>()
    }

    fn scratch(&self) -> Vec<u32> {
        let mut scratch = vec![POISON; GUARD + self.places.len() * self.stride + GUARD];
        for (row, vectors) in self.vectors.iter().enumerate() {
            for (part, vector) in vectors.iter().enumerate() {
                scratch[self.at(row, part)..][..vector.len()].copy_from_slice(&words(vector));
            }
        }
        scratch
    }
}

fn check(labs: &mut [Lab; 2], heads: Heads, turning: &Turning, seed: u64) {
    let random = &mut Random::new(seed);
    let lens = [0, 1, 31, 32, 33, 255, 70];
    let mut places: Vec<_> = lens.iter().copied().enumerate().collect();
    // Two rows of one sequence, on both sides of a block's end.
    places.extend([(2, 32), (6, 71)]);
    let rows = Rows::new(random, heads, &places);
    let mut history = History::new(random, heads, &lens);
    let norms = [random.vector(heads.head_dim, 2.0), random.vector(heads.head_dim, 2.0)];
    let padded = heads.head_dim.next_multiple_of(32);
    let mut weights = vec![POISON; GUARD];
    for norm in &norms {
        weights.extend(words(norm));
        weights.resize(weights.len().next_multiple_of(32), 0);
    }
    let params = Params {
        q: rows.at(0, 0) as u32,
        k: rows.at(0, 1) as u32,
        v: rows.at(0, 2) as u32,
        stride: rows.stride as u32,
        kv: history.base,
        rope: history.add_angles(turning, 256),
        rows: history.add_rows(&places),
        q_norm: GUARD as u32,
        k_norm: (GUARD + padded) as u32,
    };
    let memory = Memory {
        weights,
        kv: history.kv.clone(),
        scratch: rows.scratch(),
        tables: history.tables.clone(),
        tokens: vec![0; 4],
    };
    let kernel = RopeKv::new(heads, turning.rotation());
    let mut run = |i: usize| {
        labs[i].run(kernel.kernel(), bytemuck::bytes_of(&params), kernel.grid(places.len()), &memory)
    };
    let after = run(0);
    for i in [1, 1] {
        let again = run(i);
        assert!(
            after.scratch == again.scratch && after.kv == again.kv,
            "{heads:?} seed {seed}: another run, another result"
        );
    }
    check_queries(&rows, turning, &norms[0], &memory.scratch, &after.scratch);
    check_cache(&rows, turning, &norms[1], &history, &after.kv);
}

/// Q is rotated, and nothing else is written but zeros up to the end of its last quad.
fn check_queries(rows: &Rows, turning: &Turning, norm: &[f32], before: &[u32], after: &[u32]) {
    let n = rows.heads.head_dim;
    let mut expected = before.to_vec();
    for (row, &(_, position)) in rows.places.iter().enumerate() {
        let at = rows.at(row, 0);
        for head in 0..rows.heads.n_heads {
            let got = floats(&after[at + head * n..][..n]);
            let sums = turning.turned(&rows.vectors[row][0][head * n..][..n], norm, position);
            for (e, (got, (value, size))) in got.into_iter().zip(sums).enumerate() {
                let error = (f64::from(got) - value).abs();
                assert!(error <= 8.0 * EPS * size, "row {row} head {head} element {e}: {got} for {value}");
            }
        }
        let end = at + rows.heads.width();
        expected[at..end].copy_from_slice(&after[at..end]);
        expected[end..end.next_multiple_of(4)].fill(0);
    }
    assert!(expected == after, "something else was written");
}

/// K is rotated and V copied, both in f16, and nothing else is written.
fn check_cache(rows: &Rows, turning: &Turning, norm: &[f32], history: &History, after: &[u32]) {
    let n = rows.heads.head_dim;
    let mut expected = history.kv.clone();
    let written = history.with(after);
    for (row, &(sequence, position)) in rows.places.iter().enumerate() {
        for head in 0..rows.heads.n_kv_heads {
            let part = |part: usize| &rows.vectors[row][part][head * n..][..n];
            let keys = written.padded(sequence, position, head, KEY);
            for (got, (value, size)) in keys.iter().zip(turning.turned(part(1), norm, position)) {
                // Half a step of f16, and the f32 before it.
                let bound = value.abs() / 2048.0 * 1.001 + 3e-8 + 8.0 * EPS * size;
                assert!((got - value).abs() <= bound, "row {row} key {head}: {got} for {value}");
            }
            let values = written.padded(sequence, position, head, VALUE);
            for (got, &value) in values.iter().zip(part(2)) {
                let nearest = f16::from_f32(value).to_f64();
                // Where f16 is subnormal, devices may flush.
                let exact = *got == nearest || value.abs() < 6.2e-5 && (got - nearest).abs() < 6.2e-5;
                assert!(exact, "row {row} value {head}: {got} for {value}");
            }
            assert!(keys[n..].iter().chain(&values[n..]).all(|&v| v == 0.0), "padding is zero");
            for which in [KEY, VALUE] {
                let place = history.place(sequence, position, head, which);
                expected[place.clone()].copy_from_slice(&after[place]);
            }
        }
    }
    assert!(expected == after, "something else was written to the cache");
}

#[test]
fn rows_are_rotated_and_their_keys_and_values_rounded_into_the_cache() {
    let mut labs = [Lab::new(Checks::On), Lab::new(Checks::Off)];
    let cases = [
        (heads(9, 3, 64), Turning::new(Adjacent, 64, None)),
        (heads(4, 4, 6), Turning::new(Adjacent, 6, Some(1e-5))),
        (heads(5, 1, 6), Turning::new(Halves, 4, None)),
        (heads(8, 1, 80), Turning::new(Halves, 40, None)),
        (heads(5, 1, 16), Turning::new(Halves, 12, Some(1e-6))),
        (heads(6, 2, 20), Turning::new(Adjacent, 14, None)),
        (heads(3, 1, 96), Turning::new(Adjacent, 96, Some(1e-6))),
        (heads(32, 8, 128), Turning::new(Halves, 128, Some(1e-6))),
    ];
    for (seed, (heads, turning)) in (1..).zip(&cases) {
        check(&mut labs, *heads, turning, seed);
    }
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let mut labs = [Lab::emulator(), Lab::emulator()];
    check(&mut labs, heads(9, 3, 64), &Turning::new(Halves, 64, None), 3);
    check(&mut labs, heads(5, 1, 6), &Turning::new(Adjacent, 4, Some(1e-6)), 4);
}
