//! Names for how a whole file is quantised.

use gguf::TensorType;
use model::TensorSource;
use std::collections::BTreeMap;

/// The name of a `general.file_type`, as file names have it. The numbers are llama.cpp's `llama_ftype`.
fn name(file_type: u32) -> Option<&'static str> {
    Some(match file_type {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4_MOE",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => return None,
    })
}

/// What the file says of itself, or the type that most of its elements have.
pub(crate) fn of(stated: Option<u32>, tensors: &dyn TensorSource) -> String {
    if let Some(name) = stated.and_then(name) {
        return name.to_owned();
    }
    let mut elements: BTreeMap<TensorType, u64> = BTreeMap::new();
    for meta in tensors.names().iter().filter_map(|name| tensors.meta(name)) {
        let n = meta.shape.iter().fold(1u64, |n, &dim| n.saturating_mul(dim));
        let sum = elements.entry(meta.ty).or_default();
        *sum = sum.saturating_add(n);
    }
    elements.into_iter().max_by_key(|&(_, n)| n).map_or("no tensors".to_owned(), |(ty, _)| ty.to_string())
}
