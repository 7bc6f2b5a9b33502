//! Matrix times many rows on matrix units: every format, tile and epilogue. Where there are no matrix units they are emulated,
//! and everything around them is tested.

use super::matvec::TYPES;
use super::rows::{Case, Problem};
use super::{Lab, Memory, POISON};
use crate::device::MatrixSize;
use crate::kernels::floats::Floats;
use crate::kernels::gemm::Params;
use crate::kernels::gemm_matrix::steps::{COPIES, RUN, Steps};
use crate::kernels::gemm_matrix::{GemmMatrix, MatrixTile};
use crate::kernels::matvec::Epilogue;
use crate::layout::GROUP;
use crate::pipeline::Checks;
use gguf::TensorType;
use testkit::Random;

const fn tile(tokens: usize, rows: usize, depth: usize, subgroups: [usize; 2], buffers: usize) -> MatrixTile {
    MatrixTile { tokens, rows, depth, subgroups, buffers, together: 1, slices: 1, whole: false }
}

const TILES: [MatrixTile; 12] = [
    tile(32, 64, 64, [2, 2], 1),
    MatrixTile { together: 2, ..tile(16, 64, 32, [1, 2], 1) },
    tile(32, 64, 64, [2, 2], 2),
    MatrixTile { together: 4, ..tile(16, 64, 128, [1, 4], 1) },
    MatrixTile { together: 4, ..tile(16, 128, 64, [1, 4], 1) },
    tile(16, 128, 128, [1, 8], 1),
    MatrixTile { together: 4, ..tile(32, 64, 64, [2, 2], 1) },
    MatrixTile { together: 4, ..tile(32, 64, 128, [2, 2], 1) },
    tile(64, 64, 128, [4, 2], 1),
    tile(64, 192, 64, [4, 2], 1),
    tile(128, 128, 64, [4, 2], 1),
    tile(128, 256, 32, [4, 2], 1),
];
const EPILOGUES: [Epilogue; 4] = [Epilogue::Store, Epilogue::StoreBiased, Epilogue::Add, Epilogue::SiluMul];

fn size(lab: &Lab) -> MatrixSize {
    lab.caps.matrices.unwrap_or(MatrixSize::Emulated)
}

fn run(lab: &mut Lab, problem: &Problem, floats: [Floats; 2], tile: MatrixTile) -> Memory {
    run_in_parts(lab, problem, floats, tile, 1)
}

/// In parts of the columns, whose sums are added behind the kernel.
fn run_in_parts(
    lab: &mut Lab,
    problem: &Problem,
    floats: [Floats; 2],
    tile: MatrixTile,
    parts: usize,
) -> Memory {
    let Case { ty, epilogue, n_cols, .. } = problem.case;
    let kernel = GemmMatrix::new(ty, n_cols, epilogue, floats, tile, size(lab)).in_parts(parts, n_cols);
    run_kernel(lab, problem, kernel)
}

fn run_kernel(lab: &mut Lab, problem: &Problem, kernel: GemmMatrix) -> Memory {
    let (n_tokens, parts) = (problem.case.n_tokens, kernel.parts);
    let (mut memory, y_stride) = (problem.memory.clone(), problem.y_stride as usize);
    let partials = memory.scratch.len().next_multiple_of(4);
    let part = n_tokens * y_stride;
    memory.scratch.resize(partials + (parts - 1) * part, POISON);
    let params = Params { partials: partials as u32, ..problem.gemm_params() };
    let grid = kernel.grid(n_tokens, problem.n_groups);
    let mut after = lab.run(kernel.kernel(), bytemuck::bytes_of(&params), grid, &memory);
    let sums = after.scratch.split_off(partials);
    after.scratch.truncate(problem.memory.scratch.len());
    for (at, row) in sums.chunks(y_stride).enumerate() {
        let y = &mut after.scratch[problem.y as usize + at % n_tokens * y_stride..][..y_stride];
        let written = problem.n_groups * GROUP;
        for (y, sum) in y[..written].iter_mut().zip(row) {
            *y = (f32::from_bits(*y) + f32::from_bits(*sum)).to_bits();
        }
        assert!(row[written..].iter().all(|&word| word == POISON), "written behind the sums of a row");
    }
    after
}

/// Tiles that are tried: where matrices are emulated, which takes long to compile, only the small ones.
fn tiles(lab: &Lab) -> &'static [MatrixTile] {
    if size(lab) == MatrixSize::Emulated { &TILES[..3] } else { &TILES }
}

/// Outputs in f16 are for what the next product reads.
fn floats(epilogue: Epilogue, seed: u64) -> [Floats; 2] {
    let x = if seed.is_multiple_of(2) { Floats::F16 } else { Floats::F32 };
    let y = if epilogue == Epilogue::SiluMul && seed % 4 < 2 { Floats::F16 } else { Floats::F32 };
    [x, y]
}

/// A case of the fuzz, without those whose reference would take most of the time.
fn random_case(ty: TensorType, epilogue: Epilogue, seed: u64) -> Case {
    let mut random = Random::new(seed);
    let mut pick = |from: &[usize]| from[random.below(from.len())];
    loop {
        let n_cols = (32 * pick(&[1, 2, 3, 5, 18, 48])).next_multiple_of(ty.block_len());
        let n_rows = pick(&[1, 31, 32, 33, 64, 70, 128, 192, 576]);
        let n_tokens = pick(&[1, 2, 7, 9, 31, 32, 63, 64, 65, 128, 130]);
        if n_rows * n_cols * n_tokens <= 8 << 20 {
            return Case { ty, epilogue, n_rows, n_cols, n_tokens, seed };
        }
    }
}

#[test]
fn every_format_agrees_with_f64_and_checks_change_no_bit() {
    let mut checked = Lab::new(Checks::On);
    let mut unchecked = Lab::new(Checks::Off);
    for (i, ty) in TYPES.into_iter().enumerate() {
        // Floats can end within a unit.
        let n_cols = if ty.block_len() == 1 { 91 } else { 2 * ty.block_len().max(48) };
        let case = Case { ty, epilogue: Epilogue::Store, n_rows: 70, n_cols, n_tokens: 65, seed: 200 };
        let floats = floats(case.epilogue, i as u64);
        let problem = Problem::of_halves(case, floats);
        let tiles = tiles(&unchecked);
        let tile = tiles[i % tiles.len()];
        let after = run(&mut unchecked, &problem, floats, tile);
        problem.verify(&after).unwrap();
        if size(&unchecked) == MatrixSize::Emulated && i % 4 > 0 {
            continue;
        }
        let with_checks = run(&mut checked, &problem, floats, tile);
        assert!(with_checks.scratch == after.scratch, "{case:?}: checks change the result");
    }
}

#[test]
fn every_tile_and_epilogue_agrees_with_f64_at_random_shapes() {
    let mut lab = Lab::new(Checks::Off);
    let mut seed = 1000;
    for (ty, epilogues) in [
        (TensorType::Q4_0, &EPILOGUES[..]),
        (TensorType::F32, &[Epilogue::Store]),
        (TensorType::Q6_K, &[Epilogue::SiluMul]),
    ] {
        for &epilogue in epilogues {
            let tiles = tiles(&lab);
            let size = size(&lab);
            let can = |tile: &MatrixTile| epilogue != Epilogue::SiluMul || tile.pairs_rows(size);
            for (i, &tile) in tiles.iter().enumerate().filter(|(_, tile)| can(tile)) {
                for _ in 0..if tiles.len() < TILES.len() { 1 + i } else { 3 } {
                    seed += 1;
                    let floats = floats(epilogue, seed);
                    let problem = Problem::of_halves(random_case(ty, epilogue, seed), floats);
                    let after = run(&mut lab, &problem, floats, tile);
                    problem.verify(&after).unwrap_or_else(|error| panic!("{tile:?} {floats:?}: {error}"));
                }
            }
        }
    }
}

#[test]
fn whole_tiles_need_no_blocks() {
    let mut lab = Lab::new(Checks::Off);
    let large = tile(128, 192, 64, [4, 2], 1);
    let small = tile(32, 64, 64, [2, 2], 1);
    let emulated = size(&lab) == MatrixSize::Emulated;
    let tile = MatrixTile { whole: true, ..if emulated { small } else { large } };
    for epilogue in [Epilogue::Store, Epilogue::Add] {
        for floats in [[Floats::F32; 2], [Floats::F16, Floats::F32]] {
            let case =
                Case { ty: TensorType::Q4_0, epilogue, n_rows: 384, n_cols: 288, n_tokens: 256, seed: 9 };
            let problem = Problem::of_halves(case, floats);
            problem.verify(&run(&mut lab, &problem, floats, tile)).unwrap();
        }
    }
}

#[test]
fn parts_of_the_columns_make_the_whole() {
    let mut lab = Lab::new(Checks::Off);
    let small = tile(32, 64, 64, [2, 2], 1);
    let tiles = [small, tile(32, 64, 64, [2, 2], 2), MatrixTile { whole: true, ..small }];
    for (i, tile) in tiles.into_iter().enumerate() {
        for (parts, n_cols) in [(2, 576), (4, 256), (3, 288)] {
            // Tiles that are not whole end within rows and tokens.
            let (n_rows, n_tokens) = if tile.whole { (128, 64) } else { (100, 50) };
            let (ty, epilogue, seed) = (TensorType::Q4_0, Epilogue::Add, (10 * i + parts) as u64);
            let floats = floats(epilogue, seed);
            let problem = Problem::of_halves(Case { ty, epilogue, n_rows, n_cols, n_tokens, seed }, floats);
            problem.verify(&run_in_parts(&mut lab, &problem, floats, tile, parts)).unwrap();
        }
    }
}

#[test]
fn steps_are_the_same_however_they_are_written() {
    let mut lab = Lab::new(Checks::Off);
    let tile = tile(16, 64, 64, [1, 2], 1);
    let floats = [Floats::F16, Floats::F32];
    // Fewer than are written, as many, one more; a whole run, one more, and a third. Odd ones end with half a step.
    for n_steps in [1, COPIES - 1, COPIES, COPIES + 1, RUN, RUN + 1, RUN + 2, 2 * RUN + 1] {
        for parts in [1, 2] {
            // No part is empty.
            if (parts - 1) * n_steps.div_ceil(parts) >= n_steps {
                continue;
            }
            let (ty, epilogue, seed) = (TensorType::Q4_0, Epilogue::Add, n_steps as u64);
            let n_cols = 64 * n_steps - n_steps % 2 * 32;
            let problem =
                Problem::of_halves(Case { ty, epilogue, n_rows: 70, n_cols, n_tokens: 17, seed }, floats);
            let kernel =
                GemmMatrix::new(ty, n_cols, epilogue, floats, tile, size(&lab)).in_parts(parts, n_cols);
            let once = run_kernel(&mut lab, &problem, kernel.with_steps(Steps::Once));
            problem.verify(&once).unwrap();
            for steps in [Steps::Several, Steps::Runs] {
                let after = run_kernel(&mut lab, &problem, kernel.with_steps(steps));
                problem.verify(&after).unwrap();
                let as_once = after.scratch == once.scratch;
                assert!(as_once, "{n_steps} steps in {parts} parts, {steps:?}: not the same bits");
            }
        }
    }
}

/// Few rows of X, each subgroup with columns of its own: every epilogue, in parts or not, of weights that come out of words in order
/// or not; whole tiles of X and W and others, one step for a slice, a whole run of them, and more.
#[test]
fn slices_of_the_columns_make_the_whole() {
    let slices = |[tokens, rows]: [usize; 2], slices, together| MatrixTile {
        slices,
        together,
        ..tile(tokens, rows, 32, [1, 1], 1)
    };
    let mut lab = Lab::new(Checks::Off);
    let cases = [
        (TensorType::Q4_0, Epilogue::Add, slices([16, 32], 2, 1), 2, 2),
        (TensorType::Q6_K, Epilogue::SiluMul, slices([16, 32], 2, 1), 1, 8),
        (TensorType::Q4_0, Epilogue::StoreBiased, slices([32, 64], 3, 1), 1, 15),
        // Software takes long to compile these.
        (TensorType::Q4_0, Epilogue::SiluMul, slices([16, 128], 4, 1), 1, 14),
        (TensorType::Q4_0, Epilogue::SiluMul, slices([16, 64], 4, 2), 1, 28),
        (TensorType::Q4_0, Epilogue::Add, slices([16, 64], 4, 2), 4, 4),
        (TensorType::Q5_1, Epilogue::Store, slices([16, 64], 8, 2), 1, 30),
        (TensorType::Q8_0, Epilogue::Add, slices([16, 32], 8, 2), 1, 56),
        (TensorType::Q4_K, Epilogue::Add, slices([16, 32], 8, 2), 3, 8),
        (TensorType::Q4_0, Epilogue::SiluMul, slices([32, 64], 4, 2), 1, 58),
        (TensorType::Q4_0, Epilogue::Add, slices([32, 32], 4, 2), 2, 16),
    ];
    let n = if size(&lab) == MatrixSize::Emulated { 3 } else { cases.len() };
    for (i, (ty, epilogue, tile, parts, steps)) in cases.into_iter().take(n).enumerate() {
        let n_cols = parts * tile.slices * steps * 32;
        assert!(tile.slices_fit(n_cols, parts) && !tile.slices_fit(n_cols + 32, parts));
        for (n_rows, n_tokens) in [(128, tile.tokens), (70, tile.tokens - 5), (33, 1)] {
            let seed = (3 * i + n_tokens) as u64;
            let floats = floats(epilogue, seed);
            let problem = Problem::of_halves(Case { ty, epilogue, n_rows, n_cols, n_tokens, seed }, floats);
            let after = run_in_parts(&mut lab, &problem, floats, tile, parts);
            problem.verify(&after).unwrap_or_else(|error| panic!("{tile:?} {floats:?}: {error}"));
            let again = run_in_parts(&mut lab, &problem, floats, tile, parts);
            assert!(again.scratch == after.scratch, "{tile:?}: two runs differ");
        }
    }
}

#[test]
fn results_repeat_and_a_wrong_weight_shows() {
    let mut lab = Lab::new(Checks::Off);
    let case = Case {
        ty: TensorType::Q4_0,
        epilogue: Epilogue::StoreBiased,
        n_rows: 576,
        n_cols: 576,
        n_tokens: 9,
        seed: 3,
    };
    let floats = [Floats::F32; 2];
    let mut problem = Problem::of_halves(case, floats);
    let first = run(&mut lab, &problem, floats, TILES[1]);
    problem.verify(&first).unwrap();
    assert!(run(&mut lab, &problem, floats, TILES[1]).scratch == first.scratch, "two runs differ");
    problem.spoil();
    let spoilt = run(&mut lab, &problem, floats, TILES[1]);
    assert!(problem.verify(&spoilt).is_err(), "a wrong weight goes unnoticed");
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let mut lab = Lab::emulator();
    assert_eq!(size(&lab), MatrixSize::Eight);
    for (i, (ty, epilogue)) in
        [(TensorType::Q4_0, Epilogue::SiluMul), (TensorType::Q6_K, Epilogue::Add)].into_iter().enumerate()
    {
        let case = Case { ty, epilogue, n_rows: 70, n_cols: 768, n_tokens: 33, seed: 7 };
        let floats = floats(epilogue, i as u64);
        let problem = Problem::of_halves(case, floats);
        let after = run(&mut lab, &problem, floats, TILES[i]);
        problem.verify(&after).unwrap();
        let again = run(&mut lab, &problem, floats, TILES[i]);
        assert!(again.scratch == after.scratch, "{ty}: the order of threads shows");
    }
}
