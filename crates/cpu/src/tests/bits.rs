//! Logits are equal bit for bit, however the work is divided.

use super::{load, models, prompt, thread_counts};
use crate::arch::Kernels;
use model::{ForwardPass, SequenceId};
use testkit::TinyModel;

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|v| v.to_bits()).collect()
}

#[test]
fn any_thread_count_any_split_and_any_instruction_set_give_the_same_bits() {
    let splits = [vec![37], vec![1; 37], vec![5, 1, 20, 4, 7], vec![36, 1]];
    for (name, tiny) in models() {
        let file = tiny.gguf();
        let tokens = prompt(37, tiny.n_vocab());
        let mut expected = None;
        for kernels in Kernels::available() {
            // Where a fused multiply-add is a library call, one short run has to do.
            let slow = kernels.name == "portable";
            for threads in if slow { &[2][..] } else { thread_counts() } {
                let mut cpu = load(&file, *threads, 64, kernels);
                for split in &splits[..if slow { 1 } else { splits.len() }] {
                    cpu.truncate(SequenceId(0), 0);
                    let mut rest = &tokens[..];
                    let mut last = Vec::new();
                    for n in split {
                        let (now, later) = rest.split_at(*n);
                        last = bits(cpu.forward_prompt(now).unwrap());
                        rest = later;
                    }
                    let expected = expected.get_or_insert_with(|| last.clone());
                    assert!(
                        *expected == last,
                        "{name}, {}, {threads} threads, split {split:?}",
                        kernels.name
                    );
                }
            }
        }
    }
}

#[test]
fn contexts_of_several_segments_give_the_same_bits() {
    let tiny = TinyModel { n_layers: 1, context_len: 2048, ..TinyModel::default() };
    let file = tiny.gguf();
    let tokens = prompt(1200, tiny.n_vocab());
    let mut expected: Option<Vec<u32>> = None;
    for threads in [1, 2, 5] {
        for first in [1200, 1199, 1000, 511] {
            let mut cpu = load(&file, threads, 1216, Kernels::detect());
            let (start, rest) = tokens.split_at(first);
            let mut last = bits(cpu.forward_prompt(start).unwrap());
            for chunk in rest.chunks(200) {
                last = bits(cpu.forward_prompt(chunk).unwrap());
            }
            assert!(
                *expected.get_or_insert_with(|| last.clone()) == last,
                "{threads} threads, {first} first"
            );
        }
    }
}

#[test]
fn a_shortened_sequence_goes_on_as_if_never_longer() {
    let tiny = TinyModel::default();
    let file = tiny.gguf();
    let tokens = prompt(50, tiny.n_vocab());
    let mut cpu = load(&file, 2, 64, Kernels::detect());
    let expected = bits(cpu.forward_prompt(&tokens[..40]).unwrap());
    cpu.forward_prompt(&tokens[40..]).unwrap();
    cpu.truncate(SequenceId(0), 33);
    assert_eq!(bits(cpu.forward_prompt(&tokens[33..40]).unwrap()), expected);
}

#[test]
fn greedy_decoding_is_the_argmax_of_each_step() {
    let tiny = TinyModel::default();
    let file = tiny.gguf();
    let mut cpu = load(&file, 2, 64, Kernels::detect());
    let mut by_hand = Vec::new();
    let mut token = 3;
    for _ in 0..20 {
        let logits = cpu.forward_token(token).unwrap();
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        token = u32::try_from(logits.iter().position(|&v| v == top).unwrap()).unwrap();
        by_hand.push(token);
    }
    cpu.truncate(SequenceId(0), 0);
    let mut got = Vec::new();
    cpu.decode_greedy(3, &mut |token| {
        got.push(token);
        if got.len() == 20 { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(got, by_hand);
    assert_eq!(cpu.sequence_len(SequenceId(0)), 20);
}
