//! Attention of few rows, fused and not, whole and in parts.

use super::history::{History, KEY, Sum, Turning, VALUE, heads};
use super::rounding::{self, Rows};
use super::{GUARD, Lab, Memory, POISON, floats, words};
use crate::kernels::ahead::Ahead;
use crate::kernels::attend::{Attend, Output, Params, Queries};
use crate::kernels::heads::Heads;
use crate::kernels::merge_attention::{self, MergeAttention};
use crate::pipeline::Checks;
use model::RopePairing::{Adjacent, Halves};
use testkit::Random;

const POSITIONS: [usize; 9] = [0, 1, 31, 32, 33, 63, 255, 256, 700];
const SPLITS: [usize; 4] = [1, 2, 4, 16];
const LOWEST: f32 = -3.0e38;

/// The first with the checks that wgpu adds, the second without, as in a release.
fn labs() -> [Lab; 2] {
    [Lab::new(Checks::On), Lab::new(Checks::Off)]
}

/// Memory that is scratch, with a part that a kernel writes: floats from `out` on.
struct Job {
    memory: Memory,
    heads: Heads,
    n_rows: usize,
    splits: usize,
    output: Output,
    out: usize,
    out_stride: usize,
}

impl Job {
    fn new(memory: Memory, heads: Heads, n_rows: usize, splits: usize, output: Output) -> Self {
        let out = memory.scratch.len().next_multiple_of(32) + GUARD;
        let mut this = Self { memory, heads, n_rows, splits, output, out, out_stride: 0 };
        this.out_stride = heads.width().next_multiple_of(32) + 32;
        this.memory.scratch.resize(out + this.len() + GUARD, POISON);
        this
    }

    /// Floats that rows, or states, take.
    fn len(&self) -> usize {
        match self.output {
            Output::States => self.n_rows * self.heads.n_heads * self.splits * 4 * self.heads.state_quads(),
            _ => self.n_rows * self.out_stride,
        }
    }

    /// Runs with checks, without, and once more: the same bits. Nothing but the output may be written.
    fn run(&self, labs: &mut [Lab; 2], queries: Queries, params: Params) -> Memory {
        let of = |output| {
            let kernel = Attend::new(self.heads, queries, output);
            if self.n_rows == 1 { kernel.of_parts(self.splits) } else { kernel }
        };
        let params = Params {
            out: self.out as u32,
            out_stride: self.out_stride as u32,
            splits: self.splits as u32,
            ..params
        };
        let kernel = of(self.output);
        let mut memory = self.memory.clone();
        memory.weights.resize(memory.weights.len().next_multiple_of(8) + 8 * 1111, 7);
        let mut run = |i: usize, kernel: Attend, ahead: Ahead| {
            let grid = kernel.grid(self.n_rows, self.splits, ahead);
            labs[i].run(kernel.kernel(), bytemuck::bytes_of(&Params { ahead, ..params }), grid, &memory)
        };
        let nothing = Ahead::default();
        let (after, again, checked) =
            (run(1, kernel, nothing), run(1, kernel, nothing), run(0, kernel, nothing));
        let unused = (self.out + self.len() + GUARD - 4) as u32;
        let n_ahead = (memory.weights.len() / 8 - 1) as u32;
        let ahead = Ahead { ahead: 1, n_ahead, columns: 0, unused }.in_grid(60, self.splits);
        let beside = run(1, kernel.with_ahead(), ahead);
        let rounds = self.output == Output::Normalised && self.heads.whole_units();
        let rounded = rounds.then(|| run(1, of(Output::Rounded), nothing));
        let same = after.scratch == beside.scratch && after.kv == beside.kv;
        assert!(same || !labs[1].exact(), "bringing weights near changes the result");
        assert!(after.scratch == again.scratch && after.kv == again.kv, "another run, another result");
        let same = after.scratch == checked.scratch && after.kv == checked.kv;
        assert!(same || !labs[0].exact(), "checks change the result");
        if let Some(rounded) = rounded {
            assert!(rounded.kv == after.kv, "rounding changes what is in the cache");
            let rows = Rows { at: self.out, stride: self.out_stride };
            rounding::check_rows(&mut labs[1], (self.n_rows, self.heads.width()), rows, [&after, &rounded]);
        }
        let outside = |s: &[u32]| [&s[..self.out], &s[self.out + self.len()..]].concat();
        assert!(outside(&after.scratch) == outside(&self.memory.scratch), "something else was written");
        after
    }

    /// The attended rows, `[n_rows][width]`.
    fn rows(&self, labs: &mut [Lab; 2], after: &Memory) -> Vec<Vec<f32>> {
        match self.output {
            Output::States => self.merged(labs, after),
            _ => self.split(&after.scratch[self.out..], self.out_stride),
        }
    }

    /// Rows that are `stride` apart, zeros behind each.
    fn split(&self, scratch: &[u32], stride: usize) -> Vec<Vec<f32>> {
        let width = self.heads.width();
        let rows = scratch.chunks(stride).take(self.n_rows);
        rows.map(|row| {
            let (row, rest) = row.split_at(width.next_multiple_of(32));
            assert!(rest.iter().all(|&w| w == POISON), "something else was written");
            let (row, tail) = row.split_at(width);
            assert!(tail.iter().all(|&w| w == 0), "what follows a row is zero");
            floats(row)
        })
        .collect()
    }

    /// The states merged by `merge_attention`.
    fn merged(&self, labs: &mut [Lab; 2], after: &Memory) -> Vec<Vec<f32>> {
        let mut memory = Memory { kv: vec![0; 4], ..after.clone() };
        let kernel = MergeAttention::new(self.heads);
        let out = memory.scratch.len().next_multiple_of(32);
        memory.scratch.resize(out + self.n_rows * self.out_stride + GUARD, POISON);
        let params = merge_attention::Params {
            states: self.out as u32,
            splits: self.splits as u32,
            out: out as u32,
            out_stride: self.out_stride as u32,
        };
        let grid = kernel.grid(self.n_rows);
        let mut run = |i: usize| labs[i].run(kernel.kernel(), bytemuck::bytes_of(&params), grid, &memory);
        let (after, again) = (run(0), run(1));
        assert!(after.scratch == again.scratch || !labs[0].exact(), "checks change the result");
        if self.heads.whole_units() {
            let kernel = kernel.in_8_bits(true).kernel();
            let rounded = labs[1].run(kernel, bytemuck::bytes_of(&params), grid, &memory);
            let rows = Rows { at: out, stride: self.out_stride };
            rounding::check_rows(&mut labs[1], (self.n_rows, self.heads.width()), rows, [&again, &rounded]);
        }
        assert!(after.scratch[..out] == memory.scratch[..out], "something else was written");
        assert!(after.scratch[out + self.n_rows * self.out_stride..].iter().all(|&w| w == POISON));
        self.split(&after.scratch[out..], self.out_stride)
    }

    /// Parts without keys say so, those with keys have some.
    fn check_states(&self, after: &Memory, positions: &[usize]) {
        let state_len = 4 * self.heads.state_quads();
        let states = after.scratch[self.out..][..self.len()].chunks(state_len);
        for (i, state) in states.enumerate() {
            let (part, row) = (i % self.splits, i / self.splits / self.heads.n_heads);
            let n_blocks = positions[row] / 32 + 1;
            let empty = part * n_blocks / self.splits == (part + 1) * n_blocks / self.splits;
            let state = floats(state);
            let (mixed, end) = state.split_at(state_len - 4);
            assert!(end[2..] == [0.0; 2], "state {i} ends in zeros: {end:?}");
            match empty {
                true => assert!(
                    end[..2] == [LOWEST, 0.0] && mixed.iter().all(|&v| v == 0.0),
                    "state {i}: {state:?}"
                ),
                false => assert!(end[0] > LOWEST && end[1] >= 1.0, "state {i}: {state:?}"),
            }
        }
    }
}

/// One row at `position`, from what the projections left.
fn check_fused(
    labs: &mut [Lab; 2],
    heads: Heads,
    turning: &Turning,
    position: usize,
    splits: usize,
    output: Output,
) {
    let seed = (position * 10 + splits) as u64;
    let what = format!("{heads:?} {position} in {splits}, seed {seed}");
    let random = &mut Random::new(seed);
    let mut history = History::new(random, heads, &[position]);
    let kv_width = heads.n_kv_heads * heads.head_dim;
    let parts =
        [random.vector(heads.width(), 3.0), random.vector(kv_width, 3.0), random.vector(kv_width, 1.0)];
    let norms = [random.vector(heads.head_dim, 1.5), random.vector(heads.head_dim, 1.5)];
    let mut memory = Memory { tokens: vec![0; 4], ..Memory::default() };
    let place = |to: &mut Vec<u32>, vector: &[f32], fill: u32| {
        let at = to.len();
        to.extend(words(vector));
        to.resize(to.len().next_multiple_of(32), fill);
        at as u32
    };
    memory.scratch = vec![POISON; GUARD];
    let [q, k, v] = parts.each_ref().map(|part| place(&mut memory.scratch, part, POISON));
    let [q_norm, k_norm] = norms.each_ref().map(|norm| place(&mut memory.weights, norm, 0));
    let rope = history.add_angles(turning, position + 1);
    memory.tables = history.tables.clone();
    memory.kv = history.kv.clone();
    let job = Job::new(memory, heads, 1, splits, output);
    let table = history.table(0);
    let params = Params {
        q,
        k,
        v,
        kv: history.base,
        rope,
        q_norm,
        k_norm,
        table,
        position: position as u32,
        ..Params::default()
    };
    let after = job.run(labs, Queries::Fused(turning.rotation()), params);

    let written = history.with(&after.kv);
    check_own(&what, &history, &written, turning, &norms[1], &parts, position);
    let q: Vec<Sum> = parts[0]
        .chunks_exact(heads.head_dim)
        .flat_map(|head| turning.turned(head, &norms[0], position))
        .collect();
    if output == Output::States {
        job.check_states(&after, &[position]);
    }
    written.check(&what, 0, position, &q, &job.rows(labs, &after)[0]);
}

/// The row's key and value are in the cache, and everything else there is as it was.
fn check_own(
    what: &str,
    before: &History,
    after: &History,
    turning: &Turning,
    norm: &[f32],
    parts: &[Vec<f32>; 3],
    position: usize,
) {
    let n = before.heads.head_dim;
    let mut expected = before.kv.clone();
    for head in 0..before.heads.n_kv_heads {
        let part = |part: usize| &parts[part][head * n..][..n];
        for (got, (value, size)) in
            after.padded(0, position, head, KEY).iter().zip(turning.turned(part(1), norm, position))
        {
            let bound = value.abs() / 2048.0 * 1.001 + 1e-7 + size * 1e-6;
            assert!((got - value).abs() <= bound, "{what}, key {head}: {got} for {value}");
        }
        for (got, &value) in after.padded(0, position, head, VALUE).iter().zip(part(2)) {
            assert!((got - f64::from(value)).abs() <= 5e-4, "{what}, value {head}: {got} for {value}");
        }
        for which in [KEY, VALUE] {
            let place = before.place(0, position, head, which);
            expected[place.clone()].copy_from_slice(&after.kv[place]);
        }
    }
    assert!(expected == after.kv, "{what}: something else was written to the cache");
}

/// Rows of as many sequences, all in the cache.
fn check_rows(labs: &mut [Lab; 2], heads: Heads, splits: usize, output: Output) {
    let seed = 7 + splits as u64;
    let random = &mut Random::new(seed);
    let lens = POSITIONS.map(|position| position + 1);
    let mut history = History::new(random, heads, &lens);
    let places: Vec<_> = POSITIONS.into_iter().enumerate().collect();
    let rows = history.add_rows(&places);
    let stride = heads.width().next_multiple_of(32) + 64;
    let mut scratch = vec![POISON; GUARD + places.len() * stride];
    let vectors: Vec<_> = places.iter().map(|_| random.vector(heads.width(), 3.0)).collect();
    for (to, vector) in scratch[GUARD..].chunks_mut(stride).zip(&vectors) {
        to[..vector.len()].copy_from_slice(&words(vector));
    }
    let memory = Memory {
        weights: vec![0; 4],
        kv: history.kv.clone(),
        scratch,
        tables: history.tables.clone(),
        tokens: vec![0; 4],
    };
    let job = Job::new(memory, heads, places.len(), splits, output);
    let params =
        Params { q: GUARD as u32, stride: stride as u32, kv: history.base, rows, ..Params::default() };
    let after = job.run(labs, Queries::Rotated, params);
    assert!(after.kv == history.kv, "something was written to the cache");
    if output == Output::States {
        job.check_states(&after, &POSITIONS);
    }
    let attended = job.rows(labs, &after);
    for ((&(sequence, position), q), out) in places.iter().zip(&vectors).zip(&attended) {
        let q: Vec<Sum> = q.iter().map(|&v| (f64::from(v), f64::from(v).abs())).collect();
        history.check(&format!("{heads:?} {position} in {splits}, seed {seed}"), sequence, position, &q, out);
    }
}

#[test]
fn a_fused_row_attends_to_the_cache_and_itself_and_is_appended() {
    let labs = &mut labs();
    let cases = [
        (heads(9, 3, 64), Turning::new(Adjacent, 64, None)),
        (heads(4, 4, 6), Turning::new(Halves, 4, Some(1e-5))),
        (heads(8, 1, 80), Turning::new(Halves, 40, None)),
        (heads(32, 8, 128), Turning::new(Halves, 128, Some(1e-6))),
    ];
    for (i, (heads, turning)) in cases.iter().enumerate() {
        for (j, position) in POSITIONS.into_iter().enumerate() {
            // Over the cases, each position in each number of parts.
            let splits = SPLITS[(i + j) % 4];
            check_fused(labs, *heads, turning, position, splits, Output::States);
            if i == 0 {
                check_fused(labs, *heads, turning, position, 1, Output::Normalised);
            }
        }
    }
}

#[test]
fn rows_of_many_sequences_attend_each_to_their_own() {
    let labs = &mut labs();
    for (heads, splits) in
        [(heads(9, 3, 64), &SPLITS[..]), (heads(6, 2, 96), &[2, 4]), (heads(32, 8, 128), &[1, 8])]
    {
        for &splits in splits {
            check_rows(labs, heads, splits, Output::States);
        }
    }
    for heads in [heads(9, 3, 64), heads(4, 4, 12), heads(5, 1, 16), heads(6, 2, 96), heads(2, 1, 512)] {
        check_rows(labs, heads, 1, Output::Normalised);
    }
    let labs = &mut self::labs().map(Lab::without_subgroups);
    for (splits, output) in [(1, Output::Normalised), (2, Output::States)] {
        check_rows(labs, heads(9, 3, 64), splits, output);
    }
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let labs = &mut [Lab::emulator(), Lab::emulator()];
    let halves = Turning::new(Halves, 64, None);
    check_fused(labs, heads(9, 3, 64), &halves, 70, 1, Output::Normalised);
    check_fused(labs, heads(4, 4, 6), &Turning::new(Adjacent, 4, Some(1e-5)), 33, 2, Output::States);
    check_rows(labs, heads(4, 2, 32), 4, Output::States);
}
