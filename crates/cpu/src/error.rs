//! What can go wrong when a model is made ready for the CPU.

/// A backend that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CpuError {
    /// The system gave no memory for the weights.
    #[error("could not get {len_bytes} bytes of memory for the weights; free some or use a smaller model")]
    Memory {
        /// Bytes asked for.
        len_bytes: usize,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The system started no worker thread.
    #[error("could not start worker thread {index} of {count}; ask for fewer threads")]
    Thread {
        /// Which one.
        index: usize,
        /// How many were wanted.
        count: usize,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
