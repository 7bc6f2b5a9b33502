//! Several groups of the persistent kernel, which tell each other what they make. Software runs as many groups at a time as it has
//! threads; where its processor is busy their turns take milliseconds, and a wait as long.

use super::forward::{OWN, options};
use super::persistent::{ALONE, N, assert_near, cache, decode_by, equip, pass, pass_with, small};
use crate::persistent::{Geometry, InHalves};
use crate::{Activations, GpuForwardPass, GpuOptions};
use gguf::TensorType;
use model::{Choice, ForwardPass, RopePairing};
use testkit::TinyModel;

const TWO: Geometry = Geometry { groups: 2, ..ALONE };
/// Tokens of a try, and tries: a group may be without a processor for longer than another waits.
const AT_A_TIME: usize = 8;
const TRIES: usize = 60;
/// Looks of a thread in a submit. Mesa's software ends all loops of a thread after 65,535 turns together.
const MOST_LOOKS: usize = 40_000;
/// Words that each look reads, one behind the other, so that as many looks take longer.
const WORDS: usize = 24;

/// The text with a wait for groups that are at work only now and then.
fn patient(text: String) -> String {
    let head = "fn waits(n: u32) -> bool {\n";
    assert!(text.contains(head));
    let slowly = "  word = atomicLoad(&exchange[AT_BEST + (word & 1u)]);\n".repeat(WORDS);
    text.replace(
        head,
        &format!(
            "var<private> looks_in_all: u32;\n{head}  looks_in_all += 1u;\n  var word = 0u;\n{slowly}\
             \x20 if (looks_in_all > {MOST_LOOKS}u || limit == 0xffffffffu && word == 1u) {{ limit = 0u; }}\n"
        ),
    )
}

/// Two groups, as in `geometries`, give the tokens of the plan, and its keys and values: a few tokens at a time, again and again until
/// they have done so without giving up, after which the plan goes on, whose tokens would be no news.
fn assert_two_give(pass: &mut GpuForwardPass, choice: &Choice, geometries: &[(usize, Geometry)]) {
    // Others are not known to show one group what the other put into the cache, and never run this kernel.
    if pass.machine.gpu.info.backend != wgpu::Backend::Vulkan {
        return;
    }
    pass.truncate(OWN, 0);
    let expected = decode_by(pass, choice, 5, N);
    let expected = (expected, cache(pass));
    assert_two_decode(pass, choice, geometries, (&expected, 2e-3));
}

/// They give these tokens, and keys and values no further apart than `most` of the largest.
fn assert_two_decode(
    pass: &mut GpuForwardPass,
    choice: &Choice,
    geometries: &[(usize, Geometry)],
    (expected, most): (&(Vec<u32>, Vec<f32>), f32),
) {
    pass.truncate(OWN, 0);
    for from in (0..N).step_by(AT_A_TIME) {
        let ids = &expected.0[from..from + AT_A_TIME];
        let token = if from == 0 { 5 } else { expected.0[from - 1] };
        let tried = (0..TRIES).any(|_| {
            pass.truncate(OWN, from);
            equip(pass, geometries, patient);
            let found = decode_by(pass, choice, token, AT_A_TIME);
            let done = pass.persistent.take().is_some();
            // What a plan that rounds in other blocks makes of the rest says nothing.
            if done || !pass.rounds_activations() {
                assert_eq!(found, ids, "{from} {geometries:?}");
            }
            done
        });
        // Software has as many threads as there are processors, or Mesa's as many as LP_NUM_THREADS says.
        assert!(tried, "{from}: groups were never at work at a time: {geometries:?}");
    }
    assert_near(&(expected.0.clone(), cache(pass)), expected, most, &format!("{geometries:?}"));
}

/// A product's rows, heads, and parts of the keys are dealt out to both; and each looks at a copy of its own.
#[test]
fn two_groups_give_the_tokens_of_the_plan() {
    let mut pass = pass(&small(), RopePairing::Adjacent);
    let parts = Geometry { splits: 3, copies: 2, batch: 4, holds_layer: false, ..TWO };
    for geometries in [vec![(0, TWO), (20, Geometry { splits: 2, ..TWO })], vec![(0, parts)]] {
        assert_two_give(&mut pass, &Choice::GREEDY, &geometries);
    }
}

/// Rounded to 8 bits, of vectors that are told and taken in halves: each half has rows of both.
#[test]
fn two_groups_tell_each_other_halves() {
    let model = TinyModel { n_ff: 256, ..TinyModel::wide(TensorType::Q4_0) };
    let options = GpuOptions { activations: Activations::Int8, ..options(64) };
    let mut pass = pass_with(&model, RopePairing::Adjacent, &options);
    if pass.machine.gpu.info.backend != wgpu::Backend::Vulkan {
        return;
    }
    let whole = Geometry { batch: 2, holds_layer: false, ..ALONE };
    equip(&mut pass, &[(0, whole)], |text| text);
    pass.truncate(OWN, 0);
    let ids = decode_by(&mut pass, &Choice::GREEDY, 5, N);
    let expected = (ids, cache(&mut pass));
    let halves = Geometry { groups: 2, in_halves: InHalves::ALL, ..whole };
    // Sums in another order put a number on the other side of a step now and then.
    assert_two_decode(&mut pass, &Choice::GREEDY, &[(0, halves)], (&expected, 2e-2));
}

/// Each takes what it needs from the other's list.
#[test]
fn two_groups_draw_the_tokens_of_the_plan() {
    let mut pass = pass(&TinyModel { gain: 1.5, ..small() }, RopePairing::Adjacent);
    let geometries = [(0, TWO), (0, Geometry { draws: true, ..TWO })];
    for (top_k, temperature) in [(40, 0.8), (64, 2.0)] {
        let choice = Choice { top_k, temperature, seed: 1, ..Choice::GREEDY };
        assert_two_give(&mut pass, &choice, &geometries);
    }
}
