// The weights of a norm, and its scale, from squares that all threads sum.
var<workgroup> square_parts: array<f32, THREADS / 32u>;
fn norm_quad(i: u32) -> vec4<f32> { return bitcast<vec4<f32>>(quads[p.norm + i]); }
fn x_quad(i: u32) -> vec4<f32> { return input(i) * norm_quad(i); }
fn sum_squares(t: u32, size: u32, v: f32) {
  let sum = lanes_sum(t, size, v);
  if (t % 32u == 0u) { square_parts[t / 32u] = sum; }
}
fn norm_scale() -> f32 {
  var sum = 0.0;
  for (var i = 0u; i < SQUARE_PARTS; i += 1u) { sum += square_parts[i]; }
  return inverseSqrt(sum / f32(N_COLS) + EPS);
}
