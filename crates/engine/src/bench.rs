//! How fast a model is, measured as llama.cpp's `llama-bench` does.

use crate::language_model::Model;
use crate::sampling::Pcg32;
use crate::session::SEQUENCE;
use model::{DeviceKind, ForwardError, ForwardPass};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// What is timed: a prompt, then tokens one by one, behind a part of the context that is filled before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BenchTest {
    /// Tokens of the prompt (`pp`).
    pub n_prompt: usize,
    /// Tokens one by one (`tg`).
    pub n_gen: usize,
    /// Tokens in the context before the clock starts (`d`).
    pub n_depth: usize,
}

/// How to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BenchOptions {
    /// How often.
    pub repetitions: usize,
    /// Whether to run before without the clock: once, and again until a quarter of a second has passed; on a GPU since the first run,
    /// which may compile while the device has nothing to do.
    pub warmup: bool,
}

impl Default for BenchOptions {
    fn default() -> Self {
        Self { repetitions: 5, warmup: true }
    }
}

/// A GPU that had nothing to do takes a tenth of a second of work and more to reach its clock.
const WARM_UP: Duration = Duration::from_millis(250);

/// A test that cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// Nothing to time.
    #[error("there is nothing to measure: ask for a prompt, for generated tokens, or for both")]
    Nothing,
    /// More tokens than the context holds.
    #[error("{tokens} tokens do not fit the context of {context_len} that the model was loaded with")]
    Context {
        /// Depth, prompt and generated tokens together.
        tokens: usize,
        /// Positions of the model's context.
        context_len: usize,
    },
    /// The backend failed.
    #[error(transparent)]
    Forward(#[from] ForwardError),
}

/// Runs `test` and gives the time of each repetition. `on_repetition` hears each and may end it there.
///
/// A prompt is random tokens, begun with BOS where the vocabulary adds it. A generation begins with BOS or a random token and
/// takes the most likely token each time, by [`ForwardPass::decode_greedy`]: what a user gets at temperature 0, the choice
/// included, with as many tokens in flight as the device likes. A token that would end a text does not end it here. The clock
/// stops when the last token is known; what a device has begun beyond it is waited for without the clock.
///
/// # Errors
/// [`BenchError`].
pub fn bench(
    model: &mut Model,
    test: BenchTest,
    options: &BenchOptions,
    on_repetition: &mut dyn FnMut(Duration) -> ControlFlow<()>,
) -> Result<Vec<Duration>, BenchError> {
    let tokens = [test.n_depth, test.n_prompt, test.n_gen].into_iter().fold(0, usize::saturating_add);
    if test.n_prompt == 0 && test.n_gen == 0 {
        return Err(BenchError::Nothing);
    }
    if tokens > model.context_len() {
        return Err(BenchError::Context { tokens, context_len: model.context_len() });
    }
    let bos = model.tokenizer.as_ref().filter(|t| t.adds_bos()).and_then(|t| t.bos());
    let n_vocab = u32::try_from(model.spec().n_vocab).unwrap_or(u32::MAX);
    let mut bench = Bench { forward: &mut *model.forward, bos, n_vocab, rng: Pcg32::new(0, 0) };

    bench.forward.truncate(SEQUENCE, 0);
    if options.warmup {
        bench.warm_up(&test)?;
    }
    bench.prompt(test.n_depth)?;
    let mut samples = Vec::new();
    for _ in 0..options.repetitions {
        // What is in the context before is the same for every repetition, so it stays.
        bench.forward.truncate(SEQUENCE, test.n_depth);
        let started = Instant::now();
        bench.prompt(test.n_prompt)?;
        let sample = bench.generate(test.n_gen)? - started;
        samples.push(sample);
        if on_repetition(sample).is_break() {
            break;
        }
    }
    bench.forward.truncate(SEQUENCE, 0);
    Ok(samples)
}

struct Bench<'a> {
    forward: &'a mut dyn ForwardPass,
    bos: Option<u32>,
    n_vocab: u32,
    rng: Pcg32,
}

impl Bench<'_> {
    fn warm_up(&mut self, test: &BenchTest) -> Result<(), ForwardError> {
        let (rng, may_compile) = (self.rng.clone(), self.forward.device().kind == DeviceKind::Gpu);
        warm_up(may_compile, || {
            // What is measured is the same however often this is.
            self.rng = rng.clone();
            self.prompt(test.n_prompt)?;
            self.generate(test.n_gen.min(1))?;
            self.forward.truncate(SEQUENCE, 0);
            Ok(())
        })
    }

    fn prompt(&mut self, n: usize) -> Result<(), ForwardError> {
        if n == 0 {
            return Ok(());
        }
        let mut tokens: Vec<u32> = (0..n).map(|_| self.rng.below(self.n_vocab)).collect();
        tokens[0] = self.bos.unwrap_or(tokens[0]);
        self.forward.forward_prompt(&tokens).map(drop)
    }

    /// When the last of `n` tokens was known.
    fn generate(&mut self, n: usize) -> Result<Instant, ForwardError> {
        let mut ended = Instant::now();
        if n == 0 {
            return Ok(ended);
        }
        let first = self.bos.unwrap_or_else(|| self.rng.below(self.n_vocab));
        let mut n_left = n;
        self.forward.decode_greedy(first, &mut |_| {
            n_left -= 1;
            ended = Instant::now();
            if n_left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(ended)
    }
}

/// Runs once, and again until a while has passed: since it began, or, where the first run may compile, since that one.
fn warm_up<E>(may_compile: bool, mut run: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    let mut started = Instant::now();
    run()?;
    if may_compile {
        started = Instant::now();
    }
    while started.elapsed() < WARM_UP {
        run()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::thread::sleep;

    #[test]
    fn a_run_that_compiles_is_no_warm_up() {
        for may_compile in [false, true] {
            let (mut n, mut ended) = (0, None);
            warm_up(may_compile, || {
                if n == 0 {
                    sleep(WARM_UP);
                }
                n += 1;
                ended = ended.or(Some(Instant::now()));
                Ok::<_, Infallible>(())
            })
            .unwrap();
            let since = ended.unwrap().elapsed();
            match may_compile {
                false => assert_eq!(n, 1),
                true => assert!(n > 1 && since >= WARM_UP, "{n} runs, {since:?} behind the first"),
            }
        }
    }
}
