//! What the tests of choosing tokens share: regions of scratch, and the same choices on the CPU.

use super::{GUARD, Lab, Memory, POISON, words};
use crate::kernels::sampling::{log_min_p, noise_temperature, seed_words, sharpness};
use crate::pipeline::Checks;
use std::ops::Range;

/// Devices with every kind of shader: with checks, without, and without subgroup operations.
pub(super) fn labs() -> [Lab; 3] {
    [Lab::new(Checks::On), Lab::new(Checks::Off), Lab::new(Checks::On).without_subgroups()]
}

/// Memory whose scratch is poison, with regions in it.
pub(super) fn memory() -> Memory {
    let few = vec![POISON; 4];
    Memory {
        weights: few.clone(),
        kv: few.clone(),
        scratch: vec![POISON; GUARD],
        tables: few.clone(),
        tokens: few,
    }
}

impl Memory {
    /// Room for `len` floats, and a guard behind it.
    pub(super) fn region(&mut self, len: usize) -> usize {
        let at = self.scratch.len();
        self.scratch.resize((at + len).next_multiple_of(4) + GUARD, POISON);
        at
    }

    /// A region with these in it.
    pub(super) fn floats(&mut self, values: &[f32]) -> usize {
        let at = self.region(values.len());
        self.scratch[at..at + values.len()].copy_from_slice(&words(values));
        at
    }
}

/// Fails if words outside of `written` differ.
pub(super) fn assert_only(before: &[u32], after: &[u32], written: &[Range<usize>], what: &str) {
    assert_eq!(before.len(), after.len(), "{what}");
    for (i, (a, b)) in before.iter().zip(after).enumerate() {
        assert!(
            a == b || written.iter().any(|r| r.contains(&i)),
            "{what}: word {i} was {a:#x} and is {b:#x}"
        );
    }
}

/// A number's place in the order: NaN below everything, -0 as 0.
pub(super) fn order(x: f32) -> i64 {
    match x.to_bits() {
        bits if bits & 0x7fff_ffff > 0x7f80_0000 => i64::MIN,
        bits if bits >> 31 == 1 => -i64::from(bits & 0x7fff_ffff),
        bits => i64::from(bits),
    }
}

/// Indices, the best number first.
pub(super) fn sorted(numbers: &[f32]) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..numbers.len()).collect();
    indices.sort_by_key(|&i| (std::cmp::Reverse(order(numbers[i])), i));
    indices
}

/// The same as `shared/philox.wgsl`.
pub(super) fn philox(counter: [u32; 4], seed: u64) -> [u32; 4] {
    let mut c = counter;
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let a = 0xd251_1f53 * u64::from(c[0]);
        let b = 0xcd9e_8d57 * u64::from(c[2]);
        c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

/// The noise of an id at a position.
pub(super) fn gumbel(id: usize, position: u32, seed: u64) -> f64 {
    let bits = philox([(id / 4) as u32, position, 0, 0], seed)[id % 4];
    let v = ((f64::from(bits) + 0.5) / 4_294_967_296.0).min(1.0 - 1.0 / 16_777_216.0);
    -(-(-v).ln_1p()).ln()
}

/// llama.cpp's penalties over the window of `tokens[..=position]`.
pub(super) fn penalised(
    logits: &[f32],
    tokens: &[u32],
    window: usize,
    [repeat, frequency, presence]: [f32; 3],
) -> Vec<f32> {
    let window = &tokens[tokens.len().saturating_sub(window)..];
    let change = |(id, &logit): (usize, &f32)| {
        let count = window.iter().filter(|&&token| token as usize == id).count();
        if count == 0 {
            return logit;
        }
        let scaled = if logit <= 0.0 { logit * repeat } else { logit / repeat };
        scaled - (count as f32 * frequency + presence)
    };
    logits.iter().enumerate().map(change).collect()
}

/// Fails if draws (ids) do not follow `probabilities` (Pearson's chi-squared, the rare ones in one cell).
pub(super) fn assert_drawn_by(probabilities: &[f64], draws: &[u32], what: &str) {
    let n = draws.len() as f64;
    let mut cells: Vec<(f64, f64)> = vec![(0.0, 0.0)];
    for (id, p) in probabilities.iter().enumerate() {
        let seen = draws.iter().filter(|&&draw| draw as usize == id).count() as f64;
        assert!(*p > 0.0 || seen == 0.0, "{what}: {id} was drawn {seen} times");
        match p * n >= 5.0 {
            true => cells.push((p * n, seen)),
            false => cells[0] = (cells[0].0 + p * n, cells[0].1 + seen),
        }
    }
    cells.retain(|cell| cell.0 > 0.0);
    if cells[0].0 < 5.0 && cells.len() > 1 {
        let rare = cells.remove(0);
        cells[0] = (cells[0].0 + rare.0, cells[0].1 + rare.1);
    }
    let chi: f64 = cells.iter().map(|(expected, seen)| (seen - expected).powi(2) / expected).sum();
    let freedom = cells.len() as f64 - 1.0;
    // Four standard deviations, and more for few cells, whose distribution has a long tail: about one in 10,000.
    let bound = freedom + 4.0 * (2.0 * freedom).sqrt() + 6.0;
    assert!(freedom >= 1.0 && chi < bound, "{what}: chi-squared {chi:.1} over {} cells", cells.len());
}

#[test]
fn philox_gives_the_published_numbers() {
    // `kat_vectors` of the authors' Random123.
    for (counter, seed, expected) in [
        ([0; 4], 0, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([u32::MAX; 4], u64::MAX, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            0x299f_31d0_a409_3822,
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ] {
        assert_eq!(philox(counter, seed), expected);
    }
}

#[test]
fn numbers_for_the_kernels_are_finite() {
    assert_eq!([-1.0, 0.0, 0.7, 1e-40].map(noise_temperature), [0.0, 0.0, 0.7, 1e-40]);
    assert_eq!([0.5, 1e-4, 2.0].map(sharpness), [2.0, 1e4, 0.5]);
    let largest = 32.0;
    for temperature in [f32::from_bits(1), 1e-40, 1.0, f32::MAX] {
        assert!((noise_temperature(temperature) * largest).is_finite());
        // Times the largest difference that the kernel takes.
        assert!((sharpness(temperature) * 1e8).is_finite() && sharpness(temperature) >= 0.0);
    }
    assert_eq!([1.0, 0.5].map(log_min_p), [0.0, -std::f32::consts::LN_2]);
    assert!([0.0, 1e-45].into_iter().all(|p| log_min_p(p).is_finite()) && log_min_p(0.0) < -2e38);
    assert_eq!(seed_words(0x1234_5678_9abc_def0), [0x9abc_def0, 0x1234_5678]);
}
