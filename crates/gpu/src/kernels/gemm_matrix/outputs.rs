//! What becomes of a tile's results: straight from the matrices to Y, or through workgroup memory where they are changed on the way.

use super::{BLOCK, GemmMatrix};
use crate::kernels::floats::Floats;
use crate::kernels::gemm::quad_writer;
use crate::kernels::matvec::Epilogue;
use crate::shader::Shader;
use std::fmt::Write;

impl GemmMatrix {
    /// What `write_blocks` calls.
    pub(super) fn writers(&self, shader: Shader) -> Shader {
        let writer = if self.parts > 1 { PART_WRITER } else { quad_writer(self.epilogue) };
        let shader = shader.text(BLOCKS).text(writer);
        match self.heads {
            None => shader.text(self.eight_writer()),
            Some((heads, rotation)) => rotation
                .eights(heads.constants(shader))
                .text(include_str!("../../shared/kv_cache.wgsl"))
                .text(EIGHT_OF_HEADS),
        }
    }

    /// `write_eight(at, row, ..)`: outputs `row` to `row + 7` of a token, the first at word `at`.
    fn eight_writer(&self) -> &'static str {
        match (self.epilogue, self.y) {
            (Epilogue::SiluMul, Floats::F32) => EIGHT_GATED,
            (Epilogue::SiluMul, Floats::F16) => EIGHT_GATED_F16,
            // Others have no use for outputs in f16.
            _ => EIGHT,
        }
    }

    /// The epilogue, for what lies within Y.
    pub(super) fn write(&self) -> String {
        let direct = matches!(self.epilogue, Epilogue::Store | Epilogue::Add)
            && self.heads.is_none()
            && self.size.vectors();
        let head =
            "  let token0 = wg.x * TILE_TOKENS + own_token;\n  let row0 = wg.y * TILE_ROWS + own_row;\n";
        match (direct, self.tile.whole) {
            (true, true) => format!("{head}{}", self.write_matrices()),
            (true, false) => format!(
                "{head}  if (((wg.x + 1u) * TILE_TOKENS <= p.n_tokens) & ((wg.y + 1u) * TILE_ROWS <= p.n_groups * 32u)) {{\n{}  }} else {{\n{}  }}\n",
                self.write_matrices(),
                self.write_blocks()
            ),
            (false, _) => format!("{head}{}", self.write_blocks()),
        }
    }

    /// Results straight from the matrices.
    fn write_matrices(&self) -> String {
        match (self.epilogue, self.parts) {
            (Epilogue::Add, 1) => self.write_matrices_so(true),
            (Epilogue::Add, _) => format!(
                "  if (wg.z == 0u) {{\n{}  }} else {{\n{}  }}\n",
                self.write_matrices_so(true),
                self.write_matrices_so(false)
            ),
            _ => self.write_matrices_so(false),
        }
    }

    fn write_matrices_so(&self, add: bool) -> String {
        let edge = self.size.edge();
        let mut text = "  let y_quads = p.y_stride / 4u;\n".to_owned();
        for (i, j) in self.matrices() {
            let _ = writeln!(
                text,
                "  let at{i}_{j} = (y + (token0 + {}u) * p.y_stride + row0 + {}u) / 4u;",
                i * edge,
                j * edge
            );
            let _ = writeln!(
                text,
                "  {}",
                self.size.store_scratch(&format!("c{i}_{j}"), &format!("at{i}_{j}"), add)
            );
        }
        text
    }

    /// Results through workgroup memory, block by block; a lane has eight outputs of a token.
    fn write_blocks(&self) -> String {
        let edge = self.size.edge();
        let [across, down] = self.tile.subgroups;
        let (tokens, rows) = (self.tile.tokens / across, self.tile.rows / down);
        let gated = self.epilogue == Epilogue::SiluMul;
        let mut text =
            "  let own_block = subgroup * 256u;\n  let own_eight = own_block + lane * 8u;\n".to_owned();
        // Rows of a tile that a block takes: with gates and ups in turns, twice its edge.
        let step = if gated { 2 * BLOCK } else { BLOCK };
        for token in (0..tokens).step_by(BLOCK) {
            for row in (0..rows).step_by(step) {
                text.push_str("  {\n");
                let parts: &[usize] = if gated { &[0, 1] } else { &[0] };
                for &part in parts {
                    for (bi, bj) in (0..BLOCK / edge).flat_map(|i| (0..BLOCK / edge).map(move |j| (i, j))) {
                        let i = token / edge + bi;
                        let j = row / edge + if gated { 2 * bj + part } else { bj };
                        let at = format!("own_block + {}u", bi * edge * BLOCK + bj * edge);
                        let _ = writeln!(text, "  {}", self.size.store_block(&format!("c{i}_{j}"), &at));
                    }
                    let _ = writeln!(
                        text,
                        "  workgroupBarrier();\n  let low{part} = block_quad(own_eight);\n  let high{part} = block_quad(own_eight + 4u);\n  workgroupBarrier();"
                    );
                }
                let values = if gated { "low0, high0, low1, high1" } else { "low0, high0" };
                let (y_row, group) = match gated {
                    true => (format!("row0 / 2u + {}u", row / 2), format!("(row0 + {row}u) / 64u * 2u")),
                    false => (format!("row0 + {row}u"), format!("(row0 + {row}u) / 32u")),
                };
                let row_words = if self.y == Floats::F16 { "row / 2u" } else { "row" };
                let whose = if self.heads.is_some() { "token, " } else { "" };
                let _ = writeln!(
                    text,
                    "  let token = token0 + {token}u + lane / 2u;\n  let row = {y_row} + lane % 2u * 8u;\n\
                     \x20 if (token < p.n_tokens && {group} < p.n_groups) {{ write_eight({whose}y + token * p.y_stride + {row_words}, row, {values}); }}\n  }}"
                );
            }
        }
        text
    }
}

const BLOCKS: &str = "
var<workgroup> blocks: array<f32, SUBGROUPS * 256u>;
fn block_quad(i: u32) -> vec4<f32> { return vec4<f32>(blocks[i], blocks[i + 1u], blocks[i + 2u], blocks[i + 3u]); }";

// The first part of the columns is added, the sums of the others are stored.
const PART_WRITER: &str = "
var<private> adds: bool;
fn write(at: u32, row: u32, v: vec4<f32>) { scratch[at] = select(vec4<f32>(), scratch[at], adds) + v; }";

const EIGHT: &str = "
fn write_eight(at: u32, row: u32, low: vec4<f32>, high: vec4<f32>) {
  write(at / 4u, row, low);
  write(at / 4u + 1u, row + 4u, high);
}";

// Q is written, rotated; K, rotated, and V go to the cache.
const EIGHT_OF_HEADS: &str = "
fn write_eight(token: u32, at: u32, row: u32, low: vec4<f32>, high: vec4<f32>) {
  let position = tables[p.rows + 4u * token];
  let table = tables[p.rows + 4u * token + 1u];
  let angles = p.rope + position * 2u * N_PAIRS;
  let head = row / HEAD_DIM;
  let lane = row % HEAD_DIM / 8u;
  if (head >= N_HEADS + N_KV_HEADS) {
    kv[key_at(table, head - N_HEADS - N_KV_HEADS, position) + VALUES + lane] = halves(low, high);
    return;
  }
  let a = turned_quad(low, 2u * lane, angles);
  let b = turned_quad(high, 2u * lane + 1u, angles);
  if (head >= N_HEADS) {
    kv[key_at(table, head - N_HEADS, position) + lane] = halves(a, b);
  } else {
    write(at / 4u, row, a);
    write(at / 4u + 1u, row + 4u, b);
  }
}";

const EIGHT_GATED: &str = "
fn write_eight(at: u32, row: u32, low: vec4<f32>, high: vec4<f32>, low_up: vec4<f32>, high_up: vec4<f32>) {
  write(at / 4u, row, low, low_up);
  write(at / 4u + 1u, row + 4u, high, high_up);
}";

const EIGHT_GATED_F16: &str = "
fn gated(gate: vec4<f32>, up: vec4<f32>) -> vec4<f32> {
  let v = gate / (1.0 + exp(-max(gate, vec4<f32>(-80.0)))) * up;
  return clamp(v, vec4<f32>(-65504.0), vec4<f32>(65504.0));
}
fn write_eight(at: u32, row: u32, low: vec4<f32>, high: vec4<f32>, low_up: vec4<f32>, high_up: vec4<f32>) {
  let a = gated(low, low_up);
  let b = gated(high, high_up);
  scratch[at / 4u] = bitcast<vec4<f32>>(vec4<u32>(
    pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw)));
}";
