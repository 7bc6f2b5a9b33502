// F16, two in a word.
fn four(a: u32, b: u32) -> vec4<f32> { return vec4<f32>(unpack2x16float(a), unpack2x16float(b)); }
fn quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    four(w.q0.x, w.q0.y), four(w.q0.z, w.q0.w), four(w.q1.x, w.q1.y), four(w.q1.z, w.q1.w),
    four(w.q2.x, w.q2.y), four(w.q2.z, w.q2.w), four(w.q3.x, w.q3.y), four(w.q3.z, w.q3.w));
}
