// Q4_0: byte i of a quad holds quant i below and quant i + 16 above. Nibbles stay where they are in the fraction of 2^23, or are
// moved by 12 bits, and count as much more; x is staged with the inverse.
const LOW_4 = vec4<f32>(1.0, 256.0, 65536.0, 4096.0);
const HIGH_4 = vec4<f32>(16.0, 4096.0, 256.0, 65536.0);
fn factor_q4_0(e: u32) -> f32 { return 1.0 / select(LOW_4, HIGH_4, e % 32u >= 16u)[e % 4u]; }
fn low_4(word: u32) -> vec4<f32> {
  let n = vec4<u32>(word & 0xfu, word & 0xf00u, word & 0xf0000u, (word >> 12u) & 0xf000u);
  return bitcast<vec4<f32>>(n | vec4<u32>(two_23())) - (vec4<f32>(8388608.0) + 8.0 * LOW_4);
}
fn high_4(word: u32) -> vec4<f32> {
  let n = vec4<u32>(word & 0xf0u, word & 0xf000u, (word >> 12u) & 0xf00u, (word >> 12u) & 0xf0000u);
  return bitcast<vec4<f32>>(n | vec4<u32>(two_23())) - (vec4<f32>(8388608.0) + 8.0 * HIGH_4);
}
// Unit `u` of x times 32 weights.
fn dot_q4_0(w: vec4<u32>, u: u32) -> f32 {
  let at = quads_of(u);
  let low = dot(low_4(w.x), staged[at.x]) + dot(low_4(w.y), staged[at.y]) + dot(low_4(w.z), staged[at.z]) + dot(low_4(w.w), staged[at.w]);
  let high = dot(high_4(w.x), staged[at.x + 4u]) + dot(high_4(w.y), staged[at.y + 4u])
    + dot(high_4(w.z), staged[at.z + 4u]) + dot(high_4(w.w), staged[at.w + 4u]);
  return low + high;
}
