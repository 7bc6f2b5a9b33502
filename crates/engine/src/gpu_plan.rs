//! What a GPU will do for a token, and what it takes to do it.

/// What a GPU executes for a token, and the memory that it needs besides weights and KV cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GpuPlan {
    /// The steps of a token of a greedy generation at the beginning of a context, a line each.
    pub listing: String,
    /// How many dispatches they are.
    pub n_dispatches: usize,
    /// Whether it rounds activations to 8 bits for some of them.
    pub int8_activations: bool,
    /// Whether several tokens of a greedy generation are one dispatch; or why they are not, in words that follow "because".
    pub one_dispatch: Result<(), String>,
    /// Bytes of the intermediate results of a token, and of the tables that kernels read.
    pub token_bytes: u64,
    /// Bytes of what the host reads: ids of tokens.
    pub readback_bytes: u64,
    /// Bytes of the intermediate results of a prompt, taken when the first prompt comes.
    pub prompt_bytes: u64,
}
