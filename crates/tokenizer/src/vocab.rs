//! What a file says about its vocabulary, before it is checked.

/// The `tokenizer.ggml.*` keys of a GGUF file, typed by whoever read them.
///
/// Absent keys are `None` or empty; [`crate::Tokenizer::new`] applies llama.cpp's defaults and checks the rest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vocab {
    /// `tokenizer.ggml.model`: `gpt2` (byte-level BPE) or `llama` (SentencePiece BPE).
    pub model: String,
    /// `tokenizer.ggml.pre`: how text is cut into words before BPE; not used by `llama`.
    pub pre: Option<String>,
    /// `general.name`. Phi-3's tokens swallow the white space after them, and only this name tells.
    pub model_name: Option<String>,
    /// `tokenizer.ggml.tokens`: the text of each id.
    pub tokens: Vec<String>,
    /// `tokenizer.ggml.scores`: the higher merges first; may be empty for `gpt2`.
    pub scores: Vec<f32>,
    /// `tokenizer.ggml.token_type`: see [`crate::TokenKind`]; empty means all normal.
    pub token_types: Vec<i32>,
    /// `tokenizer.ggml.merges`: `left right`, the first merges first; may be empty for `llama`.
    pub merges: Vec<String>,
    /// `tokenizer.ggml.bos_token_id`.
    pub bos: Option<u32>,
    /// `tokenizer.ggml.eos_token_id`.
    pub eos: Option<u32>,
    /// `tokenizer.ggml.eot_token_id`: end of turn.
    pub eot: Option<u32>,
    /// `tokenizer.ggml.eom_token_id`: end of message.
    pub eom: Option<u32>,
    /// `tokenizer.ggml.unknown_token_id`.
    pub unk: Option<u32>,
    /// `tokenizer.ggml.seperator_token_id` (the key is spelled so).
    pub sep: Option<u32>,
    /// `tokenizer.ggml.padding_token_id`.
    pub pad: Option<u32>,
    /// `tokenizer.ggml.mask_token_id`.
    pub mask: Option<u32>,
    /// `tokenizer.ggml.fim_pre_token_id` (formerly `prefix_token_id`): fill in the middle, before the gap.
    pub fim_pre: Option<u32>,
    /// `tokenizer.ggml.fim_suf_token_id` (formerly `suffix_token_id`): after the gap.
    pub fim_suf: Option<u32>,
    /// `tokenizer.ggml.fim_mid_token_id` (formerly `middle_token_id`): the gap itself.
    pub fim_mid: Option<u32>,
    /// `tokenizer.ggml.fim_pad_token_id`.
    pub fim_pad: Option<u32>,
    /// `tokenizer.ggml.fim_rep_token_id`: name of a repository.
    pub fim_rep: Option<u32>,
    /// `tokenizer.ggml.fim_sep_token_id`: between files.
    pub fim_sep: Option<u32>,
    /// `tokenizer.ggml.add_bos_token`; absent: the family's default.
    pub add_bos: Option<bool>,
    /// `tokenizer.ggml.add_eos_token`; absent: no.
    pub add_eos: Option<bool>,
    /// `tokenizer.ggml.add_space_prefix`; absent: yes for `llama`, no for `gpt2`.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.ggml.remove_extra_whitespaces`. Only Unigram vocabularies act on it, as in llama.cpp, so it
    /// changes nothing for the models served here.
    pub remove_extra_whitespaces: Option<bool>,
}
