//! `tokenize`: the tokens of a text, in the forms of llama-tokenize.

use crate::args::TokenizeArgs;
use crate::console::Console;
use crate::prompt;
use crate::stdout::Stdout;
use metal_attention::{EncodeOptions, GenerateError, LoadOptions, Model, ModelSource, Tokenizer};

pub(crate) fn tokenize(args: &TokenizeArgs, console: &Console) -> anyhow::Result<()> {
    let (file, model);
    let tokenizer = match args.model.source()? {
        ModelSource::File(path) => {
            file = metal_attention::load_tokenizer(&path)?;
            &file
        }
        source => {
            model = Model::load(source, &LoadOptions::default(), &mut |_| {})?;
            model.tokenizer().ok_or(GenerateError::NoTokenizer)?
        }
    };
    for warning in tokenizer.warnings() {
        console.note(warning);
    }
    let text = if args.stdin { prompt::stdin()? } else { args.prompt.text()? };
    let options = EncodeOptions {
        // As llama-tokenize has it, no BOS means no EOS either.
        add_special: tokenizer.adds_bos() && !args.no_bos,
        parse_special: !args.no_parse_special,
    };
    let ids = tokenizer.encode(&text, options)?;

    let mut out = Stdout::new();
    if args.ids {
        let list: Vec<String> = ids.iter().map(u32::to_string).collect();
        out.line(format!("[{}]", list.join(", ")))?;
    } else {
        write_pieces(&ids, tokenizer, &mut out)?;
    }
    if args.show_count {
        out.line(format!("Total number of tokens: {}", ids.len()))?;
    }
    Ok(out.flush()?)
}

fn write_pieces(ids: &[u32], tokenizer: &Tokenizer, out: &mut Stdout) -> anyhow::Result<()> {
    for &id in ids {
        out.write(format!("{id:6} -> '"))?;
        // A token may be a part of a character, so its bytes are written as they are.
        out.write(tokenizer.piece(id).unwrap_or_default())?;
        out.line("'")?;
    }
    Ok(())
}
