// Rotation of elements i and i + n_rot / 2 of heads of whole quads, halves of whole quads.
const HALF: u32 = N_PAIRS / 4u;
// Quad `i` of the head from float `at` on, times the norm's weights, rotated by the angles from word `angles` on.
fn turned(at: u32, i: u32, norm: u32, angles: u32) -> vec4<f32> {
  let own = weighted_quad(at, i, norm);
  let j = min(i, 2u * HALF - 1u);
  let upper = j >= HALF;
  let other = weighted_quad(at, select(j + HALF, j - HALF, upper), norm);
  let w = angles + 8u * select(j, j - HALF, upper);
  let c = bitcast<vec4<f32>>(vec4<u32>(tables[w], tables[w + 2u], tables[w + 4u], tables[w + 6u]));
  let s = bitcast<vec4<f32>>(vec4<u32>(tables[w + 1u], tables[w + 3u], tables[w + 5u], tables[w + 7u]));
  let v = own * c + select(-s, s, upper) * other;
  return select(own, v, HALF == LANES || i < 2u * HALF);
}
