//! How the work is shared out where it was measured: by the size of a model and the position in a context.

use super::shape::{Geometry, Shape};
use super::share::{Share, Work};
use crate::device::Caps;
use crate::layout::BLOCK;

/// Workgroups that are tried: a multiprocessor has room for one.
const GROUPS: [usize; 7] = [132, 128, 120, 96, 64, 48, 32];
/// Units that a thread loads at a time: of a small model, whose layers registers hold, and of a large one.
const SMALL_BATCH: usize = 32;
const LARGE_BATCH: usize = 4;
/// How the work of a small model is shared out, by the position from which on it is best: threads, and parts of the keys. A part of
/// 128 keys, of heads of 64, is all in hand of 256 threads at a time, and up to three such parts one more is better than more in turn.
/// Measured on an H200 with SmolLM-135M, us a token: 1 and 2 parts 290 and 291 at 64 to 96, 296 and 295 at 96 to 128; 2 and 3 299 and 306 at
/// 208 to 240, 318 and 308 at 240 to 272; 3 and 8 340 and 332 at 448 to 480, 347 and 333 at 576 to 608. With the kernel as it is now, tokens a
/// second at 0, 1024, 2048, 4096 and 8000: 256 threads and 8 parts to 1,536, 14 from there on, 4,370, 3,320, 3,070, 2,720 and 2,240; 384
/// threads, 14 parts -, 3,380, 3,210, 2,900 and 2,395, 8 parts -, 3,530, 3,210, 2,800 and 2,170, one part 4,030 at 0; 512 threads, 8 parts -,
/// 3,080, 2,870, 2,550 and 2,165.
const SMALL: [(usize, [usize; 2]); 5] =
    [(0, [256, 1]), (128, [256, 2]), (256, [256, 3]), (384, [384, 8]), (2048, [384, 14])];
/// The same of a large one, as measured with a version before: Llama-1B made 2,271 tokens a second so; 2,045 with 8 units a thread,
/// 2,166 with those of two products, and 2,002 with 256 threads and 8 units of two products. One part made 2,242, 2,190 and 1,984
/// tokens a second (at 32, 160 and 384), two 2,150, 2,117 and 2,081, and 2,010 at 640, four 2,084 and 2,060 at 384 and 640.
const LARGE: [(usize, [usize; 2]); 3] = [(0, [512, 1]), (288, [512, 2]), (448, [512, 4])];
/// Copies of what all groups wait for: as many as there are threads that have a sum. SmolLM-135M took 292, 291.5, 288.5 and 288 us a
/// token with 1, 2, 3 and 4, Llama-1B 430 and 410 to 413 with 1 and 4; Llama-8B, of which a layer is 122 MB, 1,616 and 1,634.
const COPIES: usize = 4;
/// Bytes of a layer up to which there are several: 34 MB and 122 MB were measured.
const MOST_COPIED: u64 = 64 << 20;
/// Keys in hand at a time.
const KEYS: usize = 4;

/// Numbers of workgroups to be tried: first the one with which the busiest thread has least to do, the smallest of several; then
/// fewer.
pub(super) fn group_counts(shape: &Shape, lanes: usize) -> Vec<usize> {
    let most = shape.n_ff / BLOCK;
    let mut counts = GROUPS.map(|n| n.min(most)).to_vec();
    counts.dedup();
    let units = |&groups: &usize| {
        let geometry = Geometry {
            groups,
            threads: SMALL[0].1[0],
            lanes,
            splits: 1,
            copies: COPIES,
            keys: KEYS,
            batch: SMALL_BATCH,
            holds_layer: true,
            draws: false,
            in_turns: false,
        };
        let of = |work| Share::of(shape, &geometry, work);
        Work::ALL.iter().map(|&work| of(work).steps() * of(work).units()).sum::<usize>()
    };
    let best = counts.iter().copied().min_by_key(|groups| (units(groups), *groups)).unwrap_or(most);
    counts.retain(|&groups| groups <= best);
    counts
}

/// Geometries of `groups` workgroups for a context, each with the position from which on it is used: those that take the best token, and
/// those that draw.
///
/// # Errors
/// Why there are none, in words that follow "because".
pub(super) fn geometries(
    shape: &Shape,
    context_len: usize,
    (groups, lanes): (usize, usize),
    caps: Caps,
) -> Result<Vec<(usize, Geometry)>, String> {
    let geometry = |[threads, splits]: [usize; 2], holds_layer: bool| {
        let batch = if holds_layer { SMALL_BATCH } else { LARGE_BATCH };
        let threads = threads.min(caps.max_threads as usize);
        // More parts than there are groups for would follow one another.
        let splits = splits.min(groups / shape.heads.n_heads).max(1);
        let copies = if shape.layer_bytes() <= MOST_COPIED { COPIES } else { 1 };
        Geometry {
            groups,
            threads,
            lanes,
            splits,
            copies,
            keys: KEYS,
            batch,
            holds_layer,
            draws: false,
            in_turns: false,
        }
    };
    let small = geometry(SMALL[0].1, true).can_hold(shape);
    let shares = if small { &SMALL[..] } else { &LARGE[..] };
    let within = |(from, _): &&(usize, [usize; 2])| *from < context_len;
    let fitting = |draws| {
        let fitting = |&(from, share): &(usize, [usize; 2])| {
            let geometry = Geometry { draws, ..geometry(share, small) };
            shape.fits(&geometry, caps.workgroup_memory).map(|()| (from, geometry))
        };
        shares.iter().filter(within).map(fitting).collect::<Result<Vec<_>, String>>()
    };
    let mut all = fitting(false)?;
    // Draws need more memory. Without it they are left to the plan of dispatches.
    all.extend(fitting(true).unwrap_or_default());
    all.dedup_by_key(|(_, geometry)| *geometry);
    Ok(all)
}
