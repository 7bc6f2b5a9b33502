//! The sampler against plain full-sort definitions of each step, and against numbers that must never change.

use super::candidates::Candidates;
use super::{Pcg32, Sampler, SamplingOptions};
use proptest::prelude::*;

/// The steps as their definitions read, over all tokens in full order; ids and probabilities of those left.
fn by_definition(logits: &[f32], options: &SamplingOptions) -> Vec<(u32, f64)> {
    let mut left: Vec<(u32, f64)> = (0u32..)
        .zip(logits.iter().map(|&l| f64::from(l)))
        .filter(|(_, l)| !l.is_nan() && *l > f64::NEG_INFINITY)
        .collect();
    left.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
    if options.top_k > 0 {
        left.truncate(options.top_k as usize);
    }
    let exp = |left: &[(u32, f64)], t: f64| -> Vec<f64> {
        left.iter().map(|c| ((c.1 - left[0].1) / t).exp()).collect()
    };
    if options.top_p < 1.0 && !left.is_empty() {
        let weights = exp(&left, 1.0);
        let total: f64 = weights.iter().sum();
        let mut sum = 0.0;
        let n = weights.iter().position(|w| {
            sum += w / total;
            sum >= f64::from(options.top_p)
        });
        left.truncate(n.map_or(left.len(), |n| n + 1).max(options.min_keep));
    }
    if options.min_p > 0.0 && !left.is_empty() {
        let weights = exp(&left, 1.0);
        let n = weights.iter().take_while(|&&w| w >= f64::from(options.min_p)).count();
        left.truncate(n.max(options.min_keep));
    }
    let weights = exp(&left, f64::from(options.temperature));
    let total: f64 = weights.iter().sum();
    left.iter().zip(weights).map(|(c, w)| (c.0, w / total)).collect()
}

/// The tokens that the candidates leave, in order of id.
fn left(logits: &[f32], options: &SamplingOptions) -> Vec<u32> {
    let mut candidates = Candidates::default();
    match options.top_k {
        k if k > 0 => candidates.fill_top(logits, k as usize),
        _ => candidates.fill(logits),
    }
    candidates.top_p(options.top_p, options.min_keep);
    candidates.min_p(options.min_p, options.min_keep);
    let mut ids = candidates.ids();
    ids.sort_unstable();
    ids
}

#[expect(clippy::cast_possible_truncation, reason = "logits are f32")]
fn random_logits(n: usize, seed: u64) -> Vec<f32> {
    let mut rng = Pcg32::new(seed, 1);
    (0..n).map(|_| ((0..6).map(|_| rng.next_unit()).sum::<f64>() * 4.0 - 12.0) as f32).collect()
}

fn off() -> SamplingOptions {
    SamplingOptions { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..SamplingOptions::default() }
}

#[test]
fn each_step_leaves_what_was_worked_out_by_hand() {
    // Probabilities 0.1, 0.4, 0.2, 0.3.
    let logits = [0.1f32, 0.4, 0.2, 0.3].map(f32::ln);
    for (options, expected) in [
        (SamplingOptions { top_k: 1, ..off() }, vec![1]),
        (SamplingOptions { top_k: 3, ..off() }, vec![1, 2, 3]),
        (SamplingOptions { top_k: 9, ..off() }, vec![0, 1, 2, 3]),
        (SamplingOptions { top_k: -1, ..off() }, vec![0, 1, 2, 3]),
        (SamplingOptions { top_p: 0.0, ..off() }, vec![1]),
        (SamplingOptions { top_p: 0.39, ..off() }, vec![1]),
        (SamplingOptions { top_p: 0.41, ..off() }, vec![1, 3]),
        (SamplingOptions { top_p: 0.71, ..off() }, vec![1, 2, 3]),
        (SamplingOptions { top_p: 0.39, min_keep: 3, ..off() }, vec![1, 2, 3]),
        (SamplingOptions { min_p: 0.26, ..off() }, vec![1, 2, 3]),
        (SamplingOptions { min_p: 0.51, ..off() }, vec![1, 3]),
        (SamplingOptions { min_p: 1.0, ..off() }, vec![1]),
        (SamplingOptions { min_p: 1.0, min_keep: 2, ..off() }, vec![1, 3]),
        // Top-p sees the probabilities among the top two: 4/7 is enough.
        (SamplingOptions { top_k: 2, top_p: 0.55, ..off() }, vec![1]),
    ] {
        assert_eq!(left(&logits, &options), expected, "{options:?}");
    }
}

#[test]
fn equals_go_by_id_and_nothing_is_chosen_that_is_not_a_number() {
    let logits = [1.0, f32::NAN, 2.0, 2.0, -0.0, 0.0, f32::NEG_INFINITY, 2.0];
    assert_eq!(left(&logits, &SamplingOptions { top_k: 2, ..off() }), [2, 3]);
    assert_eq!(left(&logits, &SamplingOptions { top_k: 5, ..off() }), [0, 2, 3, 4, 7]);
    assert_eq!(left(&logits, &off()), [0, 2, 3, 4, 5, 7]);

    let greedy = |logits: &[f32]| Sampler::new(&SamplingOptions::greedy(), 8).unwrap().sample(logits);
    let drawn = |logits: &[f32]| Sampler::new(&SamplingOptions::default(), 8).unwrap().sample(logits);
    for choose in [&greedy as &dyn Fn(&[f32]) -> u32, &drawn] {
        assert_eq!(choose(&[f32::NAN; 4]), 0);
        assert_eq!(choose(&[f32::NAN, f32::NEG_INFINITY, f32::NEG_INFINITY]), 1);
        assert_eq!(choose(&[f32::NAN, f32::NEG_INFINITY, -5.0, f32::NAN]), 2);
        assert_eq!(choose(&[0.0, f32::INFINITY, 3.0, f32::NAN]), 1);
    }
    assert_eq!(greedy(&[1.0, 3.0, 3.0]), 1);
    assert_eq!(greedy(&[-0.0, 0.0]), 0);
}

#[test]
fn bias_comes_first_and_bans_even_the_best() {
    let bias = |bias: Vec<(u32, f32)>, logits: &[f32]| {
        let options = SamplingOptions { logit_bias: bias, ..SamplingOptions::greedy() };
        Sampler::new(&options, 3).unwrap().sample(logits)
    };
    assert_eq!(bias(vec![(0, 5.0)], &[0.0, 4.0, 1.0]), 0);
    assert_eq!(bias(vec![(1, f32::NEG_INFINITY)], &[0.0, 4.0, 1.0]), 2);
    // A repeat penalty of 2 makes -1 of -0.5 and 1 of 2: the bias decides on which side of 0.
    let options =
        SamplingOptions { logit_bias: vec![(0, 2.0)], repeat_penalty: 4.0, ..SamplingOptions::greedy() };
    let mut sampler = Sampler::new(&options, 3).unwrap();
    sampler.accept(0);
    assert_eq!(sampler.sample(&[2.0, 1.5, 0.0]), 1);
}

#[test]
fn chosen_tokens_are_penalised_in_turn() {
    let options = SamplingOptions { presence_penalty: 10.0, repeat_last_n: 2, ..SamplingOptions::greedy() };
    let mut sampler = Sampler::new(&options, 3).unwrap();
    let chosen: Vec<u32> = (0..6).map(|_| sampler.sample(&[3.0, 2.0, 1.0])).collect();
    assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn draws_follow_the_probabilities() {
    let logits = random_logits(2000, 3);
    for options in [
        SamplingOptions { seed: Some(1), ..SamplingOptions::default() },
        SamplingOptions {
            seed: Some(2),
            temperature: 1.5,
            top_k: 12,
            min_p: 0.0,
            ..SamplingOptions::default()
        },
        SamplingOptions { seed: Some(3), top_k: 0, top_p: 0.3, ..SamplingOptions::default() },
        SamplingOptions { seed: Some(4), temperature: 0.3, ..off() },
    ] {
        const N: usize = 40_000;
        let expected = by_definition(&logits, &options);
        let mut counts = vec![0u32; logits.len()];
        let mut sampler = Sampler::new(&options, logits.len()).unwrap();
        for _ in 0..N {
            counts[sampler.sample(&logits) as usize] += 1;
        }
        // Pearson's chi-squared over the tokens that are expected five times or more, the others together.
        let (mut chi, mut cells, mut rest, mut rest_seen) =
            (0.0, 0.0, 0.0, f64::from(counts.iter().sum::<u32>()));
        for &(id, p) in &expected {
            let (n, seen) = (p * N as f64, f64::from(counts[id as usize]));
            if n < 5.0 {
                rest += n;
                continue;
            }
            rest_seen -= seen;
            cells += 1.0;
            chi += (seen - n).powi(2) / n;
        }
        assert!(
            (rest_seen - rest).abs() <= 5.0 * rest.sqrt() + 1e-6,
            "{options:?}: rare {rest_seen}, not {rest}"
        );
        let bound = cells + 5.0 * f64::sqrt(2.0 * cells);
        assert!(chi < bound, "{options:?}: chi-squared {chi} over {cells} cells");
    }
}

#[test]
fn a_seed_gives_these_tokens_for_ever() {
    let logits = random_logits(1000, 9);
    let draw = |options: SamplingOptions| -> Vec<u32> {
        let mut sampler = Sampler::new(&options, logits.len()).unwrap();
        (0..12).map(|_| sampler.sample(&logits)).collect()
    };
    let seeded = |seed| SamplingOptions { seed: Some(seed), ..SamplingOptions::default() };
    assert_eq!(draw(seeded(42)), draw(seeded(42)));
    assert_ne!(draw(seeded(42)), draw(seeded(43)));
    assert_eq!(draw(seeded(42)), DEFAULTS_42);
    assert_eq!(draw(SamplingOptions { seed: Some(42), temperature: 1.2, ..off() }), EVERYTHING_42);
}

// Also what a Python program with its own PCG32 and the plain definitions of the steps draws.
const DEFAULTS_42: [u32; 12] = [610, 950, 435, 291, 610, 610, 610, 610, 771, 738, 738, 843];
const EVERYTHING_42: [u32; 12] = [204, 633, 950, 738, 408, 291, 435, 125, 709, 663, 659, 854];

#[test]
fn an_unseeded_sampler_says_which_seed_it_took() {
    let sampler = || Sampler::new(&SamplingOptions::default(), 10).unwrap();
    let (a, b) = (sampler(), sampler());
    assert_ne!(a.seed(), b.seed());
    assert!(u32::try_from(a.seed()).is_ok());
    let logits = random_logits(10, 1);
    let mut again =
        Sampler::new(&SamplingOptions { seed: Some(a.seed()), ..Default::default() }, 10).unwrap();
    let mut a = a;
    assert!((0..50).all(|_| a.sample(&logits) == again.sample(&logits)));
}

#[test]
fn a_tiny_temperature_is_greedy() {
    let logits = random_logits(500, 5);
    let best = Sampler::new(&SamplingOptions::greedy(), 500).unwrap().sample(&logits);
    for temperature in [1e-40, 1e-20, 1e-4] {
        let mut sampler = Sampler::new(&SamplingOptions { temperature, ..off() }, 500).unwrap();
        assert!((0..20).all(|_| sampler.sample(&logits) == best), "{temperature}");
    }
}

proptest! {
    #[test]
    fn any_mix_of_steps_leaves_what_the_definitions_do(
        n in 1usize..1500,
        seed in any::<u64>(),
        coarse in any::<bool>(),
        top_k in -1i32..600,
        top_p in 0.0f32..1.2,
        min_p in 0.0f32..0.3,
        min_keep in 0usize..40,
    ) {
        let mut logits = random_logits(n, seed);
        if coarse {
            // Many equals.
            logits.iter_mut().for_each(|l| *l = l.round());
        }
        let options = SamplingOptions { top_k, top_p: top_p.min(1.0), min_p, min_keep, ..off() };
        let expected = by_definition(&logits, &options);
        let mut ids: Vec<u32> = expected.iter().map(|c| c.0).collect();
        ids.sort_unstable();
        prop_assert_eq!(left(&logits, &options), ids);
    }

    #[test]
    fn the_top_k_are_those_of_a_full_sort(values in prop::collection::vec(-8i8..8, 1..700), k in 1usize..300) {
        let logits: Vec<f32> = values.iter().map(|&v| f32::from(v)).collect();
        let mut ids: Vec<u32> = (0u32..).take(logits.len()).collect();
        ids.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
        ids.truncate(k);
        let mut candidates = Candidates::default();
        candidates.fill_top(&logits, k);
        prop_assert_eq!(candidates.ids(), ids);
    }
}
