//! `info`: what a model file holds.

mod facts;
mod placement;
mod value;

use crate::args::{InfoArgs, load_on};
use crate::console::Console;
use crate::loading;
use crate::stdout::{Stdout, StdoutError};
use crate::units;
use anyhow::bail;
use facts::Facts;
use metal_attention::{DeviceChoice, Gguf, LoadOptions, Model, ModelSource};
use serde_json::{Map, Value, json};

pub(crate) fn info(args: &InfoArgs, console: &Console) -> anyhow::Result<()> {
    let placed = placed(args, console)?;
    match args.model.source()? {
        ModelSource::Static { name, bytes } => {
            let gguf = Gguf::from_static(bytes)?;
            let source = ModelSource::Static { name, bytes };
            let model = Model::load(source, &load_on(DeviceChoice::Cpu), &mut |_| {})?;
            print(args, &Facts::of_model(&gguf, &model), placed.as_ref(), console)
        }
        ModelSource::File(path) => {
            print(args, &Facts::of_file(&metal_attention::inspect(&path)?), placed.as_ref(), console)
        }
        other => bail!("{} cannot be inspected", other.name()),
    }
}

/// The model where the user wants to see what it takes.
fn placed(args: &InfoArgs, console: &Console) -> anyhow::Result<Option<Model>> {
    let Some(device) = args.device() else { return Ok(None) };
    let options = LoadOptions { context: args.ctx_size, ..load_on(device) };
    Ok(Some(loading::load(args.model.source()?, &options, console)?))
}

fn print(
    args: &InfoArgs,
    facts: &Facts<'_>,
    placed: Option<&Model>,
    console: &Console,
) -> anyhow::Result<()> {
    let mut out = Stdout::new();
    if args.json {
        out.json(&object(args, facts, placed), true)?;
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
        table(&facts.summary(), &mut out)?;
        if let Some(model) = placed {
            out.line("")?;
            table(&placement::summary(model), &mut out)?;
        }
        for warning in facts.warnings {
            console.note(warning);
        }
    }
    Ok(out.flush()?)
}

fn table(lines: &[(&str, String)], out: &mut Stdout) -> Result<(), StdoutError> {
    lines.iter().try_for_each(|(name, value)| out.line(format!("{name:<14} {value}")))
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

fn object(args: &InfoArgs, facts: &Facts<'_>, placed: Option<&Model>) -> Value {
    let mut object = facts.json();
    if let Some(model) = placed {
        object.insert("placement".into(), placement::json(model));
    }
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
