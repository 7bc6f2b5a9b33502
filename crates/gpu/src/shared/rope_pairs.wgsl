// Rotation of elements 2 i and 2 i + 1.
// Cosine and sine of pair `i`; pairs past the last do not turn.
fn turn(angles: u32, i: u32) -> vec2<f32> {
  let at = angles + 2u * min(i, N_PAIRS - 1u);
  let turn = vec2<f32>(bitcast<f32>(tables[at]), bitcast<f32>(tables[at + 1u]));
  return select(vec2<f32>(1.0, 0.0), turn, N_PAIRS == 4u * LANES || i < N_PAIRS);
}
// Quad `i` of a head, rotated by the angles from word `angles` on.
fn turned_quad(x: vec4<f32>, i: u32, angles: u32) -> vec4<f32> {
  let a = turn(angles, 2u * i);
  let b = turn(angles, 2u * i + 1u);
  return vec4<f32>(x.x * a.x - x.y * a.y, x.x * a.y + x.y * a.x, x.z * b.x - x.w * b.y, x.z * b.y + x.w * b.x);
}
