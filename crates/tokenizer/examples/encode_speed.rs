//! How fast a vocabulary loads and a text encodes and decodes, on one core.
//!
//!     cargo run --release -p metal-attention-tokenizer --example encode_speed -- VOCAB.json TEXT.txt
//!
//! `VOCAB.json` holds the fields of `Vocab` that are lists, and `model` and `pre`, under their names.

use std::error::Error;
use std::time::Instant;

use serde_json::Value;
use tokenizer::{EncodeOptions, Tokenizer, Vocab};

#[expect(clippy::print_stdout, reason = "the numbers are what it is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(vocab), Some(text)) = (arguments.next(), arguments.next()) else {
        return Err("usage: encode_speed VOCAB.json TEXT.txt".into());
    };
    let vocab = read_vocab(&vocab)?;
    let text = std::fs::read_to_string(text)?;

    let start = Instant::now();
    let tokenizer = Tokenizer::new(vocab)?;
    println!("{}, {} tokens: loaded in {:.1?}", tokenizer.kind(), tokenizer.n_vocab(), start.elapsed());

    let start = Instant::now();
    let ids = tokenizer.encode(&text, EncodeOptions { add_special: false, parse_special: true })?;
    println!("{} bytes to {} ids in {:.1?}", text.len(), ids.len(), start.elapsed());

    let start = Instant::now();
    let bytes = tokenizer.decode(&ids).len();
    println!("{} ids to {bytes} bytes in {:.1?}", ids.len(), start.elapsed());
    Ok(())
}

fn read_vocab(path: &str) -> Result<Vocab, Box<dyn Error>> {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let text = |key: &str| json[key].as_str().map(str::to_owned);
    let list = |key: &str| json.get(key).cloned().unwrap_or_else(|| Value::Array(Vec::new()));
    Ok(Vocab {
        model: text("model").ok_or("no model")?,
        pre: text("pre"),
        tokens: serde_json::from_value(list("tokens"))?,
        scores: serde_json::from_value(list("scores"))?,
        token_types: serde_json::from_value(list("token_types"))?,
        merges: serde_json::from_value(list("merges"))?,
        ..Vocab::default()
    })
}
