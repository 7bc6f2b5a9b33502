//! Matrix times a few rows: every format, number of rows and epilogue.

use super::matvec::TYPES;
use super::rows::{Case, Problem};
use super::{Lab, Memory};
use crate::kernels::matvec::Epilogue;
use crate::kernels::matvec_rows::{MOST_TOKENS, MatvecRows, Params};
use crate::pipeline::Checks;
use gguf::TensorType;

const EPILOGUES: [Epilogue; 4] = [Epilogue::Store, Epilogue::StoreBiased, Epilogue::Add, Epilogue::SiluMul];

fn kernel(lab: &Lab, case: Case) -> MatvecRows {
    MatvecRows::new(case.ty, case.n_cols, case.n_tokens, case.epilogue, lab.caps)
}

fn run(lab: &mut Lab, problem: &Problem) -> Memory {
    let kernel = kernel(lab, problem.case);
    let params = Params {
        weights: problem.weights(),
        x: problem.x,
        x_stride: problem.x_stride,
        y: problem.y,
        y_stride: problem.y_stride,
        bias: problem.bias,
    };
    lab.run(kernel.kernel(), bytemuck::bytes_of(&params), kernel.grid(problem.n_groups), &problem.memory)
}

#[test]
fn every_format_agrees_with_f64_and_checks_change_no_bit() {
    let mut checked = Lab::new(Checks::On);
    let mut unchecked = Lab::new(Checks::Off);
    for (i, ty) in TYPES.into_iter().enumerate() {
        let width = ty.block_len().max(32);
        // Floats can end within a unit.
        let n_cols = if ty.block_len() == 1 { 91 } else { (96 * (i % 2 + 1)).next_multiple_of(width) };
        let case = Case { ty, epilogue: Epilogue::Store, n_rows: 70, n_cols, n_tokens: 2 + i % 2, seed: 300 };
        let problem = Problem::new(case);
        let after = run(&mut unchecked, &problem);
        problem.verify(&after).unwrap();
        assert!(run(&mut checked, &problem).scratch == after.scratch, "{case:?}: checks change the result");
    }
}

#[test]
fn every_epilogue_and_number_of_rows_agrees_with_f64_at_many_shapes() {
    let mut lab = Lab::new(Checks::Off);
    let mut staged = [0; 2];
    let all_units = [1, 2, 3, 18, 48, 96, 103];
    let all_rows = [1, 31, 32, 33, 64, 70, 192, 576];
    for i in 0..16 {
        let ty = [TensorType::Q4_0, TensorType::F32, TensorType::Q6_K][i % 3];
        let epilogue = EPILOGUES[(i + i / 8) % 4];
        let width = all_units[i % 7] * 32;
        // In place, too, what lies behind a row must not be read.
        let n_cols = if ty.block_len() == 1 { width - i % 2 } else { width.next_multiple_of(ty.block_len()) };
        let (n_rows, n_tokens) = (all_rows[(i * 3) % 8], 1 + i % MOST_TOKENS);
        let problem = Problem::new(Case { ty, epilogue, n_rows, n_cols, n_tokens, seed: 2000 + i as u64 });
        staged[usize::from(kernel(&lab, problem.case).staged())] += 1;
        problem.verify(&run(&mut lab, &problem)).unwrap();
    }
    assert!(staged.iter().all(|&n| n >= 4), "X in place and staged: {staged:?}");
}

#[test]
fn sums_of_a_row_do_not_depend_on_the_other_rows() {
    let mut lab = Lab::new(Checks::Off);
    for (ty, n_cols, staged) in [
        (TensorType::Q4_0, 256, [true, true, true]),
        (TensorType::Q4_0, 768, [true, true, false]),
        (TensorType::Q5_1, 3328, [true, false, false]),
    ] {
        // The same seed: the first rows of X are the same.
        let problems = [1, 3, 8].map(|n_tokens| {
            Problem::new(Case { ty, epilogue: Epilogue::Store, n_rows: 70, n_cols, n_tokens, seed: 5 })
        });
        assert_eq!(problems.each_ref().map(|problem| kernel(&lab, problem.case).staged()), staged);
        let results = problems.each_ref().map(|problem| run(&mut lab, problem));
        for (problem, after) in problems.iter().zip(&results) {
            problem.verify(after).unwrap();
            for token in 0..problem.case.n_tokens {
                let among_eight = problems[2].outputs(&results[2], token);
                assert!(problem.outputs(after, token) == among_eight, "{:?}: token {token}", problem.case);
            }
        }
    }
}

#[test]
fn results_repeat_and_a_wrong_weight_shows() {
    let mut lab = Lab::new(Checks::Off);
    let case = Case {
        ty: TensorType::Q4_0,
        epilogue: Epilogue::Add,
        n_rows: 576,
        n_cols: 1536,
        n_tokens: 4,
        seed: 4,
    };
    let mut problem = Problem::new(case);
    let first = run(&mut lab, &problem);
    problem.verify(&first).unwrap();
    assert!(run(&mut lab, &problem).scratch == first.scratch, "two runs differ");
    problem.spoil();
    let spoilt = run(&mut lab, &problem);
    assert!(problem.verify(&spoilt).is_err(), "a wrong weight goes unnoticed");
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let mut lab = Lab::emulator();
    for (ty, epilogue, n_tokens) in
        [(TensorType::Q4_0, Epilogue::SiluMul, 3), (TensorType::Q5_K, Epilogue::StoreBiased, 8)]
    {
        let problem = Problem::new(Case { ty, epilogue, n_rows: 70, n_cols: 768, n_tokens, seed: 8 });
        let after = run(&mut lab, &problem);
        problem.verify(&after).unwrap();
        assert!(run(&mut lab, &problem).scratch == after.scratch, "{ty}: the order of threads shows");
    }
}
