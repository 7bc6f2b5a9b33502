//! What a model takes of a device.

use crate::loading;
use crate::units;
use metal_attention::Model;
use serde_json::{Value, json};

/// Names and values for people.
pub(super) fn summary(model: &Model) -> Vec<(&'static str, String)> {
    let memory = model.memory();
    let kv = format!("{} for {} tokens", units::bytes(memory.kv_bytes), model.context_len());
    let mut lines = vec![
        ("on", loading::device(model)),
        ("weights", units::bytes(memory.weights_bytes)),
        ("KV cache", kv),
    ];
    match model.gpu_plan() {
        None => lines.push(("scratch", units::bytes(memory.scratch_bytes))),
        Some(plan) => lines.extend([
            ("token", format!("{} of intermediate results and tables", units::bytes(plan.token_bytes))),
            (
                "prompt",
                format!("{} of intermediate results, once there is one", units::bytes(plan.prompt_bytes)),
            ),
            ("read back", format!("{} of token ids", units::bytes(plan.readback_bytes))),
        ]),
    }
    lines.push(("in all", units::bytes(total(model))));
    if let Some(plan) = model.gpu_plan() {
        lines.push(("dispatches", format!("{} a token; bench --gpu --plan lists them", plan.n_dispatches)));
    }
    lines
}

/// The same as JSON.
pub(super) fn json(model: &Model) -> Value {
    let (memory, plan) = (model.memory(), model.gpu_plan());
    json!({
        "device": loading::device(model),
        "n_ctx": model.context_len(),
        "weights_bytes": memory.weights_bytes,
        "kv_bytes": memory.kv_bytes,
        "token_bytes": plan.map_or(memory.scratch_bytes, |plan| plan.token_bytes),
        "prompt_bytes": plan.map(|plan| plan.prompt_bytes),
        "readback_bytes": plan.map(|plan| plan.readback_bytes),
        "total_bytes": total(model),
        "dispatches_per_token": plan.map(|plan| plan.n_dispatches),
    })
}

/// Bytes of everything; a GPU takes what a prompt needs when the first one comes.
fn total(model: &Model) -> u64 {
    let memory = model.memory();
    let scratch = model
        .gpu_plan()
        .map_or(memory.scratch_bytes, |plan| plan.token_bytes + plan.prompt_bytes + plan.readback_bytes);
    memory.weights_bytes + memory.kv_bytes + scratch
}
