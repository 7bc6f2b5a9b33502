//! A cache with the keys and values of some sequences, everything else in it NaN, and attention over it in f64.

use super::GUARD;
use crate::kernels::heads::{Heads, Rotation};
use half::f16;
use model::{RopePairing, RopeTable};
use testkit::{Random, dot_bound};

const EPS: f64 = f32::EPSILON as f64;
/// How far a number is rounded to be f16.
const HALF_EPS: f64 = 1.0 / 2048.0;
/// Two NaNs.
const POISON: u32 = 0x7e01_7e02;

/// Keys, or values.
pub(super) const KEY: usize = 0;
pub(super) const VALUE: usize = 1;

/// A number, and the magnitude of what it was summed from.
pub(super) type Sum = (f64, f64);

pub(super) struct History {
    pub(super) heads: Heads,
    /// Where the layer begins, in quads.
    pub(super) base: u32,
    /// Block tables, among other things.
    pub(super) tables: Vec<u32>,
    pub(super) kv: Vec<u32>,
    /// Where the block table of each sequence begins.
    starts: Vec<usize>,
    /// Whether a kernel is checked that multiplies in f16.
    pub(super) halves: bool,
}

impl History {
    /// Sequences that hold the given numbers of positions, with room for two more.
    pub(super) fn new(random: &mut Random, heads: Heads, lens: &[usize]) -> Self {
        let counts: Vec<usize> = lens.iter().map(|len| (len + 1) / 32 + 1).collect();
        let n_blocks = counts.iter().sum::<usize>() + 3;
        let mut blocks: Vec<u32> = (0..n_blocks as u32).collect();
        for i in 0..n_blocks {
            blocks.swap(i, i + random.below(n_blocks - i));
        }
        let base = 8 + random.below(9);
        let block_words = heads.n_kv_heads * 2 * 32 * heads.lanes() * 4;
        let mut this = Self {
            heads,
            base: base as u32,
            tables: vec![u32::MAX; GUARD],
            kv: vec![POISON; 4 * base + n_blocks * block_words + GUARD],
            starts: Vec::new(),
            halves: false,
        };
        for (sequence, (&len, &count)) in lens.iter().zip(&counts).enumerate() {
            this.starts.push(this.tables.len());
            this.tables.extend(blocks.drain(..count));
            // Behind a table is not a block.
            this.tables.push(u32::MAX);
            for position in 0..len {
                for (which, scale) in [(KEY, 3.0), (VALUE, 1.0)] {
                    let values = random.vector(heads.n_kv_heads * heads.head_dim, scale);
                    this.put(sequence, position, which, &values);
                }
            }
        }
        this
    }

    /// The same sequences in another cache.
    pub(super) fn with(&self, kv: &[u32]) -> Self {
        Self { kv: kv.to_vec(), tables: self.tables.clone(), starts: self.starts.clone(), ..*self }
    }

    pub(super) fn table(&self, sequence: usize) -> u32 {
        self.starts[sequence] as u32
    }

    /// Adds the angles of `n_positions` to the tables and says where they begin.
    pub(super) fn add_angles(&mut self, turning: &Turning, n_positions: usize) -> u32 {
        let at = self.tables.len();
        self.tables.extend((0..n_positions).flat_map(|t| turning.angles(t)).map(f32::to_bits));
        self.tables.push(f32::NAN.to_bits());
        at as u32
    }

    /// Adds descriptors of rows, (sequence, position), and says where they begin.
    pub(super) fn add_rows(&mut self, rows: &[(usize, usize)]) -> u32 {
        let at = self.tables.len();
        for &(sequence, position) in rows {
            self.tables.extend([position as u32, self.starts[sequence] as u32, 0, 0]);
        }
        at as u32
    }

    /// The words that hold a key or value of a head.
    pub(super) fn place(
        &self,
        sequence: usize,
        position: usize,
        head: usize,
        which: usize,
    ) -> std::ops::Range<usize> {
        let lanes = self.heads.lanes();
        let block = self.tables[self.starts[sequence] + position / 32] as usize;
        let row = ((block * self.heads.n_kv_heads + head) * 2 + which) * 32 + position % 32;
        let first = 4 * (self.base as usize + row * lanes);
        first..first + 4 * lanes
    }

    /// Keys or values of all heads of a position.
    pub(super) fn put(&mut self, sequence: usize, position: usize, which: usize, values: &[f32]) {
        for (head, values) in values.chunks_exact(self.heads.head_dim).enumerate() {
            let place = self.place(sequence, position, head, which);
            let mut halves: Vec<u16> = values.iter().map(|&v| f16::from_f32(v).to_bits()).collect();
            halves.resize(8 * self.heads.lanes(), 0);
            for (word, pair) in self.kv[place].iter_mut().zip(halves.chunks_exact(2)) {
                *word = u32::from(pair[0]) | u32::from(pair[1]) << 16;
            }
        }
    }

    /// A key or value of a head, with its padding.
    pub(super) fn padded(&self, sequence: usize, position: usize, head: usize, which: usize) -> Vec<f64> {
        let words = &self.kv[self.place(sequence, position, head, which)];
        let halves = words.iter().flat_map(|&w| [w as u16, (w >> 16) as u16]);
        halves.map(|h| f16::from_bits(h).to_f64()).collect()
    }

    /// What a head of a row makes of the values up to `position`, with the error that f32 may have; and the position of its
    /// heaviest key.
    pub(super) fn attended(
        &self,
        sequence: usize,
        position: usize,
        head: usize,
        q: &[Sum],
    ) -> (Vec<Sum>, usize) {
        let n = self.heads.head_dim;
        let kv_head = head / (self.heads.n_heads / self.heads.n_kv_heads);
        let scale = 1.0 / (n as f64).sqrt();
        let mut scores = Vec::new();
        let mut spread = 0f64;
        for t in 0..=position {
            let key = self.padded(sequence, t, kv_head, KEY);
            let score = q.iter().zip(&key).map(|(q, k)| q.0 * k).sum::<f64>() * scale;
            let size = q.iter().zip(&key).map(|(q, k)| (q.1 * k).abs()).sum::<f64>() * scale;
            let halves = if self.halves { 1.1 * HALF_EPS * size } else { 0.0 };
            spread = spread.max(dot_bound(n, size) + 8.0 * EPS * size + halves);
            scores.push(score);
        }
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let heaviest = scores.iter().position(|&s| s == top).unwrap();
        let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
        let total: f64 = weights.iter().sum();
        let mut mixed = vec![(0.0, 0.0); n];
        for (t, weight) in weights.iter().enumerate() {
            let value = self.padded(sequence, t, kv_head, VALUE);
            for (m, v) in mixed.iter_mut().zip(value) {
                *m = (m.0 + weight / total * v, m.1 + (weight / total * v).abs());
            }
        }
        // Shares are rounded, too, and are multiples of the smallest number of f16.
        let shares = |size: f64| 1.1 * HALF_EPS * size + (position + 1) as f64 * 0.5f64.powi(24);
        let bound = |size: f64| {
            let halves = if self.halves { shares(size) } else { 0.0 };
            2.0 * spread * size + dot_bound(position + 1, size) + 8.0 * EPS * size + halves
        };
        (mixed.into_iter().map(|(value, size)| (value, bound(size))).collect(), heaviest)
    }

    /// Asserts that `out` is attention of a row; and that it would not be, were the heaviest value another.
    pub(super) fn check(&self, what: &str, sequence: usize, position: usize, q: &[Sum], out: &[f32]) {
        let n = self.heads.head_dim;
        for head in 0..self.heads.n_heads {
            let (expected, heaviest) = self.attended(sequence, position, head, &q[head * n..][..n]);
            let got = &out[head * n..][..n];
            let off = |expected: &[Sum]| {
                let errors = got.iter().zip(expected).map(|(&g, e)| (f64::from(g) - e.0).abs() / e.1);
                // A NaN is infinitely far off.
                errors.fold(0f64, |worst, e| if e.is_finite() { worst.max(e) } else { f64::INFINITY })
            };
            let worst = off(&expected);
            assert!(worst <= 1.0, "{what}, head {head}: {worst:.2} times the bound\n{got:?}\n{expected:?}");
            if head == 0 {
                let mut other = self.with(&self.kv);
                for word in &mut other.kv[self.place(sequence, heaviest, 0, VALUE)] {
                    *word ^= 0x0200_0200;
                }
                let worst = off(&other.attended(sequence, position, head, &q[..n]).0);
                assert!(worst > 1.0, "{what}: the bound lets another value pass, {worst:.2}");
            }
        }
    }
}

/// Rotation of heads, and norm before it, in f64.
pub(super) struct Turning {
    rope: RopeTable,
    pub(super) eps: Option<f32>,
}

impl Turning {
    pub(super) fn new(pairing: RopePairing, n_rot: usize, eps: Option<f32>) -> Self {
        let frequencies = (0..n_rot / 2).map(|i| 1000f64.powf(-2.0 * i as f64 / n_rot as f64)).collect();
        Self { rope: RopeTable { pairing, frequencies, magnitude: 1.0 }, eps }
    }

    pub(super) fn rotation(&self) -> Rotation {
        Rotation::new(self.rope.pairing, self.rope.n_rot(), self.eps)
    }

    fn angles(&self, position: usize) -> Vec<f32> {
        let pairs = 0..self.rope.n_rot() / 2;
        let angle = |i| self.rope.cos_sin(position as u32, i);
        pairs.flat_map(|i| [angle(i).0 as f32, angle(i).1 as f32]).collect()
    }

    /// A head `x` at `position`.
    pub(super) fn turned(&self, x: &[f32], norm: &[f32], position: usize) -> Vec<Sum> {
        let mut y: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        if let Some(eps) = self.eps {
            let mean = y.iter().map(|v| v * v).sum::<f64>() / y.len() as f64;
            let scale = 1.0 / (mean + f64::from(eps)).sqrt();
            y.iter_mut().zip(norm).for_each(|(v, &w)| *v *= scale * f64::from(w));
        }
        let mut turned: Vec<Sum> = y.iter().map(|&v| (v, v.abs())).collect();
        for (i, angle) in self.angles(position).chunks_exact(2).enumerate() {
            let (c, s) = (f64::from(angle[0]), f64::from(angle[1]));
            let (a, b) = self.rope.pairing.elements(i, self.rope.n_rot());
            let size = y[a].abs() + y[b].abs();
            turned[a] = (y[a] * c - y[b] * s, size);
            turned[b] = (y[a] * s + y[b] * c, size);
        }
        turned
    }
}

pub(super) fn heads(n_heads: usize, n_kv_heads: usize, head_dim: usize) -> Heads {
    Heads { n_heads, n_kv_heads, head_dim }
}
