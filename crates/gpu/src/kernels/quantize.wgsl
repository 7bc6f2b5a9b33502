// Rows rounded to 8 bits: a thread has half a unit. What is loaded and multiplied is composed in quantize.rs.
struct Params { x: u32, x_stride: u32, y: u32, y_stride: u32, norm: u32 }
var<immediate> p: Params;

// Half unit `i` and, in the thread of a unit's first half, its scale and sums, times `scale`; behind all words of the row.
fn store_half(row: u32, i: u32, half: Half, by: vec4<f32>, scale: f32) {
  let y = (p.y + row * p.y_stride) / 4u;
  if (i < N_UNITS * 2u) {
    scratch[y + i] = bitcast<vec4<f32>>(half.words);
    if (i % 2u == 0u) { scratch[y + N_UNITS * 2u + i / 2u] = by * scale; }
  }
}
