// y = W x for one row. Constants, decoder, prologue and the entry point are composed in matvec.rs.
struct Params {
  quads: u32, words: u32, pairs: u32, supers: u32, n_units: u32,
  x: u32, y: u32, norm: u32, bias: u32,
}
var<immediate> p: Params;
// [GROUPS, SLICES, ROWS], then in its first slice the sums of all.
var<workgroup> slice_sums: array<f32, GROUPS * SLICES * ROWS>;

// Adds the slices of each row up, in order: one thread a row.
fn add_slices(t: u32) {
  if (t < ROWS) {
    for (var g = 0u; g < GROUPS; g += 1u) {
      var sum = slice_sums[g * SLICES * ROWS + t];
      for (var s = 1u; s < SLICES; s += 1u) { sum += slice_sums[(g * SLICES + s) * ROWS + t]; }
      slice_sums[g * SLICES * ROWS + t] = sum;
    }
  }
}

// The sums of rows 4 q to 4 q + 3.
fn row_sums(group: u32, q: u32) -> vec4<f32> {
  let at = group * SLICES * ROWS + 4u * q;
  return vec4<f32>(slice_sums[at], slice_sums[at + 1u], slice_sums[at + 2u], slice_sums[at + 3u]);
}
