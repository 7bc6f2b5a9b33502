//! What there is to say of a model, file or bundled.

use crate::units;
use metal_attention::{Description, Gguf, Inspection, Model, ModelSpec, Tokenizer};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What there is to say of a model; what is `None` is missing or not supported, as a warning tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) gguf: &'a Gguf,
    pub(crate) description: &'a Description,
    pub(crate) spec: Option<&'a ModelSpec>,
    pub(crate) tokenizer: Option<&'a Tokenizer>,
    pub(crate) chat_template: Option<&'a str>,
    pub(crate) warnings: &'a [String],
}

impl<'a> Facts<'a> {
    pub(crate) fn of_file(inspection: &'a Inspection) -> Self {
        Self {
            gguf: &inspection.gguf,
            description: &inspection.description,
            spec: inspection.spec.as_ref(),
            tokenizer: inspection.tokenizer.as_ref(),
            chat_template: inspection.chat_template.as_deref(),
            warnings: &inspection.warnings,
        }
    }

    /// The same of a model that is loaded from `gguf`.
    pub(crate) fn of_model(gguf: &'a Gguf, model: &'a Model) -> Self {
        Self {
            gguf,
            description: model.description(),
            spec: Some(model.spec()),
            tokenizer: model.tokenizer(),
            chat_template: gguf.metadata().opt_str("tokenizer.chat_template").ok().flatten(),
            warnings: model.notes(),
        }
    }

    /// Names and values for people.
    pub(crate) fn summary(&self) -> Vec<(&'static str, String)> {
        let Self { gguf, description, .. } = self;
        let mut lines = vec![
            ("model", description.name.clone()),
            ("kind", description.model_type()),
            ("parameters", description.n_params.to_string()),
            (
                "weights",
                format!("{} ({})", units::bytes(description.size_bytes), self.tensor_types().join(", ")),
            ),
            ("file", format!("GGUF v{}, {} metadata keys", gguf.version(), gguf.metadata().len())),
        ];
        if let Some(spec) = self.spec {
            let ModelSpec { n_layers, n_embd, n_heads, n_kv_heads, head_dim, n_ff, .. } = spec;
            lines.extend([
                ("context", format!("{} tokens", spec.trained_context)),
                ("KV cache", format!("{} a token", units::bytes(spec.kv_bytes_per_position()))),
                ("layers", format!("{n_layers}, width {n_embd}, feed-forward {n_ff}")),
                ("heads", format!("{n_heads}, key-value heads {n_kv_heads}, of {head_dim} each")),
            ]);
        }
        if let Some(tokenizer) = self.tokenizer {
            let added = match (tokenizer.adds_bos(), tokenizer.adds_eos()) {
                (true, true) => ", adds BOS and EOS",
                (true, false) => ", adds BOS",
                (false, true) => ", adds EOS",
                (false, false) => "",
            };
            lines.push(("tokenizer", format!("{}, {} tokens{added}", tokenizer.kind(), tokenizer.n_vocab())));
            let stops: Vec<String> = self.stop_tokens().map(|(id, text)| format!("{text} ({id})")).collect();
            lines.push(("stops at", stops.join(", ")));
        }
        lines.push((
            "chat template",
            self.chat_template.map_or("none".to_owned(), |text| {
                format!("{}; --template prints it", units::count(text.lines().count(), "line"))
            }),
        ));
        lines
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Map<String, Value> {
        let Self { gguf, description, .. } = self;
        let spec = self.spec.map(|spec| {
            json!({
                "n_layers": spec.n_layers,
                "n_embd": spec.n_embd,
                "n_heads": spec.n_heads,
                "n_kv_heads": spec.n_kv_heads,
                "head_dim": spec.head_dim,
                "n_ff": spec.n_ff,
                "n_vocab": spec.n_vocab,
                "n_ctx_train": spec.trained_context,
                "kv_bytes_per_token": spec.kv_bytes_per_position(),
            })
        });
        let tokenizer = self.tokenizer.map(|tokenizer| {
            let stops = self.stop_tokens().map(|(id, text)| json!({"id": id, "text": text}));
            json!({
                "kind": tokenizer.kind(),
                "n_tokens": tokenizer.n_vocab(),
                "bos": tokenizer.bos(),
                "eos": tokenizer.eos(),
                "adds_bos": tokenizer.adds_bos(),
                "adds_eos": tokenizer.adds_eos(),
                "stop_tokens": stops.collect::<Value>(),
            })
        });
        let object = json!({
            "name": description.name,
            "architecture": description.architecture,
            "model_type": description.model_type(),
            "file_type": description.file_type,
            "n_params": description.n_params,
            "size_bytes": description.size_bytes,
            "file": {
                "version": gguf.version(),
                "len_bytes": gguf.len_bytes(),
                "n_keys": gguf.metadata().len(),
                "n_tensors": gguf.tensors().len(),
            },
            "spec": spec,
            "tokenizer": tokenizer,
            "has_chat_template": self.chat_template.is_some(),
            "warnings": self.warnings,
        });
        match object {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }

    /// `56 Q4_0`, one for each type.
    fn tensor_types(&self) -> Vec<String> {
        let mut counts = BTreeMap::new();
        for tensor in self.gguf.tensors() {
            *counts.entry(tensor.ty()).or_insert(0u32) += 1;
        }
        counts.into_iter().map(|(ty, n)| format!("{n} {ty}")).collect()
    }

    fn stop_tokens(&self) -> impl Iterator<Item = (u32, &'a str)> {
        let tokenizer = self.tokenizer;
        let ids = tokenizer.into_iter().flat_map(|tokenizer| tokenizer.stop_ids());
        ids.filter_map(move |&id| Some((id, tokenizer?.token_text(id)?)))
    }
}
