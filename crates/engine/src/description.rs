//! A model in the words that its users know.

use crate::file_type;
use gguf::Metadata;
use model::TensorSource;

/// A model in the words that its users know; can be had of any file, supported or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `general.name`, or the file's.
    pub name: String,
    /// `general.architecture`, such as `llama`.
    pub architecture: String,
    /// How large it is, such as `135M`.
    pub size_label: String,
    /// How most of it is stored, such as `Q4_K_M`.
    pub file_type: String,
    /// Elements of all tensors together.
    pub n_params: u64,
    /// Bytes of all tensors together, as stored.
    pub size_bytes: u64,
}

impl Description {
    /// `name` is used where the metadata have none; `family` is the architecture, if it is known.
    pub(crate) fn new(
        name: &str,
        family: Option<&str>,
        metadata: Option<&Metadata>,
        tensors: &dyn TensorSource,
    ) -> Self {
        // Whatever is of another type here is of no use for a description, and is complained of elsewhere.
        let text =
            |key: &str| metadata.and_then(|m| m.opt_str(key).ok().flatten()).filter(|text| !text.is_empty());
        let stated_type = metadata.and_then(|m| m.opt_u32("general.file_type").ok().flatten());
        let (mut n_params, mut size_bytes) = (0u64, 0u64);
        for meta in tensors.names().iter().filter_map(|name| tensors.meta(name)) {
            let n = meta.shape.iter().fold(1u64, |n, &dim| n.saturating_mul(dim));
            n_params = n_params.saturating_add(n);
            size_bytes = size_bytes.saturating_add(meta.ty.row_bytes(n).unwrap_or(0));
        }
        Self {
            name: text("general.name").unwrap_or(name).to_owned(),
            architecture: family.or(text("general.architecture")).unwrap_or("unknown").to_owned(),
            size_label: text("general.size_label").map_or_else(|| size_label(n_params), str::to_owned),
            file_type: file_type::of(stated_type, tensors),
            n_params,
            size_bytes,
        }
    }

    /// The kind of model in a line, such as `llama 135M Q4_0`.
    #[must_use]
    pub fn model_type(&self) -> String {
        format!("{} {} {}", self.architecture, self.size_label, self.file_type)
    }
}

/// A count of parameters in at least two digits, as gguf-py writes `general.size_label`: `135M`, `1.2B`.
fn size_label(n_params: u64) -> String {
    let n = n_params as f64;
    let (scaled, suffix) = match n {
        n if n > 1e12 => (n * 1e-12, "T"),
        n if n > 1e9 => (n * 1e-9, "B"),
        n if n > 1e6 => (n * 1e-6, "M"),
        n => (n * 1e-3, "K"),
    };
    let digits = match scaled {
        s if s < 0.5 => 2,
        s if s < 9.5 => 1,
        _ => 0,
    };
    format!("{scaled:.digits$}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_labels_have_two_digits() {
        let labels = [260_032, 134_515_008, 1_235_814_400, 8_030_261_248, 70_553_706_496].map(size_label);
        assert_eq!(labels, ["260K", "135M", "1.2B", "8.0B", "71B"]);
    }
}
