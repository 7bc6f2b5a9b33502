//! Which ids begin and end things, and which of them stop generation.
//!
//! Files often leave these out or get a token's kind wrong, so llama.cpp also goes by the texts that well-known
//! families use. The same texts and the same exceptions are applied here.

use std::collections::BTreeSet;

use crate::Vocab;
use crate::token_table::{TokenKind, TokenTable};

/// Ids with a role, after defaults and well-known texts have filled in what the file leaves out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begin of text.
    pub bos: Option<u32>,
    /// End of text.
    pub eos: Option<u32>,
    /// End of turn.
    pub eot: Option<u32>,
    /// End of message, after which the model waits for a tool.
    pub eom: Option<u32>,
    /// Stands for what the vocabulary cannot spell.
    pub unk: Option<u32>,
    /// Separator.
    pub sep: Option<u32>,
    /// Padding.
    pub pad: Option<u32>,
    /// Mask.
    pub mask: Option<u32>,
    /// Fill in the middle: text before the gap.
    pub fim_pre: Option<u32>,
    /// Fill in the middle: text after the gap.
    pub fim_suf: Option<u32>,
    /// Fill in the middle: the gap.
    pub fim_mid: Option<u32>,
    /// Fill in the middle: padding.
    pub fim_pad: Option<u32>,
    /// Fill in the middle: name of a repository.
    pub fim_rep: Option<u32>,
    /// Fill in the middle: between files.
    pub fim_sep: Option<u32>,
}

// Within a list the first text that the vocabulary has wins; llama.cpp takes whichever its hash map meets first.
const EOT_TEXTS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<end_of_utterance>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<｜end▁of▁sentence｜>",
];
const EOM_TEXTS: &[&str] = &["<|eom_id|>"];
const FIM_PRE_TEXTS: &[&str] = &[
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
];
const FIM_SUF_TEXTS: &[&str] = &[
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
];
const FIM_MID_TEXTS: &[&str] = &[
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
];
const FIM_PAD_TEXTS: &[&str] = &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"];
const FIM_REP_TEXTS: &[&str] = &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"];
const FIM_SEP_TEXTS: &[&str] = &["<|file_sep|>"];

/// Texts that stop generation in any vocabulary that has them.
const STOP_TEXTS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>", // gpt-oss
    "<|call|>",   // gpt-oss
    "<|flush|>",  // Solar Open
    "<|calls|>",  // Solar Open
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",          // Gemma 4
    "<|tool_response>", // Gemma 4
    "<｜end▁of▁sentence｜>",
    "[e~[", // MiniMax
];

/// gpt-oss spells its message structure with these, so they are text to whoever reads the output.
const ALWAYS_SHOWN_TEXTS: &[&str] = &["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

impl SpecialTokens {
    /// Reads the ids of `vocab`, drops those outside it, and finds the rest by text.
    ///
    /// A token found by text becomes a control token, whatever the file calls it.
    pub(crate) fn resolve(vocab: &Vocab, tokens: &mut TokenTable, warnings: &mut Vec<String>) -> Self {
        let (bos, eos, unk) =
            if vocab.model == "llama" { (Some(1), Some(2), Some(0)) } else { (None, None, None) };
        let mut checked = |key: &str, id: Option<u32>, default: Option<u32>| {
            let default = default.filter(|&id| (id as usize) < tokens.len());
            match id {
                Some(id) if (id as usize) >= tokens.len() => {
                    warnings.push(format!(
                        "`tokenizer.ggml.{key}` is {id}, outside the vocabulary of {} tokens: ignored",
                        tokens.len()
                    ));
                    default
                }
                Some(id) => Some(id),
                None => default,
            }
        };
        let mut special = Self {
            bos: checked("bos_token_id", vocab.bos, bos),
            eos: checked("eos_token_id", vocab.eos, eos),
            eot: checked("eot_token_id", vocab.eot, None),
            eom: checked("eom_token_id", vocab.eom, None),
            unk: checked("unknown_token_id", vocab.unk, unk),
            sep: checked("seperator_token_id", vocab.sep, None),
            pad: checked("padding_token_id", vocab.pad, None),
            mask: checked("mask_token_id", vocab.mask, None),
            fim_pre: checked("fim_pre_token_id", vocab.fim_pre, None),
            fim_suf: checked("fim_suf_token_id", vocab.fim_suf, None),
            fim_mid: checked("fim_mid_token_id", vocab.fim_mid, None),
            fim_pad: checked("fim_pad_token_id", vocab.fim_pad, None),
            fim_rep: checked("fim_rep_token_id", vocab.fim_rep, None),
            fim_sep: checked("fim_sep_token_id", vocab.fim_sep, None),
        };
        for (slot, texts) in [
            (&mut special.eot, EOT_TEXTS),
            (&mut special.eom, EOM_TEXTS),
            (&mut special.fim_pre, FIM_PRE_TEXTS),
            (&mut special.fim_suf, FIM_SUF_TEXTS),
            (&mut special.fim_mid, FIM_MID_TEXTS),
            (&mut special.fim_pad, FIM_PAD_TEXTS),
            (&mut special.fim_rep, FIM_REP_TEXTS),
            (&mut special.fim_sep, FIM_SEP_TEXTS),
        ] {
            if slot.is_none() {
                *slot = texts.iter().find_map(|text| tokens.id(text));
                if let Some(id) = *slot {
                    tokens.set_kind(id, TokenKind::Control);
                }
            }
        }
        special
    }

    /// Every id after which a model has finished speaking; corrects the kinds of the tokens it finds.
    pub(crate) fn stop_ids(&self, tokens: &mut TokenTable) -> BTreeSet<u32> {
        let mut stop: BTreeSet<u32> =
            [self.fim_pad, self.fim_rep, self.fim_sep].into_iter().flatten().collect();
        for id in STOP_TEXTS.iter().filter_map(|text| tokens.id(text)).collect::<Vec<_>>() {
            stop.insert(id);
            tokens.set_kind(id, TokenKind::Control);
        }
        for id in ALWAYS_SHOWN_TEXTS.iter().filter_map(|text| tokens.id(text)).collect::<Vec<_>>() {
            tokens.set_kind(id, TokenKind::UserDefined);
        }
        stop.extend([self.eos, self.eot, self.eom].into_iter().flatten());

        let found = |text: &str| tokens.id(text).filter(|id| stop.contains(id));
        let calls = found("<|call|>").or(found("<|calls|>"));
        let returns = found("<|return|>").or(found("<|flush|>"));
        // gpt-oss and Solar Open end each message with <|end|>; only these others end the turn.
        let ends_message = found("<|end|>").filter(|_| calls.is_some() && returns.is_some());
        // In Gemma 4 </s> is a tag of the text.
        let tag = found("</s>").filter(|_| found("<|tool_response>").is_some());
        if let Some(id) = ends_message {
            stop.remove(&id);
            tokens.set_kind(id, TokenKind::UserDefined);
        }
        if let Some(id) = tag {
            stop.remove(&id);
            tokens.set_kind(id, TokenKind::Normal);
        }
        stop
    }
}
