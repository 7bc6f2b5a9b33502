//! The plan of a choice: from logits to the next token and its embedding.

use super::Planner;
use crate::kernels::argmax::{self, Argmax};
use crate::kernels::draw::{self, Draw};
use crate::kernels::next_token::{self, NextToken};
use crate::kernels::sampling::{DrawOptions, MOST_K, MOST_VOCAB, Penalties, noise_temperature, seed_words};
use crate::kernels::top_candidates::{self, TopCandidates};
use crate::layout::WeightsAt;
use crate::persistent::Drawing;
use crate::plan::{Plan, Role, Step, What};
use crate::weights::Placed;
use model::Choice;

/// How the kernels go about a choice.
enum Way {
    /// The largest logit, with noise or without.
    Largest,
    /// One of the top k.
    OneOf(usize),
}

/// Whether the kernels can choose in this way.
pub(crate) fn can_choose(choice: &Choice, n_vocab: usize) -> bool {
    way(choice, n_vocab).is_some()
}

fn way(choice: &Choice, n_vocab: usize) -> Option<Way> {
    let whole = choice.top_p >= 1.0 && choice.min_p <= 0.0;
    match usize::try_from(choice.top_k) {
        _ if n_vocab > MOST_VOCAB => None,
        _ if choice.temperature <= 0.0 => Some(Way::Largest),
        Ok(0) | Err(_) => whole.then_some(Way::Largest),
        Ok(k) if k >= n_vocab && whole => Some(Way::Largest),
        Ok(k) => (k <= MOST_K && top_candidates::supports(choice.top_k, n_vocab)).then_some(Way::OneOf(k)),
    }
}

/// The same choice as a part of one dispatch, where it can be that: not with noise for all tokens, nor with penalties.
pub(crate) fn drawing(choice: &Choice, n_vocab: usize) -> Option<Drawing> {
    match way(choice, n_vocab)? {
        _ if choice.has_penalties() => None,
        Way::Largest if choice.temperature > 0.0 => None,
        // Where some are left out, the best of the others is drawn, as one of one.
        Way::Largest if choice.is_plain_greedy() => Some(Drawing::BEST),
        Way::Largest => Some(Drawing { options: DrawOptions::new(choice, 1), never: choice.never }),
        Way::OneOf(k) => Some(Drawing { options: DrawOptions::new(choice, k), never: choice.never }),
    }
}

impl Planner<'_> {
    /// What follows a token's logits; `None` where the host has to choose. Everything is of sequence 0.
    pub(crate) fn choose(&self, choice: &Choice) -> Option<Plan> {
        let [first, second] = match way(choice, self.spec.n_vocab)? {
            Way::Largest => self.largest(choice),
            Way::OneOf(k) => self.one_of(k, choice),
        };
        let mut plan = Plan { steps: vec![first, second] };
        if self.whole_embedding().is_none() {
            plan.steps.extend(self.embedding_after(1).steps);
        }
        Some(plan)
    }

    fn largest(&self, choice: &Choice) -> [Step; 2] {
        let (r, n_vocab) = (&self.regions, self.spec.n_vocab);
        let kernel = Argmax { n_vocab, penalties: choice.has_penalties(), noise: choice.temperature > 0.0 };
        let params = argmax::Params {
            logits: r.logits.at,
            best: r.best,
            ids: 0,
            position: 0,
            penalties: penalties(choice),
            temperature: noise_temperature(choice.temperature),
            seed: seed_words(choice.seed),
            never: choice.never,
        };
        let n_pairs = kernel.n_chunks();
        let what = What::new(Role::Candidates, None, [n_vocab, n_pairs]);
        let first = Step::new(kernel.kernel(), what, &params, kernel.grid()).with_position_at(3);

        let embedding = self.whole_embedding();
        let kernel = NextToken { n_vocab, n_pairs, embedding: embedding.map(|p| p.ty) };
        let at = embedding.map_or_else(WeightsAt::default, |p| p.at);
        let params = next_token::Params { weights: at, best: r.best, x: r.hidden.at, ids: 0, position: 0 };
        let what = What::new(Role::NextToken, None, [n_pairs, 1]);
        let second = Step::new(kernel.kernel(), what, &params, kernel.grid());
        [first, second.with_weights(embedding.map_or(0, |p| p.buffer)).with_position_at(8)]
    }

    fn one_of(&self, k: usize, choice: &Choice) -> [Step; 2] {
        let (r, n_vocab) = (&self.regions, self.spec.n_vocab);
        let kernel = TopCandidates { n_vocab, penalties: choice.has_penalties() };
        let params = top_candidates::Params {
            logits: r.logits.at,
            best: r.best,
            k: k as u32,
            ids: 0,
            position: 0,
            penalties: penalties(choice),
            never: choice.never,
        };
        let n_pairs = kernel.n_chunks() * k;
        let what = What::new(Role::Candidates, None, [n_vocab, n_pairs]);
        let first = Step::new(kernel.kernel(), what, &params, kernel.grid()).with_position_at(4);

        let embedding = self.whole_embedding();
        let kernel = Draw { n_vocab, embedding: embedding.map(|p| p.ty) };
        let at = embedding.map_or_else(WeightsAt::default, |p| p.at);
        let params = draw::Params {
            weights: at,
            best: r.best,
            x: r.hidden.at,
            ids: 0,
            position: 0,
            options: DrawOptions::new(choice, k),
        };
        let what = What::new(Role::NextToken, None, [n_pairs, 1]);
        let second = Step::new(kernel.kernel(), what, &params, kernel.grid());
        [first, second.with_weights(embedding.map_or(0, |p| p.buffer)).with_position_at(8)]
    }

    /// The embedding, if it lies in one buffer.
    fn whole_embedding(&self) -> Option<Placed> {
        match &self.tensors.embedding[..] {
            [whole] => Some(whole.placed),
            _ => None,
        }
    }
}

fn penalties(choice: &Choice) -> Penalties {
    Penalties {
        window: u32::try_from(choice.repeat_last_n).unwrap_or(u32::MAX),
        repeat: choice.repeat_penalty,
        frequency: choice.frequency_penalty,
        presence: choice.presence_penalty,
    }
}
