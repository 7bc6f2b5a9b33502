//! What is timed, as llama-bench names it.

use anyhow::{Context, Error, Result, bail, ensure};
use std::fmt;
use std::str::FromStr;

/// A prompt, or tokens one by one; behind a context or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Workload {
    pub(super) n_prompt: usize,
    pub(super) n_gen: usize,
    pub(super) n_depth: usize,
}

impl FromStr for Workload {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let (what, depth) = word.split_once("@d").unwrap_or((word, "0"));
        let context = || format!("{word:?} is no test: pp512, tg128 and tg32@d1500 are");
        let n_depth = depth.parse().with_context(context)?;
        let number = |digits: &str| digits.parse::<usize>().with_context(context);
        let (n_prompt, n_gen) = match (what.strip_prefix("pp"), what.strip_prefix("tg")) {
            (Some(digits), _) => (number(digits)?, 0),
            (_, Some(digits)) => (0, number(digits)?),
            _ => bail!(context()),
        };
        ensure!(n_prompt + n_gen > 0, "{word} is of no tokens");
        Ok(Self { n_prompt, n_gen, n_depth })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.n_prompt, self.n_gen) {
            (0, n) => format!("tg{n}"),
            (n, _) => format!("pp{n}"),
        };
        match self.n_depth {
            0 => f.pad(&name),
            depth => f.pad(&format!("{name}@d{depth}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written() {
        for word in ["pp512", "tg128", "tg32@d1500"] {
            assert_eq!(word.parse::<Workload>().unwrap().to_string(), word);
        }
        for word in ["", "pp", "pp0", "tg-1", "512", "tg32@1500", "tg32@d"] {
            assert!(word.parse::<Workload>().is_err(), "{word}");
        }
    }
}
