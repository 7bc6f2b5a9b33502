//! Products in 8 bits: one row that the kernel rounds, and rows that are rounded already; every format, epilogue and shape.

use super::history::heads;
use super::matvec::{self, NORM, labs};
use super::rows::{Case, Problem};
use super::{Lab, Memory};
use crate::device::Caps;
use crate::kernels::matvec::{Epilogue, Prologue};
use crate::kernels::matvec_int8::{Input, MOST_TOKENS, MatvecInt8, Params, QUANTISED};
use crate::kernels::matvec_shape::Shape;
use crate::pipeline::Checks;
use gguf::TensorType::{self, Q4_0, Q4_K, Q5_K, Q6_K, Q8_0};
use testkit::Random;

const EPILOGUES: [Epilogue; 4] = [Epilogue::Store, Epilogue::StoreBiased, Epilogue::Add, Epilogue::SiluMul];

/// One row: with checks, without, and once more.
fn check_one(
    labs: &mut [Lab; 2],
    seed: u64,
    ty: TensorType,
    size: (usize, usize),
    (prologue, epilogue): (Prologue, Epilogue),
    shape: Option<Shape>,
) {
    let what = format!("{ty} {size:?} {prologue:?} {epilogue:?} {shape:?}, seed {seed}");
    let case = matvec::Case::new(&mut Random::new(seed), ty, size, prologue, epilogue).rounded();
    let (input, caps) = (Input::Own(prologue), labs[0].caps);
    let kernel = match shape {
        Some(shape) => MatvecInt8::with_shape((ty, size.1), 1, input, epilogue, shape, caps),
        None => MatvecInt8::new((ty, size.1), case.n_groups(), 1, input, epilogue, caps),
    };
    let kernel = kernel.unwrap_or_else(|| panic!("{what}: no kernel"));
    let given = case.params();
    let params = Params {
        weights: given.weights,
        x: given.x,
        x_stride: 0,
        y: given.y,
        y_stride: 0,
        norm: given.norm,
        bias: given.bias,
    };
    let run = |lab: &mut Lab| {
        let grid = kernel.grid(case.n_groups());
        lab.run(kernel.kernel(), bytemuck::bytes_of(&params), grid, case.memory())
    };
    let [checked, unchecked] = labs;
    let after = run(unchecked);
    case.check(&what, epilogue, &after);
    assert!(run(unchecked).scratch == after.scratch, "{what}: another run, another result");
    let other = run(checked);
    case.check(&what, epilogue, &other);
    assert!(other.scratch == after.scratch || !checked.exact(), "{what}: checks change the result");
}

#[test]
fn a_row_of_floats_is_rounded_and_multiplied() {
    let labs = &mut labs();
    for (i, ty) in QUANTISED.into_iter().enumerate() {
        for (rows, blocks) in [(33, 1), (70, 3)] {
            let cols = blocks * ty.block_len();
            let prologue = if blocks == 1 { NORM } else { Prologue::Plain };
            check_one(labs, 100 + i as u64, ty, (rows, cols), (prologue, Epilogue::Store), None);
        }
    }
    for ty in [Q4_0, Q6_K] {
        for epilogue in [Epilogue::StoreBiased, Epilogue::Add, Epilogue::SiluMul] {
            check_one(labs, 7, ty, (128, 768), (NORM, epilogue), None);
        }
    }
    for (heads, splits) in [(heads(9, 3, 64), 4), (heads(32, 8, 128), 16)] {
        let prologue = Prologue::Merge { heads, splits };
        check_one(labs, 3, Q4_0, (64, heads.width()), (prologue, Epilogue::Add), None);
    }
}

#[test]
fn every_shape_makes_the_same_product_of_a_row() {
    let labs = &mut labs();
    let shape = |slices, teams, blocks, sets| Some(Shape { slices, teams, blocks, sets, flight: 4 });
    for (i, (ty, cols, epilogue, shape)) in [
        (Q4_0, 576, Epilogue::Add, shape(4, 1, 1, 1)),
        (Q4_0, 608, Epilogue::SiluMul, shape(4, 4, 1, 2)),
        (Q8_0, 576, Epilogue::Store, shape(8, 2, 1, 4)),
        (Q4_0, 4096, Epilogue::StoreBiased, shape(8, 1, 4, 1)),
        (Q4_K, 1792, Epilogue::SiluMul, shape(12, 2, 2, 1)),
    ]
    .into_iter()
    .enumerate()
    {
        check_one(labs, i as u64, ty, (256, cols), (NORM, epilogue), shape);
    }
}

#[test]
fn small_subgroups_and_none_do_without_lanes() {
    let labs = &mut labs().map(Lab::without_subgroups);
    for (prologue, epilogue) in [(NORM, Epilogue::SiluMul), (Prologue::Plain, Epilogue::Add)] {
        check_one(labs, 11, Q5_K, (128, 1024), (prologue, epilogue), None);
    }
}

fn of_rows(case: Case, caps: Caps) -> MatvecInt8 {
    let groups = case.n_rows.div_ceil(32) * case.epilogue.groups();
    MatvecInt8::new((case.ty, case.n_cols), groups, case.n_tokens, Input::Rounded, case.epilogue, caps)
        .unwrap()
}

fn run(lab: &mut Lab, kernel: MatvecInt8, problem: &Problem) -> Memory {
    let params = Params {
        weights: problem.weights(),
        x: problem.x,
        x_stride: problem.x_stride,
        y: problem.y,
        y_stride: problem.y_stride,
        norm: 0,
        bias: problem.bias,
    };
    lab.run(kernel.kernel(), bytemuck::bytes_of(&params), kernel.grid(problem.n_groups), &problem.memory)
}

#[test]
fn rows_of_every_format_number_and_epilogue_agree_with_f64() {
    let mut checked = Lab::new(Checks::On);
    let mut unchecked = Lab::new(Checks::Off);
    let all_rows = [1, 31, 64, 70, 192, 576];
    for (i, ty) in QUANTISED.into_iter().chain(QUANTISED).enumerate() {
        let n_cols = ([96, 160, 1536][i % 3] as usize).next_multiple_of(ty.block_len());
        let (n_rows, n_tokens) = (all_rows[(i * 5) % 6], 1 + (i * 3) % MOST_TOKENS);
        let case = Case { ty, epilogue: EPILOGUES[(i + i / 4) % 4], n_rows, n_cols, n_tokens, seed: 300 };
        let problem = Problem::of_rounded(case);
        let kernel = of_rows(case, unchecked.caps);
        let after = run(&mut unchecked, kernel, &problem);
        problem.verify(&after).unwrap();
        if i < QUANTISED.len() {
            assert!(run(&mut checked, kernel, &problem).scratch == after.scratch, "{case:?}: checks show");
        }
    }
}

#[test]
fn long_rows_are_staged_in_parts_and_do_not_depend_on_the_others() {
    let mut lab = Lab::new(Checks::Off);
    for (ty, n_cols) in [(Q4_0, 14_336), (Q6_K, 6144)] {
        let problems = [1, 3, 8].map(|n_tokens| {
            Problem::of_rounded(Case { ty, epilogue: Epilogue::Add, n_rows: 40, n_cols, n_tokens, seed: 5 })
        });
        let kernels = problems.each_ref().map(|problem| of_rows(problem.case, lab.caps));
        assert!(!kernels[0].in_parts() && kernels[2].in_parts());
        let results = [0, 1, 2].map(|i| run(&mut lab, kernels[i], &problems[i]));
        for (problem, after) in problems.iter().zip(&results) {
            problem.verify(after).unwrap();
        }
    }
    // The same sums whoever else is there: the seeds of X are the same.
    let problems = [2, 5, 8].map(|n_tokens| {
        Problem::of_rounded(Case {
            ty: Q4_K,
            epilogue: Epilogue::Store,
            n_rows: 70,
            n_cols: 4096,
            n_tokens,
            seed: 6,
        })
    });
    let results = [0, 1, 2].map(|i| {
        let kernel = of_rows(problems[i].case, lab.caps);
        run(&mut lab, kernel, &problems[i])
    });
    for token in 0..2 {
        let first = problems[0].outputs(&results[0], token);
        assert!((1..3).all(|i| problems[i].outputs(&results[i], token) == first), "token {token}");
    }
}

#[test]
fn sums_hang_on_slices_and_units_in_flight_alone() {
    let mut lab = Lab::new(Checks::Off);
    for (ty, epilogue) in [(Q4_0, Epilogue::SiluMul), (Q6_K, Epilogue::Store)] {
        let (n_rows, n_cols, n_tokens) = (64, 1024, 5);
        let problem = Problem::of_rounded(Case { ty, epilogue, n_rows, n_cols, n_tokens, seed: 12 });
        let mut run_in = |slices, teams, blocks| {
            // As many units of a row, whatever the number of blocks.
            let shape = Shape { slices, teams, blocks, sets: 1, flight: 4 * blocks };
            let weights = (ty, n_cols);
            let kernel =
                MatvecInt8::with_shape(weights, n_tokens, Input::Rounded, epilogue, shape, lab.caps).unwrap();
            let after = run(&mut lab, kernel, &problem);
            problem.verify(&after).unwrap();
            after.scratch
        };
        let first = run_in(8, 2, 1);
        for (teams, blocks) in [(2, 2), (1, 1), (1, 4)] {
            assert!(run_in(8, teams, blocks) == first, "{ty}: {teams} teams of {blocks} blocks");
        }
        assert!(run_in(16, 2, 1) != first, "{ty}: other slices make other sums, or this shows nothing");
    }
}

#[test]
fn a_wrong_weight_shows() {
    let mut lab = Lab::new(Checks::Off);
    let case = Case { ty: Q4_0, epilogue: Epilogue::Add, n_rows: 96, n_cols: 1536, n_tokens: 4, seed: 4 };
    let mut problem = Problem::of_rounded(case);
    let kernel = of_rows(case, lab.caps);
    problem.verify(&run(&mut lab, kernel, &problem)).unwrap();
    problem.spoil();
    assert!(problem.verify(&run(&mut lab, kernel, &problem)).is_err(), "a wrong weight goes unnoticed");
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let labs = &mut [Lab::emulator(), Lab::emulator()];
    let prologue = Prologue::Merge { heads: heads(9, 3, 64), splits: 4 };
    check_one(labs, 9, Q4_0, (64, 576), (prologue, Epilogue::Add), None);
    check_one(labs, 9, Q5_K, (128, 512), (NORM, Epilogue::SiluMul), None);
    let lab = &mut labs[0];
    for (ty, epilogue, n_tokens) in [(Q4_0, Epilogue::SiluMul, 3), (Q6_K, Epilogue::StoreBiased, 8)] {
        let problem = Problem::of_rounded(Case { ty, epilogue, n_rows: 70, n_cols: 768, n_tokens, seed: 8 });
        let kernel = of_rows(problem.case, lab.caps);
        let after = run(lab, kernel, &problem);
        problem.verify(&after).unwrap();
        assert!(run(lab, kernel, &problem).scratch == after.scratch, "{ty}: the order of threads shows");
    }
}

/// By a branch that is never taken: rows that are long, or several, are slower so.
#[test]
fn first_weights_of_a_short_row_are_under_way_before_x() {
    let text = |n_cols, n_tokens| {
        let input = Input::Own(Prologue::Plain);
        let caps = super::variants::MATRICES;
        let kernel = MatvecInt8::new((Q4_0, n_cols), 64, n_tokens, input, Epilogue::Store, caps);
        kernel.unwrap().source(caps)
    };
    let held = "if (p.n_units == 0u) { scratch[0] = bitcast<vec4<f32>>(kept(raw0_0_0)";
    let short = text(2048, 1);
    assert!(short.find(held).unwrap() < short.find("staged_words[i0] =").unwrap());
    assert!(!text(2080, 1).contains(held) && !text(2048, 2).contains(held));
}
