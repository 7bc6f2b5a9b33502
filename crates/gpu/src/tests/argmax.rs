//! Choosing a token in two steps: the best logit, plain, penalised, or with noise.

use super::sampling::{assert_drawn_by, assert_only, gumbel, labs, memory, order, penalised, sorted};
use super::{Lab, Memory, Step, Tensor, floats};
use crate::kernels::argmax::{self, Argmax};
use crate::kernels::next_token::{self, NextToken};
use crate::kernels::sampling::{PAIR_FLOATS, Penalties, noise_temperature, seed_words};
use crate::layout::WeightsAt;
use gguf::TensorType;
use model::{MOST_NEVER, NO_TOKEN};
use testkit::Random;

const OFF: Penalties = Penalties { window: 0, repeat: 1.0, frequency: 0.0, presence: 0.0 };
/// No ids that are never chosen.
const NOBODY: [u32; MOST_NEVER] = [NO_TOKEN; MOST_NEVER];
/// Where a sequence's ids begin in `tokens`.
const IDS: usize = 2;

/// Both steps for some logits, in scratch with guards around each region.
struct Choice {
    memory: Memory,
    first: Argmax,
    second: NextToken,
    first_params: argmax::Params,
    second_params: next_token::Params,
}

impl Choice {
    fn new(logits: &[f32], penalties: bool, noise: bool) -> Self {
        let mut memory = memory();
        memory.tokens.resize(IDS + 100, u32::MAX);
        let first = Argmax { n_vocab: logits.len(), penalties, noise };
        let second = NextToken { n_vocab: logits.len(), n_pairs: first.n_chunks(), embedding: None };
        let logits = memory.floats(logits) as u32;
        let best = memory.region(PAIR_FLOATS * first.n_chunks()) as u32;
        let x = memory.region(0) as u32;
        let (ids, position) = (IDS as u32, 0);
        let first_params = argmax::Params {
            logits,
            best,
            ids,
            position,
            penalties: OFF,
            temperature: 0.0,
            seed: [0; 2],
            never: NOBODY,
        };
        let second_params = next_token::Params { weights: WeightsAt::default(), best, x, ids, position };
        Self { memory, first, second, first_params, second_params }
    }

    /// The two steps at a position.
    fn steps(&self, position: u32) -> [Step; 2] {
        let first = argmax::Params { position, ..self.first_params };
        let second = next_token::Params { position, ..self.second_params };
        [
            Step::new(self.first.kernel(), &first, self.first.grid()),
            Step::new(self.second.kernel(), &second, self.second.grid()),
        ]
    }

    /// The chosen id at a position, the best of each chunk, and all of memory.
    fn run(&self, lab: &mut Lab, position: u32, what: &str) -> (u32, Vec<(f32, usize)>, Memory) {
        let after = lab.run_all(&self.steps(position), &self.memory);
        let best = self.first_params.best as usize;
        let pairs = best..best + PAIR_FLOATS * self.first.n_chunks();
        assert_only(&self.memory.scratch, &after.scratch, std::slice::from_ref(&pairs), what);
        let next = IDS + position as usize + 1;
        assert_only(&self.memory.tokens, &after.tokens, &[next..next + 1], what);
        let pairs = floats(&after.scratch[pairs])
            .chunks(PAIR_FLOATS)
            .map(|pair| (pair[0], pair[1] as usize))
            .collect();
        (after.tokens[next], pairs, after)
    }
}

/// Logits in which the choice is hard, by name. Some need more than one chunk.
fn edges(n: usize) -> Vec<(&'static str, Vec<f32>)> {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let put = |fill: f32, at: &[(usize, f32)]| {
        let mut logits = vec![fill; n];
        at.iter().for_each(|&(i, v)| logits[i % n] = v);
        logits
    };
    vec![
        ("all equal", put(1.5, &[])),
        ("all zero but for signs", (0..n).map(|i| if i % 3 == 0 { -0.0 } else { 0.0 }).collect()),
        ("-0 before 0", put(-1.0, &[(7, -0.0), (2000, 0.0)])),
        ("0 before -0", put(-1.0, &[(7, 0.0), (2000, -0.0)])),
        ("NaN first", put(-2.0, &[(0, nan), (n - 2, -1.0)])),
        ("NaN last", put(-2.0, &[(n - 1, nan), (5, -1.0)])),
        ("all NaN", put(nan, &[])),
        ("NaN of either sign", (0..n).map(|i| if i % 2 == 0 { nan } else { -nan }).collect()),
        ("all NaN but a negative infinity", put(nan, &[(n - 2, -inf)])),
        ("all negative infinity", put(-inf, &[])),
        ("negative infinity behind NaN", put(-inf, &[(0, nan), (1, nan)])),
        ("infinities", put(3.0, &[(9, inf), (1030, inf), (4, -inf)])),
        ("the largest numbers", put(f32::MIN, &[(1500, f32::MAX), (3, f32::MAX.next_down())])),
        ("last", put(0.0, &[(n - 1, 1.0)])),
        ("first", put(0.0, &[(0, 1.0)])),
        ("equals in chunks apart", put(0.0, &[(2400, 8.0), (1700, 8.0), (n - 1, 8.0)])),
        ("equals in one thread", put(0.0, &[(1026, 8.0), (1025, 8.0), (1027, 8.0)])),
        ("denormals", (0..n).map(|i| f32::from_bits((i as u32 * 7919) % 100_000)).collect()),
        ("negative denormals", (0..n).map(|i| -f32::from_bits(1 + (i as u32 * 7919) % 100_000)).collect()),
        ("neighbours", put(1.0, &[(70, 1f32.next_up()), (2100, 1f32.next_up().next_up())])),
        ("all negative", (0..n).map(|i| -3.0 - ((i * 31) % n) as f32).collect()),
    ]
}

#[test]
fn the_best_is_the_one_that_the_cpu_finds() {
    let mut labs = labs();
    for n in [1, 3, 1023, 1025, 2503, 49_152] {
        let cases = match n {
            2503 => edges(n),
            1 => [0.0, f32::NAN, f32::NEG_INFINITY, -5.0].map(|v| ("single", vec![v])).to_vec(),
            _ => (1..5).map(|seed| ("random", Random::new(seed).vector(n, 20.0))).collect(),
        };
        for (what, logits) in cases {
            let what = format!("{what} of {n}");
            let choice = Choice::new(&logits, false, false);
            let [a, b, c] = labs.each_mut().map(|lab| choice.run(lab, 5, &what));
            assert_eq!(a.0 as usize, sorted(&logits)[0], "{what}");
            for (chunk, (i, &(value, index))) in logits.chunks(1024).zip(a.1.iter().enumerate()) {
                let best = sorted(chunk)[0];
                assert_eq!((order(value), index), (order(chunk[best]), 1024 * i + best), "{what}: chunk {i}");
            }
            assert!(
                a.2.scratch == b.2.scratch && a.2.scratch == c.2.scratch,
                "{what}: kinds of shaders differ"
            );
            let again = choice.run(&mut labs[1], 5, &what);
            assert!(again.2.scratch == b.2.scratch, "{what}: a second run differs");
            // What is behind the logits is poison; a number there must be ignored as well.
            let mut behind = Choice::new(&logits, false, false);
            let end = behind.first_params.logits as usize + logits.len();
            behind.memory.scratch[end..end + 16].fill(f32::INFINITY.to_bits());
            assert_eq!(behind.run(&mut labs[1], 5, &what).0, a.0, "{what}: looked behind the end");
        }
    }
}

/// Ids that are never chosen are as if their logits were negative infinity.
#[test]
fn some_ids_are_never_chosen() {
    let mut labs = labs();
    let mut cases = edges(2503);
    cases.extend((1..4).map(|seed| ("random", Random::new(seed).vector(2503, 20.0))));
    for (what, logits) in cases {
        let best: Vec<u32> = sorted(&logits).into_iter().map(|id| id as u32).collect();
        for never in [[best[0], NO_TOKEN, best[1], 0], [best[1]; 4], [best[3], best[2], best[1], best[0]]] {
            let what = format!("{what}, never {never:?}");
            let mut without = logits.clone();
            for id in never.into_iter().filter(|&id| id != NO_TOKEN) {
                // Of NaN there is nothing to be made less likely.
                let logit = &mut without[id as usize];
                *logit = if logit.is_nan() { *logit } else { f32::NEG_INFINITY };
            }
            let mut choice = Choice::new(&logits, false, false);
            choice.first_params.never = never;
            let found = labs.each_mut().map(|lab| choice.run(lab, 5, &what).0 as usize);
            assert_eq!(found, [sorted(&without)[0]; 3], "{what}");
        }
    }
}

#[test]
fn the_next_token_brings_its_embedding() {
    let mut labs = labs();
    let mut random = Random::new(21);
    // More pairs than threads; an odd number.
    let (n_vocab, n_embd, n_pairs) = (9970, 96, 311);
    for ty in [TensorType::Q8_0, TensorType::F16] {
        let tensor = Tensor::random(&mut random, ty, n_vocab, n_embd);
        let mut memory = memory();
        memory.weights = tensor.words.clone();
        memory.tokens = vec![u32::MAX; 12];
        let best = memory.region(PAIR_FLOATS * n_pairs);
        let x = memory.region(n_embd);
        let numbers = random.vector(n_pairs, 3.0);
        for (i, &number) in numbers.iter().enumerate() {
            memory.scratch[best + PAIR_FLOATS * i] = number.to_bits();
            memory.scratch[best + PAIR_FLOATS * i + 1] = ((32 * i + i % 32) as f32).to_bits();
        }
        let kernel = NextToken { n_vocab, n_pairs, embedding: Some(ty) };
        let params = next_token::Params {
            weights: WeightsAt {
                quads: 0,
                words: tensor.starts[1],
                pairs: tensor.starts[2],
                supers: tensor.starts[3],
                n_units: tensor.n_units,
            },
            best: best as u32,
            x: x as u32,
            ids: 3,
            position: 4,
        };
        let pair = sorted(&numbers)[0];
        let id = 32 * pair + pair % 32;
        for lab in &mut labs {
            let after = lab.run_all(&[Step::new(kernel.kernel(), &params, kernel.grid())], &memory);
            assert_eq!(after.tokens[8], id as u32, "{ty}");
            assert_only(&memory.tokens, &after.tokens, &[8..9], "tokens");
            assert_only(&memory.scratch, &after.scratch, &[x..x + n_embd], "scratch");
            assert_eq!(floats(&after.scratch[x..x + n_embd]), tensor.values[id * n_embd..][..n_embd], "{ty}");
        }
    }
}

#[test]
fn penalties_are_those_of_the_cpu() {
    let mut labs = labs();
    let n = 2503;
    let mut changed = 0;
    for seed in 0..24 {
        let what = format!("seed {seed}");
        let mut random = Random::new(1000 + seed);
        let logits = random.vector(n, 10.0);
        let position = [0, 3, 64, 99, 500, 700][seed as usize % 6];
        let window = [1, 64, 256, 300, 0, 7][seed as usize / 4];
        let [repeat, frequency, presence] =
            [[1.3, 0.0, 0.0], [0.8, 0.4, 0.0], [1.0, 0.0, 2.5], [1.7, 0.3, -0.5]][seed as usize % 4];
        // The likeliest ids of all chunks, so that the penalties decide; the last id; ids that do not exist.
        let likely = sorted(&logits);
        let mut choice = Choice::new(&logits, true, false);
        let tokens: Vec<u32> = (0..=position)
            .map(|i| match i % 9 {
                7 => n as u32 - 1,
                8 => n as u32 + 5,
                _ => likely[random.below(12)] as u32,
            })
            .collect();
        choice.memory.tokens.resize(IDS + 800, likely[0] as u32);
        choice.memory.tokens[..IDS].fill(likely[0] as u32);
        choice.memory.tokens[IDS..][..tokens.len()].copy_from_slice(&tokens);
        choice.first_params.penalties = Penalties { window: window as u32, repeat, frequency, presence };
        let expected = penalised(&logits, &tokens, window, [repeat, frequency, presence]);
        changed += usize::from(sorted(&expected)[0] != likely[0]);
        let [(id, pairs, a), b, c] = labs.each_mut().map(|lab| choice.run(lab, position, &what));
        for (i, (chunk, (value, _))) in expected.chunks(1024).zip(&pairs).enumerate() {
            let best = chunk[sorted(chunk)[0]];
            assert!((value - best).abs() <= 2e-6 * best.abs(), "{what}: chunk {i} has {value}, not {best}");
        }
        assert!(expected[id as usize] >= expected[sorted(&expected)[0]] - 2e-5, "{what}: {id}");
        assert!(a.scratch == b.2.scratch && a.scratch == c.2.scratch, "{what}: kinds of shaders differ");
    }
    assert!(changed >= 8, "the penalties decide in {changed} cases");
}

#[test]
fn penalties_look_at_the_window_and_nothing_else() {
    let mut labs = labs();
    // Id `a` has a logit of 0.5 and is chosen unless it is penalised: then it is 9.
    for (what, a, at, position, window, stays) in [
        ("the only token", 2, 0, 0, 64, false),
        ("the first of a few", 1023, 0, 3, 64, false),
        ("the first of the window", 1024, 7, 10, 4, false),
        ("the one before the window", 1024, 6, 10, 4, true),
        ("the last", 2502, 10, 10, 1, false),
        ("no window", 2502, 10, 10, 0, true),
        ("further back than there are threads", 2047, 10, 300, 291, false),
        ("just too far back", 2047, 10, 300, 290, true),
        ("the next position, of another text", 2047, 11, 10, 64, true),
        ("before the sequence", 5, -1, 10, 64, true),
    ] {
        let mut logits = vec![0.0; 2503];
        logits[a] = 0.5;
        logits[9] = 0.4;
        let mut choice = Choice::new(&logits, true, false);
        choice.memory.tokens = vec![2500; 400];
        choice.memory.tokens[(IDS as i32 + at) as usize] = a as u32;
        choice.first_params.penalties = Penalties { window, repeat: 2.0, frequency: 0.0, presence: 0.0 };
        for lab in &mut labs {
            let id = choice.run(lab, position, what).0;
            assert_eq!(id as usize, if stays { a } else { 9 }, "{what}");
        }
    }
}

#[test]
fn noise_is_that_of_the_cpu() {
    let mut labs = labs();
    let n = 2503;
    let (mut clear, mut all) = (0, 0);
    for (seed, temperature, scale) in
        [(1u64, 0.8f32, 6.0f32), (0xfeed_beef_1234_5678, 1.0, 0.0), (7, 1e-42, 9.0), (8, 3e38, 5.0)]
    {
        let logits = Random::new(seed).vector(n, scale);
        let mut choice = Choice::new(&logits, false, true);
        choice.first_params.temperature = noise_temperature(temperature);
        choice.first_params.seed = seed_words(seed);
        let [a, b, c] = labs.each_mut().map(|lab| {
            let steps: Vec<Step> = (0..99).flat_map(|position| choice.steps(position)).collect();
            lab.run_all(&steps, &choice.memory)
        });
        assert!(a.tokens == b.tokens && a.tokens == c.tokens, "seed {seed}: kinds of shaders differ");
        for position in 0..99 {
            let id = a.tokens[IDS + position + 1] as usize;
            let score =
                |i: usize| f64::from(logits[i]) / f64::from(temperature) + gumbel(i, position as u32, seed);
            let best =
                (0..n).map(|i| (score(i), i)).fold((f64::MIN, 0), |a, b| if b.0 > a.0 { b } else { a });
            let second = (0..n).filter(|&i| i != best.1).map(score).fold(f64::MIN, f64::max);
            all += 1;
            if best.0 - second > 2e-5 {
                clear += 1;
                assert_eq!(id, best.1, "seed {seed} at {position}: {} above the second", best.0 - second);
            } else {
                assert!(score(id) > best.0 - 4e-5, "seed {seed} at {position}");
            }
        }
    }
    assert!(clear * 100 > all * 95, "{clear} of {all} choices are clear");
}

#[test]
fn noise_has_the_right_size_to_its_ends() {
    let mut labs = labs();
    let temperature = 0.75;
    // At the last positions of one id the hash is 0xffffffc8 and 29.
    let few = |n: usize| (n, (0..40).collect());
    for (n, positions) in [few(1), few(5), few(900), (1, vec![3_974_242, 64_834_730])] {
        let logits = Random::new(n as u64).vector(n, 2.0);
        let mut choice = Choice::new(&logits, false, true);
        choice.first_params.temperature = noise_temperature(temperature);
        choice.first_params.seed = seed_words(1);
        let best = choice.first_params.best as usize;
        for position in positions {
            let noisy = |i: usize| f64::from(logits[i]) + f64::from(temperature) * gumbel(i, position, 1);
            let want = (0..n).map(noisy).fold(f64::MIN, f64::max);
            for lab in &mut labs {
                let [first, _] = choice.steps(position);
                let got = f32::from_bits(lab.run_all(&[first], &choice.memory).scratch[best]);
                // Three ulps of the largest noise, which is what Vulkan allows a logarithm.
                assert!((f64::from(got) - want).abs() < 6e-6, "{n} at {position}: {got} for {want}");
            }
        }
    }
}

#[test]
fn noise_leaves_special_numbers_alone() {
    let [mut lab, ..] = labs();
    for (what, logits) in edges(2503) {
        let special = ["NaN", "infinit"].iter().any(|s| what.contains(s));
        let mut choice = Choice::new(&logits, false, true);
        choice.first_params.seed = [3, 4];
        // Without temperature everything is as without noise, but that a device may take denormals for zeros when it computes.
        if what != "denormals" {
            assert_eq!(choice.run(&mut lab, 1, what).0 as usize, sorted(&logits)[0], "{what}");
        }
        choice.first_params.temperature = 0.7;
        let id = choice.run(&mut lab, 1, what).0 as usize;
        let best = logits[sorted(&logits)[0]];
        if best.is_nan() || best.is_infinite() {
            assert_eq!(id, sorted(&logits)[0], "{what}");
        } else if special {
            assert!(logits[id].is_finite(), "{what}: {id}");
        }
    }
}

#[test]
fn draws_by_noise_follow_the_probabilities() {
    const N: usize = 20_000;
    let [_, mut lab, _] = labs();
    for (seed, temperature) in [(11u64, 1.0f32), (12, 0.5)] {
        let logits = [1.0f32, 0.5, -0.5, 2.0, 0.0, -3.0, 1.5, 1.0, -9.0, 0.25, 2.25, f32::NEG_INFINITY, -1.0];
        let weights = logits.map(|l| (f64::from(l) / f64::from(temperature)).exp());
        let total: f64 = weights.iter().sum();
        let mut choice = Choice::new(&logits, false, true);
        choice.memory.tokens = vec![0; IDS + N + 1];
        choice.first_params.temperature = noise_temperature(temperature);
        choice.first_params.seed = seed_words(seed);
        let steps: Vec<Step> = (0..N as u32).flat_map(|position| choice.steps(position)).collect();
        let after = lab.run_all(&steps, &choice.memory);
        let what = format!("seed {seed}, temperature {temperature}");
        assert_drawn_by(&weights.map(|w| w / total), &after.tokens[IDS + 1..], &what);
        // One draw says nothing about the next.
        let pairs: Vec<u32> =
            after.tokens[IDS + 1..].chunks_exact(2).map(|two| 13 * two[0] + two[1]).collect();
        let both: Vec<f64> = (0..169).map(|i| weights[i / 13] * weights[i % 13] / total / total).collect();
        assert_drawn_by(&both, &pairs, &format!("pairs of {what}"));
    }
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let mut lab = Lab::emulator();
    // Metal's fast math takes denormals for zeros.
    for (what, logits) in edges(2503).into_iter().filter(|(what, _)| !what.contains("denormals")) {
        let choice = Choice::new(&logits, false, false);
        let (id, _, in_order) = choice.run(&mut lab, 5, what);
        assert_eq!(id as usize, sorted(&logits)[0], "{what}");
        assert!(choice.run(&mut lab, 5, what).2.scratch == in_order.scratch, "{what}: the order shows");
    }
    let logits = Random::new(3).vector(2503, 10.0);
    let likely = sorted(&logits);
    let mut choice = Choice::new(&logits, true, false);
    choice.memory.tokens[IDS..IDS + 6].fill(likely[0] as u32);
    choice.first_params.penalties = Penalties { window: 64, repeat: 1.0, frequency: 100.0, presence: 0.0 };
    assert_eq!(choice.run(&mut lab, 5, "penalties").0 as usize, likely[1]);
}
