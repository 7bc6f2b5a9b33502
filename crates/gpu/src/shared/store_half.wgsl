// Half unit `i` of a row to quad `words_at + i` and, from the thread of a unit's first half, its scale and sums to
// `scales_at + i / 2`.
fn store_half(words_at: u32, scales_at: u32, i: u32, half: Half, by: vec4<f32>) {
  scratch[words_at + i] = bitcast<vec4<f32>>(half.words);
  if (i % 2u == 0u) { scratch[scales_at + i / 2u] = by; }
}
