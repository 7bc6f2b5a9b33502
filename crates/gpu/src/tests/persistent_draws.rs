//! Tokens that the persistent kernel draws, by one group, against the plan of dispatches.

use super::forward::{OWN, options};
use super::persistent::{ALONE, N, decode, decode_by, equip, pass, pass_with, small};
use crate::persistent::Geometry;
use crate::{Activations, GpuForwardPass, GpuOptions};
use model::{Choice, ForwardPass, NO_TOKEN, RopePairing};
use testkit::TinyModel;

/// Drawn tokens are those of the plan, whatever the options, and whether the best were taken before or not; of few and of many that are
/// good enough, and put in order at once or some at a time.
#[test]
fn draws_give_the_tokens_of_the_plan() {
    let of = |top_k, top_p, min_p, min_keep, temperature| {
        (0..2).map(move |seed| Choice { top_k, top_p, min_p, min_keep, temperature, seed, ..Choice::GREEDY })
    };
    let choices: Vec<Choice> = of(40, 0.95, 0.05, 0, 0.8)
        .chain(of(64, 1.0, 0.0, 0, 2.0))
        .chain(of(7, 0.5, 0.0, 3, 1.5))
        .chain(of(33, 1.0, 0.3, 5, 1.0))
        .chain(of(1, 0.95, 0.05, 0, 0.8))
        .collect();
    let mut pass = pass(&TinyModel { gain: 1.5, ..small() }, RopePairing::Adjacent);
    // What would be taken at first is left out.
    let best = decode(&mut pass, 5, 3);
    let never = [best[0], best[2], NO_TOKEN, best[1]];
    let without = [Choice { never, ..Choice::GREEDY }, Choice { never, ..choices[0] }];
    // Now and then the best are taken between.
    let all = |pass: &mut GpuForwardPass| -> Vec<Vec<u32>> {
        let between = [&Choice::GREEDY, &choices[0], &Choice::GREEDY, &choices[3]];
        let choices = choices.iter().chain(between).chain(&without);
        let text = |choice| {
            pass.truncate(OWN, 0);
            decode_by(pass, choice, 5, N)
        };
        choices.map(text).collect()
    };
    let expected = all(&mut pass);
    for text in &expected[expected.len() - 2..] {
        assert!(text.iter().all(|id| !never.contains(id)), "{never:?} in {text:?}");
    }
    let distinct = expected.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert!(distinct >= choices.len() - 1, "draws differ by seeds and options: {distinct}");
    // (rows that are listed, candidates that are put in order at a time)
    for (listed, more) in [(64, 192), (3, 5)] {
        equip(&mut pass, &[(0, ALONE), (0, Geometry { draws: true, ..ALONE })], |text| {
            if !text.contains("fn draw(") {
                return text;
            }
            let changes = [("MOST_LISTED: u32 = 64u", listed), ("MORE: u32 = 192u", more)];
            changes.into_iter().fold(text, |text, (from, to)| {
                assert!(text.contains(from), "{from}");
                let (name, _) = from.split_once('=').unwrap();
                text.replace(from, &format!("{name}= {to}u"))
            })
        });
        let found = all(&mut pass);
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "{listed} listed, {more} at a time, text {i}");
        }
        assert!(pass.persistent.is_some(), "{:?}", pass.notes());
    }
}

/// In 8 bits codes lie where a vector was before: drawn tokens are as if they lay apart, and where only the best has a chance they are
/// the best.
#[test]
fn draws_in_8_bits_use_memory_twice() {
    let options = GpuOptions { activations: Activations::Int8, ..options(64) };
    let mut pass = pass_with(&TinyModel { gain: 1.5, ..small() }, RopePairing::Adjacent, &options);
    let draw = Choice { temperature: 1.2, top_k: 40, top_p: 0.95, seed: 7, ..Choice::GREEDY };
    let texts = |pass: &mut GpuForwardPass| {
        let sharp = Choice { temperature: 1e-6, ..draw };
        [Choice::GREEDY, sharp, draw, Choice { seed: 8, ..draw }].map(|choice| {
            pass.truncate(OWN, 0);
            decode_by(pass, &choice, 5, N)
        })
    };
    let geometry = Geometry { batch: 4, holds_layer: false, ..ALONE };
    let mut run = |apart: bool| {
        equip(&mut pass, &[(0, geometry), (0, Geometry { draws: true, ..geometry })], |text| {
            let changes = [
                (
                    "fn code_at(i: u32) -> vec2<u32> { return rounded[i].xy; }",
                    "var<workgroup> codes: array<vec2<u32>, 2u * MOST + MORE>;\n\
                     fn code_at(i: u32) -> vec2<u32> { return codes[i]; }",
                ),
                ("{ rounded[i] = vec4<u32>(code, 0u, 0u); }", "{ codes[i] = code; }"),
            ];
            assert_eq!(text.contains("fn draw("), changes.iter().all(|(from, _)| text.contains(from)));
            changes.iter().filter(|_| apart).fold(text, |text, (from, to)| text.replace(from, to))
        });
        let texts = texts(&mut pass);
        assert!(pass.persistent.is_some(), "{:?}", pass.notes());
        texts
    };
    let [greedy, sharp, first, second] = run(false);
    assert_eq!(greedy, sharp);
    assert!(first != second && first != greedy);
    assert_eq!(run(true), [greedy, sharp, first, second]);
}

/// What only the plan of dispatches can do is left to it: the kernels here are wrong, and would be noticed.
#[test]
fn other_choices_are_dispatches() {
    let mut pass = pass(&small(), RopePairing::Adjacent);
    let draw = Choice { temperature: 1.0, top_k: 40, seed: 3, ..Choice::GREEDY };
    let noise = Choice { top_k: 0, ..draw };
    let penalty = Choice { repeat_penalty: 1.3, repeat_last_n: 64, ..Choice::GREEDY };
    let texts = |pass: &mut GpuForwardPass| {
        [Choice::GREEDY, draw, noise, penalty, Choice { temperature: 1.0, top_k: 40, ..penalty }].map(
            |choice| {
                pass.truncate(OWN, 0);
                decode_by(pass, &choice, 5, N)
            },
        )
    };
    let expected = texts(&mut pass);
    equip(&mut pass, &[(0, ALONE), (0, Geometry { draws: true, ..ALONE })], |text| {
        assert!(text.contains("fn silu(x: f32) -> f32 { return x /"));
        text.replace("fn silu(x: f32) -> f32 { return x /", "fn silu(x: f32) -> f32 { return -x /")
    });
    let found = texts(&mut pass);
    assert!(pass.persistent.is_some(), "{:?}", pass.notes());
    assert!(found[..2].iter().zip(&expected).all(|(found, expected)| found != expected), "wrong kernels");
    assert_eq!(found[2..], expected[2..]);
}
