// Quad `i` of the head of whole quads from float `at` on, times the norm's weights, rotated by the angles from word `angles` on.
fn turned(at: u32, i: u32, norm: u32, angles: u32) -> vec4<f32> {
  return turned_quad(weighted_quad(at, i, norm), i, angles);
}
