// 4 bits: byte i of the quad holds quant i below and quant i + 16 above. A nibble put into the fraction of 2^23 is a whole
// number without a conversion, and exact.
fn nibbles(word: u32) -> vec4<f32> {
  let n = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
  return bitcast<vec4<f32>>(n | vec4<u32>(0x4b000000u)) - (8388608.0 + OFFSET);
}
fn quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    nibbles(w.q0.x), nibbles(w.q0.y), nibbles(w.q0.z), nibbles(w.q0.w),
    nibbles(w.q0.x >> 4u), nibbles(w.q0.y >> 4u), nibbles(w.q0.z >> 4u), nibbles(w.q0.w >> 4u));
}
