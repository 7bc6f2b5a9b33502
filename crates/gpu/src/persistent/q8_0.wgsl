// Q8_0: byte i of two quads is quant i. The second byte of two stays where it is, and x is staged with the inverse.
const X_8 = vec4<f32>(1.0, 256.0, 1.0, 256.0);
fn factor_q8_0(e: u32) -> f32 { return select(1.0, 1.0 / 256.0, e % 2u == 1u); }
fn bytes_8(word: u32) -> vec4<f32> {
  let upper = word >> 16u;
  let n = vec4<u32>(word & 0xffu, word & 0xff00u, upper & 0xffu, upper & 0xff00u);
  return bitcast<vec4<f32>>(n ^ vec4<u32>(0x4b000080u, 0x4b008000u, 0x4b000080u, 0x4b008000u)) - (8388608.0 + 128.0 * X_8);
}
// Unit `u` of x times 32 weights.
fn dot_q8_0(w: vec4<u32>, v: vec4<u32>, u: u32) -> f32 {
  let a = u * 8u;
  let turn = u % 4u;
  let x0 = a + turn;
  let x1 = a + (1u ^ turn);
  let x2 = a + (2u ^ turn);
  let x3 = a + (3u ^ turn);
  let low = dot(bytes_8(w.x), staged[x0]) + dot(bytes_8(w.y), staged[x1]) + dot(bytes_8(w.z), staged[x2]) + dot(bytes_8(w.w), staged[x3]);
  let high = dot(bytes_8(v.x), staged[x0 + 4u]) + dot(bytes_8(v.y), staged[x1 + 4u])
    + dot(bytes_8(v.z), staged[x2 + 4u]) + dot(bytes_8(v.w), staged[x3 + 4u]);
  return low + high;
}
