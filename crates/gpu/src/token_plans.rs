//! The plans of a token, by how many parts its keys are split into.

use crate::plan::{Plan, Step};
use crate::planner::Planner;
use model::BLOCK_LEN;

/// The plans for every position of a context.
#[derive(Debug)]
pub(crate) struct TokenPlans {
    pub(crate) embedding: Plan,
    /// In how many parts the keys of a block's last position are attended to, block by block.
    splits: Vec<usize>,
    /// For each such number its plan.
    plans: Vec<(usize, Plan)>,
}

impl TokenPlans {
    pub(crate) fn new(planner: &Planner<'_>, context_len: usize) -> Self {
        let parts = |block: usize| planner.token_splits((block + 1) * BLOCK_LEN);
        let splits: Vec<usize> = (0..context_len.div_ceil(BLOCK_LEN)).map(parts).collect();
        let mut distinct = splits.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let plans = distinct.into_iter().map(|splits| (splits, planner.token(splits))).collect();
        Self { embedding: planner.embedding(), splits, plans }
    }

    /// How many parts the keys up to `position` are attended to in.
    pub(crate) fn splits(&self, position: usize) -> usize {
        self.splits.get(position / BLOCK_LEN).copied().unwrap_or(1)
    }

    /// The plan for the row at `position`, without its embedding.
    pub(crate) fn at(&self, position: usize) -> &Plan {
        let splits = self.splits(position);
        let found = self.plans.iter().find(|(parts, _)| *parts == splits);
        &found.unwrap_or(&self.plans[0]).1
    }

    /// Every step of every plan.
    pub(crate) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.plans.iter().map(|(_, plan)| plan).chain([&self.embedding]).flat_map(|plan| &plan.steps)
    }
}
