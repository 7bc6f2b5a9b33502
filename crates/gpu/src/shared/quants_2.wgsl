// 2 bits: bits 2 i and 2 i + 1 of w0 (w1) are quant i (i + 16).
fn two(bits: u32) -> vec4<f32> {
  let n = (vec4<u32>(bits) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u);
  return bitcast<vec4<f32>>(n | vec4<u32>(two_23())) - (8388608.0 + OFFSET);
}
fn quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    two(w.w0), two(w.w0 >> 8u), two(w.w0 >> 16u), two(w.w0 >> 24u),
    two(w.w1), two(w.w1 >> 8u), two(w.w1 >> 16u), two(w.w1 >> 24u));
}
