// Rotation element by element, for heads and pairings that do not come in whole quads.
fn weighted(at: u32, e: u32, norm: u32) -> f32 {
  let quad = weighted_quad(at, e / 4u, norm);
  return quad[e % 4u];
}
fn turned_float(at: u32, e: u32, norm: u32, angles: u32) -> f32 {
  let own = weighted(at, e, norm);
  if (e >= 2u * N_PAIRS) { return own; }
  let upper = select(e % 2u == 1u, e >= N_PAIRS, HALVES == 1u);
  let pair = select(e / 2u, e % N_PAIRS, HALVES == 1u);
  let other = weighted(at, select(e ^ 1u, (e + N_PAIRS) % (2u * N_PAIRS), HALVES == 1u), norm);
  let c = bitcast<f32>(tables[angles + 2u * pair]);
  let s = bitcast<f32>(tables[angles + 2u * pair + 1u]);
  return own * c + select(-s, s, upper) * other;
}
// Elements 4 i to 4 i + 3 of the head from float `at` on, times the norm's weights, rotated by the angles from word `angles` on.
fn turned(at: u32, i: u32, norm: u32, angles: u32) -> vec4<f32> {
  return vec4<f32>(
    turned_float(at, 4u * i, norm, angles), turned_float(at, 4u * i + 1u, norm, angles),
    turned_float(at, 4u * i + 2u, norm, angles), turned_float(at, 4u * i + 3u, norm, angles));
}
