//! Kernels that round what they make against the same without, and `quantize` behind them: bit for bit.

use super::rows::{Case, Problem};
use super::{GUARD, Lab, Memory, POISON, Step};
use crate::kernels::matvec::{Epilogue, Prologue};
use crate::kernels::matvec_int8::{Input, MatvecInt8, Params};
use crate::kernels::quantize::{self, Quantize};
use crate::pipeline::Checks;
use gguf::TensorType::{Q2_K, Q4_0, Q4_1, Q4_K, Q5_K, Q6_K, Q8_0};

/// Rows somewhere in scratch.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) at: usize,
    pub(super) stride: usize,
}

/// `n_rows` rows of `n_words` behind everything else in scratch, and more behind each.
pub(super) fn room(memory: &mut Memory, n_rows: usize, n_words: usize) -> Rows {
    let (at, stride) = (memory.scratch.len().next_multiple_of(4) + GUARD, n_words + 8);
    memory.scratch.resize(at + n_rows * stride + GUARD, POISON);
    Rows { at, stride }
}

/// The step that rounds rows of `n_cols` numbers.
pub(super) fn quantized(n_cols: usize, n_rows: usize, [x, y]: [Rows; 2]) -> Step {
    let kernel = Quantize { n_cols, eps_bits: None };
    let [x_stride, y_stride] = [x, y].map(|rows| rows.stride as u32);
    let params = quantize::Params { x: x.at as u32, x_stride, y: y.at as u32, y_stride, norm: 0 };
    Step::new(kernel.kernel(), &params, kernel.grid(n_rows))
}

/// In `rounded` must be what `quantize` makes of the `n_rows` rows of `n_cols` that are in `floats`, at the same places, and all else
/// must be as it is there.
pub(super) fn check_rows(
    lab: &mut Lab,
    (n_rows, n_cols): (usize, usize),
    rows: Rows,
    [floats, rounded]: [&Memory; 2],
) {
    let (mut memory, len) = (floats.clone(), Quantize::row_words(n_cols));
    let apart = room(&mut memory, n_rows, len);
    let mut expected = lab.run_all(&[quantized(n_cols, n_rows, [rows, apart])], &memory).scratch;
    for i in 0..n_rows {
        let row = rows.at + i * rows.stride;
        expected[row..row + n_cols].fill(POISON);
        let from = apart.at + i * apart.stride;
        expected.copy_within(from..from + len, row);
        assert!(
            rounded.scratch[row..row + len] == expected[row..row + len],
            "row {i} of {n_cols}: other bits"
        );
    }
    assert!(rounded.scratch == expected[..rounded.scratch.len()], "{n_cols}: something else was written");
}

/// A product that rounds rows of floats by itself.
fn of_floats(lab: &mut Lab, case: Case) {
    let problem = Problem::new(case);
    let mut memory = problem.memory.clone();
    let floats = Rows { at: problem.x as usize, stride: problem.x_stride as usize };
    let apart = room(&mut memory, case.n_tokens, Quantize::row_words(case.n_cols));
    let caps = lab.caps;
    let step = |input, x: Rows| {
        let (n_groups, size) = (problem.n_groups, (case.ty, case.n_cols));
        let kernel = MatvecInt8::new(size, n_groups, case.n_tokens, input, case.epilogue, caps).unwrap();
        let (x, x_stride) = (x.at as u32, x.stride as u32);
        let (y, y_stride, bias) = (problem.y, problem.y_stride, problem.bias);
        let params = Params { weights: problem.weights(), x, x_stride, y, y_stride, norm: 0, bias };
        Step::new(kernel.kernel(), &params, kernel.grid(n_groups))
    };
    let rounded = [quantized(case.n_cols, case.n_tokens, [floats, apart]), step(Input::Rounded, apart)];
    let mut expected = lab.run_all(&rounded, &memory).scratch;
    let after = lab.run_all(&[step(Input::Own(Prologue::Plain), floats)], &memory).scratch;
    expected[apart.at..].copy_from_slice(&memory.scratch[apart.at..]);
    assert!(after == expected, "{case:?}: other bits");
    assert!(after != memory.scratch, "{case:?}: nothing was written");
}

#[test]
fn rows_are_rounded_by_those_who_read_them_as_they_would_be_apart() {
    let labs = [Lab::new(Checks::Off), Lab::new(Checks::On), Lab::new(Checks::Off).without_subgroups()];
    for (i, mut lab) in labs.into_iter().enumerate() {
        for (ty, epilogue, n_cols, n_tokens) in [
            (Q4_0, Epilogue::Add, 576, [2, 3, 8][i]),
            ([Q4_1, Q6_K, Q2_K][i], Epilogue::Add, 1536, [8, 5, 2][i]),
            (Q8_0, Epilogue::StoreBiased, 32, 7),
            (Q4_K, Epilogue::SiluMul, 2048, [4, 6, 2][i]),
        ] {
            of_floats(&mut lab, Case { ty, epilogue, n_rows: 70, n_cols, n_tokens, seed: 50 });
        }
    }
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let mut lab = Lab::emulator();
    of_floats(
        &mut lab,
        Case { ty: Q5_K, epilogue: Epilogue::Add, n_rows: 40, n_cols: 512, n_tokens: 3, seed: 51 },
    );
}
