fn exchange_pooled(t: u32, v: vec4<f32>, d: u32) -> vec4<f32> {
  workgroupBarrier();
  pool[t] = v;
  workgroupBarrier();
  return pool[t ^ d];
}
