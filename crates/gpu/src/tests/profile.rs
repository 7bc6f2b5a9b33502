//! Every step of a pass is in its profile, however many layers there are.

use super::forward::options;
use crate::{GpuOptions, Passes, profile};
use gguf::TensorType;
use model::{ModelSpec, Weights};
use testkit::TinyModel;

#[test]
fn a_profile_has_every_kind_of_step_and_what_is_around_them() {
    let model = TinyModel { n_layers: 3, context_len: 256, ..TinyModel::wide(TensorType::Q4_0) };
    let file = model.gguf();
    let spec = ModelSpec::new(file.metadata(), &file).unwrap();
    let weights = Weights::new(&spec, &file).unwrap();
    let passes = Passes { prompts: vec![12], depths: vec![0, 3] };
    let options = GpuOptions { decode: crate::DecodeMode::Dispatch, ..options(256) };
    let found = profile(&spec, &weights, &options, &passes).unwrap();
    let value = |name: &str| {
        let found = found.iter().find(|m| m.name.starts_with(name));
        found.unwrap_or_else(|| panic!("{name} among {:?}", found)).value
    };
    for name in
        ["whole", "host: tell the rows", "host: plan", "host: record and submit", "host: wait for logits"]
            .map(|part| format!("prompt of 12, {part}"))
            .into_iter()
            .chain(
                ["3 x attn_qkv", "3 x attn ", "3 x ffn_down", "1 x output"]
                    .map(|step| format!("prompt of 12, {step}")),
            )
            .chain(
                ["whole", "3 x attn ", "3 x ffn_gate_up", "3 x ffn_down", "1 x next_token"]
                    .map(|step| format!("token at 3, {step}")),
            )
    {
        assert!(value(&name) > 0.0, "{name}");
    }
    // The kinds together are all steps.
    let sum = |title: &str| -> f64 {
        let kinds = found.iter().filter(|m| m.name.starts_with(title) && m.name.contains(" x "));
        kinds.map(|m| m.value).sum()
    };
    for title in ["prompt of 12", "token at 0", "token at 3"] {
        let together = found.iter().find(|m| m.name.starts_with(title) && m.name.ends_with("steps together"));
        let together = together.map_or(0.0, |m| m.value);
        assert!((sum(title) - together).abs() < 1e-6 * together, "{title}: {} of {together}", sum(title));
    }
}
