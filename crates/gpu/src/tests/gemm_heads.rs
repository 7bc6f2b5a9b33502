//! Q, K and V of many rows on matrix units, rotated by the product itself: the same as a product and `rope_kv`.

use super::history::{History, Turning, heads};
use super::rows::{Case, Problem};
use super::{Lab, Memory, Step};
use crate::device::MatrixSize;
use crate::kernels::floats::Floats;
use crate::kernels::gemm::Params;
use crate::kernels::gemm_matrix::{GemmMatrix, MatrixTile};
use crate::kernels::heads::Heads;
use crate::kernels::matvec::Epilogue;
use crate::kernels::rope_kv::{self, RopeKv};
use crate::pipeline::Checks;
use gguf::TensorType;
use half::f16;
use model::RopePairing::{Adjacent, Halves};
use testkit::Random;

const TILE: MatrixTile = MatrixTile {
    tokens: 32,
    rows: 64,
    depth: 64,
    subgroups: [2, 2],
    buffers: 1,
    together: 1,
    slices: 1,
    whole: false,
};

/// Whose subgroups each have a slice of the columns.
const SLICES: MatrixTile = MatrixTile { depth: 32, subgroups: [1, 1], slices: 2, ..TILE };

fn check(lab: &mut Lab, tile: MatrixTile, heads: Heads, turning: &Turning, n_cols: usize, seed: u64) {
    let random = &mut Random::new(seed);
    let lens = [0, 1, 31, 32, 33, 255, 70];
    let mut places: Vec<_> = lens.iter().copied().enumerate().collect();
    places.extend((33..63).map(|position| (3, position)));
    let [q, kv] = [heads.n_heads, heads.n_kv_heads].map(|n| n * heads.head_dim);
    let floats = [Floats::F16, Floats::F32];
    let case = Case {
        ty: TensorType::Q4_0,
        epilogue: Epilogue::Store,
        n_rows: q + 2 * kv,
        n_cols,
        n_tokens: places.len(),
        seed,
    };
    let problem = Problem::of_halves(case, floats);
    let mut history = History::new(random, heads, &lens);
    let params = Params {
        kv: history.base,
        rope: history.add_angles(turning, 256),
        rows: history.add_rows(&places),
        ..problem.gemm_params()
    };
    let memory = Memory { kv: history.kv.clone(), tables: history.tables.clone(), ..problem.memory.clone() };
    let size = lab.caps.matrices.unwrap_or(MatrixSize::Emulated);
    let product = GemmMatrix::new(case.ty, n_cols, case.epilogue, floats, tile, size);
    let grid = product.grid(places.len(), problem.n_groups);
    let rope = RopeKv::new(heads, turning.rotation());
    let rope_params = rope_kv::Params {
        q: problem.y,
        k: problem.y + q as u32,
        v: problem.y + (q + kv) as u32,
        stride: problem.y_stride,
        kv: params.kv,
        rope: params.rope,
        rows: params.rows,
        q_norm: 0,
        k_norm: 0,
    };
    let apart = lab.run_all(
        &[
            Step::new(product.kernel(), &params, grid),
            Step::new(rope.kernel(), &rope_params, rope.grid(places.len())),
        ],
        &memory,
    );
    let fused = product.of_heads(heads, turning.rotation()).unwrap();
    let together = lab.run_all(&[Step::new(fused.kernel(), &params, grid)], &memory);

    let mut scratch = memory.scratch.clone();
    for token in 0..places.len() {
        let queries = problem.y as usize + token * problem.y_stride as usize..;
        let queries = queries.start..queries.start + q;
        let (want, got) = (&apart.scratch[queries.clone()], &together.scratch[queries.clone()]);
        for (want, got) in super::floats(want).into_iter().zip(super::floats(got)) {
            assert!((want - got).abs() <= 1e-5 * want.abs().max(1e-2), "token {token}: {got} for {want}");
        }
        scratch[queries.clone()].copy_from_slice(got);
    }
    assert!(scratch == together.scratch, "{heads:?}: something else than queries was written");
    assert!(together.kv != memory.kv, "{heads:?}: nothing is in the cache");
    for (i, (want, got)) in apart.kv.iter().zip(&together.kv).enumerate() {
        for shift in [0, 16] {
            let [want, got] = [want, got].map(|word| f16::from_bits((word >> shift) as u16).to_f32());
            // A step of f16, where sums differ in their last bit.
            let close = want == got || (want - got).abs() <= want.abs() / 1000.0 + 1e-7;
            assert!(close || want.is_nan() && got.is_nan(), "{heads:?}: cache word {i}: {got} for {want}");
        }
    }
}

#[test]
fn heads_are_rotated_as_they_are_multiplied() {
    let mut lab = Lab::new(Checks::Off);
    check(&mut lab, TILE, heads(4, 2, 32), &Turning::new(Adjacent, 32, None), 96, 1);
    check(&mut lab, TILE, heads(3, 1, 64), &Turning::new(Adjacent, 40, None), 128, 2);
    check(&mut lab, SLICES, heads(3, 1, 64), &Turning::new(Adjacent, 40, None), 128, 3);
}

#[test]
fn other_heads_are_left_to_rope_kv() {
    let of = |tile: MatrixTile, epilogue, heads, turning: Turning| {
        let floats = [Floats::F16, Floats::F32];
        let kernel = GemmMatrix::new(TensorType::Q4_0, 64, epilogue, floats, tile, MatrixSize::Sixteen);
        kernel.of_heads(heads, turning.rotation()).is_some()
    };
    let adjacent = || Turning::new(Adjacent, 64, None);
    assert!(of(TILE, Epilogue::Store, heads(3, 1, 64), adjacent()));
    assert!(!of(MatrixTile { whole: true, ..TILE }, Epilogue::Store, heads(3, 1, 64), adjacent()));
    assert!(!of(TILE, Epilogue::StoreBiased, heads(3, 1, 64), adjacent()));
    assert!(!of(TILE, Epilogue::Store, heads(3, 1, 64), Turning::new(Halves, 64, None)));
    assert!(!of(TILE, Epilogue::Store, heads(3, 1, 64), Turning::new(Adjacent, 64, Some(1e-6))));
    assert!(!of(TILE, Epilogue::Store, heads(5, 1, 16), Turning::new(Adjacent, 16, None)));
}
