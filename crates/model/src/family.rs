//! The table of architectures: what tells one llama-like family from another.

use crate::rope::RopePairing;

/// Whether a family's layers hold a kind of tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Such a tensor in the file is an error.
    Never,
    /// Used where the file has it.
    Optional,
    /// Its absence is an error.
    Required,
}

/// One architecture as data. A new llama-like family is one more row of the table in this file.
#[derive(Debug)]
pub struct Family {
    /// The value of `general.architecture`, also the prefix of its metadata keys.
    pub name: &'static str,
    /// What its users call its models.
    pub models: &'static str,
    pub(crate) rope_pairing: RopePairing,
    pub(crate) qkv_bias: Presence,
    pub(crate) qk_norm: Presence,
}

static FAMILIES: [Family; 3] = [
    Family {
        name: "llama",
        models: "Llama 1-3.x, Mistral, SmolLM and SmolLM2, TinyLlama, Yi and others of this shape",
        rope_pairing: RopePairing::Adjacent,
        qkv_bias: Presence::Optional,
        qk_norm: Presence::Never,
    },
    Family {
        name: "qwen2",
        models: "Qwen2, Qwen2.5",
        rope_pairing: RopePairing::Halves,
        qkv_bias: Presence::Required,
        qk_norm: Presence::Never,
    },
    Family {
        name: "qwen3",
        models: "Qwen3 (dense)",
        rope_pairing: RopePairing::Halves,
        qkv_bias: Presence::Optional,
        qk_norm: Presence::Required,
    },
];

/// Every supported architecture.
#[must_use]
pub fn families() -> &'static [Family] {
    &FAMILIES
}

/// The row of `name`, if it has one.
pub(crate) fn find(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().find(|family| family.name == name)
}

/// The names of the table, for messages.
pub(crate) fn names() -> String {
    FAMILIES.iter().map(|family| family.name).collect::<Vec<_>>().join(", ")
}
