//! Whether the persistent kernel works here, and is faster: found out at load, by trying. That its groups are at work all at a time is
//! tried at every load; its tokens are compared, and it runs against the plan of dispatches, at the first.

use super::geometries::{geometries, group_counts};
use super::trials::{Outcome, Trials};
use super::{Compiled, Drawing, Persistent, STATUS_WORDS, Shape, Variant, outcome, text};
use crate::device::{Gpu, GpuBackend, NVIDIA};
use crate::error::GpuError;
use crate::forward::GpuForwardPass;
use crate::kernels::sampling::DrawOptions;
use crate::options::{DecodeMode, GpuOptions};
use crate::pipeline::Pipelines;
use crate::planner::Planner;
use model::{Choice, ForwardError, ForwardPass, SequenceId};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};
use wgpu::{DeviceType, Features};

/// Tokens that are compared with those of the plan of dispatches.
const TOKENS: usize = 12;
/// How far from the best logit that of a token may be, of the logits' range, in floats and in 8 bits: the ways add in different orders,
/// and round to 8 bits by different blocks. Of random logits the second is about 2 % of it below the best. Of 720 tokens of the bundled
/// model, by references that round in these ways, 10 were not the other's best, and none further from it than 0.15 %; of 360 of models
/// with random weights (2, 8 and 16 layers of 512 columns) 26 were not, and one was 1.13 % from it.
const NEAR: [f32; 2] = [0.001, 0.01];
/// How far one of a place's tokens may be in 8 bits: without it one trial in eight, of 50 tokens of random weights, would call right ones
/// wrong. Of 8,192 random logits up to 8 are within it.
const STRAY: f32 = 0.03;
/// Bytes of a layer up to which the kernel is tried, which takes seconds at the first load: with layers of 122 MB it was 15 % faster on
/// an H200, and larger ones were not measured.
const MOST_LAYER_BYTES: u64 = 256 << 20;
/// Tokens of a race, and races of each way.
const RACE: usize = 24;
const RACES: usize = 4;
/// A draw in which only the best has a chance.
const SHARP: Drawing =
    Drawing { options: DrawOptions { k: 40, sharpness: 1e9, ..Drawing::BEST.options }, ..Drawing::BEST };
/// The token that they follow.
const FIRST: u32 = 0;
/// Rows of the prompts that fill the cache before, of one length, since others may need other kernels; and how far it is filled at most.
const FILLED: usize = 128;
const FURTHEST: usize = 4096;
const OWN: SequenceId = SequenceId(0);

/// What is tried, and in which order.
#[derive(Debug)]
pub(crate) struct Candidate {
    shape: Shape,
    trials: Trials,
    /// Numbers of workgroups that are left to be tried.
    counts: std::vec::IntoIter<usize>,
    texts: Vec<String>,
    compiled: Compiled,
}

/// Where kernels are compiled, and for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) gpu: &'a Gpu,
    pub(crate) pipelines: &'a Pipelines,
    pub(crate) options: &'a GpuOptions,
}

impl Candidate {
    /// The kernel that is tried first, compiled, if the options ask for one and nothing that is known speaks against it; or why there is
    /// none, in words that follow "because".
    pub(crate) fn first(planner: &Planner<'_>, target: Target<'_>) -> Result<Self, String> {
        let Target { gpu, options, .. } = target;
        let mode = options.decode;
        if mode == DecodeMode::Dispatch {
            return Err("that was asked for".to_owned());
        }
        suits(gpu)?;
        let shape = Shape::of(planner)?;
        if mode == DecodeMode::Auto && shape.layer_bytes() > MOST_LAYER_BYTES {
            return Err("reading its layers takes longer than what is between two dispatches".to_owned());
        }
        let lanes = gpu.info.subgroup_max_size as usize;
        let trials = Trials::open(gpu, options.pipeline_cache.as_deref());
        let mut counts = group_counts(&shape, lanes).into_iter();
        let groups = counts.next().ok_or(NOT_TOGETHER)?;
        let (texts, compiled) = compiled(&shape, &trials, groups, target)?;
        Ok(Self { shape, trials, counts, texts, compiled })
    }
}

/// Why there is no kernel on a device whose workgroups take turns.
const NOT_TOGETHER: &str = "its workgroups are not at work all at a time";

/// The texts of the kernel for so many workgroups, and that compiled, unless it is known to be slower and `Auto` has the choice.
fn compiled(
    shape: &Shape,
    trials: &Trials,
    groups: usize,
    target: Target<'_>,
) -> Result<(Vec<String>, Compiled), String> {
    let Target { gpu, pipelines, options } = target;
    let lanes = gpu.info.subgroup_max_size as usize;
    let geometries = geometries(shape, options.context_len, (groups, lanes), gpu.caps)?;
    let texts: Vec<_> = geometries.iter().map(|(_, geometry)| text(shape, geometry)).collect();
    is_wanted(options.decode, trials.outcome(&texts))?;
    let compiled = Compiled::new(gpu, pipelines, shape, &geometries, &texts);
    Ok((texts, compiled.map_err(|error| error.to_string())?))
}

fn is_wanted(mode: DecodeMode, outcome: Option<Outcome>) -> Result<(), String> {
    match (mode, outcome) {
        (DecodeMode::Auto, Some(Outcome::Slower)) => Err("a dispatch for each step is faster".to_owned()),
        _ => Ok(()),
    }
}

/// The kernel, if it works; or why there is none, in words that follow "because".
///
/// # Errors
/// `mode` asks for nothing else, and it does not work.
pub(crate) fn for_mode(
    pass: &mut GpuForwardPass,
    candidate: Result<Candidate, String>,
    options: &GpuOptions,
) -> Result<Result<Persistent, String>, GpuError> {
    match candidate.and_then(|candidate| try_it(pass, candidate, options)) {
        Err(why) if options.decode == DecodeMode::Persistent => Err(GpuError::Unsupported {
            what: format!("decoding in one dispatch was asked for, which is not possible because {why}"),
        }),
        found => Ok(found),
    }
}

/// The kernel, once it has given the right tokens, now or when it was tried here before, and unless `Auto` has the choice and it was
/// slower; or why there is none.
fn try_it(
    pass: &mut GpuForwardPass,
    candidate: Candidate,
    options: &GpuOptions,
) -> Result<Persistent, String> {
    let Candidate { shape, trials, mut counts, mut texts, compiled: first } = candidate;
    let mut kernel = Persistent::new(&pass.machine, first);
    while !kernel.all_present(pass)? {
        let groups = counts.next().ok_or(NOT_TOGETHER)?;
        let (gpu, pipelines) = (&pass.machine.gpu, &pass.machine.pipelines);
        let next = compiled(&shape, &trials, groups, Target { gpu, pipelines, options })?;
        texts = next.0;
        kernel = Persistent::new(&pass.machine, next.1);
    }
    pass.machine.pipelines.save();
    if trials.outcome(&texts).is_some() {
        return Ok(kernel);
    }
    let (kernel, outcome) = tried(pass, kernel)?;
    trials.add(&texts, outcome);
    is_wanted(options.decode, Some(outcome)).map(|()| kernel)
}

/// The kernel, if its tokens are right, and how it did against the plan of dispatches. Either way the sequence is empty.
///
/// # Errors
/// What is wrong, in words that follow "because".
pub(crate) fn tried(
    pass: &mut GpuForwardPass,
    mut kernel: Persistent,
) -> Result<(Persistent, Outcome), String> {
    let n_notes = pass.notes.len();
    let found = kernel.compare(pass).and_then(|()| race(pass, kernel));
    pass.truncate(OWN, 0);
    pass.notes.truncate(n_notes);
    found
}

/// Some tokens from the beginning, by the plan of dispatches and by the kernel in turns, so that both find the device alike.
fn race(pass: &mut GpuForwardPass, kernel: Persistent) -> Result<(Persistent, Outcome), String> {
    let mut best = [Duration::MAX; 2];
    let mut kernel = Some(kernel);
    for i in 0..2 * RACES {
        pass.persistent = if i % 2 == 1 { kernel.take() } else { None };
        let time = time(pass);
        kernel = pass.persistent.take().or(kernel);
        best[i % 2] = best[i % 2].min(time.map_err(|error| error.to_string())?);
    }
    let kernel = kernel.ok_or("it stopped at work")?;
    Ok((kernel, if best[1] < best[0] { Outcome::Faster } else { Outcome::Slower }))
}

/// How long it takes to decode [`RACE`] tokens.
fn time(pass: &mut GpuForwardPass) -> Result<Duration, ForwardError> {
    pass.truncate(OWN, 0);
    let most = RACE.min(pass.context_len());
    let (started, mut n) = (Instant::now(), 0);
    let mut count = |_| {
        n += 1;
        if n == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let decoded = pass.decode(FIRST, &Choice::GREEDY, &mut count);
    let time = started.elapsed();
    decoded.map(|()| time)
}

/// Other interfaces and devices have their own order of things, in which a group may wait for one that never begins.
fn suits(gpu: &Gpu) -> Result<(), String> {
    let info = &gpu.info;
    let sizes = (info.subgroup_min_size, info.subgroup_max_size);
    let fits = gpu.backend == GpuBackend::Vulkan
        && info.vendor == NVIDIA
        && info.device_type == DeviceType::DiscreteGpu
        && gpu.caps.subgroups
        && gpu.device.features().contains(Features::MEMORY_DECORATION_COHERENT)
        && sizes == (32, 32);
    match fits {
        true => Ok(()),
        false => Err(format!("{} is not a discrete NVIDIA GPU through Vulkan", gpu.name)),
    }
}

impl Persistent {
    /// Whether all groups of every variant are at work at a time.
    fn all_present(&mut self, pass: &GpuForwardPass) -> Result<bool, String> {
        let ids = pass.machine.gpu.readback("status", 4 * STATUS_WORDS as u64);
        for variant in 0..self.variants.len() {
            self.last = None;
            self.submit_variant(&pass.machine, variant, (0, 0, Drawing::BEST), &ids);
            let words = pass.machine.gpu.map(&ids, STATUS_WORDS).map_err(|error| error.to_string())?;
            if outcome(&words, 0).1 {
                return Ok(false);
            }
        }
        self.last = None;
        Ok(true)
    }

    /// Some tokens, by every variant, are to be those of the plan of dispatches, and not since it has filled the cache: each is, by
    /// that plan and behind the same tokens, the best or so near it that rounding decides. Drawn where only the best has a chance, they
    /// are so too.
    fn compare(&mut self, pass: &mut GpuForwardPass) -> Result<(), String> {
        let places = self.places(pass.context_len());
        let furthest = places.first().map_or(0, |(start, _)| *start);
        pass.truncate(OWN, 0);
        for some in others(pass, 0, furthest).chunks(FILLED) {
            pass.forward_prompt(some).map_err(|error| error.to_string())?;
        }
        places.into_iter().try_for_each(|(start, variant)| self.compare_variant(pass, variant, start))
    }

    /// Where which variant is tried: at the first positions that it is for, and at the last, those that are furthest on before others.
    fn places(&self, context_len: usize) -> Vec<(usize, usize)> {
        let end = |variant: &Variant| {
            let later = |other: &&Variant| {
                other.geometry.draws == variant.geometry.draws && other.from > variant.from
            };
            let next = self.variants.iter().filter(later).map(|other| other.from).min();
            next.unwrap_or(context_len.min(FURTHEST))
        };
        let of = |(i, variant): (usize, &Variant)| {
            let last = end(variant).saturating_sub(TOKENS).max(variant.from);
            [(variant.from, i), (last, i)]
        };
        let mut places: Vec<_> = self.variants.iter().enumerate().flat_map(of).collect();
        places.sort_unstable_by(|a, b| b.cmp(a));
        places.dedup();
        places
    }

    /// Some tokens from position `start` on, up to which the cache is filled.
    fn compare_variant(
        &mut self,
        pass: &mut GpuForwardPass,
        variant: usize,
        start: usize,
    ) -> Result<(), String> {
        let drawing = if self.variants[variant].geometry.draws { SHARP } else { Drawing::BEST };
        let n = TOKENS.min(pass.context_len() - start);
        let ids = pass.machine.gpu.readback("ids", 4 * (n + STATUS_WORDS) as u64);
        // Other keys and values are in the cache before.
        pass.truncate(OWN, start);
        let others = others(pass, start, n);
        pass.forward_prompt(&others).map_err(|error| error.to_string())?;
        pass.write_table();
        pass.machine.write_tokens(start, &[FIRST]);
        self.submit_variant(&pass.machine, variant, (start, n, drawing), &ids);
        let words = pass.machine.gpu.map(&ids, n + STATUS_WORDS).map_err(|error| error.to_string())?;
        if outcome(&words, n) != (n, false) {
            return Err("its workgroups wait for each other in vain".to_owned());
        }
        match confirms(pass, (start, FIRST), &words[..n])? {
            true => Ok(()),
            false => Err(format!("its tokens from position {start} on are not those of the other way")),
        }
    }
}

/// `n` tokens from position `start` on that fill the cache, none of which is that before it.
fn others(pass: &GpuForwardPass, start: usize, n: usize) -> Vec<u32> {
    let n_vocab = pass.spec.n_vocab as u32;
    (start as u32..).take(n).map(|i| (37 * i + 11) % n_vocab).collect()
}

/// Whether the plan of dispatches, behind `first` at position `start`, might have chosen `then`.
pub(crate) fn confirms(
    pass: &mut GpuForwardPass,
    (start, first): (usize, u32),
    then: &[u32],
) -> Result<bool, String> {
    pass.truncate(OWN, start);
    let mut token = first;
    let mut distances = Vec::with_capacity(then.len());
    for &next in then {
        distances.push(distance(pass.forward_token(token).map_err(|error| error.to_string())?, next));
        token = next;
    }
    Ok(are_near(&distances, pass.rounds_activations()))
}

/// How far a token's logit is from the largest, as a share of all that they differ by.
fn distance(logits: &[f32], token: u32) -> f32 {
    let [low, high] = [f32::min, f32::max].map(|f| logits.iter().copied().reduce(f).unwrap_or(f32::NAN));
    let logit = logits.get(token as usize).copied().unwrap_or(f32::NAN);
    let distance = if logit == high { 0.0 } else { (high - logit) / (high - low) };
    if distance.is_nan() { f32::INFINITY } else { distance }
}

/// Whether tokens that are so far from the best may be the right ones, in 8 bits or in floats.
fn are_near(distances: &[f32], in_8_bits: bool) -> bool {
    let beyond = |most: f32| distances.iter().filter(|distance| **distance > most).count();
    match in_8_bits {
        false => beyond(NEAR[0]) == 0,
        true => beyond(NEAR[1]) <= 1 && beyond(STRAY) == 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_token_in_8_bits_may_be_further_from_the_best() {
        assert!(are_near(&[0.0, 0.001, 0.0], false) && !are_near(&[0.0, 0.0011], false));
        assert!(are_near(&[0.0, 0.009, 0.029, 0.0], true));
        assert!(!are_near(&[0.011, 0.0, 0.012], true), "two of them");
        assert!(!are_near(&[0.0, 0.031], true), "too far");
    }

    #[test]
    fn a_distance_is_a_share_of_the_range() {
        let logits = [1.0, -3.0, 5.0, 4.0];
        assert_eq!([2, 3, 1].map(|token| distance(&logits, token)), [0.0, 0.125, 1.0]);
        assert_eq!(distance(&logits, 4), f32::INFINITY, "no such token");
        assert_eq!(distance(&[1.0, f32::NAN], 1), f32::INFINITY);
        assert_eq!(distance(&[2.0, 2.0], 0), 0.0);
    }
}
