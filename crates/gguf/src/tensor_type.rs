//! ggml's tensor types: names, ids and block sizes.

use std::fmt;

/// Builds the enum and its table from one list, so that a type is one line.
macro_rules! tensor_types {
    ($($name:ident = $id:literal, $block_len:literal, $block_bytes:literal, $doc:literal;)*) => {
        /// How a tensor's weights are stored: ggml's type, named as ggml names it.
        ///
        /// Every type a current file may hold is here, with its block size, so that any file can be listed and
        /// its sizes checked; [`TensorType::is_supported`] says which ones this crate decodes.
        #[expect(non_camel_case_types, reason = "ggml's names, as users know them from file names")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum TensorType {
            $(#[doc = $doc] $name = $id,)*
        }

        impl TensorType {
            /// Every type, by ascending id.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// ggml's name, such as `Q4_K`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Weights in one block; 1 for the types that are plain numbers.
            pub const fn block_len(self) -> usize {
                match self { $(Self::$name => $block_len,)* }
            }

            /// Bytes of one block.
            pub const fn block_bytes(self) -> usize {
                match self { $(Self::$name => $block_bytes,)* }
            }

            /// The type with this id in a file; `None` for an id that ggml has not given, or has withdrawn.
            pub const fn from_ggml_id(id: u32) -> Option<Self> {
                match id { $($id => Some(Self::$name),)* _ => None }
            }
        }
    };
}

// Ids and sizes as in ggml.h and ggml-common.h of llama.cpp commit de3ff815ea7d. Ids 4, 5, 31-33 and 36-38 are withdrawn.
tensor_types! {
    F32     = 0,  1,   4,   "IEEE binary32.";
    F16     = 1,  1,   2,   "IEEE binary16.";
    Q4_0    = 2,  32,  18,  "4 bits, a scale for 32 weights.";
    Q4_1    = 3,  32,  20,  "4 bits, a scale and a minimum for 32 weights.";
    Q5_0    = 6,  32,  22,  "5 bits, a scale for 32 weights.";
    Q5_1    = 7,  32,  24,  "5 bits, a scale and a minimum for 32 weights.";
    Q8_0    = 8,  32,  34,  "8 bits, a scale for 32 weights.";
    Q8_1    = 9,  32,  36,  "8 bits, a scale and a sum for 32 values; for activations.";
    Q2_K    = 10, 256, 84,  "2 bits, a 4-bit scale and minimum for 16 weights.";
    Q3_K    = 11, 256, 110, "3 bits, a 6-bit scale for 16 weights.";
    Q4_K    = 12, 256, 144, "4 bits, a 6-bit scale and minimum for 32 weights.";
    Q5_K    = 13, 256, 176, "5 bits, a 6-bit scale and minimum for 32 weights.";
    Q6_K    = 14, 256, 210, "6 bits, an 8-bit scale for 16 weights.";
    Q8_K    = 15, 256, 292, "8 bits, an f32 scale and sums for 256 values; for activations.";
    IQ2_XXS = 16, 256, 66,  "2.06 bits a weight, from a codebook.";
    IQ2_XS  = 17, 256, 74,  "2.31 bits a weight, from a codebook.";
    IQ3_XXS = 18, 256, 98,  "3.06 bits a weight, from a codebook.";
    IQ1_S   = 19, 256, 50,  "1.56 bits a weight, from a codebook.";
    IQ4_NL  = 20, 32,  18,  "4 bits on a non-linear scale, a scale for 32 weights.";
    IQ3_S   = 21, 256, 110, "3.44 bits a weight, from a codebook.";
    IQ2_S   = 22, 256, 82,  "2.56 bits a weight, from a codebook.";
    IQ4_XS  = 23, 256, 136, "4 bits on a non-linear scale, a 6-bit scale for 32 weights.";
    I8      = 24, 1,   1,   "8-bit integer.";
    I16     = 25, 1,   2,   "16-bit integer.";
    I32     = 26, 1,   4,   "32-bit integer.";
    I64     = 27, 1,   8,   "64-bit integer.";
    F64     = 28, 1,   8,   "IEEE binary64.";
    IQ1_M   = 29, 256, 56,  "1.75 bits a weight, from a codebook.";
    BF16    = 30, 1,   2,   "The upper half of an IEEE binary32.";
    TQ1_0   = 34, 256, 54,  "Ternary, 1.69 bits a weight.";
    TQ2_0   = 35, 256, 66,  "Ternary, 2.06 bits a weight.";
    MXFP4   = 39, 32,  17,  "OCP microscaling E2M1, an E8M0 scale for 32 weights.";
    NVFP4   = 40, 64,  36,  "E2M1, a UE4M3 scale for 16 weights.";
    Q1_0    = 41, 128, 18,  "1 bit, a scale for 128 weights.";
    Q2_0    = 42, 64,  18,  "2 bits, a scale for 64 weights.";
}

impl TensorType {
    /// The id that stands for this type in a file.
    pub const fn ggml_id(self) -> u32 {
        self as u32
    }

    /// Whether this crate decodes the type; see [`TensorType::decode`].
    pub const fn is_supported(self) -> bool {
        matches!(
            self,
            Self::F32
                | Self::F16
                | Self::BF16
                | Self::Q4_0
                | Self::Q4_1
                | Self::Q5_0
                | Self::Q5_1
                | Self::Q8_0
                | Self::Q2_K
                | Self::Q3_K
                | Self::Q4_K
                | Self::Q5_K
                | Self::Q6_K
        )
    }

    /// Bytes that `n_elements` weights take; `None` when they are not whole blocks, or when the size overflows.
    pub const fn row_bytes(self, n_elements: u64) -> Option<u64> {
        // Lossless: both are below 300.
        let (len, bytes) = (self.block_len() as u64, self.block_bytes() as u64);
        if n_elements.is_multiple_of(len) { (n_elements / len).checked_mul(bytes) } else { None }
    }

    /// The name of a type that files once held and ggml has withdrawn, for error messages.
    pub(crate) const fn withdrawn_name(id: u32) -> Option<&'static str> {
        Some(match id {
            4 => "Q4_2",
            5 => "Q4_3",
            31 => "Q4_0_4_4",
            32 => "Q4_0_4_8",
            33 => "Q4_0_8_8",
            36 => "IQ4_NL_4_4",
            37 => "IQ4_NL_4_8",
            38 => "IQ4_NL_8_8",
            _ => return None,
        })
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_up_to_the_last_is_a_type_or_withdrawn() {
        for id in 0..=42 {
            match TensorType::from_ggml_id(id) {
                Some(ty) => assert_eq!(ty.ggml_id(), id, "{ty}"),
                None => assert!(TensorType::withdrawn_name(id).is_some(), "{id}"),
            }
        }
        assert_eq!(TensorType::from_ggml_id(43), None);
    }

    #[test]
    fn row_bytes_counts_whole_blocks_only() {
        assert_eq!(TensorType::Q4_0.row_bytes(64), Some(36));
        assert_eq!(TensorType::Q4_0.row_bytes(33), None);
        assert_eq!(TensorType::Q6_K.row_bytes(256), Some(210));
        assert_eq!(TensorType::F64.row_bytes(u64::MAX), None);
    }
}
