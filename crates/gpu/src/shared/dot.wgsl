// Halves of a unit times eight quads of x. There is no alias for eight quads: it would be another type to Metal than what it
// stands for.
fn dot_low(q: array<vec4<f32>, 8>, x: array<vec4<f32>, 8>) -> f32 {
  return dot(q[0], x[0]) + dot(q[1], x[1]) + dot(q[2], x[2]) + dot(q[3], x[3]);
}
fn dot_high(q: array<vec4<f32>, 8>, x: array<vec4<f32>, 8>) -> f32 {
  return dot(q[4], x[4]) + dot(q[5], x[5]) + dot(q[6], x[6]) + dot(q[7], x[7]);
}
fn sum_low(x: array<vec4<f32>, 8>) -> f32 { return dot(x[0] + x[1] + x[2] + x[3], X_LOW); }
fn sum_high(x: array<vec4<f32>, 8>) -> f32 { return dot(x[4] + x[5] + x[6] + x[7], X_HIGH); }
