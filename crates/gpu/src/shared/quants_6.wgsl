// 6 bits: the lower four as in quants_4, bits 2 i and 2 i + 1 of w0 (w1) are the upper bits of quant i (i + 16).
fn six(word: u32, upper: u32) -> vec4<f32> {
  let low = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
  let high = ((vec4<u32>(upper) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u)) << vec4<u32>(4u);
  return bitcast<vec4<f32>>(low | high | vec4<u32>(two_23())) - (8388608.0 + OFFSET);
}
fn quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    six(w.q0.x, w.w0), six(w.q0.y, w.w0 >> 8u), six(w.q0.z, w.w0 >> 16u), six(w.q0.w, w.w0 >> 24u),
    six(w.q0.x >> 4u, w.w1), six(w.q0.y >> 4u, w.w1 >> 8u), six(w.q0.z >> 4u, w.w1 >> 16u), six(w.q0.w >> 4u, w.w1 >> 24u));
}
