//! How the next token is chosen, where a backend does that by itself.

/// How to choose among tokens: the numbers of sampling, by llama.cpp's names and in its order (penalties, top-k, top-p, min-p,
/// temperature, draw).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
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
    /// How many tokens back the three penalties look, the whole sequence at most; 0: off.
    pub repeat_last_n: usize,
    /// Tokens that are never chosen while there are others, as with a logit bias of negative infinity; [`NO_TOKEN`] stands for none.
    pub never: [u32; MOST_NEVER],
    /// Seed of the draws. The same seed gives the same tokens on the same device.
    pub seed: u64,
}

/// Tokens that a [`Choice`] can leave out: a model has a few that end a text.
pub const MOST_NEVER: usize = 4;

/// An id that no token has.
pub const NO_TOKEN: u32 = u32::MAX;

impl Choice {
    /// The most likely token, the lowest id among equals, never one whose logit is NaN.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 1,
        top_p: 1.0,
        min_p: 0.0,
        min_keep: 0,
        repeat_penalty: 1.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        repeat_last_n: 0,
        never: [NO_TOKEN; MOST_NEVER],
        seed: 0,
    };

    /// Whether tokens that came before change anything.
    #[must_use]
    pub fn has_penalties(&self) -> bool {
        let any = self.repeat_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0;
        any && self.repeat_last_n > 0
    }

    /// Whether it is the most likely token of all, whatever came before.
    #[must_use]
    pub fn is_plain_greedy(&self) -> bool {
        self.temperature <= 0.0 && !self.has_penalties() && self.never == Self::GREEDY.never
    }
}
