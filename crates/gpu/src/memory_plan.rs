//! What a model will take of the device's memory, reckoned before any of it is taken.

use crate::error::GpuError;

/// Bytes, by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryPlan {
    /// Weights, repacked.
    pub weights_bytes: u64,
    /// Keys and values.
    pub kv_bytes: u64,
    /// Intermediate results of one token, and what the host tells the kernels: angles, block tables, ids.
    pub token_bytes: u64,
    /// What ids come back in.
    pub readback_bytes: u64,
    /// Intermediate results of many rows, made when a prompt first needs them.
    pub batch_bytes: u64,
}

impl MemoryPlan {
    /// All of it.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes + self.kv_bytes + self.token_bytes + self.readback_bytes + self.batch_bytes
    }

    /// Refuses what does not fit into `have` bytes.
    pub(crate) fn check(&self, have: Option<u64>) -> Result<(), GpuError> {
        let need = self.total_bytes();
        match have {
            Some(have) if need > have => Err(GpuError::Memory { need, have }),
            _ => Ok(()),
        }
    }
}
