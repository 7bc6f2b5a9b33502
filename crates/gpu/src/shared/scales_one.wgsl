// One f16 scale a unit, as `pair`.
fn dot_unit(w: Raw, x: array<vec4<f32>, 8>) -> f32 {
  let q = scaled_quants(w);
  return unpack2x16float(pair(w)).x * (dot_low(q, x) + dot_high(q, x));
}
fn unit_weights(w: Raw) -> array<vec4<f32>, 8> {
  let q = quants(w);
  let d = unpack2x16float(pair(w)).x;
  return array<vec4<f32>, 8>(d * q[0], d * q[1], d * q[2], d * q[3], d * q[4], d * q[5], d * q[6], d * q[7]);
}
