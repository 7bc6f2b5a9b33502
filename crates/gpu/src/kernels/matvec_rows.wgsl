// Y = X W^T for a few rows of X. Constants, decoder, epilogue and the entry point are composed in matvec_rows.rs.
struct Params {
  quads: u32, words: u32, pairs: u32, supers: u32, n_units: u32,
  x: u32, x_stride: u32, y: u32, y_stride: u32, bias: u32,
}
var<immediate> p: Params;
// [N_TOKENS, GROUPS, SLICES, 32]
var<workgroup> slice_sums: array<f32, N_TOKENS * GROUPS * SLICES * 32u>;

fn across(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }

// Outputs 4 q to 4 q + 3 of a row group: their slices in order.
fn total(token: u32, group: u32, q: u32) -> vec4<f32> {
  var sum = vec4<f32>();
  for (var s = 0u; s < SLICES; s += 1u) {
    let at = ((token * GROUPS + group) * SLICES + s) * 32u + q * 4u;
    sum += vec4<f32>(slice_sums[at], slice_sums[at + 1u], slice_sums[at + 2u], slice_sums[at + 3u]);
  }
  return sum;
}
