//! Sizes that the kernels know.

use crate::error::GpuError;
use crate::kernels::heads::Heads;
use crate::kernels::sampling::{CHUNK, MOST_VOCAB};
use model::ModelSpec;

/// Refuses a model that the kernels cannot run.
pub(crate) fn check(spec: &ModelSpec) -> Result<(), GpuError> {
    let refuse = |what: String| Err(GpuError::Unsupported { what });
    if spec.head_dim > Heads::MOST_DIM || !spec.head_dim.is_multiple_of(2) {
        return refuse(format!(
            "heads of {} elements, where {} at most and an even number are possible",
            spec.head_dim,
            Heads::MOST_DIM
        ));
    }
    if spec.rope.n_rot() < 2 {
        return refuse("heads without rotation".to_owned());
    }
    if spec.n_vocab > MOST_VOCAB - CHUNK {
        return refuse(format!(
            "{} tokens in the vocabulary, where {} are possible",
            spec.n_vocab,
            MOST_VOCAB - CHUNK
        ));
    }
    Ok(())
}
