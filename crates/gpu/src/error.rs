//! What can go wrong between a model and a GPU.

/// A backend that could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// No adapter fits what was asked for.
    #[error("no usable GPU: {why}")]
    NoAdapter {
        /// What was asked for, and what there is.
        why: String,
    },
    /// The adapter lacks features that the kernels need.
    #[error("{adapter} cannot run the kernels: it lacks {missing}")]
    Features {
        /// Its name.
        adapter: String,
        /// The features, by name.
        missing: String,
    },
    /// The driver refused a device.
    #[error("{adapter} gave no device")]
    Device {
        /// The adapter's name.
        adapter: String,
        /// What the driver said.
        #[source]
        source: wgpu::RequestDeviceError,
    },
    /// A tensor's smallest part is larger than a binding may be.
    #[error(
        "tensor `{name}` has rows too long for this GPU: 32 of them take {need_bytes} bytes, a binding holds {limit_bytes}"
    )]
    BindingLimit {
        /// The tensor.
        name: String,
        /// Bytes of a group of rows.
        need_bytes: u64,
        /// The adapter's limit.
        limit_bytes: u64,
    },
    /// The model and its context do not fit the device's memory.
    #[error("the model needs {need} bytes of GPU memory, and {have} are free")]
    Memory {
        /// Bytes needed: weights, KV cache, intermediate results.
        need: u64,
        /// Bytes free.
        have: u64,
    },
    /// The keys and values of a layer are larger than a binding may be.
    #[error("a layer's keys and values take {need} bytes, and this GPU shows a kernel {have} at most")]
    KvBinding {
        /// Bytes of a layer.
        need: u64,
        /// The adapter's limit.
        have: u64,
    },
    /// A size that the kernels do not know.
    #[error("the GPU kernels cannot run this model: {what}")]
    Unsupported {
        /// Which size it is, and what is possible.
        what: String,
    },
    /// The driver found fault with a shader or a command: a defect of this program.
    #[error("the GPU driver refused {what}: {message}")]
    Refused {
        /// What was being made or run.
        what: String,
        /// The driver's words.
        message: String,
    },
    /// The device stopped answering.
    #[error("the GPU was lost: {reason}")]
    Lost {
        /// The driver's words.
        reason: String,
    },
}
