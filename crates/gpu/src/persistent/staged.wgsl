// x of a product in floats, in quads, each group of four turned by its unit so that threads of neighbouring units use different banks.
var<workgroup> staged: array<vec4<f32>, LONGEST / 4u>;
// Where the quads of the first half of unit `u` are; those of the second are four further.
fn quads_of(u: u32) -> vec4<u32> { return vec4<u32>(u * 8u) + (vec4<u32>(0u, 1u, 2u, 3u) ^ vec4<u32>(u % 4u)); }
fn stage(e: u32, v: f32) {
  let i = e / 4u;
  staged[i ^ (i / 8u % 4u)][e % 4u] = v;
}
