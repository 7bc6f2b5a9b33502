// Floats: no scales.
fn dot_unit(w: Raw, x: array<vec4<f32>, 8>) -> f32 {
  let q = scaled_quants(w);
  return dot_low(q, x) + dot_high(q, x);
}
fn unit_weights(w: Raw) -> array<vec4<f32>, 8> { return quants(w); }
