// Elements i and i + HEAD_DIM / 2 turn together.
const HALF_QUADS: u32 = HEAD_DIM / 8u;
fn angle_quad(position: u32, i: u32, part: u32) -> vec4<f32> {
  let at = ROPE + position * HEAD_DIM + i % HALF_QUADS * 8u + part;
  return bitcast<vec4<f32>>(vec4<u32>(tables[at], tables[at + 2u], tables[at + 4u], tables[at + 6u]));
}
fn load_angles(position: u32) {
  let i = t % LANES * 2u;
  let sign = select(-1.0, 1.0, i >= HALF_QUADS);
  cos_low = angle_quad(position, i, 0u);
  cos_high = angle_quad(position, i + 1u, 0u);
  sin_low = sign * angle_quad(position, i, 1u);
  sin_high = sign * angle_quad(position, i + 1u, 1u);
}
// What quad `i` of the head at quad `at` turns with.
fn partner(at: u32, i: u32) -> vec4<f32> { return weighted(at + (i + HALF_QUADS) % (2u * HALF_QUADS)); }
