// x of a product in floats, in quads, each group of four turned by its unit so that threads of neighbouring units use different banks.
var<workgroup> staged: array<vec4<f32>, LONGEST / 4u>;
fn stage(e: u32, v: f32) {
  let i = e / 4u;
  staged[i ^ (i / 8u % 4u)][e % 4u] = v;
}
