//! `cargo xtask tales`: trained weights to the GGUF file of the bundled model, through the project's own writer.

use anyhow::{Context, Result, bail, ensure};
use gguf::{GgufWriter, TensorType, Value};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub(crate) fn run(folder: &Path, output: &Path) -> Result<()> {
    let config: Json = read_json(&folder.join("config.json"))?;
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", "llama")?;
    writer.set("general.name", "tales")?;
    // MOSTLY_Q4_0 in llama.h's list of file types.
    writer.set("general.file_type", 2u32)?;
    write_metadata(&mut writer, &config)?;
    write_vocabulary(&mut writer, &read_json(&folder.join("tokenizer.json"))?)?;

    let names = config["weights"].as_array().context("config.json names no weights")?;
    let mut tensors = BTreeMap::new();
    for name in names {
        let path = folder.join(name.as_str().context("a weight file is a name")?);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for (name, tensor) in SafeTensors::deserialize(&bytes)?.tensors() {
            ensure!(tensor.dtype() == Dtype::F32, "{name} is {:?}, not F32", tensor.dtype());
            let values: Vec<f32> =
                tensor.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            tensors.insert(name, (tensor.shape().to_vec(), values));
        }
    }
    for (name, (shape, values)) in &tensors {
        let ty = match (name.as_str(), shape.len()) {
            (_, 1) => TensorType::F32,
            ("token_embd.weight", _) => TensorType::Q8_0,
            _ => TensorType::Q4_0,
        };
        let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
        writer.add_tensor(name.clone(), ty, &shape, ty.encode(values)?)?;
    }
    let bytes = writer.to_vec();
    fs::write(output, &bytes).with_context(|| format!("cannot write {}", output.display()))?;
    println!("{}: {} tensors, {} bytes", output.display(), tensors.len(), bytes.len());
    Ok(())
}

fn read_json(path: &Path) -> Result<Json> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}

/// The keys that the training script prepared, with GGUF's types.
fn write_metadata(writer: &mut GgufWriter<'_>, config: &Json) -> Result<()> {
    let keys = config["gguf"].as_object().context("config.json has no gguf keys")?;
    for (key, value) in keys.iter().filter(|(key, _)| !key.starts_with("general.")) {
        let value: Value = match value {
            Json::String(text) => text.as_str().into(),
            Json::Bool(flag) => (*flag).into(),
            // A whole number is a size or an id; anything else is a float.
            Json::Number(n) => match n.as_u64() {
                Some(n) => u32::try_from(n)?.into(),
                None => n.to_string().parse::<f32>()?.into(),
            },
            other => bail!("{key} = {other} has no GGUF form here"),
        };
        writer.set(key.as_str(), value)?;
    }
    Ok(())
}

/// Tokens in the order of their ids, and merges, of a Hugging Face tokenizer.json.
fn write_vocabulary(writer: &mut GgufWriter<'_>, tokenizer: &Json) -> Result<()> {
    let vocab = tokenizer["model"]["vocab"].as_object().context("tokenizer.json has no vocabulary")?;
    let mut by_id = BTreeMap::new();
    for (token, id) in vocab {
        by_id.insert(id.as_u64().context("an id is a number")?, token.clone());
    }
    ensure!(by_id.keys().copied().eq(0..by_id.len() as u64), "ids have gaps");
    let special: Vec<u64> = tokenizer["added_tokens"]
        .as_array()
        .context("tokenizer.json has no added tokens")?
        .iter()
        .filter_map(|token| token["id"].as_u64())
        .collect();
    let types: Vec<i32> = by_id.keys().map(|id| if special.contains(id) { 3 } else { 1 }).collect();
    let merges = tokenizer["model"]["merges"].as_array().context("tokenizer.json has no merges")?;
    let merge = |merge: &Json| match merge {
        Json::String(text) => Some(text.clone()),
        Json::Array(pair) => Some(format!("{} {}", pair.first()?.as_str()?, pair.get(1)?.as_str()?)),
        _ => None,
    };
    let merges: Option<Vec<String>> = merges.iter().map(merge).collect();
    writer.set("tokenizer.ggml.tokens", by_id.into_values().collect::<Vec<_>>())?;
    writer.set("tokenizer.ggml.token_type", types)?;
    writer.set("tokenizer.ggml.merges", merges.context("a merge is a pair")?)?;
    Ok(())
}
