// BF16, two in a word: the upper halves of F32.
fn four(a: u32, b: u32) -> vec4<f32> {
  return bitcast<vec4<f32>>(vec4<u32>(a << 16u, a & 0xffff0000u, b << 16u, b & 0xffff0000u));
}
fn quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    four(w.q0.x, w.q0.y), four(w.q0.z, w.q0.w), four(w.q1.x, w.q1.y), four(w.q1.z, w.q1.w),
    four(w.q2.x, w.q2.y), four(w.q2.z, w.q2.w), four(w.q3.x, w.q3.y), four(w.q3.z, w.q3.w));
}
