//! How numbers, and words of the exchange, are dealt to threads.

use super::Source;

/// `n` numbers or words: number `t + k at_a_time` is the `k`-th of thread `t`, if that is below `at_a_time`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deal {
    n: usize,
    threads: usize,
    lanes: usize,
    at_a_time: usize,
}

impl Source {
    /// `n` of them, for all threads.
    pub(super) fn deal(&self, n: usize) -> Deal {
        let geometry = &self.geometry;
        Deal { n, threads: geometry.threads, lanes: geometry.lanes, at_a_time: geometry.threads }
    }

    /// `n` words of blocks of `n_words`, so that a thread has the same word of all its blocks, if it then has no more of them.
    pub(super) fn deal_blocks(&self, n: usize, n_words: usize) -> Deal {
        self.deal(n).in_blocks(n_words)
    }
}

impl Deal {
    fn in_blocks(self, n_words: usize) -> Self {
        let whole = Self { at_a_time: self.threads / n_words * n_words, ..self };
        if whole.pieces() == self.pieces() { whole } else { self }
    }

    /// How many a thread has.
    pub(super) fn pieces(self) -> usize {
        self.n.div_ceil(self.at_a_time)
    }

    /// What the `k`-th of thread 0 is.
    pub(super) fn first(self, k: usize) -> usize {
        k * self.at_a_time
    }

    /// Whether each of the threads that have any has a `k`-th.
    fn is_whole(self, k: usize) -> bool {
        self.first(k) + self.at_a_time <= self.n
    }

    /// A thread's `k`-th, as WGSL; of a thread that has none, any.
    pub(super) fn index(self, k: usize) -> String {
        let (first, Self { n, threads, at_a_time, .. }) = (self.first(k), self);
        match (self.is_whole(k), at_a_time == threads) {
            (true, true) => format!("(t + {first}u)"),
            (true, false) => format!("(min(t, {}u) + {first}u)", at_a_time - 1),
            (false, _) => format!("min(t + {first}u, {}u)", n - 1),
        }
    }

    /// Whether a thread has a `k`-th.
    pub(super) fn has(self, k: usize) -> String {
        let Self { n, threads, at_a_time, .. } = self;
        match (self.is_whole(k), at_a_time == threads) {
            (true, true) => "true".to_owned(),
            (true, false) => format!("t < {at_a_time}u"),
            (false, _) => format!("t + {}u < {n}u", self.first(k)),
        }
    }

    /// Whether anybody in a thread's subgroup has.
    pub(super) fn is_near(self, k: usize) -> String {
        let (lanes, first, n) = (self.lanes, self.first(k), self.n);
        match self.is_whole(k) {
            true => "true".to_owned(),
            false => format!("t / {lanes}u * {lanes}u + {first}u < {n}u"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each is somebody's once, whoever has one knows it, and a thread has the same word of all its blocks where it then has no more.
    #[test]
    fn everything_is_dealt_once() {
        for (threads, n_words) in [(512, 3), (512, 4), (384, 3), (128, 3), (128, 1)] {
            for n in (1..40).map(|blocks| 37 * blocks * n_words).chain([384, 768, 1536, 5376]) {
                let plain = Deal { n, threads, lanes: 32, at_a_time: threads };
                let deal = plain.in_blocks(n_words);
                let what = format!("{n} words in blocks of {n_words} for {threads}");
                assert_eq!(deal.pieces(), n.div_ceil(threads), "{what}");
                let mut dealt = vec![0; n];
                for k in 0..deal.pieces() {
                    let own = deal.at_a_time.min(n - deal.first(k));
                    (0..own).for_each(|t| dealt[deal.first(k) + t] += 1);
                    let known = match (deal.has(k).as_str(), own == threads) {
                        ("true", all) => all,
                        (has, _) => {
                            has == format!("t < {own}u") || has == format!("t + {}u < {n}u", deal.first(k))
                        }
                    };
                    assert!(known, "{what}: {}", deal.has(k));
                    let alike = deal.first(k).is_multiple_of(n_words);
                    let could = n.div_ceil(threads / n_words * n_words) == deal.pieces();
                    assert!(alike || !could, "{what}");
                }
                assert!(dealt.iter().all(|&n| n == 1), "{what}");
            }
        }
    }
}
