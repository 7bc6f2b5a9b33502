//! Logits in, token out.

use super::candidates::Candidates;
use super::pcg::Pcg32;
use super::penalties::Penalties;
use super::{SamplingError, SamplingOptions};
use std::hash::{BuildHasher, Hasher, RandomState};

/// Chooses tokens as [`SamplingOptions`] say. Holds the state of one text: what came before, and the random numbers.
#[derive(Debug)]
pub struct Sampler {
    options: SamplingOptions,
    seed: u64,
    rng: Pcg32,
    penalties: Option<Penalties>,
    /// A copy of the logits, where something must be changed in them.
    changed: Vec<f32>,
    candidates: Candidates,
}

impl Sampler {
    /// A sampler for a vocabulary of `n_vocab` tokens.
    ///
    /// # Errors
    /// An option with a value that it cannot have.
    pub fn new(options: &SamplingOptions, n_vocab: usize) -> Result<Self, SamplingError> {
        options.check(n_vocab)?;
        let seed = options.seed.unwrap_or_else(random_seed);
        Ok(Self {
            options: options.clone(),
            seed,
            rng: Pcg32::new(seed, 0),
            penalties: Penalties::new(options),
            changed: Vec::new(),
            candidates: Candidates::default(),
        })
    }

    /// The seed in use, given or made up.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Notes a token of the prompt, for the penalties.
    pub fn accept(&mut self, token: u32) {
        if let Some(penalties) = &mut self.penalties {
            penalties.accept(token);
        }
    }

    /// Chooses the token after which `logits` (`[n_vocab]`) ask, and notes it.
    ///
    /// A logit of NaN or negative infinity is never chosen while there is any other; the lowest id with negative
    /// infinity is the last resort, and 0 where everything is NaN.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        let token = self.choose(logits);
        self.accept(token);
        token
    }

    fn choose(&mut self, logits: &[f32]) -> u32 {
        let Self { options, rng, penalties, changed, candidates, .. } = self;
        let logits = if options.logit_bias.is_empty() && penalties.is_none() {
            logits
        } else {
            changed.clear();
            changed.extend_from_slice(logits);
            for &(token, bias) in &options.logit_bias {
                if let Some(logit) = changed.get_mut(token as usize) {
                    *logit += bias;
                }
            }
            if let Some(penalties) = penalties {
                penalties.apply(changed);
            }
            changed.as_slice()
        };
        if options.temperature <= 0.0 {
            return argmax(logits);
        }
        match usize::try_from(options.top_k) {
            Ok(k) if k > 0 => candidates.fill_top(logits, k),
            _ => candidates.fill(logits),
        }
        candidates.top_p(options.top_p, options.min_keep);
        candidates.min_p(options.min_p, options.min_keep);
        candidates.draw(options.temperature, rng).unwrap_or_else(|| argmax(logits))
    }
}

/// The most likely token: the lowest id among equals, NaN never, 0 where there is nothing but NaN. What
/// [`ForwardPass::forward_token_greedy`](model::ForwardPass::forward_token_greedy) gives.
pub(crate) fn argmax(logits: &[f32]) -> u32 {
    let mut best: Option<(usize, f32)> = None;
    for (id, &logit) in logits.iter().enumerate() {
        if !logit.is_nan() && best.is_none_or(|(_, top)| logit > top) {
            best = Some((id, logit));
        }
    }
    best.map_or(0, |(id, _)| u32::try_from(id).unwrap_or(u32::MAX))
}

/// A seed that differs from run to run; 32 bits, which any JSON reader keeps exactly.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() >> 32
}
