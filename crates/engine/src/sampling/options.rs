//! How the next token is chosen from logits.

use model::{Choice, MOST_NEVER, NO_TOKEN};

/// The names and the defaults of llama.cpp. The steps run in this order: logit bias, penalties, top-k, top-p, min-p,
/// temperature, draw.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingOptions {
    /// Divides the logits that are left; 0 or less takes the most likely token.
    pub temperature: f32,
    /// How many of the most likely tokens are left; 0 or less: all.
    pub top_k: i32,
    /// The most likely tokens are left until their probabilities sum to this; 1: all.
    pub top_p: f32,
    /// Tokens are left whose probability is at least this share of the largest; 0: all.
    pub min_p: f32,
    /// Top-p and min-p leave at least so many.
    pub min_keep: usize,
    /// Divides positive and multiplies other logits of tokens that came before; 1: off.
    pub repeat_penalty: f32,
    /// Taken from the logit of a token once for each time that it came before; 0: off.
    pub frequency_penalty: f32,
    /// Taken from the logit of a token that came before; 0: off.
    pub presence_penalty: f32,
    /// How many tokens back, prompt included, the three penalties look; 0: off.
    pub repeat_last_n: usize,
    /// Added to the logits of these tokens; negative infinity bans one.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the draws. `None`: another one each time; [`Generation`](crate::Generation) says which. A GPU draws by itself and
    /// from other random numbers than the CPU: a seed repeats a text on the same device only.
    pub seed: Option<u64>,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            min_keep: 0,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            repeat_last_n: 64,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

/// An option with a value that it cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{option} cannot be {value}: it must be {rule}")]
pub struct SamplingError {
    /// The option's name.
    pub option: &'static str,
    /// What it was set to.
    pub value: String,
    /// What it may be.
    pub rule: String,
}

impl SamplingOptions {
    /// The most likely token each time: temperature 0.
    #[must_use]
    pub fn greedy() -> Self {
        Self { temperature: 0.0, ..Self::default() }
    }

    /// The same for a backend that chooses by itself; `None` where no backend can, as with a logit bias that leaves a token some chance.
    pub(crate) fn choice(&self, seed: u64) -> Option<Choice> {
        Some(Choice {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            min_keep: self.min_keep,
            repeat_penalty: self.repeat_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            repeat_last_n: self.repeat_last_n,
            never: self.never()?,
            seed,
        })
    }

    /// The tokens that the logit bias leaves no chance, if it is no more than that, and they are few.
    fn never(&self) -> Option<[u32; MOST_NEVER]> {
        let mut never = [NO_TOKEN; MOST_NEVER];
        for &(token, bias) in &self.logit_bias {
            let place = never.iter().position(|&known| known == token || known == NO_TOKEN);
            never[place.filter(|_| bias == f32::NEG_INFINITY)?] = token;
        }
        Some(never)
    }

    pub(crate) fn has_penalties(&self) -> bool {
        let any = self.repeat_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0;
        any && self.repeat_last_n > 0
    }

    /// Checks every option against a vocabulary of `n_vocab` tokens.
    ///
    /// # Errors
    /// The first option with a value that it cannot have.
    pub fn check(&self, n_vocab: usize) -> Result<(), SamplingError> {
        let error =
            |option, value: String, rule: &str| SamplingError { option, value, rule: rule.to_owned() };
        for (option, value) in [
            ("temperature", self.temperature),
            ("frequency_penalty", self.frequency_penalty),
            ("presence_penalty", self.presence_penalty),
        ] {
            if !value.is_finite() {
                return Err(error(option, value.to_string(), "a finite number"));
            }
        }
        for (option, value) in [("top_p", self.top_p), ("min_p", self.min_p)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(error(option, value.to_string(), "0 to 1"));
            }
        }
        let penalty = self.repeat_penalty;
        if !(penalty.is_finite() && penalty > 0.0 && penalty.recip().is_finite()) {
            return Err(error("repeat_penalty", penalty.to_string(), "a finite number greater than 0"));
        }
        for &(token, bias) in &self.logit_bias {
            if token as usize >= n_vocab {
                let rule = format!("for a token below {n_vocab}, the size of the vocabulary");
                return Err(error("logit_bias", format!("for token {token}"), &rule));
            }
            if bias.is_nan() || bias == f32::INFINITY {
                return Err(error("logit_bias", bias.to_string(), "a finite number or negative infinity"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_values_are_refused_by_name() {
        let d = SamplingOptions::default;
        for (options, name) in [
            (SamplingOptions { temperature: f32::NAN, ..d() }, "temperature"),
            (SamplingOptions { temperature: f32::INFINITY, ..d() }, "temperature"),
            (SamplingOptions { top_p: -0.1, ..d() }, "top_p"),
            (SamplingOptions { top_p: 1.5, ..d() }, "top_p"),
            (SamplingOptions { min_p: f32::NAN, ..d() }, "min_p"),
            (SamplingOptions { repeat_penalty: 0.0, ..d() }, "repeat_penalty"),
            (SamplingOptions { repeat_penalty: 1e-40, ..d() }, "repeat_penalty"),
            (SamplingOptions { presence_penalty: f32::NAN, ..d() }, "presence_penalty"),
            (SamplingOptions { frequency_penalty: f32::INFINITY, ..d() }, "frequency_penalty"),
            (SamplingOptions { logit_bias: vec![(10, 1.0)], ..d() }, "logit_bias"),
            (SamplingOptions { logit_bias: vec![(9, f32::NAN)], ..d() }, "logit_bias"),
        ] {
            assert_eq!(options.check(10).unwrap_err().option, name, "{options:?}");
        }
        let odd = SamplingOptions { temperature: -1.0, top_k: -5, top_p: 0.0, min_p: 1.0, ..d() };
        assert_eq!(odd.check(10), Ok(()));
        let ban = SamplingOptions { logit_bias: vec![(9, f32::NEG_INFINITY)], ..d() };
        assert_eq!(ban.check(10), Ok(()));
    }

    #[test]
    fn a_backend_is_told_everything_but_a_bias_that_leaves_a_chance() {
        let plain_greedy =
            |options: SamplingOptions| options.choice(0).is_some_and(|choice| choice.is_plain_greedy());
        let greedy = SamplingOptions::greedy;
        assert!(plain_greedy(greedy()));
        assert!(plain_greedy(SamplingOptions { repeat_penalty: 1.1, repeat_last_n: 0, ..greedy() }));
        assert!(!plain_greedy(SamplingOptions { repeat_penalty: 1.1, ..greedy() }));
        assert!(!plain_greedy(SamplingOptions::default()));
        assert!(SamplingOptions { logit_bias: vec![(0, 1.0)], ..greedy() }.choice(0).is_none());
        let told = SamplingOptions { top_k: 7, min_keep: 3, ..SamplingOptions::default() }.choice(5).unwrap();
        assert_eq!((told.temperature, told.top_k, told.top_p, told.min_p), (0.8, 7, 0.95, 0.05));
        assert_eq!((told.min_keep, told.repeat_last_n, told.seed), (3, 64, 5));
        let never = |ids: &[u32]| {
            let logit_bias = ids.iter().map(|&id| (id, f32::NEG_INFINITY)).collect();
            SamplingOptions { logit_bias, ..greedy() }
        };
        assert_eq!(never(&[7, 0, 7]).choice(0).unwrap().never, [7, 0, NO_TOKEN, NO_TOKEN]);
        assert!(!plain_greedy(never(&[7])));
        assert!(never(&[1, 2, 3, 4]).choice(0).is_some());
        assert!(never(&[1, 2, 3, 4, 5]).choice(0).is_none(), "more than a choice has room for");
        let mut both = never(&[3]);
        both.logit_bias.push((3, 1.0));
        assert!(both.choice(0).is_none());
    }
}
