//! Attention of prompts, against the same definition as that of single rows.

use super::history::{History, Sum, heads};
use super::{GUARD, Lab, Memory, POISON, floats, words};
use crate::device::{Caps, MatrixSize};
use crate::kernels::ahead::Ahead;
use crate::kernels::attend_prompt::{AttendPrompt, Params};
use crate::kernels::floats::Floats;
use crate::kernels::heads::Heads;
use crate::pipeline::Checks;
use half::f16;
use testkit::Random;

/// `n_rows` rows of a sequence, the first at position `first`.
fn check(labs: &mut [Lab; 2], kernel: AttendPrompt, heads: Heads, first: usize, n_rows: usize) {
    check_scaled(labs, kernel, heads, first, n_rows, 3.0);
}

/// With queries up to `scale`.
fn check_scaled(
    labs: &mut [Lab; 2],
    kernel: AttendPrompt,
    heads: Heads,
    first: usize,
    n_rows: usize,
    scale: f32,
) {
    let seed = (1000 * first + n_rows) as u64;
    let what = format!("{} {heads:?}: {n_rows} rows from {first}, seed {seed}", kernel.name());
    let random = &mut Random::new(seed);
    // Another sequence's blocks lie between, and must not matter.
    let mut history = History::new(random, heads, &[40, first + n_rows]);
    history.halves = kernel.name().starts_with("attend_matrix");
    let stride = heads.width().next_multiple_of(32) + 32;
    let vectors: Vec<_> = (0..n_rows).map(|_| random.vector(heads.width(), scale)).collect();
    let out = GUARD + n_rows * stride + GUARD;
    let out_stride = heads.width().next_multiple_of(32) + 64;
    let mut scratch = vec![POISON; out + n_rows * out_stride + GUARD];
    for (to, vector) in scratch[GUARD..].chunks_mut(stride).zip(&vectors) {
        to[..vector.len()].copy_from_slice(&words(vector));
    }
    let memory = Memory {
        weights: vec![7; 1 << 12],
        kv: history.kv.clone(),
        scratch,
        tables: history.tables.clone(),
        tokens: vec![0; 4],
    };
    let params = Params {
        q: GUARD as u32,
        stride: stride as u32,
        out: out as u32,
        out_stride: out_stride as u32,
        kv: history.base,
        first: first as u32,
        table: history.table(1),
        n_rows: n_rows as u32,
        ahead: Ahead::default(),
    };
    let mut run = |i: usize, kernel: AttendPrompt, ahead: Ahead| {
        let params = Params { ahead, ..params };
        labs[i].run(kernel.kernel(), bytemuck::bytes_of(&params), kernel.grid(n_rows, ahead), &memory)
    };
    let after = run(0, kernel, Ahead::default());
    for i in [1, 1] {
        let again = run(i, kernel, Ahead::default());
        assert!(after.scratch == again.scratch, "{what}: another run, another result");
    }
    if let Some(kernel) = kernel.with_ahead() {
        let unused = (out + n_rows * out_stride + GUARD - 4) as u32;
        let ahead = Ahead { ahead: 1, n_ahead: 501, columns: 0, unused }.in_grid(60, kernel.tiles(n_rows));
        let beside = run(1, kernel, ahead);
        assert!(after.scratch == beside.scratch, "{what}: bringing weights near changes the result");
    }
    if kernel.writes_halves() {
        let halved = run(1, kernel.with_out(Floats::F16), Ahead::default());
        for at in (out..).step_by(out_stride).take(n_rows) {
            let [float, half] = [&after, &halved].map(|memory| &memory.scratch[at..][..heads.width()]);
            assert_rounded(&what, half, &floats(float));
        }
    }
    assert!(after.kv == memory.kv, "{what}: something was written to the cache");
    let width = heads.width();
    let mut expected = memory.scratch.clone();
    for (row, q) in vectors.iter().enumerate() {
        let at = out + row * out_stride;
        let q: Vec<Sum> = q.iter().map(|&v| (f64::from(v), f64::from(v).abs())).collect();
        history.check(&what, 1, first + row, &q, &floats(&after.scratch[at..at + width]));
        expected[at..at + width].copy_from_slice(&after.scratch[at..at + width]);
        expected[at + width..at + width.next_multiple_of(32)].fill(0);
    }
    assert!(
        expected == after.scratch,
        "{what}: something else was written, or what follows a row is not zero"
    );
}

/// `words` are `of` in f16, in pairs.
fn assert_rounded(what: &str, words: &[u32], of: &[f32]) {
    let halves = words.iter().flat_map(|w| [*w as u16, (w >> 16) as u16].map(f16::from_bits));
    for (half, float) in halves.zip(of) {
        assert!((half.to_f32() - float).abs() <= float.abs() / 1024.0 + 1e-7, "{what}: {half} for {float}");
    }
}

#[test]
fn a_prompt_attends_as_its_rows_would_one_by_one() {
    let mut labs = [Lab::new(Checks::On), Lab::new(Checks::Off)];
    // (heads, bytes of workgroup memory: for tiles of 32, 16 and 8 rows)
    let cases = [
        (heads(9, 3, 64), 32 << 10),
        (heads(4, 4, 12), 16 << 10),
        (heads(8, 1, 80), 24 << 10),
        (heads(5, 1, 16), 16 << 10),
        (heads(8, 2, 128), 24 << 10),
    ];
    for (i, (heads, workgroup_memory)) in cases.into_iter().enumerate() {
        let caps = Caps { workgroup_memory, matrices: None, ..labs[0].caps };
        let kernel = AttendPrompt::new(heads, 100, caps).unwrap();
        for (j, n_rows) in [1, 2, 7, 31, 32, 33, 64, 100].into_iter().enumerate() {
            let first = [5, 31, 32, 64, 1][(i + j) % 5];
            check(&mut labs, kernel, heads, first, n_rows);
        }
    }
}

#[test]
fn a_prompt_attends_on_matrix_units_as_its_rows_would_one_by_one() {
    let mut labs = [Lab::new(Checks::On), Lab::new(Checks::Off)];
    // Where there are no matrix units they are emulated, and everything around them is tested.
    let matrices = Some(labs[0].caps.matrices.unwrap_or(MatrixSize::Emulated));
    let caps = Caps { matrices, workgroup_memory: 48 << 10, ..labs[0].caps };
    let cases = [heads(9, 3, 64), heads(4, 4, 32), heads(5, 1, 64), heads(2, 1, 128)];
    for (i, heads) in cases.into_iter().enumerate() {
        for (j, n_rows) in [1, 2, 7, 31, 32, 33, 64, 100, 130].into_iter().enumerate() {
            // The emulation is slow.
            if labs[0].caps.matrices.is_none() && (i != 1 || ![1, 2, 3, 4, 5, 7, 8].contains(&j)) {
                continue;
            }
            // One team, where rows are many, and two if there is memory for them.
            let many = j % 2 == 0;
            let kernel = AttendPrompt::new(heads, if many { 1 << 20 } else { n_rows }, caps).unwrap();
            let long = heads.head_dim > 64;
            let teams = if many || long { "" } else { "_teams" };
            let rows = if many && long && labs[0].caps.matrices.is_some() { 64 } else { 32 };
            assert_eq!(kernel.name(), format!("attend_matrix_{rows}x{}{teams}", heads.head_dim));
            // Tiles of 64 rows, which only long heads have by themselves.
            let kernel = if j % 4 == 2 || j == 8 { kernel.in_wide_tiles() } else { kernel };
            let first = [5, 31, 32, 64, 1][(i + j) % 5];
            // Large queries make top scores grow from block to block.
            check_scaled(&mut labs, kernel, heads, first, n_rows, [3.0, 12.0][(i + j) % 2]);
        }
    }
}

#[test]
fn tiles_shrink_with_the_workgroup_memory_and_other_heads_have_none() {
    let caps = Caps { matrices: None, ..Lab::new(Checks::Off).caps };
    let name = |head_dim, workgroup_memory| {
        let kernel = AttendPrompt::new(heads(8, 2, head_dim), 100, Caps { workgroup_memory, ..caps });
        kernel.map(|kernel| kernel.name())
    };
    assert_eq!(name(64, 32 << 10).as_deref(), Some("attend_prompt_32x64"));
    assert_eq!(name(128, 48 << 10).as_deref(), Some("attend_prompt_32x128"));
    assert_eq!(name(128, 32 << 10).as_deref(), Some("attend_prompt_16x128"));
    assert_eq!(name(64, 16 << 10).as_deref(), Some("attend_prompt_16x64"));
    assert_eq!(name(128, 24 << 10).as_deref(), Some("attend_prompt_8x128"));
    assert_eq!(name(512, 32 << 10), None);
    assert_eq!(name(6, 32 << 10), None);
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let mut labs = [Lab::emulator(), Lab::emulator()];
    let heads = heads(3, 1, 64);
    let kernel = AttendPrompt::new(heads, 100, labs[0].caps).unwrap();
    check(&mut labs, kernel, heads, 33, 40);
}
