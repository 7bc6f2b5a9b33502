//! Every kernel in variants that stand for all of them, for what can be said of shaders without running them.

use super::history::heads;
use super::matvec::TYPES;
use crate::device::{Caps, MatrixSize};
use crate::kernels::Kernel;
use crate::kernels::argmax::Argmax;
use crate::kernels::attend::{Attend, Output, Queries};
use crate::kernels::attend_hidden::AttendHidden;
use crate::kernels::attend_prompt::AttendPrompt;
use crate::kernels::copy::Copy;
use crate::kernels::draw::Draw;
use crate::kernels::embed::{Embed, Ids};
use crate::kernels::floats::Floats;
use crate::kernels::gemm::{Gemm, Tile};
use crate::kernels::gemm_choice;
use crate::kernels::gemm_matrix::GemmMatrix;
use crate::kernels::heads::{Heads, Rotation};
use crate::kernels::matvec::{Epilogue, Matvec, Prologue};
use crate::kernels::matvec_int8::{Input, MatvecInt8};
use crate::kernels::matvec_rows::{MOST_TOKENS, MatvecRows};
use crate::kernels::merge_attention::MergeAttention;
use crate::kernels::next_token::NextToken;
use crate::kernels::quantize::Quantize;
use crate::kernels::rms_norm::RmsNorm;
use crate::kernels::rope_kv::RopeKv;
use crate::kernels::silu_mul::SiluMul;
use crate::kernels::top_candidates::TopCandidates;
use gguf::TensorType;
use model::RopePairing;
use std::collections::BTreeSet;
use std::fs;

const EPILOGUES: [Epilogue; 4] = [Epilogue::Store, Epilogue::StoreBiased, Epilogue::Add, Epilogue::SiluMul];
const EPS: f32 = 1e-5;

/// What an M1 offers.
pub(super) const APPLE: Caps = Caps {
    subgroups: true,
    max_threads: 1024,
    workgroup_memory: 32 << 10,
    max_binding: 4 << 30,
    matrices: None,
    ahead_bytes: 0,
    wide: false,
    orders_loads: false,
    in_step: false,
};
/// The least that an adapter must offer.
pub(super) const LEAST: Caps = Caps {
    subgroups: false,
    max_threads: 256,
    workgroup_memory: 16 << 10,
    max_binding: 128 << 20,
    matrices: None,
    ahead_bytes: 0,
    wide: false,
    orders_loads: false,
    in_step: false,
};
/// An M1 with its matrix units; and those of others.
pub(super) const APPLE_MATRICES: Caps = Caps { matrices: Some(MatrixSize::Eight), ..APPLE };
pub(crate) const MATRICES: Caps = Caps {
    workgroup_memory: 48 << 10,
    matrices: Some(MatrixSize::Sixteen),
    orders_loads: true,
    in_step: true,
    ..APPLE
};

/// The variants that an adapter with these abilities may be given.
pub(super) fn all(caps: Caps) -> Vec<Kernel> {
    let mut all = vec![Copy.kernel()];
    for ty in TYPES {
        all.extend(products(ty, caps));
        for ids in [Ids::At, Ids::OfRows] {
            all.push(Embed { ty, n_vocab: 49_152, n_embd: 576.max(ty.block_len()), ids }.kernel());
        }
    }
    for embedding in TYPES.map(Some).into_iter().chain([None]) {
        all.push(NextToken { n_vocab: 49_152, n_pairs: 48, embedding }.kernel());
        all.push(Draw { n_vocab: 49_152, embedding }.kernel());
    }
    for n_cols in [32, 576, 4096, 8192] {
        for eps_bits in [None, Some(EPS.to_bits())] {
            all.push(Quantize { n_cols, eps_bits }.kernel());
        }
    }
    for n_cols in [32, 91, 576, 4096, 8192] {
        all.push(SiluMul { n_cols }.kernel());
        for y in [Floats::F32, Floats::F16] {
            all.push(RmsNorm { n_cols, eps_bits: EPS.to_bits(), y, n_partials: 0 }.kernel());
            all.push(RmsNorm { n_cols, eps_bits: EPS.to_bits(), y, n_partials: 2 }.kernel());
        }
    }
    for penalties in [false, true] {
        for noise in [false, true] {
            all.push(Argmax { n_vocab: 49_152, penalties, noise }.kernel());
        }
        all.push(TopCandidates { n_vocab: 49_152, penalties }.kernel());
    }
    // Common models, then heads of which some are no whole quads, no whole lanes, or long.
    for (n_heads, n_kv_heads, head_dim) in [
        (9, 3, 64),
        (32, 8, 128),
        (14, 2, 64),
        (8, 1, 256),
        (32, 32, 96),
        (8, 1, 80),
        (4, 4, 12),
        (5, 1, 16),
        (8, 2, 6),
        (2, 1, 1024),
    ] {
        all.extend(attention(heads(n_heads, n_kv_heads, head_dim), caps));
    }
    all
}

/// Those of them that others may not be given, for their matrix units.
pub(super) fn on_matrix_units(caps: Caps) -> impl Iterator<Item = Kernel> {
    all(caps).into_iter().filter(|kernel| matches!(kernel, Kernel::GemmMatrix(_) | Kernel::AttendMatrix(_)))
}

/// Matrix products.
fn products(ty: TensorType, caps: Caps) -> Vec<Kernel> {
    let mut all = Vec::new();
    let block = ty.block_len();
    // What is staged, what is not, and for floats what ends within a unit.
    let [whole, long] = [576usize, 8192].map(|n| n.next_multiple_of(block));
    let ragged = if block == 1 { 91 } else { block.max(32) };
    let tiles = [Tile::Narrow, Tile::Small, Tile::Large];
    let room = |tile: &Tile| *tile != Tile::Large || caps.workgroup_memory >= APPLE.workgroup_memory;
    for epilogue in EPILOGUES {
        for n_cols in [whole, long, ragged] {
            all.push(Matvec::new(ty, n_cols, 64, Prologue::Plain, epilogue, caps).kernel());
        }
        let norm = Prologue::Norm { eps_bits: EPS.to_bits() };
        all.push(Matvec::new(ty, whole, 4000, norm, epilogue, caps).kernel());
        all.push(Matvec::new(ty, whole, 64, norm, epilogue, caps).beside(9).kernel());
        for n_cols in [whole, ragged] {
            all.extend(
                tiles
                    .iter()
                    .filter(|tile| room(tile))
                    .map(|&tile| Gemm::new(ty, n_cols, epilogue, tile).kernel()),
            );
        }
    }
    for (i, (n_cols, splits)) in [(512, 1), (768, 4), (256, 1)].into_iter().enumerate() {
        let heads = heads(n_cols / 64, n_cols / 128, 64);
        let eps = (i == 1).then_some(EPS);
        let rotation = Rotation::new([RopePairing::Adjacent, RopePairing::Halves][i % 2], 64, eps);
        let kernel = AttendHidden::new((ty, n_cols), (heads, rotation), (EPS.to_bits(), i > 0), splits, caps);
        all.extend(kernel.map(AttendHidden::kernel));
    }
    if let Some(size) = caps.matrices {
        for (i, tile) in gemm_choice::tiles(caps, size).enumerate() {
            let epilogue = EPILOGUES[i % 4];
            let epilogue = match epilogue {
                Epilogue::SiluMul if !tile.pairs_rows(size) => Epilogue::Add,
                other => other,
            };
            let epilogue = if tile.whole { Epilogue::Add } else { epilogue };
            for (j, n_cols) in [whole, ragged, long].into_iter().enumerate() {
                let floats = [Floats::F32, Floats::F16][(i + j) % 2];
                let kernel = GemmMatrix::new(ty, n_cols, epilogue, [floats; 2], tile, size);
                all.push(kernel.with_ordered(caps.orders_loads).kernel());
            }
        }
    }
    all.extend(products_of_8_bits(ty, caps));
    for n_tokens in 2..=MOST_TOKENS {
        let n_cols = [whole, long, ragged][n_tokens % 3];
        all.push(MatvecRows::new(ty, n_cols, n_tokens, EPILOGUES[n_tokens % 4], caps).kernel());
    }
    all
}

/// Those of activations in 8 bits: short rows and long ones, one and several, what is staged at once and in parts.
fn products_of_8_bits(ty: TensorType, caps: Caps) -> Vec<Kernel> {
    let mut all = Vec::new();
    let [short, long] = [576usize, 14_336].map(|n| n.next_multiple_of(ty.block_len()));
    let norm = Prologue::Norm { eps_bits: EPS.to_bits() };
    for (i, epilogue) in EPILOGUES.into_iter().enumerate() {
        let one = |n_cols, n_groups, prologue| {
            MatvecInt8::new((ty, n_cols), n_groups, 1, Input::Own(prologue), epilogue, caps)
        };
        let rows =
            |n_cols, n_tokens| MatvecInt8::new((ty, n_cols), 512, n_tokens, Input::Rounded, epilogue, caps);
        let of_floats = |n_cols, n_tokens| {
            let input = Input::Own(Prologue::Plain);
            MatvecInt8::new((ty, n_cols), 512, n_tokens, input, epilogue, caps)
        };
        let kernels = [
            one(short, 64, Prologue::Plain),
            one(short, 4000, norm),
            one(long, 512, norm),
            rows(short, 2 * i + 1),
            of_floats(short, 2 * i + 2),
            rows(long, 2 * i + 2),
        ];
        all.extend(kernels.into_iter().flatten().map(MatvecInt8::kernel));
    }
    all
}

/// What is done with heads of one size.
fn attention(heads: Heads, caps: Caps) -> Vec<Kernel> {
    let mut all = vec![MergeAttention::new(heads).kernel()];
    if heads.whole_units() {
        all.push(MergeAttention::new(heads).in_8_bits(true).kernel());
        all.push(Attend::new(heads, Queries::Rotated, Output::Rounded).kernel());
    }
    for caps in [caps, Caps { matrices: None, ..caps }] {
        for n_rows in [32, 1 << 20] {
            all.extend(AttendPrompt::new(heads, n_rows, caps).map(AttendPrompt::kernel));
        }
    }
    for splits in [1, 4] {
        let prologue = Prologue::Merge { heads, splits };
        all.push(Matvec::new(TensorType::Q4_0, heads.width(), 64, prologue, Epilogue::Add, caps).kernel());
    }
    let outputs = [1, 4].map(|splits| Output::of(heads, splits));
    all.extend(outputs.map(|output| Attend::new(heads, Queries::Rotated, output).kernel()));
    for pairing in [RopePairing::Adjacent, RopePairing::Halves] {
        for (n_rot, eps) in [(heads.head_dim, None), (heads.head_dim / 4 * 2, Some(EPS))] {
            let rotation = Rotation::new(pairing, n_rot, eps);
            all.push(RopeKv::new(heads, rotation).kernel());
            let fused = |output| Attend::new(heads, Queries::Fused(rotation), output).kernel();
            all.extend(outputs.map(fused));
            all.extend(heads.whole_units().then(|| fused(Output::Rounded)));
        }
    }
    all
}

/// The file that a kernel is in. A new one does not compile until it has a line here, and then fails
/// `every_kernel_has_variants` until it is among the variants.
fn file(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::Copy(_) => "copy",
        Kernel::Matvec(_) => "matvec",
        Kernel::MatvecRows(_) => "matvec_rows",
        Kernel::MatvecInt8(_) => "matvec_int8",
        Kernel::Quantize(_) => "quantize",
        Kernel::Gemm(_) => "gemm",
        Kernel::GemmMatrix(_) => "gemm_matrix",
        Kernel::Embed(_) => "embed",
        Kernel::RmsNorm(_) => "rms_norm",
        Kernel::Argmax(_) => "argmax",
        Kernel::NextToken(_) => "next_token",
        Kernel::TopCandidates(_) => "top_candidates",
        Kernel::Draw(_) => "draw",
        Kernel::RopeKv(_) => "rope_kv",
        Kernel::Attend(_) => "attend",
        Kernel::AttendHidden(_) => "attend_hidden",
        Kernel::AttendPrompt(_) => "attend_prompt",
        Kernel::AttendMatrix(_) => "attend_matrix",
        Kernel::MergeAttention(_) => "merge_attention",
        Kernel::SiluMul(_) => "silu_mul",
    }
}

#[test]
fn every_kernel_has_variants() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/kernels");
    let shaders: BTreeSet<String> = fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".wgsl").map(str::to_owned))
        .collect();
    for caps in [APPLE, LEAST, APPLE_MATRICES, MATRICES] {
        let shaders: BTreeSet<String> = shaders
            .iter()
            .filter(|file| match file.as_str() {
                "attend_matrix" => caps.matrices == Some(MatrixSize::Sixteen),
                file => caps.matrices.is_some() || !file.ends_with("_matrix"),
            })
            .cloned()
            .collect();
        let variants = all(caps);
        let files: BTreeSet<String> = variants.iter().map(|&kernel| file(kernel).to_owned()).collect();
        assert_eq!(files, shaders, "shaders beside their variants");
    }
}
