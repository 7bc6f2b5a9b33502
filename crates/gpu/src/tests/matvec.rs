//! Matrix times vector, every format, prologue, epilogue and shape.

use super::history::heads;
use super::{GUARD, Lab, Memory, POISON, Tensor, floats, words};
use crate::kernels::heads::Heads;
use crate::kernels::matvec::{Epilogue, Matvec, Params, Prologue};
use crate::kernels::matvec_shape::Shape;
use crate::layout::WeightsAt;
use crate::pipeline::Checks;
use gguf::TensorType;
use testkit::{Random, dot_bound};

pub(super) const TYPES: [TensorType; 13] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::BF16,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q8_0,
    TensorType::Q2_K,
    TensorType::Q3_K,
    TensorType::Q4_K,
    TensorType::Q5_K,
    TensorType::Q6_K,
];
pub(super) const NORM: Prologue = Prologue::Norm { eps_bits: 1e-5f32.to_bits() };

/// Memory with a tensor, what goes into the product, and room for what comes out.
pub(super) struct Case {
    ty: TensorType,
    tensor: Tensor,
    memory: Memory,
    params: Params,
    /// Rows and columns of the tensor; with `SiluMul` half of its row groups are gates.
    rows: usize,
    cols: usize,
    /// x after the prologue, and what it is multiplied by.
    x: Vec<f64>,
    /// How far off each of them may be, where it is rounded.
    slack: Vec<f64>,
    bias: Vec<f32>,
    old: Vec<f32>,
}

impl Case {
    pub(super) fn new(
        random: &mut Random,
        ty: TensorType,
        (rows, cols): (usize, usize),
        prologue: Prologue,
        epilogue: Epilogue,
    ) -> Self {
        let tensor = Tensor::random(random, ty, rows, cols);
        let mut weights = tensor.words.clone();
        let mut place = |values: &[f32]| {
            let at = weights.len().next_multiple_of(4);
            weights.resize(at, POISON);
            weights.extend(words(values));
            weights.resize((at + values.len()).next_multiple_of(32), 0);
            at as u32
        };
        let (norm, bias) = (random.vector(cols, 2.0), random.vector(rows.next_multiple_of(32), 1.0));
        let (norm_at, bias_at) = (place(&norm), place(&bias));
        let (input, x) = input(random, cols, prologue, &norm);
        let mut scratch = vec![POISON; GUARD];
        scratch.extend(words(&input));
        scratch.resize((scratch.len() + GUARD).next_multiple_of(4), POISON);
        let y = scratch.len();
        let padded = rows.next_multiple_of(32) / if epilogue == Epilogue::SiluMul { 2 } else { 1 };
        let old = random.vector(padded, 5.0);
        scratch.extend(words(&old));
        if epilogue != Epilogue::Add {
            scratch[y..].fill(POISON);
        }
        scratch.resize(y + padded + GUARD, POISON);
        let params = Params {
            weights: WeightsAt {
                quads: tensor.starts[0] / 4,
                words: tensor.starts[1],
                pairs: tensor.starts[2],
                supers: tensor.starts[3],
                n_units: tensor.n_units,
            },
            x: GUARD as u32,
            y: y as u32,
            norm: norm_at / 4,
            bias: bias_at,
            partials: 0,
            partial_stride: 0,
        };
        let rest = vec![0; 4];
        let memory = Memory { weights, kv: rest.clone(), scratch, tables: rest.clone(), tokens: rest };
        let slack = vec![0.0; cols];
        Self { ty, tensor, memory, params, rows, cols, x, slack, bias, old }
    }

    /// For a kernel that rounds x to 8 bits. Which way a number goes that is next to the middle of two is not said.
    pub(super) fn rounded(mut self) -> Self {
        for (x, slack) in self.x.chunks_mut(32).zip(self.slack.chunks_mut(32)) {
            let scale = x.iter().fold(0f64, |m, v| m.max(v.abs())) / 127.0;
            for (x, slack) in x.iter_mut().zip(slack) {
                let exact = *x / scale;
                let near = ((exact - exact.floor()) - 0.5).abs() < 1e-3;
                *slack = if near { scale } else { 0.0 };
                *x = exact.round() * scale;
            }
        }
        self
    }

    /// With the hidden state, which is read as x by a norm and else added to, in a row of its own and `n` of sums. All are multiples of
    /// 2^-10, so that nothing depends on the order in which they are added.
    fn beside(mut self, random: &mut Random, prologue: Prologue, n: usize) -> Self {
        let dyadic = |v: f32| (v * 1024.0).round() / 1024.0;
        let (at, len) = match prologue {
            Prologue::Norm { .. } => (self.params.x, self.cols),
            _ => (self.params.y, self.old.len()),
        };
        let at = at as usize;
        let mut hidden =
            floats(&self.memory.scratch[at..at + len]).into_iter().map(dyadic).collect::<Vec<f32>>();
        let stride = len.next_multiple_of(32) + 32;
        self.params.partials = self.memory.scratch.len().next_multiple_of(4) as u32;
        self.params.partial_stride = stride as u32;
        self.memory.scratch[at..at + len].copy_from_slice(&words(&hidden));
        self.memory.scratch.resize(self.params.partials as usize + n * stride, POISON);
        for row in self.memory.scratch[self.params.partials as usize..].chunks_mut(stride) {
            let sums: Vec<f32> = random.vector(len, 3.0).into_iter().map(dyadic).collect();
            row[..len].copy_from_slice(&words(&sums));
            hidden.iter_mut().zip(&sums).for_each(|(h, s)| *h += s);
        }
        self.memory.scratch.resize(self.memory.scratch.len() + GUARD, POISON);
        match prologue {
            Prologue::Norm { eps_bits } => {
                let norm = floats(&self.memory.weights[4 * self.params.norm as usize..][..len]);
                self.x = normed(&hidden, eps_bits, &norm);
            }
            _ => self.old = hidden,
        }
        self
    }

    /// Row groups of the tensor.
    pub(super) fn n_groups(&self) -> usize {
        self.tensor.areas.n_groups()
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn params(&self) -> Params {
        self.params
    }

    fn run(&self, lab: &mut Lab, kernel: Matvec) -> Memory {
        let grid = kernel.grid(self.tensor.areas.n_groups());
        lab.run(kernel.kernel(), bytemuck::bytes_of(&self.params), grid, &self.memory)
    }

    /// A row of the product, and how far off f32 may be.
    fn product(&self, row: usize) -> (f64, f64) {
        if row >= self.rows {
            return (0.0, 0.0);
        }
        let terms = self.tensor.values[row * self.cols..][..self.cols].iter().zip(&self.x);
        let (sum, abs) =
            terms.fold((0f64, 0f64), |(s, a), (&w, x)| (s + f64::from(w) * x, a + (f64::from(w) * x).abs()));
        // Types with minimums sum x beside the product; their terms are larger than the weights.
        let slack = if gguf::format::has_min(self.ty) { 8.0 } else { 1.0 };
        let weights = &self.tensor.values[row * self.cols..][..self.cols];
        let rounding: f64 =
            weights.iter().zip(&self.slack).map(|(&w, slack)| f64::from(w).abs() * slack).sum();
        (sum, slack * dot_bound(self.cols, abs) + rounding)
    }

    pub(super) fn check(&self, what: &str, epilogue: Epilogue, after: &Memory) {
        let y = self.params.y as usize;
        let end = y + self.old.len();
        for (i, got) in floats(&after.scratch[y..end]).into_iter().enumerate() {
            let (product, bound) = self.product(i);
            let (value, bound) = match epilogue {
                Epilogue::Store => (product, bound),
                Epilogue::StoreBiased => (product + f64::from(self.bias[i]), bound + 1e-6),
                Epilogue::Add => (product + f64::from(self.old[i]), bound + 1e-6),
                Epilogue::SiluMul => {
                    let (gate, gate_bound) = self.product(i / 32 * 64 + i % 32);
                    let (up, up_bound) = self.product(i / 32 * 64 + 32 + i % 32);
                    let silu = gate / (1.0 + (-gate).exp());
                    let bound = 1.1 * gate_bound * up.abs() + silu.abs() * up_bound;
                    (silu * up, bound + 1e-6 * (silu * up).abs() + gate_bound * up_bound)
                }
            };
            let error = (f64::from(got) - value).abs();
            assert!(error <= bound, "{what}, {i}: {got} for {value}, error {error:.1e} of {bound:.1e}");
        }
        let outside = |s: &[u32]| [&s[..y], &s[end..]].concat();
        assert!(
            outside(&after.scratch) == outside(&self.memory.scratch),
            "{what}: something else was written"
        );
    }
}

/// What is in scratch, and x after the prologue.
fn input(random: &mut Random, cols: usize, prologue: Prologue, norm: &[f32]) -> (Vec<f32>, Vec<f64>) {
    let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
    match prologue {
        Prologue::Plain => {
            let x = random.vector(cols, 3.0);
            (x.clone(), wide(&x))
        }
        Prologue::Norm { eps_bits } => {
            let x = random.vector(cols, 3.0);
            let normed = normed(&x, eps_bits, norm);
            (x, normed)
        }
        Prologue::Merge { heads, splits } => {
            assert_eq!(heads.width(), cols);
            states(random, heads, splits)
        }
    }
}

/// RMSNorm.
pub(super) fn normed(x: &[f32], eps_bits: u32, norm: &[f32]) -> Vec<f64> {
    let mean = x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + f64::from(f32::from_bits(eps_bits))).sqrt();
    x.iter().zip(norm).map(|(&x, &w)| f64::from(x) * f64::from(w) * scale).collect()
}

/// States of attention in parts, some without keys, and what they come to.
fn states(random: &mut Random, heads: Heads, splits: usize) -> (Vec<f32>, Vec<f64>) {
    let (mut all, mut merged) = (Vec::new(), Vec::new());
    for _ in 0..heads.n_heads {
        let parts: Vec<_> = (0..splits)
            .map(|part| {
                let empty = part + 1 < splits && random.below(3) == 0;
                let top = if empty { -3.0e38 } else { 20.0 * random.vector(1, 1.0)[0] };
                let total = if empty { 0.0 } else { 1.0 + random.vector(1, 1.0)[0].abs() };
                let scale = if empty { 0.0 } else { total };
                (random.vector(heads.head_dim, scale), top, total)
            })
            .collect();
        let high = parts.iter().fold(f64::MIN, |high, part| high.max(f64::from(part.1)));
        let weights: Vec<f64> = parts.iter().map(|part| (f64::from(part.1) - high).exp()).collect();
        let total: f64 = parts.iter().zip(&weights).map(|(part, w)| f64::from(part.2) * w).sum();
        for i in 0..heads.head_dim {
            let sum: f64 = parts.iter().zip(&weights).map(|(part, w)| f64::from(part.0[i]) * w).sum();
            merged.push(sum / total);
        }
        for (mixed, top, total) in parts {
            all.extend(&mixed);
            all.resize(all.len().next_multiple_of(4), 0.0);
            all.extend([top, total, 0.0, 0.0]);
        }
    }
    (all, merged)
}

/// Runs with checks, without, and once more: right, and the same bits.
fn check(
    labs: &mut [Lab; 2],
    seed: u64,
    ty: TensorType,
    size: (usize, usize),
    (prologue, epilogue): (Prologue, Epilogue),
    shape: Option<Shape>,
) {
    let what = format!("{ty} {size:?} {prologue:?} {epilogue:?} {shape:?}, seed {seed}");
    let case = Case::new(&mut Random::new(seed), ty, size, prologue, epilogue);
    let kernel = match shape {
        Some(shape) => Matvec::with_shape(ty, size.1, prologue, epilogue, shape),
        None => Matvec::new(ty, size.1, case.tensor.areas.n_groups(), prologue, epilogue, labs[0].caps),
    };
    check_case(labs, &what, &case, kernel);
}

fn check_case(labs: &mut [Lab; 2], what: &str, case: &Case, kernel: Matvec) {
    let epilogue = kernel.epilogue;
    let [checked, unchecked] = labs;
    let after = case.run(unchecked, kernel);
    case.check(what, epilogue, &after);
    assert!(case.run(unchecked, kernel).scratch == after.scratch, "{what}: another run, another result");
    let other = case.run(checked, kernel);
    case.check(what, epilogue, &other);
    assert!(other.scratch == after.scratch || !checked.exact(), "{what}: checks change the result");
}

pub(super) fn labs() -> [Lab; 2] {
    [Lab::new(Checks::On), Lab::new(Checks::Off)]
}

#[test]
fn every_format_agrees_with_f64_and_checks_change_no_bit() {
    let labs = &mut labs();
    for ty in TYPES {
        let width = ty.block_len().max(32);
        for (i, (rows, blocks)) in [(1, 1), (33, 2), (70, 3), (64, 18)].into_iter().enumerate() {
            let cols = match ty.block_len() {
                1 => blocks * 32 - 5,
                256 => blocks.min(4) * width,
                _ => blocks * width,
            };
            let prologue = if i % 2 == 0 { NORM } else { Prologue::Plain };
            check(labs, 100 + i as u64, ty, (rows, cols), (prologue, Epilogue::Store), None);
        }
    }
}

#[test]
fn every_epilogue_does_what_it_says() {
    let labs = &mut labs();
    for ty in [TensorType::Q4_0, TensorType::Q8_0, TensorType::Q6_K] {
        for epilogue in [Epilogue::StoreBiased, Epilogue::Add, Epilogue::SiluMul] {
            check(labs, 7, ty, (128, 768), (NORM, epilogue), None);
            check(labs, 8, ty, (64, 256), (Prologue::Plain, epilogue), None);
        }
    }
}

#[test]
fn every_shape_makes_the_same_product() {
    let labs = &mut labs();
    let shape = |slices, teams, blocks, sets| Some(Shape { slices, teams, blocks, sets, flight: 4 });
    use TensorType::{F16, Q4_0, Q4_K, Q8_0};
    for (i, (ty, cols, epilogue, shape)) in [
        (Q4_0, 576, Epilogue::Add, shape(4, 1, 1, 1)),
        (Q4_0, 608, Epilogue::SiluMul, shape(4, 4, 1, 2)),
        (Q8_0, 576, Epilogue::Store, shape(8, 2, 1, 4)),
        (Q8_0, 576, Epilogue::StoreBiased, shape(4, 8, 2, 1)),
        (Q4_0, 1536, Epilogue::Add, shape(20, 1, 2, 1)),
        (Q4_K, 1792, Epilogue::SiluMul, shape(12, 2, 2, 1)),
        (F16, 1001, Epilogue::Store, shape(16, 1, 2, 2)),
    ]
    .into_iter()
    .enumerate()
    {
        check(labs, i as u64, ty, (256, cols), (NORM, epilogue), shape);
    }
    // More than workgroup memory holds.
    let long = (16 << 10) + 32;
    check(labs, 1, Q4_0, (32, long), (NORM, Epilogue::Add), shape(32, 1, 1, 2));
}

#[test]
fn states_of_attention_are_merged_on_the_way_in() {
    let labs = &mut labs();
    for (heads, splits) in [
        (heads(9, 3, 64), 1),
        (heads(9, 3, 64), 4),
        (heads(8, 1, 80), 2),
        (heads(16, 4, 6), 8),
        (heads(32, 8, 128), 16),
    ] {
        let prologue = Prologue::Merge { heads, splits };
        check(labs, 3, TensorType::Q4_0, (64, heads.width()), (prologue, Epilogue::Add), None);
    }
}

#[test]
fn sums_beside_the_hidden_state_are_added_where_it_is_read() {
    let labs = &mut labs();
    for (i, (ty, (rows, cols), prologue, epilogue, n)) in [
        (TensorType::Q4_0, (128, 576), NORM, Epilogue::SiluMul, 9),
        (TensorType::F32, (64, 91), NORM, Epilogue::Store, 3),
        (TensorType::Q8_0, (96, 1536), Prologue::Plain, Epilogue::Add, 9),
        (TensorType::Q6_K, (576, 256), Prologue::Plain, Epilogue::Add, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let random = &mut Random::new(40 + i as u64);
        let case = Case::new(random, ty, (rows, cols), prologue, epilogue).beside(random, prologue, n);
        let kernel = Matvec::new(ty, cols, case.n_groups(), prologue, epilogue, labs[0].caps).beside(n);
        check_case(labs, &format!("{ty} {cols} beside {n}"), &case, kernel);
    }
}

#[test]
fn a_broken_word_is_noticed() {
    let mut lab = Lab::new(Checks::Off);
    let mut case = Case::new(&mut Random::new(5), TensorType::Q4_0, (32, 576), NORM, Epilogue::Store);
    let kernel = Matvec::new(TensorType::Q4_0, 576, 1, NORM, Epilogue::Store, lab.caps);
    case.check("whole", Epilogue::Store, &case.run(&mut lab, kernel));
    case.memory.weights[1001] ^= 0x0010_0000;
    let after = case.run(&mut lab, kernel);
    let broken = std::panic::catch_unwind(|| case.check("broken", Epilogue::Store, &after));
    assert!(broken.is_err(), "one quant of a row was changed");
}

#[test]
#[ignore = "compiles the kernel's MSL as C++: cargo xtask msl-smoke"]
fn msl_smoke() {
    let labs = &mut [Lab::emulator(), Lab::emulator()];
    let prologue = Prologue::Merge { heads: heads(9, 3, 64), splits: 4 };
    for (ty, size, prologue, epilogue) in [
        (TensorType::Q4_0, (64, 576), prologue, Epilogue::Add),
        (TensorType::Q4_0, (128, 576), NORM, Epilogue::SiluMul),
        (TensorType::F16, (70, 91), Prologue::Plain, Epilogue::Store),
        (TensorType::Q4_K, (32, 512), Prologue::Plain, Epilogue::Store),
        (TensorType::Q6_K, (64, 768), NORM, Epilogue::StoreBiased),
    ] {
        check(labs, 9, ty, size, (prologue, epilogue), None);
    }
}
