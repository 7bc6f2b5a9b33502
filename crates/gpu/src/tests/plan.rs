//! Plans are lists whose length is the number of dispatches.

use super::variants::APPLE;
use crate::GpuError;
use crate::device::{Caps, MatrixSize};
use crate::kernels::Kernel;
use crate::kernels::gemm_choice::{self, Picks};
use crate::kernels::matvec::Epilogue;
use crate::kv_cache::KvLayout;
use crate::options::Activations;
use crate::planner::{Batch, Planner, Run};
use crate::regions::Regions;
use crate::tables::Tables;
use crate::tensors::Tensors;
use crate::token_plans::TokenPlans;
use gguf::TensorType;
use model::{Choice, ModelSpec, Synthetic, SyntheticPreset, TensorSource, Weights};
use testkit::TinyModel;

const CAPS: Caps = Caps { max_binding: 2 << 30, ..APPLE };

/// What `look` sees of the planner of a preset.
pub(super) fn planned<T>(preset: SyntheticPreset, look: impl FnOnce(&ModelSpec, &Planner<'_>) -> T) -> T {
    planned_of(&preset.spec(), &Synthetic::new(preset, 1), look)
}

fn planned_of<T>(
    spec: &ModelSpec,
    source: &dyn TensorSource,
    look: impl FnOnce(&ModelSpec, &Planner<'_>) -> T,
) -> T {
    let weights = Weights::new(spec, source).unwrap();
    let (tensors, _) = Tensors::lay_out(CAPS.max_binding, spec, &weights).unwrap();
    let kv = KvLayout::new(spec, 64, CAPS.max_binding).unwrap().places();
    let planner = Planner {
        spec,
        tensors: &tensors,
        caps: CAPS,
        tables: Tables::new(spec, 2048, 64, 512),
        kv: &kv,
        activations: Activations::F32,
        picks: &Picks::default(),
        regions: Regions::token(spec, false),
        apart: false,
    };
    look(spec, &planner)
}

/// Steps of a token of SmolLM at a position, its choice included, and at most of a layer.
fn steps_of_smollm(caps: Caps, position: usize) -> (usize, usize) {
    planned(SyntheticPreset::ALL[0], |spec, planner| {
        assert_eq!(spec.n_layers, 30);
        let planner = Planner { caps, ..*planner };
        let plans = TokenPlans::new(&planner, 2048);
        let token = plans.at(position);
        let of_layer = |layer| token.steps.iter().filter(|step| step.what.layer == Some(layer)).count();
        let choose = planner.choose(&Choice::GREEDY).unwrap();
        (token.n_dispatches() + choose.n_dispatches(), (0..spec.n_layers).map(of_layer).max().unwrap())
    })
}

#[test]
fn a_layer_of_smollm_takes_three_dispatches_a_token_and_five_far_on() {
    for position in [0, 100, 159] {
        assert_eq!(steps_of_smollm(CAPS, position), (93, 3), "at {position}");
    }
    for position in [176, 500, 2047] {
        assert_eq!(steps_of_smollm(CAPS, position), (153, 5), "at {position}");
    }
    // Where what is made several times costs no time.
    let wide = Caps { wide: true, ..CAPS };
    for (position, steps) in [(0, (93, 3)), (159, (93, 3)), (176, (123, 4)), (2047, (123, 4))] {
        assert_eq!(steps_of_smollm(wide, position), steps, "at {position}");
    }
}

#[test]
fn where_down_is_made_in_8_bits_it_adds_no_sums_of_heads() {
    let file = TinyModel { n_ff: 2048, ..TinyModel::wide(TensorType::Q4_0) }.gguf();
    let spec = ModelSpec::new(file.metadata(), &file).unwrap();
    let [floats, rounded] = [Activations::F32, Activations::Auto].map(|activations| {
        planned_of(&spec, &file, |_, planner| Planner { activations, ..*planner }.token(1).to_string())
    });
    assert!(floats.contains("attend_hidden") && floats.contains("sums_matvec_q4_0_add"), "{floats}");
    assert!(rounded.contains("matvec_int8_q4_0_add"), "{rounded}");
    assert!(!rounded.contains("attend_hidden") && !rounded.contains("sums_"), "{rounded}");
}

#[test]
fn what_products_in_parts_leave_is_added_by_the_next_norm() {
    planned(SyntheticPreset::ALL[0], |spec, planner| {
        let caps = Caps { matrices: Some(MatrixSize::Sixteen), workgroup_memory: 48 << 10, ..CAPS };
        for n_rows in [9, 100, 512, 2048] {
            let n_partials = gemm_choice::most_partials(512, caps);
            let regions = Regions::batch(spec, false, [n_rows, 1, n_partials]);
            let planner = Planner { caps, regions, ..*planner };
            let plan = planner.batch(&Batch { runs: vec![Run { first: 0, n_rows, table: 0 }] }, 1);
            let (mut beside, mut most) = (0, 0);
            for step in &plan.steps {
                match step.kernel {
                    Kernel::GemmMatrix(gemm) if gemm.epilogue == Epilogue::Add => {
                        assert_eq!(beside, 0, "sums are overwritten:\n{plan}");
                        beside = gemm.parts - 1;
                    }
                    Kernel::RmsNorm(norm) => {
                        assert_eq!(norm.n_partials, std::mem::take(&mut beside), "{plan}")
                    }
                    _ => (),
                }
                most = most.max(beside);
            }
            assert_eq!(beside, 0, "sums are left behind the last layer:\n{plan}");
            assert!(most * n_rows <= n_partials, "{n_rows} rows leave {most} sums, {n_partials} have room");
            assert!(most > 0 || n_rows > 512, "512 rows of this model are made in parts:\n{plan}");
        }
    });
}

#[test]
fn a_listing_says_what_is_done_to_which_tensor() {
    let listing = planned(SyntheticPreset::ALL[0], |_, planner| planner.token(1).to_string());
    let line = listing.lines().find(|line| line.contains("blk.3.attn ")).unwrap();
    assert!(
        line.contains("attend_hidden_q4_0_adjacent_64_output") && line.contains("[576]->[576]"),
        "{line}"
    );
    let listing = planned(SyntheticPreset::ALL[0], |_, planner| planner.token(2).to_string());
    let line = listing.lines().find(|line| line.contains("blk.3.attn_qkv")).unwrap();
    assert!(line.contains("norm_matvec_q4_0") && line.contains("[576]->[960]"), "{line}");
}

#[test]
fn what_goes_into_products_in_8_bits_is_rounded_where_it_is_made() {
    planned(SyntheticPreset::ALL[0], |spec, planner| {
        let token = Planner { activations: Activations::Int8, ..*planner };
        let rows = Planner { regions: Regions::batch(spec, false, [8, 8, 0]), ..token };
        let alone = |n| Batch { runs: (0..n).map(|table| Run { first: 0, n_rows: 1, table }).collect() };
        for n in [2, 4, 8] {
            let plan = rows.batch(&alone(n), 1 + usize::from(n == 4)).to_string();
            let layer: Vec<&str> = plan.lines().filter(|line| line.contains("blk.7.")).collect();
            let down = layer.iter().position(|line| line.contains("ffn_down")).unwrap();
            assert!(layer[down].contains("matvec_int8_rows"), "{plan}");
            assert!(!layer[down - 1].contains(" quantize "), "{plan}");
            let o = layer.iter().position(|line| line.contains("attn_output")).unwrap();
            let rounding = ["attend_64_rounding", "merge_attention_64_rounding"][usize::from(n == 4)];
            assert!(layer[o].contains("matvec_int8_rows") && layer[o - 1].contains(rounding), "{plan}");
        }
        let token = token.token(1).to_string();
        assert!(token.contains("attend_fused_adjacent_64_rounding"), "{token}");
        // A run shares what it reads of the cache, in floats.
        let run = Batch { runs: vec![Run { first: 0, n_rows: 8, table: 0 }] };
        let run = rows.batch(&run, 1).to_string();
        assert!(!run.contains("64_rounding") && run.contains("quantize_matvec_int8_rows8_q4_0_add"), "{run}");
        // Whatever is rounded, no step does only that but for a norm.
        assert!(!run.contains(" quantize ") && run.contains(" norm_quantize "), "{run}");
    });
}

#[test]
fn no_part_of_a_large_model_is_larger_than_a_binding_of_128_mib() {
    let preset = SyntheticPreset::ALL.into_iter().find(|preset| preset.name == "llama-8b").unwrap();
    let spec = preset.spec();
    let source = Synthetic::new(preset, 1);
    let weights = Weights::new(&spec, &source).unwrap();
    let limit = 128 << 20;
    let (tensors, layout) = Tensors::lay_out(limit, &spec, &weights).unwrap();
    assert!(
        layout.buffer_bytes().all(|bytes| bytes <= limit),
        "{:?}",
        layout.buffer_bytes().collect::<Vec<_>>()
    );
    assert!(tensors.output.len() > 1, "a head of 500 MB has parts");
    // Every part begins where the one before ends.
    let mut next = 0;
    for part in &tensors.output {
        assert_eq!(part.first, next);
        next += part.n_rows(spec.n_vocab);
    }
    assert_eq!(next as usize, spec.n_vocab);
    let kv = KvLayout::new(&spec, 256, limit).unwrap();
    let layer_quads = kv.len_bytes() / spec.n_layers as u64 / 16;
    assert!(kv.places().iter().all(|&(_, at)| (u64::from(at) + layer_quads) * 16 <= limit));
    assert!(kv.places().last().unwrap().0 > 0, "1 GiB of keys and values has parts");
    let too_long = KvLayout::new(&spec, 1 << 14, limit).unwrap_err();
    assert!(
        matches!(too_long, GpuError::KvBinding { need, have } if need > have && have == limit),
        "{too_long}"
    );
}
