// Rows rounded to 8 bits: a thread has half a unit. What is loaded and multiplied is composed in quantize.rs.
struct Params { x: u32, x_stride: u32, y: u32, y_stride: u32, norm: u32 }
var<immediate> p: Params;

// Half unit `i` of a row, its scale and sums times `scale`; these lie behind all words of the row.
fn store(row: u32, i: u32, half: Half, by: vec4<f32>, scale: f32) {
  let y = (p.y + row * p.y_stride) / 4u;
  if (i < N_UNITS * 2u) { store_half(y, y + N_UNITS * 2u, i, half, by * scale); }
}
