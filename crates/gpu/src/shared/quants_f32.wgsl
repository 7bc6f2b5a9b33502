// F32: quad k is weights 4 k to 4 k + 3.
fn quants(w: Raw) -> array<vec4<f32>, 8> {
  return array<vec4<f32>, 8>(
    bitcast<vec4<f32>>(w.q0), bitcast<vec4<f32>>(w.q1), bitcast<vec4<f32>>(w.q2), bitcast<vec4<f32>>(w.q3),
    bitcast<vec4<f32>>(w.q4), bitcast<vec4<f32>>(w.q5), bitcast<vec4<f32>>(w.q6), bitcast<vec4<f32>>(w.q7));
}
