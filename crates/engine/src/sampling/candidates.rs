//! The tokens that are still in play, and the steps that leave fewer of them.

use super::pcg::Pcg32;
use std::cmp::Ordering;

#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    logit: f32,
    id: u32,
}

/// The larger logit first, the lower id among equals. No logit is NaN or -0, so equal means equal.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.id.cmp(&b.id))
}

/// Candidates, of which a prefix may be sorted already. Tokens with a logit of NaN or negative infinity never are any.
///
/// One lives as long as a generation, so that no step allocates once it has grown.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    items: Vec<Candidate>,
    /// So many from the front are the largest of all, in order.
    n_sorted: usize,
}

impl Candidates {
    /// Every token of `logits`.
    pub(crate) fn fill(&mut self, logits: &[f32]) {
        self.items.clear();
        self.n_sorted = 0;
        self.push_above(f32::NEG_INFINITY, 0, logits);
    }

    /// The `k` largest of `logits`, sorted.
    ///
    /// One pass: a token is looked at twice only if it is above the smallest of the `k` best so far, which after the
    /// first few hundred is rare.
    pub(crate) fn fill_top(&mut self, logits: &[f32], k: usize) {
        const LANES: usize = 16;
        self.items.clear();
        let limit = k.saturating_add(k.max(256));
        let mut threshold = f32::NEG_INFINITY;
        for (i, lanes) in logits.chunks(LANES).enumerate() {
            if !lanes.iter().fold(false, |any, &logit| any | (logit > threshold)) {
                continue;
            }
            self.push_above(threshold, i * LANES, lanes);
            if self.items.len() >= limit {
                self.items.select_nth_unstable_by(k - 1, order);
                self.items.truncate(k);
                // An equal that comes later has a higher id and loses.
                threshold = self.items[k - 1].logit;
            }
        }
        self.items.sort_unstable_by(order);
        self.items.truncate(k);
        self.n_sorted = self.items.len();
    }

    fn push_above(&mut self, threshold: f32, first_id: usize, logits: &[f32]) {
        for (i, &logit) in logits.iter().enumerate() {
            if logit > threshold {
                let id = u32::try_from(first_id + i).unwrap_or(u32::MAX);
                // -0 becomes 0: they are equal, and `total_cmp` would not say so.
                self.items.push(Candidate { logit: logit + 0.0, id });
            }
        }
    }

    /// Leaves the most likely until their probabilities sum to `p`, and at least `min_keep`.
    pub(crate) fn top_p(&mut self, p: f32, min_keep: usize) {
        if p >= 1.0 {
            return;
        }
        let max = self.max();
        let total: f64 = self.items.iter().map(|c| weight(c.logit - max)).sum();
        let wanted = f64::from(p) * total;
        let mut sum = 0.0;
        for i in 0..self.items.len() {
            if i == self.n_sorted {
                self.sort((4 * i).max(256));
            }
            sum += weight(self.items[i].logit - max);
            if sum >= wanted && i + 1 >= min_keep {
                self.truncate(i + 1);
                return;
            }
        }
    }

    /// Leaves those at least `p` times as likely as the most likely, and at least `min_keep`.
    pub(crate) fn min_p(&mut self, p: f32, min_keep: usize) {
        if p <= 0.0 {
            return;
        }
        let least = self.max() + libm::logf(p);
        let n_left = self.items.iter().filter(|c| c.logit >= least).count();
        if n_left >= min_keep {
            self.items.retain(|c| c.logit >= least);
            self.n_sorted = self.n_sorted.min(n_left);
        } else {
            self.sort(min_keep);
            self.truncate(min_keep);
        }
    }

    /// Draws one by its probability at `temperature`, which is above 0; `None` if there is none.
    pub(crate) fn draw(&self, temperature: f32, rng: &mut Pcg32) -> Option<u32> {
        let max = self.max();
        let weight_of = |c: &Candidate| weight((c.logit - max) / temperature);
        let total: f64 = self.items.iter().map(weight_of).sum();
        let target = total * rng.next_unit();
        let mut sum = 0.0;
        let drawn = self.items.iter().find(|c| {
            sum += weight_of(c);
            sum > target
        });
        drawn.or(self.items.first()).map(|c| c.id)
    }

    /// Sorts the `n` largest to the front.
    fn sort(&mut self, n: usize) {
        let rest = &mut self.items[self.n_sorted..];
        let n_more = n.saturating_sub(self.n_sorted);
        if n_more < rest.len() {
            if n_more == 0 {
                return;
            }
            rest.select_nth_unstable_by(n_more - 1, order);
        }
        let n_more = n_more.min(rest.len());
        rest[..n_more].sort_unstable_by(order);
        self.n_sorted += n_more;
    }

    fn truncate(&mut self, n: usize) {
        self.items.truncate(n);
        self.n_sorted = self.n_sorted.min(n);
    }

    /// The largest logit; negative infinity if there is none.
    fn max(&self) -> f32 {
        match self.n_sorted {
            0 => self.items.iter().fold(f32::NEG_INFINITY, |max, c| max.max(c.logit)),
            _ => self.items[0].logit,
        }
    }

    #[cfg(test)]
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.items.iter().map(|c| c.id).collect()
    }
}

/// `e^below_max`: what a token weighs relative to the most likely one. `libm`'s, so that draws are the same everywhere.
fn weight(below_max: f32) -> f64 {
    // Infinity less infinity: as likely as the most likely.
    if below_max.is_nan() { 1.0 } else { f64::from(libm::expf(below_max)) }
}
