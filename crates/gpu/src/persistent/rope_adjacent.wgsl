// Elements 2 i and 2 i + 1 turn together.
fn load_angles(position: u32) {
  let at = ROPE + position * HEAD_DIM + t % LANES * 8u;
  let c = array<f32, 8>(word_float(at), word_float(at + 1u), word_float(at + 2u), word_float(at + 3u),
    word_float(at + 4u), word_float(at + 5u), word_float(at + 6u), word_float(at + 7u));
  cos_low = vec4<f32>(c[0], c[0], c[2], c[2]);
  cos_high = vec4<f32>(c[4], c[4], c[6], c[6]);
  sin_low = vec4<f32>(-c[1], c[1], -c[3], c[3]);
  sin_high = vec4<f32>(-c[5], c[5], -c[7], c[7]);
}
fn word_float(i: u32) -> f32 { return bitcast<f32>(tables[i]); }
// What quad `i` of the head at quad `at` turns with.
fn partner(at: u32, i: u32) -> vec4<f32> { return weighted(at + i).yxwz; }
