// Heads of whole quads.
// Quad `i` of the head from float `at` on, zeros past its end.
fn head_quad(at: u32, i: u32) -> vec4<f32> {
  return select(vec4<f32>(0.0), scratch[at / 4u + i], HEAD_DIM % 8u == 0u || 4u * i < HEAD_DIM);
}
fn store_head_quad(at: u32, i: u32, v: vec4<f32>) {
  if (4u * i < HEAD_DIM) { scratch[at / 4u + i] = v; }
}
// Zeros behind all heads of a row from float `at` on, up to a multiple of 32, by threads `t` of `n`.
fn zero_tail(at: u32, t: u32, n: u32) {
  for (var i = t; i < TAIL / 4u; i += n) { scratch[(at + WIDTH) / 4u + i] = vec4<f32>(0.0); }
}
