//! Cases of Y = X W^T for many rows of X, for the kernels that compute it.

use super::{GUARD, Memory, POISON, Tensor, words};
use crate::kernels::floats::Floats;
use crate::kernels::gemm;
use crate::kernels::matvec::Epilogue;
use crate::kernels::quantize::Quantize;
use crate::layout::{Areas, GROUP, WeightsAt, pack};
use gguf::TensorType;
use half::f16;
use testkit::{Random, dot_bound};

/// What a case is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    pub(super) ty: TensorType,
    pub(super) epilogue: Epilogue,
    /// Of W; with `SiluMul`, of gate and up each.
    pub(super) n_rows: usize,
    pub(super) n_cols: usize,
    pub(super) n_tokens: usize,
    pub(super) seed: u64,
}

/// What a kernel sees, and what should come out.
pub(super) struct Problem {
    pub(super) case: Case,
    pub(super) memory: Memory,
    /// Of the weights' areas, in words.
    pub(super) starts: [u32; 4],
    pub(super) n_groups: usize,
    /// In floats.
    pub(super) x: u32,
    pub(super) x_stride: u32,
    pub(super) y: u32,
    pub(super) y_stride: u32,
    pub(super) bias: u32,
    /// How outputs lie in memory.
    y_floats: Floats,
    /// Whether factors are rounded to f16.
    halves: bool,
    /// Outputs and how far off they may be, `[n_tokens, n_rows]`.
    expected: Vec<(f64, f64)>,
}

impl Problem {
    pub(super) fn new(case: Case) -> Self {
        Self::with(case, X::Floats(Floats::F32), Floats::F32)
    }

    /// Of a kernel that takes rows rounded to 8 bits.
    pub(super) fn of_rounded(case: Case) -> Self {
        Self::with(case, X::Rounded, Floats::F32)
    }

    /// Of a kernel that multiplies in f16.
    pub(super) fn of_halves(case: Case, floats: [Floats; 2]) -> Self {
        Self::with(case, X::Halved(floats[0]), floats[1])
    }

    fn with(case: Case, given: X, y_floats: Floats) -> Self {
        let Case { ty, epilogue, n_rows, n_cols, n_tokens, seed } = case;
        let mut random = Random::new(seed);
        let padded = n_rows.next_multiple_of(GROUP);
        let pair = epilogue == Epilogue::SiluMul;
        let (tensor_words, starts, values) = if pair {
            gate_up(&mut random, ty, n_rows, n_cols)
        } else {
            one(&mut random, ty, n_rows, n_cols)
        };
        let mut x = random.vector(n_tokens * n_cols, 3.0);
        given.round(&mut x);
        let bias = random.vector(n_rows, 2.0);
        let before = random.vector(n_tokens * n_rows, 2.0);

        let mut memory =
            Memory { kv: vec![0; 4], tables: vec![0; 4], tokens: vec![0; 4], ..Memory::default() };
        let weights_at = 4 * (1 + random.below(16));
        // Not aligned, as nothing says that it is.
        let bias_at = weights_at + tensor_words.len() + 5;
        memory.weights = vec![POISON; bias_at + padded + GUARD];
        memory.weights[weights_at..][..tensor_words.len()].copy_from_slice(&tensor_words);
        memory.weights[bias_at..][..padded].fill(0);
        memory.weights[bias_at..][..n_rows].copy_from_slice(&words(&bias));
        // Strides with room behind the rows, filled with what must not be read and not be written.
        let x_stride = given.words(n_cols.next_multiple_of(32)) + 4 * random.below(3);
        let y_stride = words_of(y_floats, padded) + 4 * random.below(3);
        let x_at = GUARD + 4 * random.below(8);
        let y_at = x_at + n_tokens * x_stride + GUARD;
        memory.scratch = vec![POISON; y_at + n_tokens * y_stride + GUARD];
        for t in 0..n_tokens {
            given.put(&mut memory.scratch[x_at + t * x_stride..], &x[t * n_cols..][..n_cols]);
            if epilogue == Epilogue::Add {
                let row = &mut memory.scratch[y_at + t * y_stride..][..padded];
                row.fill(0);
                row[..n_rows].copy_from_slice(&words(&before[t * n_rows..][..n_rows]));
            }
        }
        let mut this = Self {
            case,
            memory,
            starts: starts.map(|start| weights_at as u32 + start),
            n_groups: padded / GROUP * if pair { 2 } else { 1 },
            x: x_at as u32,
            x_stride: x_stride as u32,
            y: y_at as u32,
            y_stride: y_stride as u32,
            bias: bias_at as u32,
            y_floats,
            halves: matches!(given, X::Halved(_)),
            expected: Vec::with_capacity(n_tokens * n_rows),
        };
        for x in x.chunks(n_cols) {
            for (row, &bias) in bias.iter().enumerate() {
                let before = before[this.expected.len()];
                let (value, bound) = this.output(&values, x, row, bias, before);
                let rounding = match y_floats {
                    Floats::F32 => 0.0,
                    Floats::F16 => value.abs() * 0.5f64.powi(11) + 0.5f64.powi(24),
                };
                this.expected.push((value, bound + rounding));
            }
        }
        this
    }

    /// Where the weights are.
    pub(super) fn weights(&self) -> WeightsAt {
        let [quads, words, pairs, supers] = self.starts;
        WeightsAt { quads: quads / 4, words, pairs, supers, n_units: self.case.n_cols.div_ceil(32) as u32 }
    }

    /// What a product of many rows is told.
    pub(super) fn gemm_params(&self) -> gemm::Params {
        gemm::Params {
            weights: self.weights(),
            n_cols: self.case.n_cols as u32,
            n_groups: self.n_groups as u32,
            n_tokens: self.case.n_tokens as u32,
            x: self.x,
            x_stride: self.x_stride,
            y: self.y,
            y_stride: self.y_stride,
            bias: self.bias,
            ..gemm::Params::default()
        }
    }

    /// Output `row` of a row of X, and how far off it may be.
    fn output(&self, values: &[f32], x: &[f32], row: usize, bias: f32, before: f32) -> (f64, f64) {
        let n = x.len();
        let (sum, bound) = self.sum(&values[row * n..][..n], x, 0.0);
        match self.case.epilogue {
            Epilogue::Store => (sum, bound),
            Epilogue::StoreBiased => self.sum(&values[row * n..][..n], x, bias),
            Epilogue::Add => self.sum(&values[row * n..][..n], x, before),
            Epilogue::SiluMul => {
                let (up, up_bound) = self.sum(&values[(self.case.n_rows + row) * n..][..n], x, 0.0);
                let silu = sum / (1.0 + (-sum).exp());
                // The slope of silu is below 1.1; WGSL's exp may be off by 3 + 2 |x| units in the last place.
                let own = f64::from(f32::EPSILON) * (8.0 + 2.0 * sum.abs()) * (silu * up).abs();
                (
                    silu * up,
                    1.1 * bound * (up.abs() + up_bound)
                        + silu.abs() * up_bound
                        + own
                        + f64::from(f32::MIN_POSITIVE),
                )
            }
        }
    }

    /// `more` and the products of a row.
    fn sum(&self, weights: &[f32], x: &[f32], more: f32) -> (f64, f64) {
        let mut sums = [0f64; 8];
        let mut abs = [0f64; 8];
        for (w, x) in weights.chunks(8).zip(x.chunks(8)) {
            for (i, (w, x)) in w.iter().zip(x).enumerate() {
                let product = f64::from(*w) * f64::from(*x);
                sums[i] += product;
                abs[i] += product.abs();
            }
        }
        // Types with minimums sum x beside the product; their terms are larger than the weights.
        let slack = if gguf::format::has_min(self.case.ty) { 8.0 } else { 1.0 };
        let more = f64::from(more);
        let abs = abs.iter().sum::<f64>();
        let mut bound = slack * dot_bound(x.len() + 1, abs + more.abs());
        if self.halves {
            // Each factor is rounded to 11 bits, a weight below 2^-14 to a multiple of 2^-24; and matrix units need not round
            // their sums to nearest.
            let size = x.iter().map(|&x| f64::from(x).abs()).sum::<f64>();
            bound +=
                abs * 1.001 * 0.5f64.powi(10) + size * 0.5f64.powi(25) + 3.0 * dot_bound(x.len() + 1, abs);
        }
        (sums.iter().sum::<f64>() + more, bound)
    }

    /// Checks every output, and that nothing else was written. Gives back the largest part of its bound that an error took.
    pub(super) fn verify(&self, after: &Memory) -> Result<f64, String> {
        let Case { n_rows, n_tokens, .. } = self.case;
        let padded = n_rows.next_multiple_of(GROUP);
        let mut worst = 0f64;
        let mut untouched = after.scratch.clone();
        let len = words_of(self.y_floats, padded);
        for t in 0..n_tokens {
            let at = self.y as usize + t * self.y_stride as usize;
            let row = taken(&after.scratch[at..at + len], self.y_floats);
            for (i, (got, (value, bound))) in
                row.iter().zip(&self.expected[t * n_rows..][..n_rows]).enumerate()
            {
                let error = (f64::from(*got) - value).abs();
                if error.is_nan() || error > *bound {
                    return Err(format!(
                        "{:?}: token {t} row {i}: {got} for {value}, error {error:.1e} over {bound:.1e}",
                        self.case
                    ));
                }
                worst = worst.max(error / bound);
            }
            if row[n_rows..].iter().any(|&v| v != 0.0) {
                return Err(format!("{:?}: token {t}: rows past the end are not zero", self.case));
            }
            untouched[at..at + len].copy_from_slice(&self.memory.scratch[at..at + len]);
        }
        match untouched == self.memory.scratch
            && after.kv == self.memory.kv
            && after.tokens == self.memory.tokens
        {
            true => Ok(worst),
            false => Err(format!("{:?}: something else was written", self.case)),
        }
    }

    /// The outputs of a token, bit for bit.
    pub(super) fn outputs<'a>(&self, after: &'a Memory, token: usize) -> &'a [u32] {
        &after.scratch[self.y as usize + token * self.y_stride as usize..][..self.case.n_rows]
    }

    /// Changes one weight of a type of 4 bits by half of its range: the outputs of its row must be refused.
    pub(super) fn spoil(&mut self) {
        self.memory.weights[self.starts[0] as usize] ^= 0x80;
    }
}

/// Words that `n` numbers take.
fn words_of(floats: Floats, n: usize) -> usize {
    match floats {
        Floats::F32 => n,
        Floats::F16 => n / 2,
    }
}

/// How a kernel is given X.
#[derive(Debug, Clone, Copy)]
enum X {
    Floats(Floats),
    /// By one that rounds both factors to f16.
    Halved(Floats),
    /// As `quantize` leaves it.
    Rounded,
}

impl X {
    /// To what can be given so.
    fn round(self, x: &mut [f32]) {
        match self {
            Self::Floats(Floats::F16) | Self::Halved(Floats::F16) => {
                x.iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32());
            }
            Self::Rounded => {
                for unit in x.chunks_mut(32) {
                    let rounded = Rounded::new(unit);
                    unit.iter_mut().zip(rounded.q).for_each(|(x, q)| *x = f32::from(q) * rounded.scale);
                }
            }
            _ => (),
        }
    }

    /// Words of `n` numbers.
    fn words(self, n: usize) -> usize {
        match self {
            Self::Floats(floats) | Self::Halved(floats) => words_of(floats, n),
            Self::Rounded => Quantize::row_words(n),
        }
    }

    fn put(self, to: &mut [u32], values: &[f32]) {
        match self {
            Self::Floats(Floats::F32) | Self::Halved(Floats::F32) => {
                to[..values.len()].copy_from_slice(&words(values));
            }
            Self::Floats(Floats::F16) | Self::Halved(Floats::F16) => {
                for (i, v) in values.iter().enumerate() {
                    let shift = i % 2 * 16;
                    let half = u32::from(f16::from_f32(*v).to_bits());
                    to[i / 2] = to[i / 2] & !(0xffff << shift) | half << shift;
                }
            }
            Self::Rounded => {
                let scales = values.len() / 4;
                for (u, unit) in values.chunks(32).enumerate() {
                    let rounded = Rounded::new(unit);
                    to[u * 8..][..8].copy_from_slice(&rounded.words());
                    to[scales + u * 4..][..4].copy_from_slice(&words(&rounded.scales()));
                }
            }
        }
    }
}

/// A unit in 8 bits, as the CPU engine rounds it.
pub(super) struct Rounded {
    pub(super) q: [i8; 32],
    pub(super) scale: f32,
}

impl Rounded {
    pub(super) fn new(unit: &[f32]) -> Self {
        let largest = unit.iter().fold(0f32, |m, v| m.max(v.abs()));
        let by = if largest < 1e-36 { 0.0 } else { 127.0 / largest };
        let q = std::array::from_fn(|i| (unit[i] * by).round_ties_even() as i8);
        Self { q, scale: largest / 127.0 }
    }

    pub(super) fn words(&self) -> [u32; 8] {
        std::array::from_fn(|i| {
            u32::from_le_bytes(std::array::from_fn(|k| self.q[4 * i + k].cast_unsigned()))
        })
    }

    /// Its scale, and what its halves sum to.
    pub(super) fn scales(&self) -> [f32; 4] {
        let sum = |half: &[i8]| self.scale * half.iter().map(|&q| f32::from(q)).sum::<f32>();
        [self.scale, sum(&self.q[..16]), sum(&self.q[16..]), 0.0]
    }
}

fn taken(from: &[u32], floats: Floats) -> Vec<f32> {
    match floats {
        Floats::F32 => super::floats(from),
        Floats::F16 => {
            let halves = from.iter().flat_map(|&w| [w as u16, (w >> 16) as u16]);
            halves.map(|h| f16::from_bits(h).to_f32()).collect()
        }
    }
}

type Packed = (Vec<u32>, [u32; 4], Vec<f32>);

fn one(random: &mut Random, ty: TensorType, rows: usize, cols: usize) -> Packed {
    let tensor = Tensor::random(random, ty, rows, cols);
    (tensor.words, tensor.starts, tensor.values)
}

/// Two tensors whose row groups take turns; the values of the first, then those of the second.
fn gate_up(random: &mut Random, ty: TensorType, rows: usize, cols: usize) -> Packed {
    let areas = Areas::new(ty, 2 * rows.next_multiple_of(GROUP), cols);
    let mut packed = vec![0; areas.len_words()];
    let mut values = vec![0.0; 2 * rows * cols];
    for (i, values) in values.chunks_mut(rows * cols).enumerate() {
        let bytes = testkit::random_matrix(random, ty, rows, cols, 1.0);
        ty.decode(&bytes, values).unwrap();
        pack(ty, cols, &bytes, &areas, (i, 2), &mut packed);
    }
    let [a, b, c, d, _] = areas.starts().map(|start| start as u32);
    (packed, [a, b, c, d], values)
}
