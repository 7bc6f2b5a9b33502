//! `info`: what a model file holds.

mod facts;
mod value;

use crate::args::InfoArgs;
use crate::console::Console;
use crate::stdout::{Stdout, StdoutError};
use crate::units;
use anyhow::bail;
use facts::Facts;
use metal_attention::{Gguf, LoadOptions, Model, ModelSource};
use serde_json::{Map, Value, json};

pub(crate) fn info(args: &InfoArgs, console: &Console) -> anyhow::Result<()> {
    match args.model.source()? {
        ModelSource::Static { name, bytes } => {
            let gguf = Gguf::from_static(bytes)?;
            let source = ModelSource::Static { name, bytes };
            let model = Model::load(source, &LoadOptions::default(), &mut |_| {})?;
            print(args, &Facts::of_model(&gguf, &model), console)
        }
        ModelSource::File(path) => print(args, &Facts::of_file(&metal_attention::inspect(&path)?), console),
        other => bail!("{} cannot be inspected", other.name()),
    }
}

fn print(args: &InfoArgs, facts: &Facts<'_>, console: &Console) -> anyhow::Result<()> {
    let mut out = Stdout::new();
    if args.json {
        out.json(&object(args, facts), true)?;
        return Ok(out.flush()?);
    }
    if args.template {
        let Some(template) = facts.chat_template else { bail!("the model has no chat template") };
        out.write(template)?;
        out.end_line()?;
    }
    if args.kv {
        for (key, value) in facts.gguf.metadata().iter() {
            out.line(format!("{key} = {}", value::brief(value)))?;
        }
    }
    if args.tensors {
        tensor_table(facts.gguf, &mut out)?;
    }
    if !(args.template || args.kv || args.tensors) {
        for (name, value) in facts.summary() {
            out.line(format!("{name:<14} {value}"))?;
        }
        for warning in facts.warnings {
            console.note(warning);
        }
    }
    Ok(out.flush()?)
}

fn tensor_table(gguf: &Gguf, out: &mut Stdout) -> Result<(), StdoutError> {
    let width = gguf.tensors().map(|tensor| tensor.name().len()).max().unwrap_or(0);
    for tensor in gguf.tensors() {
        let (ty, shape) = (tensor.ty().to_string(), format!("{:?}", tensor.shape()));
        out.line(format!(
            "{:<width$}  {ty:<7}  {shape:<20}  {}",
            tensor.name(),
            units::bytes(tensor.len_bytes())
        ))?;
    }
    Ok(())
}

fn object(args: &InfoArgs, facts: &Facts<'_>) -> Value {
    let mut object = facts.json();
    if args.kv {
        let entries = facts.gguf.metadata().iter().map(|(key, value)| (key.to_owned(), value::json(value)));
        object.insert("metadata".into(), entries.collect::<Map<_, _>>().into());
    }
    if args.tensors {
        let tensors = facts.gguf.tensors().map(|tensor| {
            json!({
                "name": tensor.name(),
                "type": tensor.ty().to_string(),
                "shape": tensor.shape(),
                "bytes": tensor.len_bytes(),
                "offset": tensor.offset(),
            })
        });
        object.insert("tensors".into(), tensors.collect());
    }
    if args.template {
        object.insert("chat_template".into(), facts.chat_template.into());
    }
    object.into()
}
