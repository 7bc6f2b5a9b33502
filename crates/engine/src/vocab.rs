//! From GGUF metadata to the tokenizer's terms: the tokenizer knows no file format.

use gguf::{Metadata, MetadataError};
use tokenizer::{ChatTemplate, TemplateError, Tokenizer, Vocab};

/// The vocabulary, if the file has one.
pub(crate) fn read(metadata: &Metadata) -> Result<Option<Vocab>, MetadataError> {
    let model = match metadata.opt_str("tokenizer.ggml.model")? {
        // `none` and `no_vocab` are how llama.cpp's converter says that there is no vocabulary.
        None | Some("none" | "no_vocab") => return Ok(None),
        Some(model) => model.to_owned(),
    };
    let strings = |key: &str| -> Result<Vec<String>, MetadataError> {
        let texts = metadata.get(key).map(|_| metadata.str_array(key)).transpose()?;
        Ok(texts.unwrap_or_default().into_iter().map(str::to_owned).collect())
    };
    let id = |name: &str| metadata.opt_u32(&format!("tokenizer.ggml.{name}_token_id"));
    // These three had other names once.
    let fim = |name: &str, old_name: &str| Ok::<_, MetadataError>(id(name)?.or(id(old_name)?));
    let flag = |name: &str| metadata.opt_bool(&format!("tokenizer.ggml.{name}"));
    Ok(Some(Vocab {
        model,
        pre: metadata.opt_str("tokenizer.ggml.pre")?.map(str::to_owned),
        model_name: metadata.opt_str("general.name")?.map(str::to_owned),
        tokens: strings("tokenizer.ggml.tokens")?,
        scores: metadata.opt_f32_array("tokenizer.ggml.scores")?.unwrap_or_default(),
        token_types: metadata.opt_i32_array("tokenizer.ggml.token_type")?.unwrap_or_default(),
        merges: strings("tokenizer.ggml.merges")?,
        bos: id("bos")?,
        eos: id("eos")?,
        eot: id("eot")?,
        eom: id("eom")?,
        unk: id("unknown")?,
        sep: id("seperator")?,
        pad: id("padding")?,
        mask: id("mask")?,
        fim_pre: fim("fim_pre", "prefix")?,
        fim_suf: fim("fim_suf", "suffix")?,
        fim_mid: fim("fim_mid", "middle")?,
        fim_pad: id("fim_pad")?,
        fim_rep: id("fim_rep")?,
        fim_sep: id("fim_sep")?,
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?,
        add_space_prefix: flag("add_space_prefix")?,
        remove_extra_whitespaces: flag("remove_extra_whitespaces")?,
    }))
}

/// The source of the file's chat template.
pub(crate) fn chat_template_source(metadata: &Metadata) -> Result<Option<&str>, MetadataError> {
    metadata.opt_str("tokenizer.chat_template")
}

/// Parses a chat template, with the texts of BOS and EOS for it to write.
pub(crate) fn chat_template(
    source: &str,
    tokenizer: Option<&Tokenizer>,
) -> Result<ChatTemplate, TemplateError> {
    let text = |id: Option<u32>| tokenizer.zip(id).and_then(|(t, id)| t.token_text(id)).unwrap_or_default();
    ChatTemplate::new(
        source,
        text(tokenizer.and_then(Tokenizer::bos)),
        text(tokenizer.and_then(Tokenizer::eos)),
    )
}
