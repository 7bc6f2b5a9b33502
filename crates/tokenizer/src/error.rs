//! What can be wrong with a vocabulary, or with a text under it.

use crate::pre_tokenizer::pre_tokenizer_names;

type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// A vocabulary that cannot be used, or a text that it cannot encode.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// `tokenizer.ggml.model` is a family that this crate does not serve.
    #[error(
        "tokenizer model `{model}` is not supported; supported: `gpt2` (byte-level BPE), `llama` (SentencePiece BPE)"
    )]
    UnsupportedModel {
        /// The name in the file.
        model: String,
    },
    /// `tokenizer.ggml.pre` names regexes that this crate does not have.
    #[error("pre-tokenizer `{name}` is not supported; supported: {}", pre_tokenizer_names().collect::<Vec<_>>().join(", "))]
    UnsupportedPreTokenizer {
        /// The name in the file.
        name: String,
    },
    /// An array that the family needs is missing or has no elements.
    #[error("`{key}` is missing or empty, and tokenizer model `{model}` needs it; convert the model again")]
    Missing {
        /// The GGUF key.
        key: &'static str,
        /// The family.
        model: String,
    },
    /// An array that goes with the tokens has another length than they have.
    #[error("`{key}` has {got} elements for {tokens} tokens; the file is damaged or was converted wrongly")]
    Length {
        /// The GGUF key.
        key: &'static str,
        /// Elements in the file.
        got: usize,
        /// Elements expected.
        tokens: usize,
    },
    /// Two ids have one text, so text has no single id.
    #[error("tokens {first} and {second} are both {text:?}; the file is damaged or was converted wrongly")]
    DuplicateToken {
        /// The text.
        text: String,
        /// The lower id.
        first: u32,
        /// The higher id.
        second: u32,
    },
    /// A merge is not two texts with a space between.
    #[error("merge {index} is {text:?}, not two tokens with a space between")]
    BadMerge {
        /// Place in `tokenizer.ggml.merges`.
        index: usize,
        /// What stands there.
        text: String,
    },
    /// A score that cannot be ordered.
    #[error("the score of token {id} is not a number")]
    BadScore {
        /// The token.
        id: u32,
    },
    /// A pre-tokenizer or the added tokens do not compile.
    #[error("the tokens that are matched in the text do not compile")]
    Compile(#[source] Cause),
    /// The BPE model fails on tokens and merges that have been checked.
    #[error("the BPE model does not take the vocabulary; this is a defect of the program: please report it")]
    Bpe(#[source] Cause),
    /// A byte that the vocabulary can neither spell nor replace.
    #[error("the vocabulary has no token for byte 0x{byte:02X} and no unknown token to stand for it")]
    NoByteToken {
        /// The byte.
        byte: u8,
    },
}
