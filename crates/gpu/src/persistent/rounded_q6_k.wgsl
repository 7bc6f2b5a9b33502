// Q6_K: lower nibbles as in Q4_0; bits 2 i and 2 i + 1 of w0 (w1) are the upper bits of quant i (i + 16). A signed byte a half unit in
// `scales`, the f16 scale of scales in `supers`.
const BY_Q6_K: f32 = 1.0;
fn dot_rounded_q6_k(q: vec4<u32>, w0: u32, w1: u32, scales: u32, supers: u32, u: u32) -> f32 {
  let low = centred(nibbles_low(q) | (pairs_apart(w0) << vec4<u32>(4u)));
  let high = centred(nibbles_high(q) | (pairs_apart(w1) << vec4<u32>(4u)));
  let s = vec4<f32>(unpack4xI8(scales));
  return unpack2x16float(supers).x * dot(s.xxyy * rounded_scales(u), block_sums(low, high, u));
}
