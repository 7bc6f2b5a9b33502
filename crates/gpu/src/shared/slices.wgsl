// What threads that share rows make of their sums.
// Sums over 4 slices each: [OUT_BLOCKS, SUMS (row groups and rows of x), SLICES / 4, 8 rows].
var<workgroup> partials: array<f32, OUT_BLOCKS * SUMS * SLICES * 2u>;
var<workgroup> slice_pool: array<f32, THREADS>;

// Sums of threads 8 apart, 4 of them, and of 32 threads; for small subgroups, or none. The first of them has the result.
fn pooled_slices(t: u32, v: f32) -> f32 {
  workgroupBarrier();
  slice_pool[t] = v;
  workgroupBarrier();
  let at = t / 32u * 32u + t % 8u;
  return (slice_pool[at] + slice_pool[at + 8u]) + (slice_pool[at + 16u] + slice_pool[at + 24u]);
}
fn pooled(t: u32, v: f32) -> f32 {
  let a = pooled_slices(t, v);
  workgroupBarrier();
  slice_pool[t] = a;
  workgroupBarrier();
  var sum = 0.0;
  for (var i = 0u; i < 8u; i += 1u) { sum += slice_pool[t / 32u * 32u + i]; }
  return sum;
}

// The sums of rows 4 half to 4 half + 3 of a block, from the sums of its slices.
fn row_sums(block: u32, which: u32, half: u32) -> vec4<f32> {
  var sum = vec4<f32>(0.0);
  for (var i = 0u; i < SLICES / 4u; i += 1u) {
    let at = ((block * SUMS + which) * (SLICES / 4u) + i) * 8u + 4u * half;
    sum += vec4<f32>(partials[at], partials[at + 1u], partials[at + 2u], partials[at + 3u]);
  }
  return sum;
}
