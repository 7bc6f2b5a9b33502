// Sums of four slices and of 32 threads, across lanes where a subgroup has so many. The first of them has the result.
fn four_slices(t: u32, size: u32, v: f32) -> f32 {
  if (size >= 32u) {
    let a = v + subgroupShuffleXor(v, 8u);
    return a + subgroupShuffleXor(a, 16u);
  }
  return pooled_slices(t, v);
}
fn lanes_sum(t: u32, size: u32, v: f32) -> f32 {
  if (size >= 32u) {
    let a = v + subgroupShuffleXor(v, 16u);
    let b = a + subgroupShuffleXor(a, 8u);
    let c = b + subgroupShuffleXor(b, 4u);
    let d = c + subgroupShuffleXor(c, 2u);
    return d + subgroupShuffleXor(d, 1u);
  }
  return pooled(t, v);
}
