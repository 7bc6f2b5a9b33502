//! How the work is shared out where it was measured: by the size of a model and the position in a context.

use super::shape::{Geometry, InHalves, Shape};
use super::share::{Share, Work};
use crate::device::Caps;
use crate::layout::BLOCK;

/// Workgroups that are tried: a multiprocessor has room for one.
const GROUPS: [usize; 7] = [132, 128, 120, 96, 64, 48, 32];
/// Units that a thread loads at a time: of a small model, whose layers registers hold, and of a large one.
const SMALL_BATCH: usize = 32;
const LARGE_BATCH: usize = 4;
/// How the work of a small model is shared out, by the position from which on it is best: threads, and parts of the keys. Of heads of
/// 64, 256 threads have 128 keys in hand at a time, and 384 have 192. Measured on an H200 with SmolLM-135M, 64 tokens from a position on, tokens
/// a second (threads x parts):
///
/// | | 0 | 160 | 288 | 448 | 640 | 896 | 1280 | 1792 |
/// |---|---|---|---|---|---|---|---|---|
/// | 256 x 1 | 4,206 | 3,644 | 3,241 | 2,858 | | | | |
/// | 256 x 2 | 4,104 | 3,898 | 3,601 | 3,402 | | | | |
/// | 256 x 4 | 3,902 | 3,824 | 3,745 | 3,577 | 3,394 | 3,252 | 3,000 | 2,672 |
/// | 256 x 8 | 3,563 | 3,522 | 3,485 | 3,420 | 3,380 | 3,297 | 3,064 | 3,002 |
/// | 384 x 1 | 4,127 | 3,704 | 3,470 | 3,088 | | | | |
/// | 384 x 4 | 3,805 | 3,719 | 3,676 | 3,608 | 3,495 | 3,279 | 3,237 | 2,835 |
/// | 384 x 6 | 3,701 | 3,664 | 3,613 | 3,547 | 3,469 | 3,357 | 3,228 | 3,113 |
/// | 384 x 13 | 3,297 | 3,283 | 3,253 | 3,266 | 3,244 | 3,196 | 3,136 | 3,137 |
///
/// At 2,048, 4,096 and 8,000 13 parts made 3,251, 2,933 and 2,428, 6 parts 3,211, 2,629 and 1,966; 512 threads and 8 parts 2,870, 2,550 and
/// 2,165. With 6 keys in hand in place of 4, 256 threads and 13 parts made 2,850 and 2,300 at 4,096 and 8,000 where 384 with 4 made 2,900 and
/// 2,395; 384 with 6 made 1,200 everywhere. When all heads
/// that share keys attended to them together, in 40 parts that met in a phase of their own, it was 2,980, 2,790 and 2,380.
const SMALL: [(usize, [usize; 2]); 6] =
    [(0, [256, 1]), (128, [256, 2]), (224, [256, 4]), (416, [384, 4]), (768, [384, 6]), (1664, [384, 14])];
/// The same of a large one. Llama-1B, and 8 layers of Llama-8B, 64 tokens from a position on, tokens a second (parts); a star marks what something
/// else disturbed:
///
/// | | 0 | 128 | 256 | 384 | 512 | 640 | 896 | 1280 |
/// |---|---|---|---|---|---|---|---|---|
/// | 1B, 1 | 2,934 | 2,865 | 2,743 | 2,708 | 2,598 | 2,531 | 2,378 | 2,189 |
/// | 1B, 2 | 2,640 | 2,675 | 2,638 | 2,620 | 2,521 | 2,495 | 2,434 | 2,301 |
/// | 1B, 4 | 2,591 | 2,578 | 2,567 | 2,561 | 2,527 | 2,527 | 2,503 | 2,403 |
/// | 8B, 1 | 2,830 | 2,755 | 2,453* | 2,599 | 2,509 | 2,251* | 2,293 | 2,137 |
/// | 8B, 2 | 2,659 | 2,662 | 2,557 | 2,539 | 2,476 | 2,466 | 2,238* | 2,301 |
/// | 8B, 4 | 2,557 | 2,556 | 2,547 | 2,541 | 2,489 | 2,479 | 2,465 | 2,392 |
///
/// With 3, 4, 5, 6 and 8 units at a time Llama-1B made 2,972, 2,977, 2,974, 2,998 and 2,808, and 8B 2,497, 2,888, 2,886, 2,580 and 2,374; with
/// 384 and 256 threads, before there were halves, both 0 to 14 % less.
const LARGE: [(usize, [usize; 2]); 2] = [(0, [512, 1]), (576, [512, 4])];
/// Copies of what all groups wait for: as many as there are threads that have a sum. SmolLM-135M took 292, 291.5, 288.5 and 288 us a
/// token with 1, 2, 3 and 4, Llama-1B 430 and 410 to 413 with 1 and 4; Llama-8B, of which a layer is 122 MB, 1,616 and 1,634.
const COPIES: usize = 4;
/// Bytes of a layer up to which there are several: 34 MB and 122 MB were measured.
const MOST_COPIED: u64 = 64 << 20;
/// Workgroups beside those of a small model that bring keys and values near. SmolLM-135M, 128 tokens, twice, in tokens a second:
///
/// | helpers | 0 | 100 | 256 | 1,024 | 4,096 | 8,000 |
/// |---|---|---|---|---|---|---|
/// | 0 | 4,128 4,192 | 3,947 3,974 | 3,801 3,803 | 3,545 3,547 | 2,908 2,904 | 2,388 2,383 |
/// | 4 | 4,292 4,259 | 4,090 4,222 | 3,919 3,950 | 3,669 3,672 | 2,977 2,956 | 2,488 2,479 |
///
/// 8 of them made 2,885 to 2,991 and 2,389 to 2,397 at 4,096 and 8,000 on another machine, where 4 made 2,962 to 2,979 and 2,471 to 2,498; 12
/// of them 2,832 to 2,875 and 2,256 to 2,263. When they brought the head's weights near as well, in the last 10 or 20 layers, it was not
/// faster that could be told from one run to the next.
const HELPERS: usize = 4;
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
            helpers: 0,
            threads: SMALL[0].1[0],
            lanes,
            splits: 1,
            copies: COPIES,
            keys: KEYS,
            one_chunk: false,
            batch: SMALL_BATCH,
            holds_layer: true,
            in_halves: InHalves::NONE,
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
pub(crate) fn geometries(
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
        let geometry = Geometry {
            groups,
            helpers: if holds_layer { HELPERS } else { 0 },
            threads,
            lanes,
            splits,
            copies,
            keys: KEYS,
            one_chunk: false,
            batch,
            holds_layer,
            in_halves: InHalves::NONE,
            draws: false,
            in_turns: false,
        };
        Geometry { in_halves: in_halves(shape, &geometry), ..geometry }
    };
    let small = geometry(SMALL[0].1, true).can_hold(shape);
    let shares = if small { &SMALL[..] } else { &LARGE[..] };
    let within = |(from, _): &&(usize, [usize; 2])| *from < context_len;
    let fitting = |draws| {
        let fitting = |&(from, share): &(usize, [usize; 2])| {
            let geometry = Geometry { draws, ..geometry(share, small) };
            // Halves may need more memory, or less.
            let whole = Geometry { in_halves: InHalves::NONE, ..geometry };
            let fits =
                |geometry: Geometry| shape.fits(&geometry, caps.workgroup_memory).map(|()| (from, geometry));
            fits(geometry).or_else(|_| fits(whole))
        };
        shares.iter().filter(within).map(fitting).collect::<Result<Vec<_>, String>>()
    };
    let mut all = fitting(false)?;
    // Draws need more memory. Without it they are left to the plan of dispatches.
    all.extend(fitting(true).unwrap_or_default());
    all.dedup_by_key(|(_, geometry)| *geometry);
    for i in 0..all.len() {
        let (from, geometry) = all[i];
        let next = all.get(i + 1).filter(|(next, _)| *next > from);
        let most_keys = next.map_or(context_len, |(next, _)| *next) - 1;
        all[i].1.one_chunk = most_keys.div_ceil(geometry.splits) <= geometry.chunk(shape.heads);
    }
    Ok(all)
}

/// Vectors of a large model that are told and taken in halves: those whose halves are not much worse to share out among the threads that
/// multiply them. Llama-1B, of which all are, and 8 layers of Llama-8B, of which the hidden state is not (a thread would have 16 units
/// of Q, K and V in place of 12), in tokens a second on an H200; what is of one column and line was measured side by side:
///
/// | in halves | Llama-1B | 8 layers of Llama-8B |
/// |---|---|---|
/// | none | 2,691 | 2,755 |
/// | what gates and ups leave for down | 2,899 | |
/// | that, and what O leaves for them | 2,826 | 2,883 |
/// | that, and what down leaves for Q, K and V | 2,946 | |
/// | none, and all, of a version before | 2,610, 2,796 | 2,761, 2,760 |
fn in_halves(shape: &Shape, whole: &Geometry) -> InHalves {
    if whole.holds_layer || !shape.can_halve() {
        return InHalves::NONE;
    }
    // No more than a quarter more units.
    let pays = |work: Work| {
        let [whole, halves] = [InHalves::NONE, InHalves::ALL].map(|in_halves| {
            let share = Share::of(shape, &Geometry { in_halves, ..*whole }, work);
            share.takes * share.steps() * share.units()
        });
        4 * halves <= 5 * whole
    };
    InHalves { hidden: pays(Work::Qkv), middle: pays(Work::GateUp), gated: pays(Work::FfnDown) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persistent::share::tests::shape;
    use crate::tests::variants::MATRICES;

    /// As measured: see `in_halves`.
    #[test]
    fn vectors_are_halved_where_that_pays() {
        let halved = |dims| geometries(&shape(dims), 256, (128, 32), MATRICES).unwrap()[0].1.in_halves;
        let all = InHalves::ALL;
        assert_eq!(halved([2048, 32, 8, 64, 8192]), all);
        assert_eq!(halved([4096, 32, 8, 128, 14_336]), InHalves { hidden: false, ..all });
        // Whole, its gates and ups would have no room for their sums.
        assert_eq!(halved([4096, 32, 32, 128, 11_008]), all);
        // 85 units have no halves.
        assert_eq!(halved([1024, 16, 8, 64, 43 * 64 - 32]), InHalves::NONE);
        // Registers hold its layers.
        assert_eq!(halved([576, 9, 3, 64, 1536]), InHalves::NONE);
    }

    /// A part's keys are all in hand wherever a variant with one chunk is used, up to the end of the context.
    #[test]
    fn one_chunk_has_all_keys_of_a_part() {
        let of = |dims, context_len| {
            let shape = shape(dims);
            let all = geometries(&shape, context_len, (120, 32), MATRICES).unwrap();
            let best: Vec<_> = all.into_iter().filter(|(_, geometry)| !geometry.draws).collect();
            for (i, (_, geometry)) in best.iter().enumerate().filter(|(_, (_, geometry))| geometry.one_chunk)
            {
                // Before the last position are as many keys.
                let keys = best.get(i + 1).map_or(context_len, |(next, _)| *next) - 1;
                assert!(keys.div_ceil(geometry.splits) <= geometry.chunk(shape.heads), "{geometry:?}");
            }
            best.iter().map(|(_, geometry)| geometry.one_chunk).collect::<Vec<_>>()
        };
        let small = [576, 9, 3, 64, 1536];
        assert_eq!(of(small, 8192), [true, true, true, true, false, false]);
        assert_eq!(of(small, 1000), [true, true, true, true, true]);
        assert_eq!(of(small, 2000), [true, true, true, true, false, true]);
        assert_eq!(of([2048, 32, 8, 64, 8192], 8192), [false, false]);
        assert_eq!(of([2048, 32, 8, 64, 8192], 256), [true]);
    }

    /// Whatever the position, registers hold a layer of a model whose layers they hold at all.
    #[test]
    fn a_thread_of_a_small_model_holds_its_weights_of_a_layer_everywhere() {
        let mut n_small = 0;
        for n_embd in (256..=1024).step_by(64) {
            for n_ff in (512..=4096).step_by(256) {
                let shape = shape([n_embd, n_embd / 64, 1, 64, n_ff]);
                for groups in group_counts(&shape, 32) {
                    let Ok(all) = geometries(&shape, 8192, (groups, 32), MATRICES) else { continue };
                    let small = all[0].1.holds_layer;
                    n_small += usize::from(small);
                    for (from, geometry) in all {
                        assert_eq!(geometry.holds_layer, small, "{n_embd} {n_ff} {geometry:?}");
                        assert!(
                            !small || geometry.can_hold(&shape),
                            "{n_embd} {n_ff} from {from}: {geometry:?}"
                        );
                    }
                }
            }
        }
        assert!(n_small > 50, "{n_small}");
    }
}
