//! Intermediate results of a token, and each of them in a line.

use crate::sampling::argmax;
use crate::session::SEQUENCE;
use model::{ForwardError, ForwardPass, Row, Tap};

/// Elements that a summary shows.
const SHOWN: usize = 4;

/// An intermediate result in short, for people who look for the place where something went wrong.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TapSummary {
    /// `token_embd`, `blk.0.attn_q`, ..., `output`: the tensor that made it, or what it is.
    pub name: String,
    /// Elements; every result is a vector `[len]`.
    pub len: usize,
    /// The smallest, NaN apart; 0 where there is nothing else.
    pub min: f32,
    /// The largest, NaN apart; 0 where there is nothing else.
    pub max: f32,
    /// Their mean, NaN apart; 0 where there is nothing else.
    pub mean: f64,
    /// The first few.
    pub first: Vec<f32>,
    /// How many are NaN.
    pub n_nan: usize,
}

impl TapSummary {
    pub(crate) fn new(tap: &Tap) -> Self {
        let numbers = || tap.values.iter().copied().filter(|value| !value.is_nan());
        let n = numbers().count();
        Self {
            name: tap.name.clone(),
            len: tap.values.len(),
            min: numbers().reduce(f32::min).unwrap_or(0.0),
            max: numbers().reduce(f32::max).unwrap_or(0.0),
            mean: numbers().map(f64::from).sum::<f64>() / n.max(1) as f64,
            first: tap.values.iter().take(SHOWN).copied().collect(),
            n_nan: tap.values.len() - n,
        }
    }
}

/// Computes a prompt; the most likely token after it.
pub(crate) fn next_token(forward: &mut dyn ForwardPass, prompt: &[u32]) -> Result<u32, ForwardError> {
    let mut next = 0;
    for batch in prompt.chunks(forward.batch_len()) {
        let rows = Row::prompt(SEQUENCE, forward.next_position(), batch);
        next = argmax(forward.forward(&rows)?);
    }
    Ok(next)
}

/// Computes a token and gives its results. Every backend has one at least: the logits.
pub(crate) fn results(forward: &mut dyn ForwardPass, token: u32) -> Result<Vec<Tap>, ForwardError> {
    let position = forward.sequence_len(SEQUENCE);
    let taps = forward.trace_token(token)?;
    if !taps.is_empty() {
        return Ok(taps);
    }
    forward.truncate(SEQUENCE, position);
    let values = forward.forward_token(token)?.to_vec();
    Ok(vec![Tap { name: "output".to_owned(), values }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_counted_and_left_out() {
        let tap = Tap { name: "x".into(), values: vec![f32::NAN, -1.0, 4.0, 0.0, 1.0] };
        let summary = TapSummary::new(&tap);
        assert_eq!((summary.min, summary.max, summary.mean, summary.n_nan), (-1.0, 4.0, 1.0, 1));
        assert_eq!((summary.len, summary.first.len(), &summary.first[1..]), (5, 4, &[-1.0, 4.0, 0.0][..]));
        let nothing = TapSummary::new(&Tap { name: "x".into(), values: vec![f32::NAN] });
        assert_eq!((nothing.min, nothing.max, nothing.mean, nothing.n_nan), (0.0, 0.0, 0.0, 1));
    }
}
