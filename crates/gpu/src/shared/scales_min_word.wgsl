// Scale and minimum in f16, the last word of the unit; the minimum is added.
fn scale_min(w: Raw) -> vec2<f32> { return unpack2x16float(w.dm) * vec2<f32>(1.0, -1.0); }
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
