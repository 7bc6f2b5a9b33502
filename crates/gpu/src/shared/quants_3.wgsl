// 3 bits: the lower two as in quants_2, bit i of w2 is the upper bit of quant i.
fn three(bits: u32, upper: u32) -> vec4<f32> {
  let low = (vec4<u32>(bits) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
  let high = ((vec4<u32>(upper) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u)) << vec4<u32>(2u);
  return bitcast<vec4<f32>>(low | high | vec4<u32>(two_23())) - (8388608.0 + OFFSET);
}
fn quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    three(w.w0, w.w2), three(w.w0 >> 8u, w.w2 >> 4u), three(w.w0 >> 16u, w.w2 >> 8u), three(w.w0 >> 24u, w.w2 >> 12u),
    three(w.w1, w.w2 >> 16u), three(w.w1 >> 8u, w.w2 >> 20u), three(w.w1 >> 16u, w.w2 >> 24u), three(w.w1 >> 24u, w.w2 >> 28u));
}
