//! What came before, and what that takes from the logits.

use super::SamplingOptions;
use std::collections::VecDeque;

/// Repeat, frequency and presence penalties over the last `repeat_last_n` tokens.
#[derive(Debug)]
pub(crate) struct Penalties {
    repeat: f32,
    frequency: f32,
    presence: f32,
    last_n: usize,
    /// The tokens looked back at, the oldest first.
    window: VecDeque<u32>,
    /// Each token of the window once, with how often it is there.
    counts: Vec<(u32, u32)>,
}

impl Penalties {
    /// `None` where the options have none.
    pub(crate) fn new(options: &SamplingOptions) -> Option<Self> {
        options.has_penalties().then(|| Self {
            repeat: options.repeat_penalty,
            frequency: options.frequency_penalty,
            presence: options.presence_penalty,
            last_n: options.repeat_last_n,
            window: VecDeque::new(),
            counts: Vec::new(),
        })
    }

    /// Notes that `token` came.
    pub(crate) fn accept(&mut self, token: u32) {
        if self.window.len() >= self.last_n
            && let Some(oldest) = self.window.pop_front()
            && let Some(i) = self.counts.iter().position(|&(token, _)| token == oldest)
        {
            self.counts[i].1 -= 1;
            if self.counts[i].1 == 0 {
                self.counts.swap_remove(i);
            }
        }
        self.window.push_back(token);
        match self.counts.iter_mut().find(|(counted, _)| *counted == token) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((token, 1)),
        }
    }

    /// Changes the logits of the tokens in the window.
    pub(crate) fn apply(&self, logits: &mut [f32]) {
        for &(token, count) in &self.counts {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            // Dividing a negative logit would make the token more likely.
            *logit = if *logit <= 0.0 { *logit * self.repeat } else { *logit / self.repeat };
            *logit -= count as f32 * self.frequency + self.presence;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn penalties(last_n: usize) -> Penalties {
        Penalties::new(&SamplingOptions {
            repeat_penalty: 2.0,
            frequency_penalty: 0.25,
            presence_penalty: 0.5,
            repeat_last_n: last_n,
            ..SamplingOptions::default()
        })
        .unwrap()
    }

    #[test]
    fn the_numbers_are_those_worked_out_by_hand() {
        let mut penalties = penalties(64);
        [0, 1, 1, 9].into_iter().for_each(|t| penalties.accept(t));
        let mut logits = [3.0, -1.0, 5.0];
        penalties.apply(&mut logits);
        // 3/2 - 1*0.25 - 0.5; -1*2 - 2*0.25 - 0.5; token 9 is outside.
        assert_eq!(logits, [0.75, -3.0, 5.0]);
    }

    #[test]
    fn only_the_last_n_tokens_count() {
        let mut penalties = penalties(3);
        [0, 0, 1, 2, 1].into_iter().for_each(|t| penalties.accept(t));
        penalties.counts.sort_unstable();
        assert_eq!(penalties.counts, [(1, 2), (2, 1)]);
        assert_eq!(penalties.window, [1, 2, 1]);
    }

    #[test]
    fn without_penalties_there_is_nothing_to_do() {
        assert!(Penalties::new(&SamplingOptions::default()).is_none());
        assert!(
            Penalties::new(&SamplingOptions {
                repeat_penalty: 1.0,
                presence_penalty: 0.1,
                ..Default::default()
            })
            .is_some()
        );
    }
}
