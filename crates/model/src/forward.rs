//! The seam: what every backend does.

use crate::choice::Choice;
use crate::rows::{Row, SequenceId};
use crate::spec::ModelSpec;
use crate::tap::Tap;
use std::ops::ControlFlow;

/// What a backend runs on, for the user to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// What kind of device it is.
    pub kind: DeviceKind,
    /// The interface to it: `CPU`, `Metal`, `Vulkan`, `DX12`.
    pub backend: &'static str,
    /// The device's own name, or the instruction set and threads of a CPU.
    pub name: String,
    /// Worker threads on the host that compute (0 on a GPU).
    pub threads: usize,
}

/// Kinds of device, in the words of `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// A graphics processor.
    Gpu,
}

/// Bytes that a loaded model holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryUse {
    /// Weights, as the backend keeps them.
    pub weights_bytes: u64,
    /// The KV cache.
    pub kv_bytes: u64,
    /// Everything else: intermediate results and logits.
    pub scratch_bytes: u64,
}

/// Rows that cannot be computed. The backend is as it was before the call, but for [`ForwardError::DeviceLost`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// An empty batch.
    #[error("there is nothing to compute: the prompt is empty")]
    NoRows,
    /// A token id that the model has no embedding for.
    #[error("token {token} is not in the vocabulary of {n_vocab} tokens")]
    TokenOutOfVocabulary {
        /// The id.
        token: u32,
        /// The size of the vocabulary.
        n_vocab: usize,
    },
    /// A row that does not continue its sequence.
    #[error("a row at position {position} does not continue its sequence, which goes on at {expected}")]
    PositionGap {
        /// The row's position.
        position: u32,
        /// Where the sequence goes on.
        expected: usize,
    },
    /// More tokens than the context holds.
    #[error(
        "{added} tokens do not fit the context of {context_len}, which holds {held} already; \
         shorten the prompt or ask for a larger context"
    )]
    ContextFull {
        /// Positions in use.
        held: usize,
        /// Positions asked for.
        added: usize,
        /// Positions in all.
        context_len: usize,
    },
    /// The sequences together need more blocks than the cache has.
    #[error("the KV cache is full: {needed_blocks} blocks needed, {free_blocks} free")]
    KvFull {
        /// Blocks that the rows need.
        needed_blocks: usize,
        /// Blocks that no sequence holds.
        free_blocks: usize,
    },
    /// A way to choose tokens that the backend leaves to its caller.
    #[error("this device does not choose tokens in that way by itself: choose from its logits")]
    Choice,
    /// The device stopped answering; the backend must be loaded anew.
    #[error("the device was lost: {reason}")]
    DeviceLost {
        /// What the driver said.
        reason: String,
    },
}

/// A loaded model on some device.
///
/// `forward` is the whole of it; the other methods with a body are thin names over it for one sequence, number 0.
pub trait ForwardPass: Send {
    /// The model.
    fn spec(&self) -> &ModelSpec;

    /// The device.
    fn device(&self) -> &DeviceInfo;

    /// Memory held.
    fn memory(&self) -> MemoryUse;

    /// Bytes of the weights that lie in large pages, on a backend that asks the system for them and a system that tells.
    fn large_page_bytes(&self) -> Option<u64> {
        None
    }

    /// Positions that a sequence may hold.
    fn context_len(&self) -> usize;

    /// Rows of a prompt that are best given at once, 1 or more: enough to keep the device busy, few enough to break off between them.
    fn batch_len(&self) -> usize {
        512
    }

    /// Positions that `sequence` holds.
    fn sequence_len(&self, sequence: SequenceId) -> usize;

    /// Shortens `sequence` to `len` positions; 0 frees it.
    fn truncate(&mut self, sequence: SequenceId, len: usize);

    /// The key and the value, `[kv_dim]` each, that the cache holds for a position of a layer, as rounded there; for tests and
    /// comparisons. Empty where the sequence does not hold the position.
    fn key_and_value(&mut self, layer: usize, sequence: SequenceId, position: usize) -> [Vec<f32>; 2];

    /// Computes `rows`, appends their keys and values to the cache, and gives the logits `[n_wanting_rows, n_vocab]` of the
    /// rows that want them, in order.
    ///
    /// # Errors
    /// See [`ForwardError`].
    fn forward(&mut self, rows: &[Row]) -> Result<&[f32], ForwardError>;

    /// Appends a whole prompt; logits `[n_vocab]` of the token after it.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); an empty prompt is one.
    fn forward_prompt(&mut self, tokens: &[u32]) -> Result<&[f32], ForwardError> {
        let rows = Row::prompt(SequenceId(0), self.next_position(), tokens);
        self.forward(&rows)
    }

    /// Appends one token; logits `[n_vocab]` of the next.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn forward_token(&mut self, token: u32) -> Result<&[f32], ForwardError> {
        self.forward_prompt(&[token])
    }

    /// Appends one token; the most likely next one, the lowest id among equals, never one whose logit is NaN.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn forward_token_greedy(&mut self, token: u32) -> Result<u32, ForwardError> {
        self.forward_token(token).map(argmax)
    }

    /// Whether [`decode`](Self::decode) can choose in this way; the caller chooses from logits otherwise.
    fn can_choose(&self, choice: &Choice) -> bool {
        choice.is_plain_greedy()
    }

    /// Decoding by itself: appends `token`, then each token that it chooses, and gives every choice to `on_token` until that
    /// breaks or the context is full. A backend may run ahead; what it computed past the break is dropped.
    ///
    /// On return the sequence holds `token` and every given choice but the last.
    ///
    /// # Errors
    /// As [`forward`](Self::forward), and [`ForwardError::Choice`] for a way to choose that it
    /// [does not know](Self::can_choose).
    fn decode(
        &mut self,
        token: u32,
        choice: &Choice,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<(), ForwardError> {
        if !choice.is_plain_greedy() {
            return Err(ForwardError::Choice);
        }
        let mut next = token;
        while self.sequence_len(SequenceId(0)) < self.context_len() {
            next = self.forward_token_greedy(next)?;
            if on_token(next).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// [`decode`](Self::decode) with the most likely token each time.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn decode_greedy(
        &mut self,
        token: u32,
        on_token: &mut dyn FnMut(u32) -> ControlFlow<()>,
    ) -> Result<(), ForwardError> {
        self.decode(token, &Choice::GREEDY, on_token)
    }

    /// Appends one token to sequence 0 and gives every intermediate result that the backend has, in the order in which it comes
    /// about; names that two backends share mean the same. Slow: for people. Empty where a backend keeps none.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    fn trace_token(&mut self, token: u32) -> Result<Vec<Tap>, ForwardError> {
        self.forward_token(token)?;
        Ok(Vec::new())
    }

    /// Where sequence 0 goes on.
    fn next_position(&self) -> u32 {
        u32::try_from(self.sequence_len(SequenceId(0))).unwrap_or(u32::MAX)
    }
}

/// The index of the largest value: the lowest among equals, NaN never, 0 where there is nothing but NaN.
fn argmax(logits: &[f32]) -> u32 {
    let mut best: Option<(usize, f32)> = None;
    for (i, &value) in logits.iter().enumerate() {
        if !value.is_nan() && best.is_none_or(|(_, top)| value > top) {
            best = Some((i, value));
        }
    }
    best.map_or(0, |(i, _)| u32::try_from(i).unwrap_or(u32::MAX))
}
