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
  let at = quads_of(u);
  let low = dot(bytes_8(w.x), staged[at.x]) + dot(bytes_8(w.y), staged[at.y]) + dot(bytes_8(w.z), staged[at.z]) + dot(bytes_8(w.w), staged[at.w]);
  let high = dot(bytes_8(v.x), staged[at.x + 4u]) + dot(bytes_8(v.y), staged[at.y + 4u])
    + dot(bytes_8(v.z), staged[at.z + 4u]) + dot(bytes_8(v.w), staged[at.w + 4u]);
  return low + high;
}
