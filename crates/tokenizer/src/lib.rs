//! Text to token ids and back, exactly as a GGUF vocabulary defines it, and chat templates.
//!
//! The crate knows no file format. Whoever reads the file fills a [`Vocab`], plain data under the names of the
//! `tokenizer.ggml.*` keys, and [`Tokenizer::new`] checks it once; afterwards nothing is optional "just in case".
//!
//! Two families are served, and the ids are those of llama.cpp:
//!
//! | `tokenizer.ggml.model` | what it is | where |
//! |---|---|---|
//! | `gpt2` | byte-level BPE: split by the regexes of `tokenizer.ggml.pre`, then merge by rank | `pre_tokenizer`, `split`, `alphabet`, `bpe` |
//! | `llama` | SentencePiece BPE: escape spaces, then merge by score, with byte fallback | `spm`, `merge` |
//!
//! Byte-level BPE stands on Hugging Face's `tokenizers`; only the splitting before it is done here, as `split` tells.
//! SentencePiece files hold scores in place of merges, which `tokenizers` has no model for, so `merge` is our own. Both
//! take `O(n log n)` for the longest word.
//!
//! A model or pre-tokenizer that is not known is an error that lists what is: a guess would load, run and answer
//! badly. What a file leaves unsaid but llama.cpp still loads (no pre-tokenizer, say) loads here too, and
//! [`Tokenizer::warnings`] tells.
//!
//! On the way in, tokens such as `<|im_start|>` are cut out of the text first (`added`), longest first;
//! [`EncodeOptions::parse_special`] decides whether control tokens count, so text from a user cannot forge them.
//! On the way out, [`Detokenizer`] streams: it holds bytes back until they are whole code points, so what it
//! emits, joined, is what [`Tokenizer::decode`] says of all ids.
//!
//! ```
//! use tokenizer::{EncodeOptions, Tokenizer, Vocab};
//!
//! let vocab = Vocab {
//!     model: "llama".into(),
//!     tokens: ["<unk>", "<s>", "</s>", "▁", "a", "b", "▁a", "▁ab"].map(String::from).to_vec(),
//!     scores: vec![0.0, 0.0, 0.0, -3.0, -4.0, -5.0, -1.0, -2.0],
//!     token_types: vec![2, 3, 3, 1, 1, 1, 1, 1],
//!     ..Vocab::default()
//! };
//! let tokenizer = Tokenizer::new(vocab)?;
//! let ids = tokenizer.encode("ab a", EncodeOptions { add_special: true, parse_special: false })?;
//! assert_eq!(ids, [1, 7, 6]); // <s> ▁ab ▁a
//! assert_eq!(tokenizer.decode(&ids), "ab a");
//! # Ok::<(), tokenizer::TokenizerError>(())
//! ```
//!
//! A [`ChatTemplate`] is the Jinja source of `tokenizer.chat_template`, rendered in the environment that
//! Hugging Face's `apply_chat_template` gives it. It is parsed when it is made and limited in what it may use up,
//! as it comes from the same untrusted file. No template is ever replaced by another one in silence.
#![forbid(unsafe_code)]

mod added;
mod alphabet;
mod bpe;
mod chat;
mod detokenizer;
mod error;
mod merge;
mod pre_tokenizer;
mod special;
mod split;
mod spm;
mod token_table;
mod tokenizer;
mod vocab;

pub use chat::{ChatTemplate, Message, RenderOptions, TemplateError};
pub use detokenizer::Detokenizer;
pub use error::TokenizerError;
pub use pre_tokenizer::pre_tokenizer_names;
pub use special::SpecialTokens;
pub use token_table::TokenKind;
pub use tokenizer::{DecodeOptions, EncodeOptions, Tokenizer};
pub use vocab::Vocab;
