// The number that the thread `d` away (their indices differ in that bit) calls with; without a barrier where they are in one
// subgroup.
fn exchange(t: u32, size: u32, v: vec4<f32>, d: u32) -> vec4<f32> {
  if (size >= 32u && d < 32u) { return subgroupShuffleXor(v, d); }
  return exchange_pooled(t, v, d);
}
