// K types without minimums: a signed byte a half unit as `pair`, the f16 scale of scales in `supers`.
fn scales(w: Raw) -> vec2<f32> {
  let s = vec4<f32>(unpack4xI8(pair(w)));
  return unpack2x16float(w.supers).x * s.xy;
}
fn dot_unit(w: Raw, x: array<vec4<f32>, 8>) -> f32 {
  let q = scaled_quants(w);
  let s = scales(w);
  return s.x * dot_low(q, x) + s.y * dot_high(q, x);
}
fn unit_weights(w: Raw) -> array<vec4<f32>, 8> {
  let q = quants(w);
  let s = scales(w);
  return array<vec4<f32>, 8>(s.x * q[0], s.x * q[1], s.x * q[2], s.x * q[3], s.y * q[4], s.y * q[5], s.y * q[6], s.y * q[7]);
}
