// Q2_K: a byte a half unit as `pair`, scale below and minimum above; their f16 scales in `supers`.
// Scales of the halves, then their minimums.
fn scales(w: Raw) -> vec4<f32> {
  let n = vec4<f32>((vec4<u32>(pair(w)) >> vec4<u32>(0u, 8u, 4u, 12u)) & vec4<u32>(15u));
  return unpack2x16float(w.supers).xxyy * n;
}
fn dot_unit(w: Raw, x: array<vec4<f32>, 8>) -> f32 {
  let q = scaled_quants(w);
  let s = scales(w);
  return s.x * dot_low(q, x) + s.y * dot_high(q, x) - s.z * sum_low(x) - s.w * sum_high(x);
}
fn unit_weights(w: Raw) -> array<vec4<f32>, 8> {
  let q = quants(w);
  let s = scales(w);
  return array<vec4<f32>, 8>(
    s.x * q[0] - s.z, s.x * q[1] - s.z, s.x * q[2] - s.z, s.x * q[3] - s.z,
    s.y * q[4] - s.w, s.y * q[5] - s.w, s.y * q[6] - s.w, s.y * q[7] - s.w);
}
