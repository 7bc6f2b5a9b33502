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
    for part in
        ["whole", "host: tell the rows", "host: plan", "host: record and submit", "host: wait for logits"]
    {
        assert!(value(&format!("prompt of 12, {part}")) > 0.0, "{part}");
    }
    // What is done for every layer, by however many kinds of steps: of a prompt the last may be of another than those before.
    let times = |title: &str, role: &str| -> usize {
        let kinds = found.iter().filter_map(|m| m.name.strip_prefix(title)?.split_once(" x "));
        let of_role = kinds.filter(|(_, step)| step.starts_with(&format!("{role} ")));
        of_role.filter_map(|(n, _)| n.trim().parse::<usize>().ok()).sum()
    };
    for (title, role, n) in [
        ("prompt of 12, ", "attn_qkv", 3),
        ("prompt of 12, ", "attn", 3),
        ("prompt of 12, ", "ffn_down", 3),
        ("prompt of 12, ", "output", 1),
        ("token at 3, ", "attn", 3),
        ("token at 3, ", "ffn_gate_up", 3),
        ("token at 3, ", "ffn_down", 3),
        ("token at 3, ", "next_token", 1),
    ] {
        assert_eq!(times(title, role), n, "{title}{role} among {found:?}");
    }
    assert!(value("token at 3, whole") > 0.0);
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
