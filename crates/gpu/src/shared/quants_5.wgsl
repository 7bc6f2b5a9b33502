// 5 bits: the lower four as in quants_4, bit i of w0 is the upper bit of quant i.
fn five(word: u32, upper: u32) -> vec4<f32> {
  let low = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
  let high = ((vec4<u32>(upper) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u)) << vec4<u32>(4u);
  return bitcast<vec4<f32>>(low | high | vec4<u32>(two_23())) - (8388608.0 + OFFSET);
}
fn quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    five(w.q0.x, w.w0), five(w.q0.y, w.w0 >> 4u), five(w.q0.z, w.w0 >> 8u), five(w.q0.w, w.w0 >> 12u),
    five(w.q0.x >> 4u, w.w0 >> 16u), five(w.q0.y >> 4u, w.w0 >> 20u),
    five(w.q0.z >> 4u, w.w0 >> 24u), five(w.q0.w >> 4u, w.w0 >> 28u));
}
