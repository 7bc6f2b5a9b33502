// Halves of a unit times quads of x; `x_quad` is the kernel's.
fn dot_low(q: array<vec4<f32>, 8>, x: u32) -> f32 {
  return dot(q[0], x_quad(x)) + dot(q[1], x_quad(x + 1u)) + dot(q[2], x_quad(x + 2u)) + dot(q[3], x_quad(x + 3u));
}
fn dot_high(q: array<vec4<f32>, 8>, x: u32) -> f32 {
  return dot(q[4], x_quad(x + 4u)) + dot(q[5], x_quad(x + 5u)) + dot(q[6], x_quad(x + 6u)) + dot(q[7], x_quad(x + 7u));
}
fn sum_low(x: u32) -> f32 {
  let s = x_quad(x) + x_quad(x + 1u) + x_quad(x + 2u) + x_quad(x + 3u);
  return s.x + s.y + s.z + s.w;
}
fn sum_high(x: u32) -> f32 {
  let s = x_quad(x + 4u) + x_quad(x + 5u) + x_quad(x + 6u) + x_quad(x + 7u);
  return s.x + s.y + s.z + s.w;
}
