// Q6_K: lower nibbles as in Q4_0; bits 2 i and 2 i + 1 of w0 (w1) are the upper bits of quant i (i + 16). A signed byte a half unit in
// `scales`, the f16 scale of scales in `supers`. x is staged as it is.
fn factor_q6_k(e: u32) -> f32 { return 1.0; }
fn six(word: u32, upper: u32) -> vec4<f32> {
  let low = (vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
  let high = ((vec4<u32>(upper) >> vec4<u32>(0u, 2u, 4u, 6u)) & vec4<u32>(3u)) << vec4<u32>(4u);
  return bitcast<vec4<f32>>(low | high | vec4<u32>(two_23())) - 8388640.0;
}
// Unit `u` of x times 32 weights.
fn dot_q6_k(w: vec4<u32>, w0: u32, w1: u32, scales: u32, supers: u32, u: u32) -> f32 {
  let at = quads_of(u);
  let low = dot(six(w.x, w0), staged[at.x]) + dot(six(w.y, w0 >> 8u), staged[at.y])
    + dot(six(w.z, w0 >> 16u), staged[at.z]) + dot(six(w.w, w0 >> 24u), staged[at.w]);
  let high = dot(six(w.x >> 4u, w1), staged[at.x + 4u]) + dot(six(w.y >> 4u, w1 >> 8u), staged[at.y + 4u])
    + dot(six(w.z >> 4u, w1 >> 16u), staged[at.z + 4u]) + dot(six(w.w >> 4u, w1 >> 24u), staged[at.w + 4u]);
  let s = vec4<f32>(unpack4xI8(scales));
  return unpack2x16float(supers).x * (s.x * low + s.y * high);
}
