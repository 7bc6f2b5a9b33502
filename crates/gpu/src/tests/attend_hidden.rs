//! Attention from the hidden state on: norm, projections, rotation, cache, softmax and O's share of each head, against f64.

use super::history::{History, KEY, Sum, Turning, VALUE, heads};
use super::matvec::{TYPES, normed};
use super::{GUARD, Lab, Memory, POISON, Tensor, floats, words};
use crate::device::Caps;
use crate::kernels::ahead::Ahead;
use crate::kernels::attend_hidden::{AttendHidden, Params};
use crate::kernels::heads::Heads;
use crate::layout::WeightsAt;
use crate::pipeline::Checks;
use crate::plan::{Role, Step, What};
use gguf::TensorType;
use model::RopePairing::{Adjacent, Halves};
use testkit::{Random, dot_bound};

const EPS: f32 = 1e-5;
/// How far sums may be off, relative to the magnitudes of their terms. What must be allowed for, were every rounding to err the same
/// way, is 500 times as much.
const RELATIVE: f64 = 2e-5;

/// A layer's attention, and a row's hidden state.
struct Case {
    heads: Heads,
    n_cols: usize,
    turning: Turning,
    position: usize,
    kernel: AttendHidden,
    params: Params,
    memory: Memory,
    history: History,
    /// Q, K and V as one tensor, and O.
    tensors: [Tensor; 2],
    /// The hidden state after its norm.
    x: Vec<f64>,
    bias: Option<Vec<f32>>,
    /// Types with minimums sum x beside the products; their terms are larger than the weights.
    slack: f64,
    head_norms: [Vec<f32>; 2],
    /// What is written, in floats.
    out: std::ops::Range<usize>,
}

/// What a projection comes to: values, and how far off f32 may be.
type Projected = Vec<Sum>;

impl Case {
    /// `None` where there is no such kernel.
    fn new(
        lab: &Lab,
        ty: TensorType,
        (heads, n_cols): (Heads, usize),
        turning: Turning,
        biased: bool,
        (position, splits): (usize, usize),
    ) -> Option<Self> {
        let what = ((ty, n_cols), (heads, turning.rotation()), (EPS.to_bits(), biased));
        let kernel = AttendHidden::new(what.0, what.1, what.2, splits, lab.caps)?;
        let random = &mut Random::new((position * 100 + splits * 10 + heads.n_heads) as u64);
        let mut history = History::new(random, heads, &[position]);
        let starts = starts(heads);
        let tensors = [
            Tensor::random(random, ty, starts[3], n_cols),
            Tensor::random(random, ty, n_cols, heads.width()),
        ];
        let mut weights = Vec::new();
        let mut place = |values: &[u32]| {
            let at = weights.len();
            weights.extend_from_slice(values);
            weights.resize(weights.len().next_multiple_of(32), 0);
            at as u32
        };
        let [qkv, attn_output] = tensors.each_ref().map(|tensor| {
            let at = place(&tensor.words);
            let [a, b, c, d] = tensor.starts.map(|start| at + start);
            WeightsAt { quads: a / 4, words: b, pairs: c, supers: d, n_units: tensor.n_units }
        });
        let norm = random.vector(n_cols, 3.0 / (n_cols as f32).sqrt());
        let head_norms = [1.5, 1.5].map(|scale| random.vector(heads.head_dim, scale));
        let bias = biased.then(|| random.vector(starts[3], 1.0));
        let norm_at = place(&words(&norm));
        let [q_norm, k_norm] = head_norms.each_ref().map(|norm| place(&words(norm)));
        let bias_at = place(&words(bias.as_deref().unwrap_or_default()));
        // Lines that some workgroups bring near.
        weights.resize(weights.len().next_multiple_of(8) + 8 * 1111, 7);
        let hidden = random.vector(n_cols, 3.0);
        let x = normed(&hidden, EPS.to_bits(), &norm);
        let out_stride = n_cols.next_multiple_of(32) + 32;
        let len = match kernel.sums() {
            true => heads.n_heads * out_stride,
            false => heads.n_heads * kernel.parts() * 4 * heads.state_quads(),
        };
        let (scratch, out) = with_room(&hidden, len);
        let rope = history.add_angles(&turning, position + 1);
        let params = Params {
            qkv,
            attn_output,
            x: GUARD as u32,
            norm: norm_at / 4,
            bias: bias_at,
            out: out.start as u32,
            out_stride: out_stride as u32,
            kv: history.base,
            rope,
            q_norm,
            k_norm,
            position: position as u32,
            table: history.table(0),
            splits: kernel.parts() as u32,
            ahead: Ahead::default(),
        };
        let (kv, tables) = (history.kv.clone(), history.tables.clone());
        let memory = Memory { weights, kv, scratch, tables, tokens: vec![0; 4] };
        Some(Self {
            heads,
            n_cols,
            turning,
            position,
            kernel,
            params,
            memory,
            history,
            tensors,
            x,
            bias,
            slack: if gguf::format::has_min(ty) { 8.0 } else { 1.0 },
            head_norms,
            out,
        })
    }

    /// Runs with checks, without, once more, and beside workgroups that bring weights near: the same bits.
    fn run(&self, labs: &mut [Lab; 2]) -> Memory {
        let mut run = |i: usize, kernel: AttendHidden, ahead: Ahead| {
            let params = Params { ahead, ..self.params };
            labs[i].run(kernel.kernel(), bytemuck::bytes_of(&params), kernel.grid(ahead), &self.memory)
        };
        let nothing = Ahead::default();
        let (after, again, checked) =
            (run(1, self.kernel, nothing), run(1, self.kernel, nothing), run(0, self.kernel, nothing));
        let unused = (self.out.end + GUARD - 4) as u32;
        let n_ahead = (self.memory.weights.len() / 8 - 1) as u32;
        let ahead = Ahead { ahead: 1, n_ahead, columns: 0, unused }.in_grid(60, self.kernel.rows_of_groups());
        let beside = run(1, self.kernel.with_ahead(), ahead);
        assert!(after.scratch == again.scratch && after.kv == again.kv, "another run, another result");
        for other in [&checked, &beside] {
            let same = after.scratch == other.scratch && after.kv == other.kv;
            assert!(same || !labs[0].exact(), "checks, or bringing weights near, change the result");
        }
        let outside = |s: &[u32]| [&s[..self.out.start], &s[self.out.end..]].concat();
        assert!(outside(&after.scratch) == outside(&self.memory.scratch), "something else was written");
        after
    }

    /// Rows `first` to `first + n` of Q, K and V.
    fn projected(&self, first: usize, n: usize) -> Projected {
        let row = |row: usize| {
            let terms = self.tensors[0].values[row * self.n_cols..][..self.n_cols].iter().zip(&self.x);
            let (sum, abs) = terms
                .fold((0f64, 0f64), |(s, a), (&w, x)| (s + f64::from(w) * x, a + (f64::from(w) * x).abs()));
            let bias = self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[row]));
            // The squares, whose sum scales all of it, are rounded too.
            (sum + bias, self.slack * dot_bound(self.n_cols, abs) + 1e-6 * (sum + bias).abs())
        };
        (first..first + n).map(row).collect()
    }

    /// A head rotated: values, and how far off they may be.
    fn turned(&self, head: &Projected, norm: &[f32]) -> Vec<Sum> {
        let values: Vec<f32> = head.iter().map(|v| v.0 as f32).collect();
        let error = head.iter().map(|v| v.1).fold(0f64, f64::max);
        let rms = (head.iter().map(|v| v.0 * v.0).sum::<f64>() / head.len() as f64).sqrt();
        // After a norm, an error of one element is one of all, less as the root of their number.
        let by = if self.turning.eps.is_some() { 3.0 * 1.5 / rms } else { 2.0 };
        let turned = self.turning.turned(&values, norm, self.position);
        turned.into_iter().map(|(value, size)| (value, by * error + 1e-6 * size)).collect()
    }

    fn check(&self, what: &str, labs: &mut [Lab; 2], after: &Memory) {
        let (n, starts) = (self.heads.head_dim, starts(self.heads));
        let written = self.history.with(&after.kv);
        let mut expected = self.history.kv.clone();
        for head in 0..self.heads.n_kv_heads {
            let key = self.turned(&self.projected(starts[1] + head * n, n), &self.head_norms[1]);
            let value = self.projected(starts[2] + head * n, n);
            for (which, vector) in [(KEY, key), (VALUE, value)] {
                let got = written.padded(0, self.position, head, which);
                for (got, (value, error)) in got.iter().zip(vector) {
                    let bound = value.abs() / 2048.0 * 1.001 + 1e-7 + error;
                    assert!((got - value).abs() <= bound, "{what}, {which} of {head}: {got} for {value}");
                }
                let place = self.history.place(0, self.position, head, which);
                expected[place.clone()].copy_from_slice(&after.kv[place]);
            }
        }
        assert!(expected == after.kv, "{what}: something else was written to the cache");
        let q = (0..self.heads.n_heads).flat_map(|head| {
            let turned = self.turned(&self.projected(head * n, n), &self.head_norms[0]);
            // What the reference allows for scores has room for the rounding of queries, which is far less.
            turned.into_iter().map(|(value, _)| (value, value.abs()))
        });
        let q: Vec<Sum> = q.collect();
        match self.kernel.sums() {
            true => self.check_sums(what, &written, &q, after),
            false => written.check(what, 0, self.position, &q, &self.merged(labs, after)),
        }
    }

    /// Each head's row of O.
    fn check_sums(&self, what: &str, written: &History, q: &[Sum], after: &Memory) {
        let (n, stride) = (self.heads.head_dim, self.params.out_stride as usize);
        for head in 0..self.heads.n_heads {
            let (attended, _) = written.attended(0, self.position, head, &q[head * n..][..n]);
            let row = &after.scratch[self.out.start + head * stride..][..stride];
            let (row, rest) = row.split_at(self.n_cols.next_multiple_of(32));
            assert!(rest.iter().all(|&w| w == POISON), "{what}: something else was written");
            for (i, &got) in floats(row).iter().enumerate() {
                let weights = &self.tensors[1].values[i * self.heads.width() + head * n..][..n];
                let terms = || weights.iter().zip(&attended).map(|(&w, a)| (f64::from(w), a));
                let value: f64 = terms().map(|(w, a)| w * a.0).sum();
                let size: f64 = terms().map(|(w, a)| (w * a.0).abs()).sum();
                let theory =
                    self.slack * dot_bound(n, size) + terms().map(|(w, a)| w.abs() * a.1).sum::<f64>();
                let bound = theory.min(RELATIVE * size);
                let error = (f64::from(got) - value).abs();
                assert!(
                    error <= bound,
                    "{what}, head {head}, row {i}: {got} for {value}, {error:.1e} of {bound:.1e}"
                );
            }
        }
    }

    /// States, put together by the product that follows: here of a matrix that changes nothing.
    fn merged(&self, labs: &mut [Lab; 2], after: &Memory) -> Vec<f32> {
        use crate::kernels::merge_attention::{self, MergeAttention};
        let mut memory = Memory { kv: vec![0; 4], ..after.clone() };
        let kernel = MergeAttention::new(self.heads);
        let out = memory.scratch.len().next_multiple_of(32);
        memory.scratch.resize(out + self.heads.width() + GUARD, POISON);
        let params = merge_attention::Params {
            states: self.out.start as u32,
            splits: self.kernel.parts() as u32,
            out: out as u32,
            out_stride: self.heads.width() as u32,
        };
        let after = labs[1].run(kernel.kernel(), bytemuck::bytes_of(&params), kernel.grid(1), &memory);
        floats(&after.scratch[out..][..self.heads.width()])
    }
}

/// Scratch with a hidden state behind a guard, and what is written: `len` floats between guards.
fn with_room(hidden: &[f32], len: usize) -> (Vec<u32>, std::ops::Range<usize>) {
    let mut scratch = vec![POISON; GUARD];
    scratch.extend(words(hidden));
    let out = (scratch.len() + GUARD).next_multiple_of(32);
    scratch.resize(out + len + GUARD, POISON);
    (scratch, out..out + len)
}

/// Where Q, K and V begin, and their end, in rows.
fn starts(heads: Heads) -> [usize; 4] {
    let [q, kv] = [heads.n_heads, heads.n_kv_heads].map(|n| (n * heads.head_dim).next_multiple_of(32));
    [0, q, q + kv, q + 2 * kv]
}

/// The first with the checks that wgpu adds, the second without, as in a release.
fn labs() -> [Lab; 2] {
    [Lab::new(Checks::On), Lab::new(Checks::Off)]
}

/// Says whether there is such a kernel.
fn check(
    labs: &mut [Lab; 2],
    ty: TensorType,
    sizes: (Heads, usize),
    turning: Turning,
    biased: bool,
    place: (usize, usize),
) -> bool {
    let Some(case) = Case::new(&labs[0], ty, sizes, turning, biased, place) else { return false };
    let after = case.run(labs);
    case.check(&format!("{ty} {sizes:?} {place:?}"), labs, &after);
    true
}

#[test]
fn a_row_attends_from_its_hidden_state_and_is_appended() {
    let labs = &mut labs();
    for (position, splits) in
        [(0, 1), (1, 2), (31, 1), (32, 4), (33, 1), (100, 1), (255, 2), (300, 1), (700, 8)]
    {
        let adjacent = Turning::new(Adjacent, 64, None);
        assert!(check(labs, TensorType::Q4_0, (heads(9, 3, 64), 576), adjacent, false, (position, splits)));
    }
    for (position, splits) in [(0, 1), (70, 2), (90, 1)] {
        let halves = |n_rot, eps| Turning::new(Halves, n_rot, eps);
        let sizes = (heads(12, 2, 64), 768);
        assert!(check(labs, TensorType::Q4_0, sizes, halves(64, None), true, (position, splits)));
        assert!(check(
            labs,
            TensorType::Q8_0,
            (heads(4, 4, 32), 128),
            halves(16, Some(EPS)),
            true,
            (position, splits)
        ));
    }
}

#[test]
fn every_format_whose_rows_are_in_flight_at_once() {
    let labs = &mut labs();
    for ty in TYPES {
        let sizes = if ty.block_len() == 1 { (heads(2, 1, 64), 128) } else { (heads(4, 2, 64), 256) };
        let turning = Turning::new(Adjacent, 64, None);
        let has = check(labs, ty, sizes, turning, false, (70, 1));
        assert_eq!(has, ty != TensorType::F32, "{ty} has few quads");
    }
}

#[test]
fn workgroups_of_a_head_share_the_rows_of_o() {
    let wide = |lab: Lab| {
        let caps = Caps { wide: true, ..lab.caps };
        Lab { caps, ..lab }
    };
    let mut labs = labs().map(wide);
    for (sizes, shares) in [((9, 3, 576), 3), ((4, 2, 512), 2), ((12, 2, 736), 4)] {
        let (sizes, turning) = ((heads(sizes.0, sizes.1, 64), sizes.2), Turning::new(Adjacent, 64, None));
        let case = Case::new(&labs[0], TensorType::Q4_0, sizes, turning, false, (70, 1)).unwrap();
        assert_eq!(case.kernel.rows_of_groups(), shares, "{sizes:?}");
        let after = case.run(&mut labs);
        case.check(&format!("{sizes:?}"), &mut labs, &after);
    }
    // States are no sums of O's rows.
    let (sizes, turning) = ((heads(9, 3, 64), 576), Turning::new(Adjacent, 64, None));
    let case = Case::new(&labs[0], TensorType::Q4_0, sizes, turning, false, (70, 2)).unwrap();
    assert_eq!(case.kernel.rows_of_groups(), case.kernel.parts());
}

#[test]
fn without_subgroups() {
    let mut labs = self::labs().map(Lab::without_subgroups);
    for place in [(90, 1), (70, 2)] {
        let adjacent = Turning::new(Adjacent, 64, None);
        assert!(check(&mut labs, TensorType::Q4_0, (heads(3, 1, 64), 192), adjacent, false, place));
    }
}

#[test]
fn others_are_left_to_other_kernels() {
    let lab = Lab::new(Checks::Off);
    let of = |ty, heads, n_cols, splits| {
        let turning = Turning::new(Adjacent, 32, None);
        AttendHidden::new((ty, n_cols), (heads, turning.rotation()), (0, false), splits, lab.caps).is_some()
    };
    assert!(of(TensorType::Q4_0, heads(9, 3, 64), 576, 1));
    assert!(!of(TensorType::Q4_0, heads(32, 8, 64), 2048, 1), "a model of a billion weights");
    assert!(!of(TensorType::Q4_0, heads(14, 2, 64), 896, 1), "a workgroup would take as long as three steps");
    assert!(!of(TensorType::F32, heads(9, 3, 64), 576, 1), "more quads than are in flight at once");
    assert!(!of(TensorType::Q4_0, heads(8, 4, 48), 384, 1), "heads of no whole units");
    assert!(!of(TensorType::Q4_0, heads(20, 4, 32), 640, 1), "more rows than are added on the way");
    assert!(!of(TensorType::Q4_0, heads(4, 2, 64), 32, 1), "heads longer than the hidden state");
}

#[test]
fn immediates_know_where_the_position_is() {
    let what = What::new(Role::Attn, None, [1, 1]);
    let lab = Lab::new(Checks::Off);
    let turning = Turning::new(Adjacent, 64, None);
    let sizes = (TensorType::Q4_0, 576);
    let kernel =
        AttendHidden::new(sizes, (heads(9, 3, 64), turning.rotation()), (0, false), 1, lab.caps).unwrap();
    let step = Step::new(kernel.kernel(), what, &Params::default(), [1, 1, 1]);
    let params: Params = step.with_position_at(Params::POSITION_AT).params_as(77);
    assert_eq!(params, Params { position: 77, ..Params::default() });
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let labs = &mut [Lab::emulator(), Lab::emulator()];
    for (sizes, place) in [((heads(9, 3, 64), 576), (70, 1)), ((heads(2, 1, 32), 64), (33, 2))] {
        let turning = Turning::new(Halves, 32, None);
        assert!(check(labs, TensorType::Q4_0, sizes, turning, false, place));
    }
}
