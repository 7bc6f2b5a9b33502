//! Drawing from the top k in two steps, top-p and min-p between them.

use super::sampling::{assert_drawn_by, assert_only, labs, memory, order, penalised, philox, sorted};
use super::{Lab, Memory, Step, Tensor, floats};
use crate::kernels::draw::{self, Draw};
use crate::kernels::sampling::{
    DrawOptions, MOST_K, PAIR_FLOATS, Penalties, log_min_p, seed_words, sharpness,
};
use crate::kernels::top_candidates::{self, TopCandidates, supports};
use crate::layout::WeightsAt;
use gguf::TensorType;
use model::{MOST_NEVER, NO_TOKEN};
use testkit::Random;

/// Where a sequence's ids begin in `tokens`.
const IDS: usize = 2;

#[derive(Debug, Clone, Copy)]
struct Options {
    k: usize,
    top_p: f32,
    min_p: f32,
    min_keep: u32,
    temperature: f32,
    seed: u64,
}

/// llama.cpp's defaults.
const DEFAULTS: Options = Options { k: 40, top_p: 0.95, min_p: 0.05, min_keep: 0, temperature: 0.8, seed: 1 };

/// Both steps for some logits, in scratch with guards around each region.
struct Choice {
    memory: Memory,
    first: TopCandidates,
    second: Draw,
    first_params: top_candidates::Params,
    second_params: draw::Params,
}

impl Choice {
    fn new(logits: &[f32], options: Options, penalties: Option<Penalties>) -> Self {
        let mut memory = memory();
        memory.tokens.resize(IDS + 100, u32::MAX);
        let n_vocab = logits.len();
        assert!(supports(options.k as i32, n_vocab));
        let first = TopCandidates { n_vocab, penalties: penalties.is_some() };
        let second = Draw { n_vocab, embedding: None };
        let logits = memory.floats(logits) as u32;
        let best = memory.region(first.len_best()) as u32;
        let x = memory.region(0) as u32;
        let (ids, position, k) = (IDS as u32, 0, options.k as u32);
        let penalties =
            penalties.unwrap_or(Penalties { window: 0, repeat: 1.0, frequency: 0.0, presence: 0.0 });
        let never = [NO_TOKEN; MOST_NEVER];
        let first_params = top_candidates::Params { logits, best, k, ids, position, penalties, never };
        let second_params = draw::Params {
            weights: WeightsAt::default(),
            best,
            x,
            ids,
            position,
            options: DrawOptions {
                k,
                min_keep: options.min_keep,
                top_p: options.top_p,
                log_min_p: log_min_p(options.min_p),
                sharpness: sharpness(options.temperature),
                seed: seed_words(options.seed),
            },
        };
        Self { memory, first, second, first_params, second_params }
    }

    fn first(&self, position: u32) -> Step {
        let params = top_candidates::Params { position, ..self.first_params };
        Step::new(self.first.kernel(), &params, self.first.grid())
    }

    fn second(&self, position: u32) -> Step {
        let params = draw::Params { position, ..self.second_params };
        Step::new(self.second.kernel(), &params, self.second.grid())
    }

    /// Ids drawn at the positions from 0 on, all from the same logits, and all of memory.
    fn run(&self, lab: &mut Lab, n_draws: usize, what: &str) -> (Vec<u32>, Memory) {
        let mut before = self.memory.clone();
        before.tokens.resize(IDS + 1 + n_draws.max(100), u32::MAX);
        let seconds = (0..n_draws as u32).map(|position| self.second(position));
        let steps: Vec<Step> = std::iter::once(self.first(0)).chain(seconds).collect();
        let after = lab.run_all(&steps, &before);
        let best = self.first_params.best as usize;
        let len = PAIR_FLOATS * self.first.n_chunks() * self.first_params.k as usize;
        assert_only(&before.scratch, &after.scratch, &[best..best + len], what);
        let drawn = IDS + 1..IDS + 1 + n_draws;
        assert_only(&before.tokens, &after.tokens, std::slice::from_ref(&drawn), what);
        (after.tokens[drawn].to_vec(), after)
    }

    /// The candidates that the first step left in each chunk.
    fn lists(&self, after: &Memory) -> Vec<Vec<(f32, usize)>> {
        let best = self.first_params.best as usize;
        let k = self.first_params.k as usize;
        let pairs = floats(&after.scratch[best..best + PAIR_FLOATS * k * self.first.n_chunks()]);
        pairs
            .chunks(PAIR_FLOATS * k)
            .map(|list| list.chunks(PAIR_FLOATS).map(|pair| (pair[0], pair[1] as usize)).collect())
            .collect()
    }
}

/// What the steps leave, ids with the weights by which they are drawn, and how far top-p's decision was from another.
fn left(logits: &[f32], options: Options) -> (Vec<(usize, f64)>, f64) {
    let mut ids: Vec<usize> = sorted(logits).into_iter().take(options.k).collect();
    let top = f64::from(logits[ids[0]]);
    let weight = |id: usize, temperature: f32| ((f64::from(logits[id]) - top) / f64::from(temperature)).exp();
    let mut margin = f64::INFINITY;
    if options.top_p < 1.0 {
        let total: f64 = ids.iter().map(|&id| weight(id, 1.0)).sum();
        let mut sum = 0.0;
        let sums: Vec<f64> = ids.iter().map(|&id| (sum += weight(id, 1.0) / total, sum).1).collect();
        margin = sums.iter().fold(margin, |m, s| m.min((s - f64::from(options.top_p)).abs()));
        let n = sums.iter().position(|&s| s >= f64::from(options.top_p)).map_or(ids.len(), |i| i + 1);
        ids.truncate(n.max(options.min_keep as usize));
    }
    if options.min_p > 0.0 {
        let least = logits[ids[0]] + options.min_p.ln();
        let n = ids.iter().take_while(|&&id| logits[id] >= least).count();
        ids.truncate(n.max(options.min_keep as usize).max(1));
    }
    (ids.into_iter().map(|id| (id, weight(id, options.temperature))).collect(), margin)
}

/// The id that the hash draws at a position, and how far its number was from another's.
fn drawn(left: &[(usize, f64)], position: u32, seed: u64) -> (usize, f64) {
    let even = (f64::from(philox([0, position, 1, 0], seed)[0] >> 9) + 0.5) / 8_388_608.0;
    let total: f64 = left.iter().map(|c| c.1).sum();
    let mut sum = 0.0;
    let mut margin = f64::INFINITY;
    let mut choice = None;
    for &(id, weight) in left {
        sum += weight / total;
        margin = margin.min((sum - even).abs());
        if sum >= even {
            choice = choice.or(Some(id));
        }
    }
    (choice.unwrap_or(left[left.len() - 1].0), margin)
}

/// Logits as a model has them: many low, few high.
fn logits(n: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..n).map(|_| (0..5).map(|_| random.signed_unit()).sum::<f32>().powi(3) * 0.35).collect()
}

#[test]
fn the_candidates_of_each_chunk_are_its_best_in_order() {
    let mut labs = labs();
    for n in [1, 700, 2503, 49_152] {
        let mut cases =
            vec![("random", logits(n, 5)), ("all equal", vec![2.0; n]), ("all NaN", vec![f32::NAN; n])];
        // Equals at the edge of the best, NaN and infinities among them.
        cases.push((
            "few values",
            (0..n)
                .map(|i| [1.0, 2.0, -0.0, 0.0, f32::NAN, 2.5, f32::NEG_INFINITY, -1.0][i * i % 97 % 8])
                .collect(),
        ));
        cases.push(("rising", (0..n).map(|i| i as f32).collect()));
        cases
            .push(("infinite", (0..n).map(|i| [f32::INFINITY, f32::NEG_INFINITY, 0.0][i * 7 % 3]).collect()));
        for ((what, logits), k) in cases.iter().zip([40, 64, 64, 64, 1, 33]) {
            let what = format!("{what} of {n}");
            let choice = Choice::new(logits, Options { k, ..DEFAULTS }, None);
            let [a, b, c] = labs.each_mut().map(|lab| choice.run(lab, 1, &what).1);
            assert!(a.scratch == b.scratch && a.scratch == c.scratch, "{what}: kinds of shaders differ");
            assert!(a.tokens == b.tokens && a.tokens == c.tokens, "{what}: kinds of shaders differ");
            assert!(
                choice.run(&mut labs[1], 1, &what).1.scratch == b.scratch,
                "{what}: a second run differs"
            );
            for (i, (chunk, list)) in logits.chunks(1024).zip(choice.lists(&a)).enumerate() {
                let got: Vec<_> = list.iter().map(|&(v, id)| (order(v), id)).collect();
                let want: Vec<_> =
                    sorted(chunk).into_iter().map(|j| (order(chunk[j]), 1024 * i + j)).collect();
                let n_real = k.min(want.len());
                assert_eq!(got[..n_real], want[..n_real], "{what}, k {k}: chunk {i}");
                assert!(
                    got[n_real..].iter().all(|&(v, id)| v == i64::MIN && id >= n),
                    "{what}: behind the end"
                );
            }
        }
    }
}

/// Ids that are never chosen are as if their logits were negative infinity.
#[test]
fn some_ids_are_never_among_the_candidates() {
    let mut labs = labs();
    let logits = logits(2503, 8);
    let best = sorted(&logits);
    let never = [best[0], best[1], best[7], best[39]].map(|id| id as u32);
    let mut without = logits.clone();
    never.iter().for_each(|&id| without[id as usize] = f32::NEG_INFINITY);
    let mut choice = Choice::new(&logits, DEFAULTS, None);
    choice.first_params.never = never;
    let expected = Choice::new(&without, DEFAULTS, None).run(&mut labs[0], 60, "without").0;
    assert!(expected.iter().all(|id| !never.contains(id)));
    for lab in &mut labs {
        assert_eq!(choice.run(lab, 60, "never").0, expected);
    }
}

#[test]
fn draws_and_the_sets_they_come_from_are_those_of_the_cpu() {
    const N: usize = 250;
    let mut labs = labs();
    let (mut clear, mut all) = (0, 0);
    for (case, options) in [
        DEFAULTS,
        Options { k: 64, min_p: 0.0, top_p: 1.0, temperature: 1e9, ..DEFAULTS },
        Options { k: 64, min_p: 0.0, top_p: 0.6, temperature: 1e30, ..DEFAULTS },
        Options { k: 50, min_p: 0.1, top_p: 1.0, temperature: f32::MAX, ..DEFAULTS },
        Options { k: 7, top_p: 0.8, min_p: 0.3, temperature: 2.0, seed: u64::MAX - 5, ..DEFAULTS },
        Options { k: 64, top_p: 0.2, min_p: 0.9, min_keep: 9, temperature: 100.0, ..DEFAULTS },
        Options { k: 5, top_p: 0.0, min_p: 1.0, min_keep: 90, temperature: 100.0, ..DEFAULTS },
        Options { k: 30, top_p: 0.0, temperature: 100.0, ..DEFAULTS },
        Options { k: 30, min_p: 1.0, temperature: 100.0, ..DEFAULTS },
        Options { k: 40, temperature: 1e-40, ..DEFAULTS },
        Options { k: 1, ..DEFAULTS },
        Options { k: 64, min_p: 0.0, top_p: 1.0, ..DEFAULTS },
    ]
    .into_iter()
    .enumerate()
    {
        for n in [30, 1025, 2503, 49_152] {
            let seed = (100 * case + n) as u64;
            let what = format!("{options:?} of {n}, logits {seed}");
            let logits = logits(n, seed);
            let options = Options { seed: options.seed.wrapping_add(seed), ..options };
            let (left, margin) = left(&logits, options);
            assert!(margin > 1e-5, "{what}: {margin:.1e} is too close to call");
            let choice = Choice::new(&logits, options, None);
            // The large vocabulary takes long without a GPU.
            let n_draws = if n > 10_000 { 8 } else { N };
            let [a, b, c] = labs.each_mut().map(|lab| choice.run(lab, n_draws, &what).0);
            assert!(a == b && a == c, "{what}: kinds of shaders differ");
            for (position, &id) in (0..).zip(&a) {
                let (expected, margin) = drawn(&left, position, options.seed);
                all += 1;
                if margin > 1e-5 {
                    clear += 1;
                    assert_eq!(id as usize, expected, "{what} at {position}");
                } else {
                    assert!(left.iter().any(|c| c.0 == id as usize), "{what} at {position}");
                }
            }
        }
    }
    assert!(clear * 100 > all * 98, "{clear} of {all} draws are clear");
}

#[test]
fn special_numbers_are_chosen_last() {
    let mut labs = labs();
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let put = |n: usize, fill: f32, at: &[(usize, f32)]| {
        let mut logits = vec![fill; n];
        at.iter().for_each(|&(i, v)| logits[i] = v);
        logits
    };
    for (what, logits, possible) in [
        ("all NaN", put(1500, nan, &[]), vec![0]),
        ("one NaN", vec![nan], vec![0]),
        ("one number", vec![-7.0], vec![0]),
        ("all negative infinity", put(1500, -inf, &[(0, nan)]), vec![1]),
        ("NaN, then a negative infinity", put(1500, nan, &[(1200, -inf), (1300, -inf)]), vec![1200]),
        ("one number among NaN", put(1500, nan, &[(1027, -3e38), (3, -inf)]), vec![1027]),
        ("one among negative infinities", put(1500, -inf, &[(1499, -5.0)]), vec![1499]),
        ("infinities", put(1500, 1.0, &[(9, inf), (1100, inf), (30, nan)]), vec![9, 1100]),
        ("far apart", put(1500, -3e38, &[(77, 3e38), (1100, 3e38)]), vec![77, 1100]),
    ] {
        for options in [DEFAULTS, Options { k: 64, top_p: 1.0, min_p: 0.0, ..DEFAULTS }] {
            let choice = Choice::new(&logits, options, None);
            for lab in &mut labs {
                let mut ids = choice.run(lab, 20, what).0;
                ids.sort_unstable();
                ids.dedup();
                assert_eq!(ids, possible, "{what}");
            }
        }
    }
}

#[test]
fn the_penalties_come_first() {
    let [mut lab, ..] = labs();
    let mut moved = 0;
    for seed in 0..8 {
        let logits = logits(2503, 40 + seed);
        let likely = sorted(&logits);
        let tokens: Vec<u32> = (0..60).map(|i| likely[i * i % 23] as u32).collect();
        let numbers = [1.4, 0.1, 0.5];
        let [repeat, frequency, presence] = numbers;
        let penalties = Penalties { window: 50, repeat, frequency, presence };
        let mut choice = Choice::new(&logits, DEFAULTS, Some(penalties));
        choice.memory.tokens[IDS..IDS + 60].copy_from_slice(&tokens);
        let expected = penalised(&logits, &tokens, 50, numbers);
        let after = lab.run_all(&[choice.first(59), choice.second(59)], &choice.memory);
        for (i, (chunk, list)) in expected.chunks(1024).zip(choice.lists(&after)).enumerate() {
            for (rank, (j, (value, id))) in sorted(chunk).into_iter().zip(list).enumerate() {
                let what = format!("seed {seed}, chunk {i}, rank {rank}: {value} of {id}");
                assert!((value - chunk[j]).abs() <= 2e-6 * chunk[j].abs(), "{what}, not {}", chunk[j]);
                assert!((expected[id] - value).abs() <= 2e-6 * value.abs(), "{what}, not {}", expected[id]);
            }
        }
        let (left, margin) = left(&expected, DEFAULTS);
        let (id, other) = drawn(&left, 59, DEFAULTS.seed);
        if margin.min(other) > 1e-5 {
            assert_eq!(after.tokens[IDS + 60], id as u32, "seed {seed}");
        }
        moved += usize::from(sorted(&expected)[0] != likely[0]);
    }
    assert!(moved >= 4, "the penalties change the likeliest in {moved} cases");
}

#[test]
fn draws_follow_the_probabilities() {
    const N: usize = 20_000;
    let [_, mut lab, _] = labs();
    for options in [DEFAULTS, Options { temperature: 1.5, k: 12, min_p: 0.0, seed: 9, ..DEFAULTS }] {
        let logits: Vec<f32> = Random::new(77).vector(90, 3.0);
        let (left, margin) = left(&logits, options);
        assert!(margin > 1e-5 && left.len() > 5, "{margin} {}", left.len());
        let total: f64 = left.iter().map(|c| c.1).sum();
        let mut probabilities = vec![0.0; logits.len()];
        left.iter().for_each(|&(id, weight)| probabilities[id] = weight / total);
        let ids = Choice::new(&logits, options, None).run(&mut lab, N, "draws").0;
        assert_drawn_by(&probabilities, &ids, &format!("{options:?}"));
    }
}

#[test]
fn the_drawn_token_brings_its_embedding() {
    let mut labs = labs();
    let mut random = Random::new(22);
    let (n_vocab, n_embd) = (1100, 256);
    let tensor = Tensor::random(&mut random, TensorType::Q6_K, n_vocab, n_embd);
    let mut choice = Choice::new(&logits(n_vocab, 3), DEFAULTS, None);
    choice.memory.weights = tensor.words.clone();
    choice.second.embedding = Some(TensorType::Q6_K);
    let x = choice.memory.region(n_embd);
    let [quads, words, pairs, supers] = tensor.starts;
    choice.second_params = draw::Params {
        weights: WeightsAt { quads, words, pairs, supers, n_units: tensor.n_units },
        x: x as u32,
        ..choice.second_params
    };
    for lab in &mut labs {
        let after = lab.run_all(&[choice.first(8), choice.second(8)], &choice.memory);
        let id = after.tokens[IDS + 9] as usize;
        assert!(id < n_vocab);
        assert_eq!(floats(&after.scratch[x..x + n_embd]), tensor.values[id * n_embd..][..n_embd]);
    }
}

#[test]
fn what_is_not_supported_is_said_to_be() {
    assert!([1, 40, MOST_K as i32].into_iter().all(|k| supports(k, 49_152)));
    assert!([0, -1, i32::MIN, MOST_K as i32 + 1].into_iter().all(|k| !supports(k, 49_152)));
    assert!(!supports(40, 1 << 24));
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let mut lab = Lab::emulator();
    let logits = logits(2503, 5);
    let choice = Choice::new(&logits, DEFAULTS, None);
    let (drawn_ids, after) = choice.run(&mut lab, 12, "candidates");
    for (i, (chunk, list)) in logits.chunks(1024).zip(choice.lists(&after)).enumerate() {
        let want: Vec<usize> = sorted(chunk).into_iter().take(DEFAULTS.k).map(|j| 1024 * i + j).collect();
        assert_eq!(list.into_iter().map(|(_, id)| id).collect::<Vec<_>>(), want, "chunk {i}");
    }
    let (left, _) = left(&logits, DEFAULTS);
    for (position, &id) in (0..).zip(&drawn_ids) {
        let (want, margin) = drawn(&left, position, DEFAULTS.seed);
        assert!(id as usize == want || margin < 1e-5, "position {position}: {id} for {want}");
    }
    assert!(choice.run(&mut lab, 12, "again").1.scratch == after.scratch, "the order of threads shows");
}
