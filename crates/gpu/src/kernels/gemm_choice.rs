//! Which kernel computes Y = X W^T for many rows of X, in which tile.

use super::Kernel;
use super::floats::Floats;
use super::gemm::{Gemm, Tile};
use super::gemm_matrix::{GemmMatrix, MatrixTile};
use super::matvec::Epilogue;
use crate::device::{Caps, MatrixSize};
use crate::layout::{GROUP, UNIT};
use gguf::TensorType;
use std::sync::Mutex;

/// A product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Product {
    pub(crate) ty: TensorType,
    pub(crate) n_tokens: usize,
    pub(crate) n_cols: usize,
    /// Row groups of W, gate and up together.
    pub(crate) n_groups: usize,
    pub(crate) epilogue: Epilogue,
    /// Of X, and of Y; F16 where [`takes_halves`], and for Y with `SiluMul` only.
    pub(crate) floats: [Floats; 2],
    /// Parts of the columns that it may be made in; more than one with `Add` only.
    pub(crate) most_parts: usize,
}

/// A kernel for a product.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pick {
    pub(crate) kernel: Kernel,
    pub(crate) grid: [u32; 3],
    /// Parts of the columns; the sums of all but the first are left beside Y.
    pub(crate) parts: usize,
}

/// What was chosen lately. The layers of a model have the same products, and to choose for each is most of what a plan takes.
#[derive(Debug, Default)]
pub(crate) struct Picks(Mutex<Vec<(Product, Caps, Pick)>>);

/// More than the products of a layer, whatever the types of its tensors.
const MOST_KEPT: usize = 16;

impl Picks {
    /// [`pick`], looked up where it was asked for before.
    pub(crate) fn pick(&self, product: Product, caps: Caps) -> Pick {
        let Ok(mut kept) = self.0.lock() else { return pick(product, caps) };
        let known = kept.iter().find(|(known, its_caps, _)| (*known, *its_caps) == (product, caps));
        if let Some((_, _, pick)) = known {
            return *pick;
        }
        let pick = pick(product, caps);
        if kept.len() == MOST_KEPT {
            kept.remove(0);
        }
        kept.push((product, caps, pick));
        pick
    }
}

/// Whether products with many rows of X read F16: then whatever they read is better written so.
pub(crate) fn takes_halves(caps: Caps) -> bool {
    caps.matrices.is_some()
}

/// The kernel for a product; its parameters are [`super::gemm::Params`].
pub(crate) fn pick(product: Product, caps: Caps) -> Pick {
    let Product { ty, n_tokens, n_cols, n_groups, epilogue, floats, .. } = product;
    match caps.matrices.and_then(|size| Some((size, best_tile(product, caps, size)?))) {
        Some((size, (tile, parts))) => {
            let kernel = GemmMatrix::new(ty, n_cols, epilogue, floats, tile, size)
                .in_parts(parts, n_cols)
                .with_ordered(caps.orders_loads);
            Pick { kernel: kernel.kernel(), grid: kernel.grid(n_tokens, n_groups), parts }
        }
        None => {
            let kernel = Gemm::new(ty, n_cols, epilogue, Tile::pick(n_tokens, n_groups, caps));
            Pick { kernel: kernel.kernel(), grid: kernel.grid(n_tokens, n_groups), parts: 1 }
        }
    }
}

/// Parts that the columns of a product are made in at most.
pub(crate) const MOST_PARTS: usize = 4;

/// Rows of sums that products of `n_rows` rows may leave beside Y.
pub(crate) fn most_partials(n_rows: usize, caps: Caps) -> usize {
    if caps.matrices.is_some_and(MatrixSize::vectors) { (MOST_PARTS - 1) * n_rows } else { 0 }
}

/// Multiprocessors of the device that the costs were measured on (H200). What matters is how many tiles there are for each.
const PROCESSORS: usize = 132;

/// A tile, how many of them a multiprocessor has at a time, and what such a round takes there, in nanoseconds: for each column,
/// and at its ends.
type Cost = (MatrixTile, usize, f64, f64);

/// Measured with Q4_0 at the shapes of models of 135 M, 1 B and 8 B, 16 to 2048 tokens. Tiles that are alone along the tokens with 16
/// rows of 1 B and 8 B only: a layer's products take 60 and 163 us there without them; with those of 32 tokens, for which 16 rows are
/// as much work as 32, 58 and 150, with those of 16 tokens 48 and 136; whole steps only. Slices with 16 rows of those: what they take
/// at their ends is much, for more and more of them share a memory that one would not fill. With 32 rows prompts of Llama-8B and Llama-1B were
/// 12 and 7 % slower.
const COSTS: [Cost; 19] = [
    (slices([16, 128], 4, 1), 2, 9.5, 5000.0),
    (slices([16, 64], 4, 2), 2, 5.3, 5000.0),
    (slices([16, 64], 8, 2), 1, 3.2, 5000.0),
    (slices([16, 32], 8, 2), 1, 2.1, 3500.0),
    (MatrixTile { together: 4, ..tile(16, 64, 128, [1, 4], 1) }, 1, 5.9, 590.0),
    (MatrixTile { together: 4, ..tile(16, 128, 64, [1, 4], 1) }, 1, 9.5, 590.0),
    (tile(16, 128, 128, [1, 8], 1), 1, 9.5, 150.0),
    (MatrixTile { together: 4, ..tile(32, 64, 64, [2, 2], 1) }, 2, 10.0, 300.0),
    (MatrixTile { together: 4, ..tile(32, 64, 128, [2, 2], 1) }, 1, 8.7, 300.0),
    (tile(32, 64, 64, [2, 2], 1), 2, 10.8, 300.0),
    (tile(32, 64, 64, [2, 2], 2), 1, 9.8, 300.0),
    (tile(32, 64, 128, [2, 2], 1), 1, 9.2, 300.0),
    (tile(64, 64, 64, [2, 2], 1), 2, 13.2, 400.0),
    (tile(64, 64, 128, [4, 2], 1), 1, 9.5, 400.0),
    (tile(64, 192, 64, [2, 4], 1), 1, 16.5, 1200.0),
    (tile(64, 192, 64, [4, 2], 1), 1, 17.5, 1200.0),
    (tile(128, 128, 64, [4, 2], 1), 1, 17.5, 2500.0),
    (MatrixTile { whole: true, ..tile(128, 192, 64, [4, 2], 1) }, 1, 21.0, 3000.0),
    (tile(128, 256, 32, [4, 2], 1), 1, 34.0, 4000.0),
];
/// Tokens of the smallest tile of several along the tokens.
const LEAST_OF_MANY: usize = 32;
/// What a last step that is not whole costs every step.
const RAGGED: f64 = 1.5;
/// Nanoseconds that an output of a further part costs, which is written and read once more.
const PARTIAL: f64 = 0.0032;

const fn tile(tokens: usize, rows: usize, depth: usize, subgroups: [usize; 2], buffers: usize) -> MatrixTile {
    MatrixTile { tokens, rows, depth, subgroups, buffers, together: 1, slices: 1, whole: false }
}

const fn slices([tokens, rows]: [usize; 2], slices: usize, together: usize) -> MatrixTile {
    MatrixTile { together, slices, ..tile(tokens, rows, UNIT, [1, 1], 1) }
}

/// Every tile that `pick` may choose on a device.
#[cfg(test)]
pub(crate) fn tiles(caps: Caps, size: MatrixSize) -> impl Iterator<Item = MatrixTile> {
    costs(caps, size).map(|(tile, ..)| tile)
}

fn costs(caps: Caps, size: MatrixSize) -> impl Iterator<Item = Cost> {
    let fits = move |tile: &MatrixTile| {
        tile.memory() <= caps.workgroup_memory as usize
            && tile.threads() <= caps.max_threads as usize
            && (size.vectors() || !tile.whole)
            && (caps.in_step && size.vectors() || tile.slices == 1)
    };
    COSTS.into_iter().filter(move |(tile, ..)| fits(tile))
}

/// The tile and the parts with which a product should take the least time: so many rounds of tiles, each as long as its steps.
fn best_tile(product: Product, caps: Caps, size: MatrixSize) -> Option<(MatrixTile, usize)> {
    let Product { n_tokens, n_cols, n_groups, epilogue, most_parts, .. } = product;
    let alone = |tile: &MatrixTile| n_tokens <= tile.tokens && n_cols.is_multiple_of(tile.depth);
    let of_many = |tile: &MatrixTile| tile.tokens >= LEAST_OF_MANY && tile.together == 1 && tile.slices == 1;
    let can = |tile: &MatrixTile| match epilogue {
        _ if !of_many(tile) && !alone(tile) => false,
        Epilogue::SiluMul => tile.pairs_rows(size),
        _ if !tile.whole => true,
        Epilogue::Store | Epilogue::Add => {
            n_tokens.is_multiple_of(tile.tokens) && (n_groups * GROUP).is_multiple_of(tile.rows)
        }
        Epilogue::StoreBiased => false,
    };
    let cost = |&((tile, at_a_time, column, ends), parts): &(Cost, usize)| {
        let tiles = n_tokens.div_ceil(tile.tokens) * (n_groups * GROUP).div_ceil(tile.rows);
        let rounds = (tiles * parts).div_ceil(at_a_time * PROCESSORS);
        let ragged = if n_cols.is_multiple_of(tile.depth) { 1.0 } else { RAGGED };
        let columns = (n_cols.div_ceil(tile.depth).div_ceil(parts) * tile.depth).min(n_cols);
        let partials = (parts - 1) * n_tokens * n_groups * GROUP;
        rounds as f64 * (columns as f64 * column * ragged + ends) + partials as f64 * PARTIAL
    };
    let most_parts = if epilogue == Epilogue::Add && size.vectors() { most_parts } else { 1 };
    // No part is empty.
    let splits = |tile: &MatrixTile, parts: usize| {
        let steps = n_cols.div_ceil(tile.depth);
        (parts - 1) * steps.div_ceil(parts) < steps
    };
    costs(caps, size)
        .filter(|(tile, ..)| can(tile))
        .flat_map(|cost| (1..=most_parts).map(move |parts| (cost, parts)))
        .filter(|((tile, ..), parts)| splits(tile, *parts) && tile.slices_fit(n_cols, *parts))
        .map(|choice| (cost(&choice), choice))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, ((tile, ..), parts))| (tile, parts))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::variants::MATRICES;

    #[test]
    fn tiles_grow_with_the_work() {
        let caps = MATRICES;
        let best = |caps: Caps, most_parts, n_tokens, n_rows: usize, n_cols, epilogue| {
            let floats = [Floats::F16, Floats::F32];
            let product = Product {
                ty: TensorType::Q4_0,
                n_tokens,
                n_cols,
                n_groups: n_rows / GROUP,
                epilogue,
                floats,
                most_parts,
            };
            let (tile, parts) = best_tile(product, caps, caps.matrices.unwrap()).unwrap();
            [tile.tokens, tile.rows, tile.depth, parts]
        };
        let pick = |caps, n_tokens, n_rows, n_cols, epilogue| {
            let [tokens, rows, depth, parts] = best(caps, 1, n_tokens, n_rows, n_cols, epilogue);
            assert_eq!(parts, 1);
            [tokens, rows, depth]
        };
        // 8 B, a prompt and a batch.
        assert_eq!(pick(caps, 512, 28672, 4096, Epilogue::SiluMul), [128, 128, 64]);
        assert_eq!(pick(caps, 512, 6144, 4096, Epilogue::Store), [128, 192, 64]);
        assert_eq!(pick(caps, 512, 4096, 14336, Epilogue::Add), [128, 128, 64]);
        // Few tokens: 1 B and 8 B, without slices and with them, which are for steps of 32.
        let shared = Caps { in_step: false, ..caps };
        assert_eq!(pick(shared, 32, 4096, 4096, Epilogue::Add), [32, 64, 128]);
        assert_eq!(pick(shared, 32, 28672, 4096, Epilogue::SiluMul), [32, 64, 64]);
        assert_eq!(pick(shared, 16, 28672, 4096, Epilogue::SiluMul), [16, 128, 64]);
        assert_eq!(pick(shared, 9, 6144, 4096, Epilogue::Store), [16, 64, 128]);
        assert_eq!(best(shared, 4, 16, 4096, 14336, Epilogue::Add), [16, 128, 128, 4]);
        assert_eq!(pick(shared, 16, 16384, 2048, Epilogue::SiluMul), [16, 128, 64]);
        assert_eq!(best(shared, 4, 16, 2048, 8192, Epilogue::Add), [16, 64, 128, 4]);
        assert_eq!(pick(caps, 16, 28672, 4096, Epilogue::SiluMul), [16, 128, 32]);
        assert_eq!(pick(caps, 9, 6144, 4096, Epilogue::Store), [16, 64, 32]);
        assert_eq!(pick(caps, 16, 4096, 14336, Epilogue::Add), [16, 32, 32]);
        assert_eq!(best(caps, 4, 16, 4096, 4096, Epilogue::Add), [16, 128, 128, 4]);
        assert_eq!(pick(caps, 16, 16384, 2048, Epilogue::SiluMul), [16, 64, 32]);
        // Slower with more of them.
        assert_eq!(pick(caps, 32, 4096, 4096, Epilogue::Add), [32, 64, 128]);
        assert_eq!(pick(caps, 17, 28672, 4096, Epilogue::SiluMul), [32, 64, 64]);
        // Columns that are no whole number of steps for each slice.
        assert_ne!(pick(caps, 16, 28672, 4096 - 32, Epilogue::SiluMul)[2], 32);
        assert_ne!(pick(caps, 16, 960, 576, Epilogue::Store)[2], 128);
        // Tiles of the largest kind have to be whole.
        assert_ne!(pick(caps, 500, 6144, 4096, Epilogue::Store), [128, 192, 64]);
        assert_ne!(pick(caps, 512, 6144, 4096, Epilogue::StoreBiased), [128, 192, 64]);
        // 135 M.
        assert_eq!(pick(caps, 512, 3072, 576, Epilogue::SiluMul), [64, 192, 64]);
        assert_eq!(pick(caps, 512, 576, 1536, Epilogue::Add), [64, 64, 128]);
        assert_eq!(pick(caps, 512, 576, 576, Epilogue::Add), [32, 64, 64]);
        // In parts, where a few large tiles would leave most of the device idle: 135 M and 1 B, but not 8 B.
        let in_parts = |n_rows, n_cols| best(caps, 4, 512, n_rows, n_cols, Epilogue::Add);
        assert_eq!(in_parts(576, 1536), [64, 64, 64, 3]);
        assert_eq!(in_parts(2048, 8192), [128, 128, 64, 2]);
        assert_eq!(in_parts(4096, 14336), [128, 128, 64, 1]);
        assert_eq!(best(caps, 4, 512, 960, 576, Epilogue::Store)[3], 1);
        // With the memory of an M1.
        let apple = Caps { workgroup_memory: 32 << 10, matrices: Some(MatrixSize::Eight), ..caps };
        assert_eq!(pick(apple, 512, 28672, 4096, Epilogue::SiluMul), [64, 64, 64]);
    }

    #[test]
    fn what_is_kept_is_what_would_be_chosen() {
        let picks = Picks::default();
        let product = |n_tokens| Product {
            ty: TensorType::Q4_0,
            n_tokens,
            n_cols: 576,
            n_groups: 96,
            epilogue: Epilogue::SiluMul,
            floats: [Floats::F16; 2],
            most_parts: 1,
        };
        let without = Caps { matrices: None, ..MATRICES };
        let mut seen = std::collections::HashSet::new();
        // More than are kept, the first asked for again.
        for n_tokens in (9..9 + 2 * MOST_KEPT).chain([9, 9]) {
            for caps in [MATRICES, without] {
                let [kept, chosen] = [picks.pick(product(n_tokens), caps), pick(product(n_tokens), caps)];
                assert_eq!((kept.kernel, kept.grid, kept.parts), (chosen.kernel, chosen.grid, chosen.parts));
                seen.insert((kept.kernel, kept.grid));
            }
        }
        assert!(seen.len() > 2, "all products have the same kernel");
        assert_eq!(picks.0.lock().unwrap().len(), MOST_KEPT);
    }

    #[test]
    fn without_matrix_units_there_are_the_tiles_of_gemm() {
        let caps = Caps { matrices: None, ..MATRICES };
        let floats = [Floats::F32; 2];
        let product = Product {
            ty: TensorType::Q4_0,
            n_tokens: 512,
            n_cols: 4096,
            n_groups: 128,
            epilogue: Epilogue::Add,
            floats,
            most_parts: MOST_PARTS,
        };
        assert!(!takes_halves(caps));
        let Pick { kernel, grid, .. } = pick(product, caps);
        assert_eq!((kernel.name(), grid), ("gemm_q4_0_add_large".to_owned(), [4, 32, 1]));
        let Pick { kernel, grid, .. } = pick(product, MATRICES);
        assert_eq!((kernel.name(), grid), ("gemm_matrix_q4_0_add_128x128x64".to_owned(), [4, 32, 1]));
    }
}
