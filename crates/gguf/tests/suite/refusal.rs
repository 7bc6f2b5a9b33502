//! Asserting on errors.

use gguf::{Gguf, GgufError};

/// The error that these bytes give.
pub(crate) fn refused(bytes: Vec<u8>) -> Refusal {
    let error = Gguf::from_vec(bytes).expect_err("the file must be refused");
    assert!(error.path().is_none());
    Refusal::from(error)
}

/// What is wrong, and how it is told.
pub(crate) struct Refusal {
    pub(crate) debug: String,
    pub(crate) display: String,
}

impl From<GgufError> for Refusal {
    fn from(error: GgufError) -> Self {
        Self { debug: format!("{:?}", error.kind()), display: error.to_string() }
    }
}
