//! Matrices that a subgroup holds together: their sizes, and the shader text that loads, multiplies and stores them.
//!
//! A left factor lies in workgroup memory row by row, a right factor column by column (so both as dot products read them), and
//! a result is stored column by column.

use crate::device::MatrixSize;

impl MatrixSize {
    /// What a shader with matrices begins with.
    pub(super) fn enables(self) -> &'static str {
        match self {
            Self::Eight | Self::Sixteen => "enable f16;\nenable wgpu_cooperative_matrix;",
            #[cfg(test)]
            Self::Emulated => "enable f16;",
        }
    }

    /// Rows and columns of a matrix.
    pub(super) fn edge(self) -> usize {
        match self {
            Self::Eight => 8,
            Self::Sixteen => 16,
            #[cfg(test)]
            Self::Emulated => 16,
        }
    }

    /// Whether matrices can be loaded from and stored to arrays of `vec4`. Metal's are loaded from scalars.
    pub(super) fn vectors(self) -> bool {
        self != Self::Eight
    }

    pub(super) fn emulated(self) -> bool {
        match self {
            Self::Eight | Self::Sixteen => false,
            #[cfg(test)]
            Self::Emulated => true,
        }
    }

    /// The type of a result.
    pub(super) fn result(self) -> &'static str {
        match self {
            Self::Eight => "coop_mat8x8<f32, C>",
            Self::Sixteen => "coop_mat16x16<f32, C>",
            #[cfg(test)]
            Self::Emulated => "Eighth",
        }
    }

    /// A left (`A`) or right (`B`) factor from quad `at` of `array`, rows or columns `stride` halves apart.
    pub(super) fn load(self, role: &str, array: &str, at: &str, stride: usize) -> String {
        let load = if role == "A" { "coopLoadT" } else { "coopLoad" };
        match self {
            Self::Eight => format!("{load}<coop_mat8x8<f16, {role}>>(&{array}[({at}) * 4u], {stride}u)"),
            Self::Sixteen => format!("{load}<coop_mat16x16<f16, {role}>>(&{array}[{at}], {}u)", stride / 4),
            #[cfg(test)]
            Self::Emulated => at.to_owned(),
        }
    }

    /// A left factor that lies column by column.
    pub(super) fn load_columns(self, array: &str, at: &str, stride: usize) -> String {
        self.load("A", array, at, stride).replacen("coopLoadT<", "coopLoad<", 1)
    }

    /// `product` is the function that stands for it where matrices are emulated.
    #[cfg_attr(not(test), expect(unused_variables, reason = "matrices are emulated in tests only"))]
    pub(super) fn multiply_add(self, product: &str, left: &str, right: &str, sum: &str) -> String {
        match self {
            Self::Eight | Self::Sixteen => format!("coopMultiplyAdd({left}, {right}, {sum})"),
            #[cfg(test)]
            Self::Emulated => format!("{product}(lane, {left}, {right}, {sum})"),
        }
    }

    /// Puts `result` where `blocks`, floats in workgroup memory with columns 16 apart, has place `at` for it.
    pub(super) fn store_block(self, result: &str, at: &str) -> String {
        match self {
            Self::Eight | Self::Sixteen => {
                format!("{{ let place = {at}; coopStore({result}, &blocks[place], 16u); }}")
            }
            #[cfg(test)]
            Self::Emulated => format!(
                "{{ let place = {at} + lane * 8u; for (var e = 0u; e < 4u; e += 1u) {{ \
                 blocks[place + e] = {result}.low[e]; blocks[place + 4u + e] = {result}.high[e]; }} }}"
            ),
        }
    }

    /// Puts `result` at quad `at` of `scratch`, columns `y_quads` apart, or adds it to what is there. Only with `vectors`.
    pub(super) fn store_scratch(self, result: &str, at: &str, add: bool) -> String {
        match self {
            Self::Eight | Self::Sixteen if add => format!(
                "let old_{result} = coopLoad<{}>(&scratch[{at}], y_quads); let new_{result} = old_{result} + {result}; \
                 coopStore(new_{result}, &scratch[{at}], y_quads);",
                self.result()
            ),
            Self::Eight | Self::Sixteen => format!("coopStore({result}, &scratch[{at}], y_quads);"),
            #[cfg(test)]
            Self::Emulated => {
                let sign = if add { "+=" } else { "=" };
                format!(
                    "{{ let place = {at} + lane / 2u * y_quads + lane % 2u * 2u; \
                     scratch[place] {sign} {result}.low; scratch[place + 1u] {sign} {result}.high; }}"
                )
            }
        }
    }

    /// Puts `result` at quad `at` of `scores` in workgroup memory, columns `stride` quads apart. Row by row it would be off by a
    /// column on NVIDIA's driver 580. Only with `vectors`.
    pub(super) fn store_scores(self, result: &str, at: &str, stride: &str) -> String {
        match self {
            Self::Eight | Self::Sixteen => {
                format!("{{ let place = {at}; coopStore({result}, &scores[place], {stride}); }}")
            }
            #[cfg(test)]
            Self::Emulated => format!(
                "{{ let place = {at} + lane / 2u * {stride} + lane % 2u * 2u; \
                 scores[place] = {result}.low; scores[place + 1u] = {result}.high; }}"
            ),
        }
    }

    /// Takes `result` back from there.
    pub(super) fn load_scores(self, result: &str, at: &str, stride: &str) -> String {
        match self {
            Self::Eight | Self::Sixteen => {
                format!("{result} = coopLoad<{}>(&scores[{at}], {stride});", self.result())
            }
            #[cfg(test)]
            Self::Emulated => format!(
                "{{ let place = {at} + lane / 2u * {stride} + lane % 2u * 2u; \
                 {result}.low = scores[place]; {result}.high = scores[place + 1u]; }}"
            ),
        }
    }
}
