//! Intermediate results, for people who look for the place where two backends part.

/// A named intermediate result of one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Tap {
    /// `token_embd`, `blk.0.attn_q`, ..., `output`: the tensor that made it, or what it is.
    pub name: String,
    /// `[n]`.
    pub values: Vec<f32>,
}

impl Tap {
    /// The largest distance between two results of the same length, relative to the largest element of `exact`; infinite where
    /// they cannot be compared: other lengths, or NaN.
    #[must_use]
    pub fn distance(&self, exact: &Self) -> f64 {
        if self.values.len() != exact.values.len() {
            return f64::INFINITY;
        }
        let largest = exact.values.iter().fold(f64::MIN_POSITIVE, |m, v| m.max(f64::from(v.abs())));
        let pairs = self.values.iter().zip(&exact.values);
        let farthest = pairs.fold(0.0, |far: f64, (a, b)| {
            let apart = (f64::from(*a) - f64::from(*b)).abs();
            if apart.is_nan() { f64::INFINITY } else { far.max(apart) }
        });
        farthest / largest
    }
}
