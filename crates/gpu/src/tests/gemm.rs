//! Matrix times many rows: every format, tile and epilogue.

use super::matvec::TYPES;
use super::rows::{Case, Problem};
use super::variants::LEAST;
use super::{Lab, Memory};
use crate::device::Caps;
use crate::kernels::gemm::{Gemm, Tile};
use crate::kernels::matvec::Epilogue;
use crate::pipeline::Checks;
use gguf::TensorType;
use testkit::Random;

const TILES: [Tile; 3] = [Tile::Narrow, Tile::Small, Tile::Large];
const EPILOGUES: [Epilogue; 4] = [Epilogue::Store, Epilogue::StoreBiased, Epilogue::Add, Epilogue::SiluMul];

fn run(lab: &mut Lab, problem: &Problem, tile: Tile) -> Memory {
    let Case { ty, epilogue, n_cols, n_tokens, .. } = problem.case;
    let kernel = Gemm::new(ty, n_cols, epilogue, tile);
    let params = problem.gemm_params();
    let grid = kernel.grid(n_tokens, problem.n_groups);
    lab.run(kernel.kernel(), bytemuck::bytes_of(&params), grid, &problem.memory)
}

/// A case of the fuzz, without those whose reference would take most of the time.
fn random_case(ty: TensorType, epilogue: Epilogue, seed: u64) -> Case {
    let mut random = Random::new(seed);
    let mut pick = |from: &[usize]| from[random.below(from.len())];
    loop {
        let n_cols = (32 * pick(&[1, 2, 3, 18, 48])).next_multiple_of(ty.block_len());
        let n_rows = pick(&[1, 31, 32, 33, 64, 70, 192, 576]);
        let n_tokens = pick(&[1, 2, 7, 8, 9, 31, 63, 64, 65, 130]);
        if n_rows * n_cols * n_tokens <= 12 << 20 {
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
        let problem = Problem::new(case);
        let after = run(&mut unchecked, &problem, TILES[i % 3]);
        problem.verify(&after).unwrap();
        let with_checks = run(&mut checked, &problem, TILES[i % 3]);
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
            for _ in 0..12 {
                seed += 1;
                let problem = Problem::new(random_case(ty, epilogue, seed));
                let results = TILES.map(|tile| run(&mut lab, &problem, tile));
                problem.verify(&results[0]).unwrap();
                // Each output is the same sum, whatever the tile.
                for (after, tile) in results.iter().zip(TILES) {
                    assert!(after.scratch == results[0].scratch, "{:?}: {tile:?} differs", problem.case);
                }
            }
        }
    }
    let epilogue = Epilogue::Add;
    let long = Case { ty: TensorType::Q4_0, epilogue, n_rows: 576, n_cols: 1536, n_tokens: 130, seed };
    let problem = Problem::new(long);
    for tile in TILES {
        problem.verify(&run(&mut lab, &problem, tile)).unwrap();
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
    let mut problem = Problem::new(case);
    let first = run(&mut lab, &problem, Tile::Small);
    problem.verify(&first).unwrap();
    assert!(run(&mut lab, &problem, Tile::Small).scratch == first.scratch, "two runs differ");
    problem.spoil();
    let spoilt = run(&mut lab, &problem, Tile::Small);
    assert!(problem.verify(&spoilt).is_err(), "a wrong weight goes unnoticed");
}

#[test]
fn tiles_grow_with_the_work() {
    let caps = Caps { workgroup_memory: 32 << 10, ..LEAST };
    let pick = |n_tokens, n_rows: usize| Tile::pick(n_tokens, n_rows / 32, caps);
    // 8 B: gate and up of 512 tokens; the output projection of 64.
    assert_eq!(pick(512, 28672), Tile::Large);
    assert_eq!(pick(64, 4096), Tile::Narrow);
    // 135 M: too few workgroups for the larger tiles.
    assert_eq!(pick(512, 576), Tile::Narrow);
    assert_eq!(pick(2048, 576), Tile::Small);
    // Few tokens fill no large tile.
    assert_eq!(pick(9, 128 << 10), Tile::Narrow);
    assert_eq!(pick(64, 128 << 10), Tile::Small);
    assert_eq!(pick(65, 128 << 10), Tile::Narrow);
    assert_eq!(pick(130, 128 << 10), Tile::Small);
    let little_memory = Caps { workgroup_memory: 16 << 10, ..caps };
    assert_eq!(Tile::pick(512, 28672 / 32, little_memory), Tile::Small);
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let mut lab = Lab::emulator();
    for (ty, epilogue, tile, n_tokens) in [
        (TensorType::Q8_0, Epilogue::SiluMul, Tile::Narrow, 33),
        (TensorType::Q4_0, Epilogue::Add, Tile::Large, 9),
    ] {
        let mut problem = Problem::new(Case { ty, epilogue, n_rows: 70, n_cols: 96, n_tokens, seed: 6 });
        let after = run(&mut lab, &problem, tile);
        problem.verify(&after).unwrap();
        assert!(run(&mut lab, &problem, tile).scratch == after.scratch, "{ty}: the order of threads shows");
        problem.spoil();
        // A change of a Q8_0 weight is too small to be sure of.
        let spoilt = problem.verify(&run(&mut lab, &problem, tile));
        assert!(spoilt.is_err() || ty != TensorType::Q4_0, "a wrong weight goes unnoticed");
    }
}
