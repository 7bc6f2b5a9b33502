//! Whether the persistent kernel works here: found out at load, by trying. That its groups are at work all at a time is tried at every
//! load, its tokens are compared at the first.

use super::passed::Passed;
use super::{Geometry, Persistent, STATUS_WORDS, Shape, outcome, text};
use crate::device::{Gpu, GpuBackend, NVIDIA};
use crate::error::GpuError;
use crate::forward::GpuForwardPass;
use crate::layout::BLOCK;
use crate::options::DecodeMode;
use model::{Choice, ForwardPass, SequenceId};
use std::ops::ControlFlow;
use std::path::Path;
use wgpu::{DeviceType, Features};

/// Workgroups that are tried, most first: a multiprocessor has room for one.
const GROUPS: [usize; 4] = [120, 96, 64, 32];
/// How the work is shared out, by the position from which on it is best: threads, and parts of the keys. Measured on an H200 with
/// SmolLM-135M: 1, 2, 3 and 8 parts took 274, 278, 286 and 306 us for a token near position 64, 353, 317, 300 and 309 near 320,
/// and 589, 435, 378 and 325 near 1088.
const SHARES: [(usize, [usize; 2]); 4] = [(0, [256, 1]), (48, [256, 2]), (192, [256, 3]), (384, [384, 8])];
/// Keys in hand at a time.
const KEYS: usize = 4;
/// Tokens that are compared with those of the plan of dispatches.
const TOKENS: usize = 12;
/// The token that they follow, and one that others follow.
const FIRST: u32 = 0;
const OTHER: u32 = 1;
const OWN: SequenceId = SequenceId(0);

/// The kernel, if `mode` asks for it and it works, or may do without; the folder is that of compiled kernels.
///
/// # Errors
/// `mode` asks for nothing else, and it does not work.
pub(crate) fn for_mode(
    pass: &mut GpuForwardPass,
    mode: DecodeMode,
    cache: Option<&Path>,
) -> Result<Option<Persistent>, GpuError> {
    let found = match mode {
        DecodeMode::Dispatch => return Ok(None),
        DecodeMode::Auto | DecodeMode::Persistent => try_it(pass, cache),
    };
    match found {
        Err(why) if mode == DecodeMode::Persistent => Err(GpuError::Unsupported {
            what: format!("decoding in one dispatch was asked for, which is not possible because {why}"),
        }),
        found => Ok(found.ok()),
    }
}

/// The kernel, once it has given the right tokens, now or when it was tried here before; or why there is none.
fn try_it(pass: &mut GpuForwardPass, cache: Option<&Path>) -> Result<Persistent, String> {
    suits(&pass.machine.gpu)?;
    let shape = Shape::of(&pass.planner())?;
    let lanes = pass.machine.gpu.info.subgroup_max_size as usize;
    let mut kernel = None;
    for groups in GROUPS.map(|n| n.min(shape.n_ff / BLOCK)) {
        let geometries = geometries(pass, &shape, groups, lanes)?;
        let texts: Vec<_> = geometries.iter().map(|(_, geometry)| text(&shape, geometry)).collect();
        let mut tried =
            Persistent::new(&pass.machine, &shape, &geometries, &texts).map_err(|error| error.to_string())?;
        if tried.all_present(pass)? {
            kernel = Some((tried, texts));
            break;
        }
    }
    pass.machine.pipelines.save();
    let (mut kernel, texts) = kernel.ok_or("its workgroups are not at work all at a time")?;
    let passed = Passed::open(&pass.machine.gpu, cache);
    if !passed.has(&texts) {
        let compared = kernel.compare(pass);
        pass.truncate(OWN, 0);
        compared?;
        passed.add(&texts);
    }
    Ok(kernel)
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

fn geometries(
    pass: &GpuForwardPass,
    shape: &Shape,
    groups: usize,
    lanes: usize,
) -> Result<Vec<(usize, Geometry)>, String> {
    let caps = pass.machine.gpu.caps;
    let within = |(from, _): &&(usize, [usize; 2])| *from < pass.context_len();
    let geometry = |&(from, [threads, splits]): &(usize, [usize; 2])| {
        let threads = threads.min(caps.max_threads as usize);
        // More parts than there are groups for would follow one another.
        let splits = splits.min(groups / shape.heads.n_heads).max(1);
        let geometry = Geometry { groups, threads, lanes, splits, keys: KEYS };
        shape.fits(&geometry, caps.workgroup_memory)?;
        Ok((from, geometry))
    };
    let mut all = SHARES.iter().filter(within).map(geometry).collect::<Result<Vec<_>, String>>()?;
    all.dedup_by_key(|(_, geometry)| *geometry);
    Ok(all)
}

impl Persistent {
    /// Whether all groups of every variant are at work at a time.
    fn all_present(&mut self, pass: &GpuForwardPass) -> Result<bool, String> {
        let ids = pass.machine.gpu.readback("status", 4 * STATUS_WORDS as u64);
        for variant in 0..self.variants.len() {
            self.last = None;
            self.submit_variant(&pass.machine, variant, 0, 0, &ids);
            let words = pass.machine.gpu.map(&ids, STATUS_WORDS).map_err(|error| error.to_string())?;
            if outcome(&words, 0).1 {
                return Ok(false);
            }
        }
        self.last = None;
        Ok(true)
    }

    /// The first tokens, by every variant, are to be those of the plan of dispatches, and not since it has filled the cache.
    fn compare(&mut self, pass: &mut GpuForwardPass) -> Result<(), String> {
        let n = TOKENS.min(pass.context_len());
        let expected = decoded(pass, FIRST, n)?;
        let ids = pass.machine.gpu.readback("ids", 4 * (n + STATUS_WORDS) as u64);
        for variant in 0..self.variants.len() {
            decoded(pass, OTHER, n)?;
            pass.machine.write_tokens(0, &[FIRST]);
            self.submit_variant(&pass.machine, variant, 0, n, &ids);
            let words = pass.machine.gpu.map(&ids, n + STATUS_WORDS).map_err(|error| error.to_string())?;
            if outcome(&words, n) != (n, false) || words[..n] != expected {
                return Err("its tokens are not those of the other way".to_owned());
            }
        }
        Ok(())
    }
}

/// `n` tokens from the beginning.
fn decoded(pass: &mut GpuForwardPass, token: u32, n: usize) -> Result<Vec<u32>, String> {
    pass.truncate(OWN, 0);
    let mut ids = Vec::new();
    let mut take = |id| {
        ids.push(id);
        if ids.len() == n { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    pass.decode(token, &Choice::GREEDY, &mut take).map_err(|error| error.to_string())?;
    Ok(ids)
}
