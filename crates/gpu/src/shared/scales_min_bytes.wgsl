// K types: scale and minimum in bytes as `pair`, their f16 scales in `supers`; the minimum is taken off.
fn scale_min(w: Raw) -> vec2<f32> {
  return unpack2x16float(w.supers) * vec2<f32>(f32(pair(w) & 255u), f32((pair(w) >> 8u) & 255u));
}
fn dot_unit(w: Raw, x: array<vec4<f32>, 8>) -> f32 {
  let q = scaled_quants(w);
  let s = scale_min(w);
  return s.x * (dot_low(q, x) + dot_high(q, x)) - s.y * (sum_low(x) + sum_high(x));
}
fn unit_weights(w: Raw) -> array<vec4<f32>, 8> {
  let q = quants(w);
  let s = scale_min(w);
  return array<vec4<f32>, 8>(
    s.x * q[0] - s.y, s.x * q[1] - s.y, s.x * q[2] - s.y, s.x * q[3] - s.y,
    s.x * q[4] - s.y, s.x * q[5] - s.y, s.x * q[6] - s.y, s.x * q[7] - s.y);
}
