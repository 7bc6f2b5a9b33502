// 4 bits: byte i of the quad holds quant i below and quant i + 16 above. A nibble put into the fraction of 2^23 is a whole
// number without a conversion, and exact.
fn nibbles(word: u32) -> vec4<f32> {
  let n = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
  return bitcast<vec4<f32>>(n | vec4<u32>(two_23())) - (8388608.0 + OFFSET);
}
fn quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    nibbles(w.q0.x), nibbles(w.q0.y), nibbles(w.q0.z), nibbles(w.q0.w),
    nibbles(w.q0.x >> 4u), nibbles(w.q0.y >> 4u), nibbles(w.q0.z >> 4u), nibbles(w.q0.w >> 4u));
}
// A nibble need not be shifted to be put there: left where it is, it counts as much more, and x is divided by that instead. Only
// those that do not fit into a fraction are moved, by 12 bits.
const X_LOW = vec4<f32>(1.0, 256.0, 65536.0, 4096.0);
const X_HIGH = vec4<f32>(16.0, 4096.0, 256.0, 65536.0);
fn low_in_place(word: u32) -> vec4<f32> {
  let n = vec4<u32>(word & 0xfu, word & 0xf00u, word & 0xf0000u, (word >> 12u) & 0xf000u);
  return bitcast<vec4<f32>>(n | vec4<u32>(two_23())) - (vec4<f32>(8388608.0) + OFFSET * X_LOW);
}
fn high_in_place(word: u32) -> vec4<f32> {
  let n = vec4<u32>(word & 0xf0u, word & 0xf000u, (word >> 12u) & 0xf00u, (word >> 12u) & 0xf0000u);
  return bitcast<vec4<f32>>(n | vec4<u32>(two_23())) - (vec4<f32>(8388608.0) + OFFSET * X_HIGH);
}
fn scaled_quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    low_in_place(w.q0.x), low_in_place(w.q0.y), low_in_place(w.q0.z), low_in_place(w.q0.w),
    high_in_place(w.q0.x), high_in_place(w.q0.y), high_in_place(w.q0.z), high_in_place(w.q0.w));
}
